"""How images are named in tables, and where a name leads.

- Local files: plain absolute paths, exactly as on disk, because these read best and open everywhere. Two kinds of names
  would not survive that and are percent-encoded file:// URIs: names that are not UTF-8, and names that end like an
  image inside another file.
- Files elsewhere: percent-encoded URIs that `pyarrow.fs` opens, and URLs of web servers.
- Images inside another file: `<uri of that file>#<kind>=<key>`, such as `a.parquet#row=3` (counted from 0),
  `a.tar#member=b.jpg&at=512+20480`, `a.mp4#t=12.4` (muster.storage.photos.containers has the kinds).

What the user types is trusted, options and all. What stands in a row of a user's file is not: see `refusal`.
"""

import ipaddress
import os
import re
import socket
from functools import lru_cache
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_to_bytes

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from muster.storage.files import open_regular
from muster.storage.http.files import HttpFiles
from muster.storage.parquet_pages import Source
from muster.storage.retry import RetriedFile, retried

BUFFER = 1 << 20  # bytes read ahead of a column; by default (pre_buffer) pyarrow reads the column of a whole row group
MAX_FOOTER = 32 << 20  # bytes; of a Parquet file; they become 17 times as many in memory
REQUEST_ATTEMPTS = 3  # of one request to S3, with waits from 0 to 1 s, then to 2 s

_BUCKETS = ("s3", "gs", "gcs")  # schemes whose URIs name a bucket: without options they lead to its provider alone
_HOSTS = ("hdfs", "viewfs")  # schemes whose URIs name the host to connect to
_AZURE = ("abfs", "abfss")
_HTTP = ("http", "https")
READ = (*_BUCKETS, *_HOSTS, *_AZURE, *_HTTP)  # schemes; beside them what `fsspec` knows, as fsspec+<scheme>
_AZURES_OWN = (
    ".blob.core.windows.net",
    ".dfs.core.windows.net",
)  # never another host: it would receive the user's token
_AUTHORITY = re.compile(r"(?:[^@]*@)?([\w.-]*|\[[\da-fA-F:.]+\])(:\d+)?", re.ASCII)
_METADATA = [ipaddress.ip_address(each) for each in ("fd00:ec2::254", "100.100.100.200")]  # of AWS, Alibaba
_HOW = "name it, or a folder above it, on the command line"
_PRIVATE = "private:"  # before a source whose rows may name web servers at private addresses: no path begins so
_WEB = pafs.PyFileSystem(HttpFiles())

_FILE = re.compile(r"file:(?://(?:localhost)?(?=/)|(?!//))(/.*)", re.IGNORECASE | re.DOTALL)
_ROW = re.compile(r"(.*\.(?:parquet|parq|pq|arrow|lance)(?:\?[^#]*)?)#(row)=(\d+)", re.IGNORECASE | re.DOTALL)
_ITEM = re.compile(r"(.*\.\w{1,12}(?:\?[^#]*)?)#(t|member|item)=([^#]+)", re.DOTALL)
_PLACE = re.compile(r"(?:.*&at=)?(\d+(?:\.\d+)?)(?:\+\d+)?", re.DOTALL)  # of a row, a time, or a member


class Inside(NamedTuple):
    """Where an image lies that is no file of its own: in which, what the key is, and the key."""

    container: str
    kind: str
    key: str

    @property
    def place(self) -> float:
        """By which images of one container are read one after the other; 0 where the key does not tell."""
        match = _PLACE.fullmatch(self.key)
        return float(match[1]) if match else 0.0


