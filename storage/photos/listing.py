"""Files below a folder, glob or bucket prefix, at local paths and on any filesystem that `pyarrow.fs` opens."""

import os
import re
import stat
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple
from urllib.parse import quote

import pyarrow as pa
import pyarrow.fs as pafs

from muster.errors import InputError, MissingError, MusterError, UnreachableError
from muster.storage.files import inode, open_regular
from muster.storage.http import fetch
from muster.storage.library import LibraryFiles
from muster.storage.photos import left_out
from muster.storage.photos.first_bytes import HEAD, IMAGE_SUFFIXES, LANCE, suffix_of
from muster.storage.photos.left_out import IGNORE, NOMEDIA
from muster.storage.retry import retried
from muster.storage.uris import (
    container_of,
    filesystem_of,
    inside_uri,
    is_http,
    local_path,
    local_uri,
    path_of,
    place_of,
    split_inside,
    unread,
)

MUSTERS_OWN = {  # a folder that holds a file of this name and beginning was made by Muster: its pictures are copies
    "library.json": rb'\{\s*"format": \d+,\s*"muster":',
    "muster-pages.json": rb'\{\s*"note": "Made by muster people',
}


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
    if not source.strip():
        raise InputError("a source is an empty text: name a folder, file, glob or Parquet file")
    path = local_path(source)
    if path is not None:
        return _locate_local(source, path)
    return _locate_on_the_web(source) if is_http(source) else _locate_remote(source)


def covers(source: str) -> Callable[[str], bool]:
    """Whether a URI is the file, or lies in the folder, bucket prefix or Parquet file, or fits the glob, of this name.

    By their names alone: what a scan has found may be gone by now. Options of a bucket need not be named.
    """
    if is_http(source):
        return lambda uri: source in (uri, container_of(uri)) or uri.startswith(f"{source.rstrip('/')}/")
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
        name = path_of(container_of(uri))
        if name.startswith(f"{home}/"):
            return bool(matches(name[len(home) + 1 :]))
        return not pattern and home in (name, _on_its_filesystem(uri))

    return covered


def _on_its_filesystem(uri: str) -> str:
    """As `path_of`, with where it lies inside another file."""
    inside = None if local_path(uri) is not None else split_inside(uri)
    return inside_uri(path_of(inside.container), inside.kind, inside.key) if inside else path_of(uri)


def head_of(place: Place) -> bytes:
    """The first bytes of a place that is one file. Raises OSError, or UnreachableError where its bucket is."""

    def begins() -> bytes:
        with place.fs.open_input_stream(place.path) as stream:
            return bytes(stream.read(HEAD))

    if isinstance(place.fs, pafs.LocalFileSystem):
        with open_regular(place.path) as file:
            return file.read(HEAD)
    if is_http(place.uri):
        return fetch.first(place.uri, HEAD)
    return retried(f"read {place.source}", begins)


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


@dataclass
class Listing:
    """What a place holds. `files`: in order of their URIs. `unreadable`: URIs of folders below that cannot be listed.
    `outside`: links that lead out of it, and were not followed. `left_out`: kind → number of files and folders, as
    muster.storage.photos.left_out has them; what is in such a folder is not looked at."""

    files: list[File] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def list_files(
    place: Place, library: LibraryFiles | None, follow: bool = False, exclude: Iterable[str] = ()
) -> Listing:
    """What a place holds, but for libraries and people pages, and what `left_out` names.

    Links within the place are followed. Those that lead out of it are followed only where `follow` says so: whoever may
    write a folder must not choose which other photos we look at. MusterError where the place cannot be listed.
    `library`: which may lie there; None where there is none yet. `exclude`: patterns of the user.
    """
    listing, root = Listing(), place.path.rstrip("/")
    rules = left_out.Rules(root.rpartition("/")[2], place.pattern.split("/"), excluded=left_out.excluded(exclude, root))
    if rules.excluded:
        listing.left_out[left_out.EXCLUDED] = 0  # so that a pattern that fits nothing is seen
    if place.file:
        listing.files = [place.file]
        return listing
    depth = None if not place.pattern or "**" in place.pattern else place.pattern.count("/")
    local = isinstance(place.fs, pafs.LocalFileSystem)
    walk = (
        _walk(place.path, depth, library, rules, listing, follow)
        if local
        else _list_remote(place, depth, library, rules, listing)
    )
    matches = _glob(place.pattern).fullmatch if place.pattern else bool
    listing.files = sorted(file for path, file in walk if matches(path[len(root) + 1 :]))
    return listing


