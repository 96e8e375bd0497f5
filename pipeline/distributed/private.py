"""Folders of one process: no other user can open them, and they are removed when the process ends, however it ends.

Each is held by a lock on the folder itself, which the system gives up when the process dies: so whoever comes next sees
whose owner is dead. (systemd-tmpfiles, too, leaves folders alone that are locked.) Standard library only: a job's
driver and workers run this before they have any other code of Muster's.
"""

import atexit
import contextlib
import fcntl
import io
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

PREFIX = "ray-muster-"  # folders with this prefix and five such letters are removed if no process holds them
LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
NAMED = ("RAY_TMPDIR", "TMPDIR")  # of the environment; used before COMMON, where they can be
COMMON = ("/tmp", os.environ.get("XDG_RUNTIME_DIR") or "/dev/shm", "/dev/shm", "/var/tmp")
# Ray's longest socket is FOLDER/r/session_2026-11-29_05-38-32_123456_4194304/sockets/plasma_store
LONGEST = (107 if sys.platform == "linux" else 103) - 66  # bytes of a folder's path
END_SECONDS = 5.0
ROOM = 100 << 20  # bytes


def folder() -> str:
    """A fresh one, of this process until it ends. Takes away those that others of this user left behind.

    OSError where there can be none.
    """
    sweep()
    refused = []
    for name, base in _bases():
        try:
            _check_owners(base, strict=name in NAMED)
            return _made(base)
        except OSError as error:
            refused.append(f"{name} {base}" if name else base)
            refused[-1] += f": {error.strerror or error}"
    longest = LONGEST - len(f"/{PREFIX}") - 5
    raise PermissionError(
        f"Ray needs a folder for its files while it runs, and there is none ({'; '.join(refused)}): set TMPDIR to a"
        f" folder of yours, of at most {longest} bytes, on a local disk with {ROOM >> 20} MiB free"
    )


def _bases() -> Iterator[tuple[str, str]]:
    """Where folders may be made, the first that can be: the variable of the environment that names it, and its path."""
    seen = set()
    for name, base in (*((name, os.environ.get(name)) for name in NAMED), *(("", base) for base in COMMON)):
        if base and base not in seen:
            seen.add(base)
            yield name, os.path.realpath(base) if name else base


def _check_owners(base: str, strict: bool) -> None:
    """OSError where another user could rename or replace what is made there.

    `strict`: also by what lies above. Not of the common ones, which in a user namespace belong to nobody.
    """
    for place in (base, *map(str, Path(base).parents)) if strict else (base,):
        status = os.stat(place)
        if status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX:
            raise PermissionError(f"others may rename what is in {place}")
        if strict and status.st_uid not in (0, os.geteuid()):
            raise PermissionError(f"{place} belongs to another user")


def _made(base: str) -> str:
    """A new folder in it, held by this process. OSError where it can be none of Ray's."""
    if not base.isascii():
        raise PermissionError("Ray takes no name that is not ASCII")
    free = os.statvfs(base)
    if free.f_bavail * free.f_frsize <= ROOM:
        raise PermissionError(f"less than {ROOM >> 20} MiB are free")
    while True:
        path = f"{base}/{PREFIX}{''.join(secrets.choice(LETTERS) for _ in range(5))}"
        if len(os.fsencode(path)) > LONGEST:
            raise PermissionError("its name is too long for sockets below it")
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
            held = os.open(path, os.O_RDONLY)  # closed when the process ends
            try:
                fcntl.flock(held, fcntl.LOCK_EX)
                if os.path.exists(path):  # else another process has swept it before it was held
                    _check_sockets(path)
                    return path
            except OSError:
                os.rmdir(path)
                os.close(held)
                raise
            os.close(held)


def _check_sockets(path: str) -> None:
    """OSError where its file system has none."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(f"{path}/probe")
    os.unlink(f"{path}/probe")


def run_from(package: bytes) -> None:
    """Unpack a zip file into a folder of this process, from where it imports from now on."""
    path = folder()
    atexit.register(remove, path)
    zipfile.ZipFile(io.BytesIO(package)).extractall(path)
    sys.path.insert(0, path)


def sweep() -> None:
    """Remove this user's folders whose processes are dead, and end what Ray left running in them."""
    ours = re.compile(f"{PREFIX}[{LETTERS}]{{5}}")
    for name, base in _bases():
        with contextlib.suppress(OSError):
            _check_owners(base, strict=name in NAMED)
            _sweep(f"{base}/{found}" for found in os.listdir(base) if ours.fullmatch(found))


def _sweep(paths: Iterable[str]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):  # another's, or gone, or no folder; BlockingIOError: its process lives
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(held).st_uid == os.geteuid():
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(path)
            finally:
                os.close(held)


def remove(path: str) -> None:
    """Remove a folder of this user's, after ending what Ray left running in it."""
    deadline = time.monotonic() + END_SECONDS
    while (left := list(_ray_processes(path))) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.05)
    shutil.rmtree(path, ignore_errors=True)


def _ray_processes(path: str) -> Iterator[int]:
    """Ray's workers and agents with an open file below this folder: their logs lie there.

    Where a driver is killed the system ends what it started (Ray asks for that), and Ray's agents, which the raylet
    starts, go by themselves: after half a minute to two. On macOS, which has no /proc, they are left to that.
    """
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or gone
            open_files = (os.readlink(file) for file in (entry / "fd").iterdir())
            if (entry / "comm").read_bytes().startswith(b"ray::") and any(f.startswith(f"{path}/") for f in open_files):
                yield int(entry.name)


@contextlib.contextmanager
def guarded() -> Iterator[str]:
    """`folder()`, removed at the end; where this process is killed, by another that waits for that."""
    path = folder()
    command = [sys.executable, "-I", __file__, path]
    # In a session of its own: what ends this one's group, as Ctrl-C does, is to leave it alone.
    quiet = subprocess.DEVNULL
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        yield path
    finally:
        remove(path)
        guard.kill()
        guard.communicate()


if __name__ == "__main__":
    sys.stdin.read()  # ends when the process at the other end of the pipe does
    remove(sys.argv[1])
