"""The errors a user can cause or must hear of. Their text names the file or value and what to do about it."""


class MusterError(Exception):
    """Something outside the program stopped it: disk, permission, network. The command ends with `exit_code`."""

    exit_code = 1


class InputError(MusterError):
    """The user asked for something that cannot be: a missing folder, a file of the wrong kind, a bad value."""

    exit_code = 2


class LibraryGoneError(MusterError):
    """The library is no longer where it was opened: whatever is written there now would be in none."""


class TaskError(ValueError):
    """A task or model that does not exist, or was asked for what it cannot do."""
