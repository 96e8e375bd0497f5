"""A lock between processes, by a file."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from muster.storage.new_files import no_link


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold `path`, which is made where it is not there, and opened through no link. One process holds it at a time.

    The system lets go when the holder dies, so a kill leaves nothing to clean up. Raises BlockingIOError where another
    process holds it and `wait` is False, OSError where it cannot be opened.
    """
    with open(path, "ab", opener=no_link) as file:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