# ---- places ----------------------------------------------------------------------------------------------------------


def _locate_local(source: str, path: str) -> Place:
    path = os.path.abspath(os.path.expanduser(path))
    folder, pattern = (path, "") if os.path.lexists(path) else _split_glob(path, "*?[")
    try:
        status = os.stat(folder)
    except (OSError, ValueError) as error:  # ValueError: a null byte
        kind = MissingError if isinstance(error, FileNotFoundError) else InputError
        reason = getattr(error, "strerror", None) or error
        raise kind(f"cannot read {source}: {reason}{_advice(source)}") from None
    place = Place(
        source=local_uri(path), fs=pafs.LocalFileSystem(), uri=local_uri(folder), path=folder, pattern=pattern
    )
    if stat.S_ISDIR(status.st_mode):
        return place if pattern else replace(place, file=_lance(folder))
    if pattern or not stat.S_ISREG(status.st_mode):
        raise InputError(f"cannot read {source}: it is neither a file nor a folder")
    return replace(place, file=_local_file(path, status))


def _locate_remote(source: str) -> Place:
    if (reason := unread(source)) is not None:
        raise InputError(f"cannot read {source}: {reason}")
    url, question, query = source.rstrip("/").partition("?")
    if "://" not in url:
        raise InputError(f"cannot read {source}: it names no bucket and no folder")
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


def _locate_on_the_web(source: str) -> Place:
    """One file: a server does not list others, and in a URL an asterisk is one."""
    uri = source.strip().partition("#")[0]
    fs, path = filesystem_of(uri)
    try:
        info = fs.get_file_info(path)
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror or error}") from None
    if info.type == pafs.FileType.NotFound:
        raise MissingError(f"cannot read {source}: nothing is there")
    file = File(uri, info.size, None if info.mtime_ns is None else info.mtime_ns // 1000)
    return Place(source=uri, fs=fs, uri=uri, path=path, file=file)


def _advice(source: str) -> str:
    """What else there is to say of a local path that cannot be looked at."""
    if re.match(r"[A-Za-z]:[\\/]|\\\\", source):
        return ". It is a path of a Windows machine: write it as this machine has it"
    return ". Nothing is read from standard input: name files" if source == "-" else ""


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
    root: str, depth: int | None, library: LibraryFiles | None, rules: left_out.Rules, listing: Listing, follow: bool
) -> Iterator[tuple[str, File]]:
    """Path and file for every file below a local folder, at most `depth` folders down; each folder once.

    What is not yielded is noted in `listing`.
    """
    home, start = os.path.realpath(root), len(root.rstrip("/")) + 1
    seen = {inode(library.path)} if library and library.local else set()
    todo = deque([(root, 0)])
    while todo:
        folder, level = todo.popleft()
        try:
            if (here := inode(folder)) in seen:
                continue
            seen.add(here)
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            if any(_is_marker(e.name, e.path) for e in entries if e.name in MUSTERS_OWN and e.is_file()):
                continue
        except OSError as error:
            if folder == root:
                raise MusterError(f"cannot list {root}: {error.strerror}") from None
            listing.unreadable.append(local_uri(folder))
            continue
        names = {entry.name: entry for entry in entries}
        if NOMEDIA in names and folder != root:
            listing.left_out[NOMEDIA] += 1
            continue
        if IGNORE in names:
            rules.lines[folder[start:]] = left_out.lines(_patterns(names[IGNORE]))
        for entry in entries:
            is_folder = _is_folder(entry)
            if is_folder and level == depth and not _lance(entry.path):
                continue
            if kind := rules.kind(entry.path[start:], is_folder):
                count_left_out(listing.left_out, kind, entry.name, is_folder)
                continue
            if not follow and entry.is_symlink() and not _below(entry.path, home):
                listing.outside.append(local_uri(entry.path))
                continue
            status = _status(entry)
            if status is None:
                if entry.is_symlink():  # a broken link becomes a row, so that the user learns of it
                    yield entry.path, File(local_uri(entry.path), None, None)
            elif stat.S_ISREG(status.st_mode):  # not pipes and devices
                yield entry.path, _local_file(entry.path, status)
            elif stat.S_ISDIR(status.st_mode):
                if data := _lance(entry.path):
                    yield entry.path, data
                    continue
                # Linked folders last: what is reached by a real path and by a link keeps the real path.
                (todo.append if entry.is_symlink() else todo.appendleft)((entry.path, level + 1))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _patterns(entry: os.DirEntry[str]) -> str:
    """The text of a .musterignore; empty where it is none that can be read. A link is not followed."""
    try:
        if entry.is_symlink():
            return ""
        with open_regular(entry.path) as file:
            return left_out.text_of(file.read(left_out.IGNORE_BYTES))
    except OSError:
        return ""


