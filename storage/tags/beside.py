"""Sidecars as files: which one is a photo's, and how it is read and replaced."""

import hashlib
import json
import os
import stat
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from muster.storage.disk import Folder
from muster.storage.layout import MARKER
from muster.storage.library import LibraryFiles
from muster.storage.photos.first_bytes import IMAGE_SUFFIXES, RAW_SUFFIXES, suffix_of
from muster.storage.tags.elements import SidecarError
from muster.storage.tags.takeout import form_of

SUFFIX = ".xmp"
MOST = 16 << 20  # bytes; those of programs that keep every stroke of a brush have a few million
_PHOTOS = IMAGE_SUFFIXES | RAW_SUFFIXES


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A file that is there. `mode`: its permissions."""

    data: bytes
    mode: int


class Names:
    """The files of one folder, to ask what the sidecar of a photo in it is called."""

    def __init__(self, names: Collection[str]) -> None:
        self._exact = {name for name in names if suffix_of(name) == SUFFIX}
        self._there: dict[str, str] = {}
        self._photos: dict[str, set[str]] = defaultdict(set)  # form of a photo's name, and of its stem → photos
        for name in sorted(names, reverse=True):
            suffix = suffix_of(name)
            if suffix == SUFFIX:
                self._there[form_of(name)] = name
            elif suffix in _PHOTOS or not suffix:
                for each in {name, os.path.splitext(name)[0]}:
                    self._photos[form_of(each)].add(name)

    def sidecar_of(self, photo: str) -> str:
        """`a.jpg.xmp`, as digiKam, darktable, Immich and PhotoPrism write it; `a.xmp`, Adobe's, where only that is
        there. Either as it is written there, and only where no other photo can be meant by it."""
        own = photo + SUFFIX
        if own in self._exact:
            return own
        stem = os.path.splitext(photo)[0]
        for name in dict.fromkeys((form_of(photo), form_of(stem))):
            if name + SUFFIX in self._there and not self._photos[name] - {photo}:
                return self._there[name + SUFFIX]
        return own


def writer_of(library: LibraryFiles) -> str:
    """By which a library knows its own regions, wherever it lies, and whatever key it was given since."""
    data = library.read_any(MARKER)
    marker = json.loads(data)
    return str(marker.get("writer") or marker.get("id") or hashlib.sha256(data).hexdigest())


def read(folder: Folder, name: str) -> Sidecar | None:
    """None where there is none. SidecarError for one that is too large; MusterError for a link, or no regular file;
    OSError where it cannot be read."""
    try:
        with folder.open(name) as file:
            data, mode = file.read(MOST + 1), os.fstat(file.fileno()).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(data) > MOST:
        raise SidecarError(f"it has more than {MOST >> 20} MiB")
    return Sidecar(data, stat.S_IMODE(mode))


def put(folder: Folder, name: str, before: Sidecar | None, after: bytes | None) -> bool:
    """Bring a sidecar from what was read to what it is to be; None: away. Whether that is a change. Raises OSError,
    and MusterError."""
    if after == (before and before.data):
        return False
    if after is None:
        folder.remove(name)
    else:
        folder.write(name, after, mode=None if before is None else before.mode & 0o777)
    return True
