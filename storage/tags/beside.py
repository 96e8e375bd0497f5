"""Sidecars as files: which one is a photo's, and how it is read and replaced."""

import hashlib
import json
import os
import stat
from collections import defaultdict
from collections.abc import Iterable
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

    def __init__(self, names: Iterable[str]) -> None:
        self._there: dict[str, str] = {}
        self._photos: dict[str, set[str]] = defaultdict(set)  # form of the stem → photos
        for name in sorted(names, reverse=True):
            suffix = suffix_of(name)
            if suffix == SUFFIX:
                self._there[form_of(name)] = name
            elif suffix in _PHOTOS:
                self._photos[form_of(os.path.splitext(name)[0])].add(name)

    def sidecar_of(self, photo: str) -> str:
        """`a.jpg.xmp`, as digiKam, darktable, Immich and PhotoPrism write it; `a.xmp`, Adobe's, where only that is
        there and no other photo can be meant by it. Either as it is written there."""
        stem = form_of(os.path.splitext(photo)[0])
        if (own := self._there.get(form_of(photo + SUFFIX))) is not None:
            return own
        shared = self._there.get(stem + SUFFIX)
        return photo + SUFFIX if shared is None or self._photos[stem] - {photo} else shared


def writer_of(library: LibraryFiles) -> str:
    """By which a library knows its own regions, wherever it lies."""
    marker = library.read_any(MARKER)
    return str(json.loads(marker).get("id") or hashlib.sha256(marker).hexdigest())


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
