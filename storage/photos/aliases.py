"""One file under two names: its folder is reached by a path, by a link to it and by a mount of it, or it has a link.

Two names are one file where their folders are one (device and inode) and they end alike. Folders have no hard links, so
that this holds for links and bind mounts alike. Hard links of a photo are copies of it.

A name is known by the links that its source was named with. One that was put below the source since then leads nowhere:
whoever may write one folder must not choose what the photos of another are called.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.storage.files import inode
from muster.storage.uris import Inside, inside_uri, local_path, local_uri, split_inside

Inode = tuple[int, int]  # device and inode


class _Name(NamedTuple):
    """Of a local file: `folder`, a path; `name` in it; `inside`: where in it the image lies that is meant."""

    folder: str
    name: str
    inside: Inside | None


def other_names(known: pa.Table, found: pa.Table) -> tuple[dict[str, str], dict[str, str]]:
    """uri of `found` → first name of its file, where it has another; and other path of a folder → its first path, which
    holds for all that is below.

    `known`, `found`: uri, size and modified. First is what is known, then what is no link, then what was found first.
    Looked at are those that may be one (`_alike`), and their folders, each once.
    """
    parts = {uri: name for uri in _alike(known, found) if (name := _split(uri))}
    for uri in _led_astray(known, found, parts) if parts else ():
        del parts[uri]
    if not parts:
        return {}, {}
    stored, home = set(known["uri"].to_pylist()), cache(_home)
    place = cache(_real)  # of a file: archives hold many
    real = {uri: _Name(*place(name.folder, name.name), name.inside) for uri, name in parts.items()}
    names: dict[tuple[Inode | None, str, Inside | None], str] = {}
    folders: dict[Inode | None, str] = {}
    by_link = cache(lambda folder: os.path.realpath(folder) != folder)
    for uri in sorted(
        parts, key=lambda uri: (uri not in stored, real[uri] != parts[uri] or by_link(parts[uri].folder))
    ):
        names.setdefault((home(real[uri].folder), *real[uri][1:]), uri)
        folders.setdefault(home(parts[uri].folder), parts[uri].folder)
    others = dict(
        _top(name.folder, first, home)
        for name in parts.values()
        if (inode := home(name.folder)) and (first := folders[inode]) != name.folder
    )

    @cache
    def renamed(folder: str) -> str:
        above = next((each for each in _upwards(folder) if each in others), "")
        return others[above] + folder[len(above) :] if above else folder

    def first_of(uri: str) -> str:
        if uri in parts and home(real[uri].folder):
            uri = names[home(real[uri].folder), *real[uri][1:]]
        name = None if uri in stored else _split(uri)
        return uri if name is None or name.folder == renamed(name.folder) else _joined(renamed(name.folder), name)

    if not others and len(names) == len(parts):
        return {}, {}
    return {uri: first for uri in found["uri"].to_pylist() if (first := first_of(uri)) != uri}, others


def _led_astray(known: pa.Table, found: pa.Table, parts: Mapping[str, _Name]) -> set[str]:
    """Names that were not found now, and that a link below their source may have led elsewhere since they were. A link
    to a photo of the same size and time is as it was."""
    rows = known.filter(pc.is_in(known["uri"], pa.array(list(parts), pa.string())))
    rows = rows.filter(pc.invert(pc.is_in(rows["uri"], value_set=found["uri"].combine_chunks())))
    rows = rows.select(["uri", "source", "size"]).append_column("modified", rows["modified"].cast("int64"))
    real = cache(os.path.realpath)

    def is_as_it_was(uri: str, source: str, stamp: tuple[int | None, int | None]) -> bool:
        folder, name, _ = parts[uri]
        path, named = os.path.join(folder, name), os.path.commonpath([folder, local_path(source) or "/"])
        if real(folder) != os.path.join(real(named), os.path.relpath(folder, named)).removesuffix("/."):
            return False
        status = os.stat(path) if os.path.islink(path) else None
        return status is None or (status.st_size, status.st_mtime_ns // 1000) == stamp

    astray = set()
    for uri, source, *stamp in zip(*(column.to_pylist() for column in rows.columns), strict=True):
        try:
            known_now = is_as_it_was(uri, source, (stamp[0], stamp[1]))
        except (OSError, ValueError):  # a link to nothing; no possible name
            known_now = False
        astray |= set() if known_now else {uri}
    return astray


def _top(folder: str, first: str, home: Callable[[str], Inode | None]) -> tuple[str, str]:
    """The highest folders above these two that are one, too, with the same way down."""
    while os.path.basename(folder) == os.path.basename(first):
        above, theirs = os.path.dirname(folder), os.path.dirname(first)
        if above == theirs or home(above) is None or home(above) != home(theirs):
            break
        folder, first = above, theirs
    return folder, first


def _upwards(folder: str) -> Iterator[str]:
    """A folder and those above it."""
    yield folder
    while folder != (folder := os.path.dirname(folder)):
        yield folder


def _alike(known: pa.Table, found: pa.Table) -> list[str]:
    """Names of files that may be one: that agree in size and time, or that end alike, one not found, one not known."""
    missing, fresh = _others(known, found), _others(found, known)
    rows = pa.concat_tables([missing, found.select(missing.column_names)])
    rows = rows.filter(pc.is_valid(rows["modified"]))
    size, time = (pc.fill_null(rows[name].cast("int64"), -1).to_numpy() for name in ("size", "modified"))
    order = np.lexsort((size, time))
    same = (np.diff(size[order]) == 0) & (np.diff(time[order]) == 0)
    alike = np.zeros(rows.num_rows, bool)
    alike[order[1:][same]] = alike[order[:-1][same]] = True
    uris = rows["uri"].filter(pa.array(alike)).to_pylist()
    ends, others = (pc.replace_substring_regex(each["uri"], "(?s).*/", "") for each in (missing, fresh))
    uris += missing["uri"].filter(pc.is_in(ends, value_set=others.combine_chunks())).to_pylist()
    uris += fresh["uri"].filter(pc.is_in(others, value_set=ends.combine_chunks())).to_pylist()
    return list(dict.fromkeys(uris))


def _others(rows: pa.Table, known: pa.Table) -> pa.Table:
    """Those whose uri is not in `known`."""
    there = pc.is_in(rows["uri"], value_set=known["uri"].combine_chunks())
    return rows.select(["uri", "size", "modified"]).filter(pc.invert(there))


def _split(uri: str) -> _Name | None:
    """None where it is not local."""
    inside = split_inside(uri)
    path = local_path(inside.container if inside else uri)
    return None if path is None else _Name(*os.path.split(path), inside)


def _joined(folder: str, name: _Name) -> str:
    uri = local_uri(os.path.join(folder, name.name))
    return uri if name.inside is None else inside_uri(uri, name.inside.kind, name.inside.key)


def _real(folder: str, name: str) -> tuple[str, str]:
    """Where a link leads; what is no link is itself."""
    path = os.path.join(folder, name)
    return os.path.split(os.path.realpath(path)) if os.path.islink(path) else (folder, name)


def _home(folder: str) -> Inode | None:
    try:
        return inode(folder)
    except (OSError, ValueError):
        return None
