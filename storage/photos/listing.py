"""Files below a folder, glob or bucket prefix, at local paths and on any filesystem that `pyarrow.fs` opens."""

import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.fs as pafs

from muster.errors import InputError, MissingError, MusterError, UnreachableError
from muster.storage.files import inode, open_regular
from muster.storage.library import LibraryFiles
from muster.storage.retry import retried
from muster.storage.uris import filesystem_of, local_path, local_uri, place_of

MUSTERS_OWN = {  # a folder that holds a file of this name and beginning was made by Muster: its pictures are copies
    "library.json": rb'\{\s*"format": \d+,\s*"muster":',
    "muster-pages.json": rb'\{\s*"note": "Made by muster people',
}
SKIPPED_FOLDERS = ("@eaDir",)  # thumbnails that Synology keeps beside photos; .thumbnails is hidden, as are others


class File(NamedTuple):
    """`uri`: its name in tables. `modified`: microseconds since 1970, UTC. None: not known, or a broken link."""

    uri: str
    size: int | None
    modified: int | None


@dataclass(frozen=True)
class Place:
    """Where a source lies. `source`: its name in tables. `uri`, `path`: its folder or file, in tables and on `fs`."""

    source: str
    fs: pafs.FileSystem
    uri: str
    path: str
    pattern: str = ""  # of a glob: what follows the folder
    file: File | None = None  # if it is one file


def locate(source: str) -> Place:
    """The place that a user names. Raises MissingError where nothing is there, InputError where it cannot be
    read, MusterError where it cannot be reached."""
    path = local_path(source)
    return _locate_remote(source) if path is None else _locate_local(source, path)


def covers(source: str) -> Callable[[str], bool]:
    """Whether a URI is the file, or lies in the folder, bucket prefix or Parquet file, or fits the glob, of this name.

    By their names alone: what a scan has found may be gone by now. Options of a bucket need not be named.
    """
    path = local_path(source)
    if path is None:
        url, _, options = source.partition("?")
        folder, pattern = _split_glob(url, "*[")
    else:
        path, options = os.path.abspath(os.path.expanduser(path)), ""
        folder, pattern = (path, "") if os.path.lexists(path) else _split_glob(path, "*?[")
    home = _on_its_filesystem(folder).rstrip("/")
    matches = _glob(pattern).fullmatch if pattern else bool

    def covered(uri: str) -> bool:
        if options and uri.partition("?")[2].partition("#")[0] != options:
            return False
        name = _on_its_filesystem(uri)
        if name.startswith(f"{home}/"):
            return bool(matches(name[len(home) + 1 :]))
        return not pattern and (name == home or name.startswith(f"{home}#row="))

    return covered


def _on_its_filesystem(uri: str) -> str:
    """Its path, or its URI without options and percent signs; and the row of a Parquet file."""
    path = local_path(uri)
    if path is not None:
        return path
    parquet, _, row = uri.partition("#row=")
    return unquote(parquet.partition("?")[0]) + (f"#row={row}" if row else "")


def look_up(uris: Sequence[str]) -> dict[str, tuple[int | None, int | None]]:
    """Size and time, as a `File` has them, of files in buckets; None of local ones, and of what cannot be looked at.

    A bucket that does not answer is asked once: each image of it will have its error row.
    """
    away: set[str] = set()
    with ThreadPoolExecutor(16) as pool:
        return dict(zip(uris, pool.map(partial(_stamp, away), uris), strict=True))


def _stamp(away: set[str], uri: str) -> tuple[int | None, int | None]:
    place = place_of(uri)
    if not place or place in away:  # local files are looked at when they are scanned
        return None, None
    try:
        file = locate(uri).file
    except MusterError as error:  # the image gets an error row when it is read
        away |= {place} if isinstance(error, UnreachableError) else set()
        return None, None
    return (file.size, file.modified) if file else (None, None)


def list_files(
    place: Place, library: LibraryFiles | None, unreadable: list[str], outside: list[str], follow: bool = False
) -> list[File]:
    """The files of a place in order of their URIs; hidden ones and those of libraries and people pages are left out.

    Links within the place are followed. Those that lead out of it are added to `outside`, and followed only where
    `follow` says so: whoever may write a folder must not choose which other photos we look at. URIs of folders below
    that cannot be listed are added to `unreadable`; MusterError where the place itself cannot. `library`: which may lie
    there; None where there is none yet.
    """
    if place.file:
        return [place.file]
    depth = None if not place.pattern or "**" in place.pattern else place.pattern.count("/")
    local = isinstance(place.fs, pafs.LocalFileSystem)
    left_out = None if follow else outside
    files = _walk(place.path, depth, library, unreadable, left_out) if local else _list_remote(place, depth, library)
    matches = _glob(place.pattern).fullmatch if place.pattern else bool
    start = len(place.path.rstrip("/")) + 1
    return sorted(file for path, file in files if matches(path[start:]))


# ---- places ----------------------------------------------------------------------------------------------------------


def _locate_local(source: str, path: str) -> Place:
    path = os.path.abspath(os.path.expanduser(path))
    folder, pattern = (path, "") if os.path.lexists(path) else _split_glob(path, "*?[")
    try:
        status = os.stat(folder)
    except OSError as error:
        kind = MissingError if isinstance(error, FileNotFoundError) else InputError
        raise kind(f"cannot read {source}: {error.strerror}") from None
    place = Place(
        source=local_uri(path), fs=pafs.LocalFileSystem(), uri=local_uri(folder), path=folder, pattern=pattern
    )
    if stat.S_ISDIR(status.st_mode):
        return place
    if pattern or not stat.S_ISREG(status.st_mode):
        raise InputError(f"cannot read {source}: it is neither a file nor a folder")
    return replace(place, file=_local_file(path, status))


