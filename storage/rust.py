"""Libraries that are written in Rust."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def no_panic() -> Iterator[None]:
    """A panic of Rust, which is no Exception, becomes a RuntimeError: it stops what was asked for, and no program."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise RuntimeError(str(error)) from None
