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
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

# Not TMPDIR, which may be long: Ray puts unix sockets below, whose names may have 107 bytes, and adds some 70.
BASES = ("/tmp", os.environ.get("XDG_RUNTIME_DIR") or "/dev/shm", "/dev/shm")
LONGEST = 15  # bytes of such a name
PREFIX = ".muster-private-"  # folders with this prefix are removed if no process holds them
END_SECONDS = 5.0
ROOM = 100 << 20  # bytes


def folder() -> str:
    """A fresh one, of this process until it ends. Takes away those that others of this user left behind.

    OSError where there can be none.
    """
    base = next(filter(_is_usable, BASES), None)
    if base is None:
        raise PermissionError(f"none of {', '.join(BASES)} can be written by you without others renaming what is there")
    sweep()
    while True:
        path = tempfile.mkdtemp(prefix=PREFIX, dir=base)  # mode 0700
        held = os.open(path, os.O_RDONLY)  # closed when the process ends
        fcntl.flock(held, fcntl.LOCK_EX)
        if os.path.exists(path):  # another process may have swept it before it was held
            return path
        os.close(held)


def _is_usable(base: str) -> bool:
    try:
        status, free = os.stat(base), os.statvfs(base)
    except OSError:
        return False
    renamed_by_others = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
    room = free.f_bavail * free.f_frsize > ROOM
    return not renamed_by_others and room and len(base) <= LONGEST and os.access(base, os.W_OK | os.X_OK)


def run_from(package: bytes) -> None:
    """Unpack a zip file into a folder of this process, from where it imports from now on."""
    path = folder()
    atexit.register(remove, path)
    zipfile.ZipFile(io.BytesIO(package)).extractall(path)
    sys.path.insert(0, path)


def sweep() -> None:
    """Remove this user's folders whose processes are dead, and end what Ray left running in them."""
    for path in (path for base in set(BASES) for path in Path(base).glob(f"{PREFIX}????????")):
        with contextlib.suppress(OSError):  # another's, or gone, or no folder; BlockingIOError: its process lives
            held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(held).st_uid == os.geteuid():
                    fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(str(path))
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
