"""Photos and what lies beside them: on this disk, and in zip archives on it, which are folders here.

A path leads into an archive as it would if that had been unpacked in its place: `/a/takeout-1.zip/Takeout/b.jpg.json`.
So a Takeout of several archives is what it is when each is unpacked into a folder of its own. Raises OSError where
something is not there or cannot be read.
"""

import errno
import io
import os
import re
import stat
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from muster.errors import ImageError, InputError
from muster.storage.bytes_at import open_bytes
from muster.storage.files import open_regular
from muster.storage.photos import members, zips
from muster.storage.photos.decode import MAX_FILE
from muster.storage.photos.members import Member
from muster.storage.uris import Inside, inside_uri, local_path, local_uri, split_inside

SUFFIX = ".zip"
_PATH = re.compile(r"(.*?\.zip)/(.*)", re.IGNORECASE | re.DOTALL)
SIDECAR = 32 << 20  # bytes of what lies beside a photo
_HELD = 64  # archives whose directories are kept: a Takeout has so many of 2 GB


@dataclass(frozen=True)
class _Archive:
    """`names`: folder → what is in it. `read`: all of a member that is no longer than this; raises
    ImageError."""

    members: dict[str, Member]
    names: dict[str, list[str]]
    read: Callable[[Member, int], bytes]


def path_of(uri: str) -> str | None:
    """Where an image of a library lies; None where that is neither on this disk nor in a zip archive there."""
    inside = split_inside(uri)
    if inside is None:
        return local_path(uri)
    try:
        return None if (archive := _archive_of(inside)) is None else f"{archive}/{members.of_key(inside.key).name}"
    except ImageError:  # too large for a photo
        return None


def _archive_of(inside: Inside) -> str | None:
    path = local_path(inside.container)
    known = path is not None and inside.kind == members.KIND and path.lower().endswith(SUFFIX)
    return path if known else None


def uri_of(path: str) -> str:
    """The name of such a file in tables."""
    if (place := _split(path)) is None:
        return local_uri(path)
    archive, name = place
    return inside_uri(local_uri(archive), members.KIND, members.key_of(_opened(archive).members[name]))


def names(folder: str) -> list[str]:
    """What is in it."""
    if (place := _split(f"{folder}/")) is None:
        return os.listdir(folder)
    archive, inner = place
    return _opened(archive).names.get(inner.strip("/"), [])


def is_folder(path: str) -> bool:
    """A link is none."""
    if (place := _split(f"{path}/")) is None:
        return os.path.isdir(path) and not os.path.islink(path)
    try:
        return place[1].strip("/") in _opened(place[0]).names
    except OSError:
        return False


def folders(above: str) -> list[str]:
    """The names of folders, and of archives, in a folder of this disk."""
    with os.scandir(above) as entries:
        return sorted(
            each.name
            for each in entries
            if each.is_dir(follow_symlinks=False)
            or (each.name.lower().endswith(SUFFIX) and each.is_file(follow_symlinks=False))
        )


def opened(path: str, follow: bool = True) -> BinaryIO:
    """A file, at its start; links of this disk are followed, unless not to `follow`."""
    if (place := _split(path)) is None:
        return open_regular(path, follow)
    archive = _opened(place[0])
    if place[1] not in archive.members:
        raise FileNotFoundError(errno.ENOENT, "no such member of the archive", path)
    try:
        return io.BytesIO(archive.read(archive.members[place[1]], MAX_FILE if follow else SIDECAR))
    except ImageError as error:
        raise OSError(errno.EIO, str(error), path) from None


def known_by(path: str) -> tuple[int, ...]:
    """Numbers that are others where the file is another; () where there is none."""
    try:
        place = _split(path)
        status = os.lstat(place[0] if place else path)
        facts = (status.st_mode, status.st_size, status.st_mtime_ns)
        return facts if place is None else (*facts, *_opened(place[0]).members[place[1]][1:])
    except (OSError, KeyError):
        return ()


def _split(path: str) -> tuple[str, str] | None:
    """The archive that a path leads into, and where in that; None where it leads into none."""
    match = _PATH.fullmatch(path)
    try:
        return (match[1], match[2]) if match and stat.S_ISREG(os.stat(match[1]).st_mode) else None
    except (OSError, ValueError):
        return None


def _opened(path: str) -> _Archive:
    return _read(path, os.stat(path).st_mtime_ns)


@lru_cache(_HELD)
def _read(path: str, modified: int) -> _Archive:
    uri = local_uri(path)
    file = open_bytes(uri)
    try:
        found = {member.name: member for member in zips.found(file, uri)}
    except InputError as error:
        raise OSError(errno.EIO, str(error), path) from None
    inside = defaultdict[str, list[str]](list)
    for name in found:
        folder, _, base = name.rpartition("/")
        inside[folder].append(base)
    return _Archive(found, dict(inside), lambda member, limit: zips.data(file, member, limit))
