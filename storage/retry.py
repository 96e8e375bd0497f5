"""Retries for buckets: after throttling, a dropped connection or a stall, for about a minute, with growing pauses.

pyarrow asks three times within one request (storage/uris.py); this is for whole operations, and for when that was not
enough. What it raises in the end, UnreachableError, is no fault of one image: the shard fails with it, and runs again.
"""

import errno
import io
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

import pyarrow.fs as pafs

from muster.errors import UnreachableError

T = TypeVar("T")

ATTEMPTS = 6
PATIENCE = 60.0  # seconds after which no further attempt begins
FIRST, LONGEST = 1.0, 16.0  # seconds: the wait is drawn from 0 to FIRST, then to twice that, …, to LONGEST

HOW_TO_SIGN_IN = (
    "check the credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or the role of this machine"
)
_AWS = re.compile(r"AWS Error (\w+)(?: \(HTTP status (\d+)\))?")  # S3 errors have no errno, but their code in the text
_AWS_PASSING = re.compile(
    "SLOW_DOWN|THROTTLING|SERVICE_UNAVAILABLE|INTERNAL_FAILURE|REQUEST_TIMEOUT|NETWORK_CONNECTION"
)
_AWS_SIGN_IN = re.compile("ACCESS_KEY|SIGNATURE|TOKEN|UNRECOGNIZED_CLIENT|REQUEST_EXPIRED|TIME_TOO_SKEWED")
_PASSING = re.compile("unavailable|busy|throttl|too many requests|time.?out|timed out|connection", re.IGNORECASE)
_PASSING_STATUS = re.compile("408|429|5..")


def retried(what: str, attempt: Callable[[], T]) -> T:
    """The value of `attempt`, an operation on a bucket that may be repeated.

    `what`: "read s3://…", for messages. Raises UnreachableError where an error that may pass did not, or where the
    credentials are refused; PermissionError where access to this one is denied; any other error as it came, at once.
    """
    what = re.sub(r"://[^/?]*@", "://", what)  # credentials
    began, wait = time.monotonic(), FIRST
    for number in range(1, ATTEMPTS + 1):
        try:
            return attempt()
        except OSError as error:
            _raise_final(what, error)
            delay = random.uniform(0, wait)  # full jitter: a thousand workers must not come back together
            took = time.monotonic() - began
            if number == ATTEMPTS or took + delay > PATIENCE:
                raise UnreachableError(f"cannot {what}: {error} ({number} attempts in {took:.0f} s)") from error
        time.sleep(delay)
        wait = min(2 * wait, LONGEST)
    raise AssertionError("the last attempt returns or raises")


def _raise_final(what: str, error: OSError) -> None:
    """Raise errors that another attempt would not change; return for those that may pass."""
    aws = _AWS.search(str(error))
    if aws and aws[1] == "ACCESS_DENIED":
        raise PermissionError(errno.EACCES, f"access denied: {HOW_TO_SIGN_IN}") from error
    if aws and _AWS_SIGN_IN.search(aws[1]):
        raise UnreachableError(f"cannot {what}: {aws[1]}: {HOW_TO_SIGN_IN}") from error
    if not may_pass(error):
        raise error


def may_pass(error: OSError) -> bool:
    """Whether the same operation may succeed later. False where that is not known."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if error.errno is not None or type(error) is not OSError:
        return False
    if aws := _AWS.search(str(error)):
        return bool(_AWS_PASSING.fullmatch(aws[1]) or _PASSING_STATUS.fullmatch(aws[2] or ""))
    return bool(_PASSING.search(str(error)))


class RetriedFile(io.RawIOBase):
    """A file of a bucket for random reads, each of which is tried again by itself."""

    def __init__(self, fs: pafs.FileSystem, path: str) -> None:
        super().__init__()
        self._what = f"read {path}"
        self._file = retried(self._what, lambda: fs.open_input_file(path))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._file.size())[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        wanted = self._file.size() - self._at if size is None or size < 0 else size
        data: bytes = retried(self._what, lambda: self._file.read_at(wanted, self._at))
        self._at += len(data)
        return data

    def close(self) -> None:
        self._file.close()
        super().close()