def _locate_remote(source: str) -> Place:
    url, question, query = source.rstrip("/").partition("?")
    folder, pattern = _split_glob(url, "*[")
    folder += question + query
    try:
        fs, path = filesystem_of(folder)
        info = retried(f"read {source}", lambda: fs.get_file_info(path))
    except pa.ArrowInvalid as error:
        raise InputError(f"cannot read {source}: {error}") from None
    except OSError as error:
        raise MusterError(f"cannot read {source}: {error.strerror or error}") from None
    if info.type == pafs.FileType.NotFound:
        raise MissingError(f"cannot read {source}: nothing is there")
    place = Place(source=source.rstrip("/"), fs=fs, uri=folder, path=path, pattern=pattern)
    return replace(place, file=_remote_file(place, info)) if info.is_file else place


def _split_glob(path: str, wildcards: str) -> tuple[str, str]:
    """The folder before the first part with a wildcard, and the rest."""
    match = re.search(rf"/[^/]*[{re.escape(wildcards)}].*", path, re.DOTALL)
    return (path[: match.start()] or "/", match[0][1:]) if match else (path, "")


def _glob(pattern: str) -> re.Pattern[str]:
    """A shell glob as a regular expression over relative paths; `**` stands for any number of folders."""
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    tokens = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]/]+\])", pattern)
    return re.compile("".join(known.get(t) or _character_class(t) or re.escape(t) for t in tokens), re.DOTALL)


def _character_class(token: str) -> str:
    if not (token.startswith("[") and token.endswith("]")):
        return ""
    inner = token[1:-1].replace("\\", "\\\\")
    return f"[^{inner[1:]}]" if inner[0] in "!^" else f"[{inner}]"


# ---- listings --------------------------------------------------------------------------------------------------------


def _walk(
    root: str, depth: int | None, library: LibraryFiles | None, unreadable: list[str], outside: list[str] | None
) -> Iterator[tuple[str, File]]:
    """Path and file for every file below a local folder, at most `depth` folders down; each folder once.

    `outside`: links that lead out are added to it, and left out; None: they are followed.
    """
    home = os.path.realpath(root)
    seen = {inode(library.path)} if library and library.local else set()
    todo = deque([(root, 0)])
    while todo:
        folder, level = todo.popleft()
        try:
            if (here := inode(folder)) in seen:
                continue
            seen.add(here)
            with os.scandir(folder) as listing:
                entries = sorted((e for e in listing if not _hidden(e.name)), key=lambda entry: entry.name)
            if any(_is_marker(e.name, e.path) for e in entries if e.name in MUSTERS_OWN and e.is_file()):
                continue
        except OSError as error:
            if folder == root:
                raise MusterError(f"cannot list {root}: {error.strerror}") from None
            unreadable.append(local_uri(folder))
            continue
        for entry in entries:
            if outside is not None and entry.is_symlink() and not _below(entry.path, home):
                outside.append(local_uri(entry.path))
                continue
            status = _status(entry)
            if status is None:
                if entry.is_symlink():  # a broken link becomes a row, so that the user learns of it
                    yield entry.path, File(local_uri(entry.path), None, None)
            elif stat.S_ISREG(status.st_mode):  # not pipes and devices
                yield entry.path, _local_file(entry.path, status)
            elif stat.S_ISDIR(status.st_mode) and (depth is None or level < depth):
                # Linked folders last: what is reached by a real path and by a link keeps the real path.
                (todo.append if entry.is_symlink() else todo.appendleft)((entry.path, level + 1))


def _is_marker(name: str, path: str, fs: pafs.FileSystem | None = None) -> bool:
    """Whether a file with a name in MUSTERS_OWN also begins as Muster's does. `fs`: None for local files."""

    def begins() -> bytes:
        with fs.open_input_stream(path) if fs else open_regular(path) as stream:
            return bytes(stream.read(128))

    return bool(re.match(MUSTERS_OWN[name], retried(f"read {path}", begins) if fs else begins()))


def _below(link: str, home: str) -> bool:
    """Whether what a link leads to, there or not, is the folder `home` or lies in it."""
    return os.path.join(os.path.realpath(link), "").startswith(os.path.join(home, ""))


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat()
    except OSError:
        return None


def _local_file(path: str, status: os.stat_result) -> File:
    return File(local_uri(path), status.st_size, status.st_mtime_ns // 1000)


def _list_remote(place: Place, depth: int | None, library: LibraryFiles | None) -> Iterator[tuple[str, File]]:
    try:
        selector = pafs.FileSelector(place.path, recursive=depth != 0)
        infos = retried(f"list {place.source}", lambda: place.fs.get_file_info(selector))
        markers = [info for info in infos if info.is_file and info.base_name in MUSTERS_OWN]
        own = [info.path[: -len(info.base_name)] for info in markers if _is_marker(info.base_name, info.path, place.fs)]
    except OSError as error:
        raise MusterError(f"cannot list {place.source}: {error.strerror or error}") from None
    if library and library.fs.type_name == place.fs.type_name:
        own.append(library.path + "/")
    for info in infos:
        hidden = any(map(_hidden, info.path[len(place.path) :].split("/")))
        if info.is_file and not hidden and not info.path.startswith(tuple(own)):
            yield info.path, _remote_file(place, info)


def _remote_file(place: Place, info: pafs.FileInfo) -> File:
    folder, question, query = place.uri.partition("?")
    uri = folder + quote(info.path[len(place.path) :]) + question + query
    return File(uri, info.size, None if info.mtime_ns is None else info.mtime_ns // 1000)


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in SKIPPED_FOLDERS