def count_left_out(counts: Counter[str], kind: str, name: str, folder: bool) -> None:
    """Of hidden files, photos: .DS_Store lies everywhere, and ._IMG_1.jpg beside every photo from a Mac."""
    if kind == left_out.HIDDEN and not folder and (name.startswith("._") or suffix_of(name) not in IMAGE_SUFFIXES):
        return
    counts[kind] += 1


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


def _lance(folder: str) -> File | None:
    """A folder that is a data set of Lance, as one file; it is known by the time of its latest version."""
    if suffix_of(folder) != LANCE:
        return None
    try:
        versions = os.stat(os.path.join(folder, "_versions"))
    except OSError:
        return None
    return File(local_uri(folder), None, versions.st_mtime_ns // 1000)


def _local_file(path: str, status: os.stat_result) -> File:
    return File(local_uri(path), status.st_size, status.st_mtime_ns // 1000)


def _list_remote(
    place: Place, depth: int | None, library: LibraryFiles | None, rules: left_out.Rules, listing: Listing
) -> Iterator[tuple[str, File]]:
    start = len(place.path.rstrip("/")) + 1
    try:
        selector = pafs.FileSelector(place.path, recursive=depth != 0)
        infos = retried(f"list {place.source}", lambda: place.fs.get_file_info(selector))
        files = [info for info in infos if info.is_file]
        markers = [info for info in files if info.base_name in MUSTERS_OWN]
        own = [info.path[: -len(info.base_name)] for info in markers if _is_marker(info.base_name, info.path, place.fs)]
        for info in files:
            if info.base_name == IGNORE:
                rules.lines[_parent(info.path[start:])] = left_out.lines(_remote_patterns(place.fs, info.path))
    except OSError as error:
        raise MusterError(f"cannot list {place.source}: {error.strerror or error}") from None
    if library and library.fs.type_name == place.fs.type_name:
        own.append(library.path + "/")
    folders = {"": False}  # whether it is left out; the topmost of such folders is counted
    silent = {_parent(info.path[start:]) for info in files if info.base_name == NOMEDIA}

    def is_left_out(folder: str) -> bool:
        if folder in folders:
            return folders[folder]
        above = ""
        for name in folder.split("/"):
            inner = f"{above}/{name}".lstrip("/")
            if inner not in folders:
                kind = None if folders[above] else rules.kind(inner, True) or (NOMEDIA if inner in silent else None)
                listing.left_out.update([kind] if kind else [])
                folders[inner] = folders[above] or kind is not None
            above = inner
        return folders[folder]

    for info in files:
        if info.path.startswith(tuple(own)) or is_left_out(_parent(info.path[start:])):
            continue
        if kind := rules.kind(info.path[start:], False):
            count_left_out(listing.left_out, kind, info.base_name, False)
        else:
            yield info.path, _remote_file(place, info)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _remote_patterns(fs: pafs.FileSystem, path: str) -> str:
    def begins() -> bytes:
        with fs.open_input_stream(path) as stream:
            return bytes(stream.read(left_out.IGNORE_BYTES))

    return left_out.text_of(retried(f"read {path}", begins))


def _remote_file(place: Place, info: pafs.FileInfo) -> File:
    folder, question, query = place.uri.partition("?")
    uri = folder + quote(info.path[len(place.path) :]) + question + query
    return File(uri, info.size, None if info.mtime_ns is None else info.mtime_ns // 1000)
