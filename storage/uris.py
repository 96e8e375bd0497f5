"""How images are named in tables, and where a name leads.

- Local files: plain absolute paths, exactly as on disk, because these read best and open everywhere. Two kinds of names
  would not survive that and are percent-encoded file:// URIs: names that are not UTF-8, and names that end like an
  image inside a Parquet file.
- Files elsewhere: percent-encoded URIs that `pyarrow.fs` opens.
- Images inside a Parquet file: `<uri of that file>#row=<number, from 0>`.
"""

import os
import re
from functools import lru_cache
from urllib.parse import quote, unquote, unquote_to_bytes

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from storage.retry import RetriedFile, retried

BUFFER = 1 << 20  # bytes read ahead of a column; by default (pre_buffer) pyarrow reads the column of a whole row group
REQUEST_ATTEMPTS = 3  # of one request to S3, with waits from 0 to 1 s, then to 2 s

_INLINE = re.compile(r"(.*\.parquet(?:\?[^#]*)?)#row=(\d+)", re.IGNORECASE | re.DOTALL)


def local_uri(path: str) -> str:
    """The name in tables of the local file at this absolute path."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "file://" + quote(os.fsencode(path))
    return "file://" + quote(path) if split_inline(path) else path


def local_path(uri: str) -> str | None:
    """The local path that a plain path or file:// URI names; None for URIs of other filesystems."""
    if uri.startswith("file://"):
        return os.fsdecode(unquote_to_bytes(uri.removeprefix("file://")))
    return None if "://" in uri else uri


def inline_uri(parquet: str, row: int) -> str:
    return f"{parquet}#row={row}"


def split_inline(uri: str) -> tuple[str, int] | None:
    """The Parquet file and row of an inline image; None for any other URI."""
    match = _INLINE.fullmatch(uri)
    return (match[1], int(match[2])) if match else None


def bucket_of(uri: str) -> str:
    """Scheme and bucket of a URI, without credentials and options: for messages, and to tell buckets apart."""
    scheme, _, rest = uri.partition("?")[0].partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"


def filesystem_of(uri: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of a URI, and the path on it. Raises OSError or pyarrow.ArrowException."""
    location, question, query = uri.partition("?")
    scheme, _, rest = location.partition("://")
    host, slash, path = rest.partition("/")
    fs, root = _connect_once(f"{scheme}://{host}/{question}{query}")
    return fs, root.rstrip("/") + slash + unquote(path)


def connect(uri: str) -> tuple[pafs.FileSystem, str]:
    """`pyarrow.fs.FileSystem.from_uri`, but S3 waits longer and longer between attempts, and not for long.

    A client of from_uri() repeats a request that fails every 200 ms, up to 30 times, and thereby adds to the load that
    the bucket complains of; a connection that stalls, 3 s each time, holds it for a minute and a half. Neither can be
    set in a URI. Raises OSError or pyarrow.ArrowException.
    """
    fs, path = pafs.FileSystem.from_uri(uri)
    if fs.type_name == "s3":
        options = fs.__reduce__()[1][0]  # as pickle makes a copy: the arguments, by name
        fs = pafs.S3FileSystem(**options, retry_strategy=pafs.AwsStandardS3RetryStrategy(REQUEST_ATTEMPTS))
    return fs, path


_connect_once = lru_cache(maxsize=64)(connect)  # a client per bucket, not per file


def exists(uri: str) -> bool:
    """Whether the file is there; for an inline image, its Parquet file.

    Raises OSError or MusterError where it cannot tell.
    """
    parquet = split_inline(uri)
    uri = parquet[0] if parquet else uri
    if (path := local_path(uri)) is not None:
        return os.path.exists(path)
    fs, path = filesystem_of(uri)
    return bool(retried(f"look at {uri}", lambda: fs.get_file_info(path)).type != pafs.FileType.NotFound)


def open_parquet(uri: str) -> pq.ParquetFile:
    """Open for reading in bounded memory. Raises OSError, ArrowException or UnreachableError; so may every read."""
    if (path := local_path(uri)) is not None:
        return pq.ParquetFile(pa.OSFile(os.fsencode(path)), buffer_size=BUFFER, pre_buffer=False)
    fs, path = filesystem_of(uri)
    return pq.ParquetFile(RetriedFile(fs, path), buffer_size=BUFFER, pre_buffer=False)
