"""Local files that a user or a row names: only regular ones are opened. Others could wait, or go on, for ever."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_REGULAR = "not a regular file but a folder, pipe or device"


def open_regular(path: str | bytes | os.PathLike[str], follow: bool = True) -> BufferedReader:
    """The file, opened to be read; links are followed, unless not to `follow`. Raises OSError, also where it is not a
    regular file.

    Looked at first, because to open some devices is to use them (a watchdog restarts the machine); and what was opened
    is looked at too, because it may have been put there since. O_NONBLOCK: a pipe without a writer does not wait.
    """
    _require_regular(os.stat(path, follow_symlinks=follow), path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
    try:
        _require_regular(os.fstat(descriptor), path)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | bytes | os.PathLike[str]) -> bytes:
    """All of such a file."""
    with open_regular(path) as file:
        return file.read()


def others_may_read(file: BufferedReader) -> bool:
    """Whether a file that is to be secret is not its owner's alone, who is this user or root; OpenSSH has it so with
    private keys."""
    status = os.fstat(file.fileno())
    return bool(status.st_mode & 0o077) or status.st_uid not in (0, os.geteuid())


def inode(file: int | str) -> tuple[int, int]:
    """Device and inode of a path or descriptor: what a file or folder is, whatever it is called."""
    status = os.stat(file)
    return status.st_dev, status.st_ino


def _require_regular(status: os.stat_result, path: str | bytes | os.PathLike[str]) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, NOT_REGULAR, os.fspath(path))


@contextmanager
def naming(file: str | Path) -> Iterator[None]:
    """That a disk is full, which `write` says without a name, is said of this file."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL and error.filename is None:
            error.filename = str(file)
        raise