def local_uri(path: str) -> str:
    """The name in tables of the local file at this absolute path."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "file://" + quote(os.fsencode(path))
    return "file://" + quote(path) if split_inside(path) else path


def local_path(uri: str) -> str | None:
    """The local path that a plain path or file: URI names; None for URIs of other filesystems and machines.

    `file:/path` is what Java, and with it Spark, writes; `file://localhost/path` is RFC 8089's. A relative name that
    begins with `file:` is one: only an absolute path makes it a URI.
    """
    if match := _FILE.fullmatch(uri):
        return os.fsdecode(b"/" + unquote_to_bytes(match[1]).lstrip(b"/"))
    return None if "://" in uri else uri


def unread(uri: str) -> str | None:
    """Why no file is read by a URI of this kind, wherever it stands; None where one may be."""
    scheme = _connection(uri)[0]
    if not scheme or scheme in READ or scheme.startswith("fsspec+"):
        return None
    if scheme.lower() == "file":
        return "file:// with the name of another machine: name its files by the paths that they have on this one"
    known = ", ".join(f"{each}://" for each in READ)
    return f"{scheme}:// is not read: download the photos and name the files (local paths, {known})"


def is_http(uri: str) -> bool:
    return uri[:8].lower().startswith(("http://", "https://"))


def host_of(uri: str) -> str:
    """The name of the host that the URL of a web server names, without user and port."""
    authority = _connection(uri)[1].rpartition("@")[2]
    return authority if authority.endswith("]") else re.sub(r":\d*$", "", authority)


def path_of(uri: str) -> str:
    """Its local path, or the URI without options and percent signs: names in it are as on its file system."""
    path = local_path(uri)
    return unquote(uri.partition("?")[0]) if path is None else path


def inside_uri(container: str, kind: str, key: str | int) -> str:
    return f"{container}#{kind}={key}"


def split_inside(uri: str) -> Inside | None:
    """None where the image is a file of its own."""
    match = (_ROW.fullmatch(uri) or _ITEM.fullmatch(uri)) if "#" in uri else None
    return Inside(match[1], match[2], match[3]) if match else None


def container_of(uri: str) -> str:
    """The file that an image lies in; of one that is a file of its own, that."""
    inside = split_inside(uri)
    return inside.container if inside else uri


def folder_of(uri: str) -> str | None:
    """The name of the folder that an image lies in; None of one inside another file, or in no folder."""
    return None if split_inside(uri) else PurePosixPath(unquote(uri)).parent.name or None


def bucket_of(uri: str) -> str:
    """Scheme and bucket of a URI, without credentials and options: for messages, and to tell buckets apart."""
    scheme, _, rest = uri.partition("?")[0].partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2]}"


def place_of(uri: str) -> str:
    """The server or bucket that this URI leads to, as a URI; "" for local files. URIs of one place fail together."""
    scheme, host, options = _connection(uri)
    return f"{scheme}://{host}/{options}" if scheme else ""


def _connection(uri: str) -> tuple[str, str, str]:
    """Scheme, authority (user, host and port) and options, with their question mark; all "" for local files."""
    if local_path(uri) is not None:
        return "", "", ""
    location, question, query = container_of(uri).partition("?")
    scheme, _, rest = location.partition("://")
    if is_http(uri):  # what follows the question mark is of the file, and not of the connection
        return scheme.lower(), rest.partition("/")[0].lower(), ""
    return scheme, rest.partition("/")[0], question + query


def filesystem_of(uri: str) -> tuple[pafs.FileSystem, str]:
    """The filesystem of a URI, and the path on it. Raises OSError or pyarrow.ArrowException."""
    if is_http(uri):
        return _WEB, uri
    _, slash, path = uri.partition("?")[0].partition("://")[2].partition("/")
    fs, root = _connect_once(place_of(uri))
    return fs, root.rstrip("/") + slash + unquote(path)


def allowing_private(source: str) -> str:
    """A source, in tables, whose rows may name web servers at private addresses."""
    return _PRIVATE + source


def plain_source(source: str) -> tuple[str, bool]:
    """A source as it was named, and whether its rows may name web servers at private addresses."""
    return source.removeprefix(_PRIVATE), source.startswith(_PRIVATE)


def refusal(uri: str, source: str) -> str | None:
    """Why a URI that stands in a row may not be opened; None where it may. No connection is made to find out.

    `source`: what the user named, in which the row was found. Whoever writes a row must not choose where our
    credentials go, or have us ask what listens on this machine: so a row has the options of its source or none, and
    names a host of its own only where that is neither this machine nor a metadata service. A web server gets no
    credentials; where it may lie, muster.storage.http sees to when it is asked.
    """
    if local_path(uri) is not None:
        return None
    if (reason := unread(uri)) is not None:
        return reason
    if is_http(uri):
        return None
    scheme, host, options = _connection(uri)
    known_scheme, known_host, known_options = _connection(plain_source(source)[0])
    if options and (scheme, options) != (known_scheme, known_options):
        return f"{bucket_of(uri)}: a URI in a row has the options of its source, or none: {_HOW}"
    if scheme in _BUCKETS or (scheme, host) == (known_scheme, known_host):
        return None
    if scheme not in _HOSTS + _AZURE:
        return f"{bucket_of(uri)}: a row may not name files of {scheme}: {_HOW}"
    return _host_refusal(scheme, host)


@lru_cache(maxsize=1024)  # a host is looked up once
def _host_refusal(scheme: str, authority: str) -> str | None:
    match = _AUTHORITY.fullmatch(authority)
    host, port = (match[1], match[2]) if match else ("", None)
    azure = scheme in _AZURE and (host.endswith(_AZURES_OWN) or not (port or set(host) & set(".:")))  # or a container
    if match and (azure or (scheme in _HOSTS and not any(map(_is_private_service, _addresses(host.strip("[].")))))):
        return None
    return f"{scheme}://{authority.rpartition('@')[2]}: a row may not name this host: {_HOW}"


def _addresses(host: str) -> list[str]:
    """What a name, or any way to write an address (127.1, 0x7f000001, 2130706433), stands for; empty if nothing."""
    try:
        return [str(info[4][0]) for info in socket.getaddrinfo(host, None)] if host else []
    except (OSError, UnicodeError):
        return []


def _is_private_service(address: str) -> bool:
    """Whether it is this machine's own, or one at which a cloud hands out credentials."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip in _METADATA


