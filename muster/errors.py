"""The errors a user can cause or must hear of. Importing this brings neither torch nor Ray.

    MusterError               something outside the program stopped it: disk, permission, network
    ├── InputError            (also ValueError) what was asked for cannot be: a missing folder, a bad value
    │   ├── TaskError         no such task or model, or it cannot do what was asked of it
    │   ├── NotEnrolledError  nobody of that person_id is in the gallery
    │   ├── MissingError      nothing is there, or no image: a wrong name, or a disk that is not mounted
    │   └── NotYetError       a step has to come first: scan, run, cluster, enroll or calibrate
    ├── ImageError            one image could not be read or decoded
    ├── UnreachableError      a bucket throttles, drops or stalls for too long, or refuses the credentials
    ├── DecryptionError       a file was changed, cut off, or encrypted under another key or name
    ├── LibraryGoneError      the library is no longer where it was opened, or has another key since
    ├── JobError              a job on a cluster failed, was stopped, or was left running
    └── Stopped               a run cannot go on

Texts state facts, and name the file or value and what to do about it. Names of parameters and of steps stand in
backticks: "`k` 3 needs `method` kmeans", "`calibrate` again". The command line shows them as options and commands.
"""


class MusterError(Exception):
    """Something outside the program stopped it: disk, permission, network. The command ends with `exit_code`."""

    exit_code = 1


class InputError(MusterError, ValueError):
    """The user asked for something that cannot be: a missing folder, a file of the wrong kind, a bad value."""

    exit_code = 2


class TaskError(InputError):
    """A task or model that does not exist, or was asked for what it cannot do."""


class NotEnrolledError(InputError):
    """Nobody of that person_id is in the gallery, or not any more."""


class MissingError(InputError):
    """Nothing is there, or no image: a wrong name, or a disk that is not mounted."""


class NotYetError(InputError):
    """A step has to come first. `step`: its verb; `library`: where; `tasks`: those to run, where `step` is "run".

    `otherwise`: what may be done instead, to be read after "…: `scan` first".
    """

    def __init__(
        self, text: str, step: str = "run", library: str = "", tasks: tuple[str, ...] = (), otherwise: str = ""
    ) -> None:
        super().__init__(text)
        self.step, self.library, self.tasks, self.otherwise = step, library, tasks, otherwise

    def __str__(self) -> str:
        return f"{self.args[0]}: `{self.step}` first{self.otherwise}"


class ImageError(MusterError):
    """One image could not be read or decoded.

    kind: one of muster.storage.photos.decode.KINDS; str(error): one line for people. What was known by then: sha256 (of
    the bytes), format, and size (width, height as stored in the file, before orientation), each None when unknown.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = " ".join(message.split())[:300]
        self.sha256: str | None = None
        self.format: str | None = None
        self.size: tuple[int, int] | None = None

    def __str__(self) -> str:
        return self.message


class UnreachableError(MusterError):
    """A bucket that throttles, drops or stalls for longer than we wait, or that refuses the credentials."""


class DecryptionError(MusterError):
    """A file was changed, cut off, or encrypted under another key or name."""


class LibraryGoneError(MusterError):
    """The library is no longer where it was opened, or has another key since: whatever is written there now would be in
    none."""


class JobError(MusterError):
    """A job was left, was stopped or failed; the command ends with `exit_code`."""

    def __init__(self, text: str, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Stopped(MusterError):  # noqa: N818  an outcome, not a fault of this code
    """The run cannot go on; the text says why."""
