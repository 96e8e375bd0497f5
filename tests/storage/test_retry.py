"""Which errors of a bucket get another attempt, how many, and after how long."""

import errno
import io
import os
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem

from muster.errors import MusterError, UnreachableError
from muster.storage import retry
from muster.storage.retry import RetriedFile, may_pass, retried

# What pyarrow 26 raised over an S3 server that was made to do these things.
THROTTLED = OSError(
    "When initiating multiple part upload for key 'b' in bucket 'bucket': AWS Error SLOW_DOWN during"
    " CreateMultipartUpload operation: Please reduce your request rate."
)
THROTTLED_LOOK = OSError(
    "When reading information for key 'x' in bucket 'bucket': AWS Error UNKNOWN (HTTP status 503) during HeadObject"
    " operation: No response body."
)
UNAVAILABLE = OSError("AWS Error SERVICE_UNAVAILABLE during GetObject operation: ")
DROPPED = OSError(
    "AWS Error NETWORK_CONNECTION during GetObject operation: curlCode: 18, Transferred a partial file; Details: end of"
    " response with 150000 bytes missing"
)
NO_BUCKET = OSError(
    "When listing objects under key 'nope/' in bucket 'nobucket': AWS Error NO_SUCH_BUCKET during ListObjectsV2"
    " operation: The specified bucket does not exist"
)
DENIED = OSError(
    "When reading information for key 'timeout.jpg' in bucket 'bucket': AWS Error ACCESS_DENIED during HeadObject"
    " operation: No response body."
)
WRONG_KEY = OSError(
    "When listing objects under key '' in bucket 'bucket': AWS Error INVALID_ACCESS_KEY_ID during ListObjectsV2"
    " operation: The AWS Access Key Id you provided does not exist in our records."
)
BAD_REQUEST = OSError("AWS Error UNKNOWN (HTTP status 400) during HeadObject operation: No response body.")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time passes only by waiting; how long each wait was, in seconds."""
    waits: list[float] = []
    monkeypatch.setattr(retry.time, "sleep", waits.append)
    monkeypatch.setattr(retry.time, "monotonic", lambda: sum(waits))
    return waits


def failing(error: Exception, times: int, value: str = "done") -> Callable[[], str]:
    """Raises the error so many times, then returns."""
    left = iter(range(times))

    def attempt() -> str:
        if next(left, None) is not None:
            raise error
        return value

    return attempt


@pytest.mark.parametrize(
    "error",
    [THROTTLED, THROTTLED_LOOK, UNAVAILABLE, DROPPED, ConnectionResetError(errno.ECONNRESET, "x"), TimeoutError()],
)
def test_errors_that_may_pass(waits: list[float], error: OSError) -> None:
    assert may_pass(error)
    assert retried("read x", failing(error, 2)) == "done"
    assert len(waits) == 2


@pytest.mark.parametrize(
    "error",
    [
        NO_BUCKET,
        BAD_REQUEST,
        FileNotFoundError("connection.jpg"),
        IsADirectoryError(errno.EISDIR, "x"),
        OSError(errno.ENOSPC, "timeout"),
        OSError("Not a regular file: 'x'"),
        pa.ArrowInvalid("x"),
    ],
)
def test_other_errors_come_at_once(waits: list[float], error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        retried("read x", failing(error, 1))
    assert caught.value is error
    assert not waits


def test_access_denied_is_a_permission_error(waits: list[float]) -> None:
    with pytest.raises(PermissionError, match="AWS_ACCESS_KEY_ID") as caught:
        retried("read x", failing(DENIED, 1))
    assert (caught.value.errno, waits) == (errno.EACCES, [])


def test_refused_credentials_end_it_and_stay_secret(waits: list[float]) -> None:
    with pytest.raises(UnreachableError) as caught:
        retried("read s3://key:secret@bucket/a@b.jpg", failing(WRONG_KEY, 1))
    assert "cannot read s3://bucket/a@b.jpg: INVALID_ACCESS_KEY_ID" in str(caught.value)
    assert "AWS_SECRET_ACCESS_KEY" in str(caught.value)
    assert not waits


def test_waits_grow_and_differ(waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[float, float]] = []
    draw = retry.random.uniform

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return draw(low, high)

    monkeypatch.setattr(retry.random, "uniform", uniform)
    assert retried("read x", failing(DROPPED, retry.ATTEMPTS - 1)) == "done"
    assert drawn == [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16)]
    first = list(waits)
    waits.clear()
    retried("read x", failing(DROPPED, retry.ATTEMPTS - 1))
    assert waits != first


def test_attempts_are_bounded(waits: list[float]) -> None:
    with pytest.raises(
        MusterError, match=r"^cannot read x: AWS Error NETWORK_CONNECTION.* \(6 attempts in \d+ s\)$"
    ) as caught:
        retried("read x", failing(DROPPED, 100))
    assert caught.value.__cause__ is DROPPED
    assert len(waits) == retry.ATTEMPTS - 1


def test_time_is_bounded(waits: list[float]) -> None:
    """Whatever each attempt takes, none begins after a minute."""

    def slow() -> None:
        waits.append(25)
        raise DROPPED

    with pytest.raises(UnreachableError, match="attempts in"):
        retried("read x", slow)
    assert 2 <= waits.count(25) <= 3


class FlakyFile(MemoryFile):  # type: ignore[misc]
    """Every second read of it breaks off."""

    reads = 0

    def read(self, size: int = -1) -> bytes:
        self.reads += 1
        if self.reads % 2:
            raise ConnectionResetError(errno.ECONNRESET, "reset")
        return bytes(super().read(size))


class FlakyFiles(MemoryFileSystem):  # type: ignore[misc]
    cachable = False

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        return FlakyFile(self, path, super().open(path, "rb").getvalue()) if mode == "rb" else super().open(path, mode)


@pytest.fixture
def flaky() -> pafs.FileSystem:
    return pafs.PyFileSystem(pafs.FSSpecHandler(FlakyFiles()))


def test_every_read_of_a_file_has_its_own_attempts(waits: list[float], flaky: pafs.FileSystem) -> None:
    data = os.urandom(1000)
    with flaky.open_output_stream("/retry-1") as stream:
        stream.write(data)
    file = RetriedFile(flaky, "/retry-1")
    assert file.read(10) + file.read(20) == data[:30]
    assert (file.seek(-10, io.SEEK_END), file.tell(), file.read()) == (990, 990, data[990:])
    assert (file.seek(5), file.seek(5, io.SEEK_CUR), file.read(3)) == (5, 10, data[10:13])
    assert len(waits) == 4
    file.close()
    assert file.closed


def test_parquet_in_a_file_that_breaks_off(waits: list[float], flaky: pafs.FileSystem) -> None:
    rows = pa.table({"x": list(range(10_000))})
    pq.write_table(rows, "/retry-2", filesystem=flaky, row_group_size=1000)
    with pq.ParquetFile(RetriedFile(flaky, "/retry-2"), pre_buffer=False) as parquet:
        assert parquet.read().equals(rows)
    assert len(waits) > 10


def test_parquet_in_a_file_that_stays_away(
    waits: list[float], flaky: pafs.FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason passes through the Parquet reader."""
    pq.write_table(pa.table({"x": [1]}), "/retry-3", filesystem=flaky)
    monkeypatch.setattr(retry, "ATTEMPTS", 1)
    with pytest.raises(UnreachableError, match=r"cannot read /retry-3: .*reset"):
        pq.ParquetFile(RetriedFile(flaky, "/retry-3"))