def connect(uri: str) -> tuple[pafs.FileSystem, str]:
    """`pyarrow.fs.FileSystem.from_uri`, but S3 waits longer and longer between attempts, and not for long.

    A client of from_uri() repeats a request that fails every 200 ms, up to 30 times, and thereby adds to the load that
    the bucket complains of; a connection that stalls, 3 s each time, holds it for a minute and a half. Neither can be
    set in a URI. Raises OSError or pyarrow.ArrowException.
    """
    scheme = uri.partition("://")[0]
    if scheme not in ("file", *_BUCKETS, *_HOSTS, *_AZURE) and not scheme.startswith("fsspec+"):
        known = ", ".join(f"{each}://" for each in (*_BUCKETS[:2], _AZURE[0], _HOSTS[0]))
        raise pa.ArrowInvalid(
            f"{scheme}:// is nothing that is opened here, as {known} and local paths are: download it, and name the"
            " folder"
        )
    try:
        fs, path = pafs.FileSystem.from_uri(uri)
    except (ImportError, ValueError) as error:  # of fsspec: the package of a protocol is missing, or there is none
        raise pa.ArrowInvalid(str(error)) from None
    if fs.type_name == "s3":
        options = fs.__reduce__()[1][0]  # as pickle makes a copy: the arguments, by name
        fs = pafs.S3FileSystem(**options, retry_strategy=pafs.AwsStandardS3RetryStrategy(REQUEST_ATTEMPTS))
    return fs, path


_connect_once = lru_cache(maxsize=64)(connect)  # a client per bucket, not per file


def exists(uri: str) -> bool:
    """Whether the file is there; of an image inside another, that one.

    Raises OSError or MusterError where it cannot tell.
    """
    uri = container_of(uri)
    if (path := local_path(uri)) is not None:
        return os.path.exists(path)
    fs, path = filesystem_of(uri)
    return bool(retried(f"look at {uri}", lambda: fs.get_file_info(path)).type != pafs.FileType.NotFound)


def open_parquet(uri: str) -> tuple[pq.ParquetFile, Source]:
    """Open for reading in bounded memory, and the file below. Raises OSError, ArrowException or UnreachableError; so
    may every read."""
    if (path := local_path(uri)) is not None:
        with open_regular(path) as opened:  # by its number: Arrow would open a pipe, and reads Python's files slower
            return parquet_file(pa.OSFile(f"/dev/fd/{opened.fileno()}"))
    fs, path = filesystem_of(uri)
    return parquet_file(RetriedFile(fs, path))


def parquet_file(source: Source) -> tuple[pq.ParquetFile, Source]:
    """Raises ArrowInvalid where what describes the file would take too much memory."""
    size = source.seek(0, os.SEEK_END)
    source.seek(max(size - 8, 0))
    footer = int.from_bytes(source.read(4), "little")
    if footer > MAX_FOOTER:
        raise pa.ArrowInvalid(f"its footer takes {footer >> 20} MiB (limit {MAX_FOOTER >> 20})")
    # Times of 96 bits, as Spark writes them, are in microseconds: as nanoseconds the year 9999 would be 1816.
    return pq.ParquetFile(source, buffer_size=BUFFER, pre_buffer=False, coerce_int96_timestamp_unit="us"), source
