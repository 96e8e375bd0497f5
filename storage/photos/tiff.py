"""The directories of a TIFF file or EXIF block: what they would cost to read, and which page is the photo."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from PIL import ExifTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from muster.storage.photos.first_bytes import TIFF

MAX_NUMBERS = 1 << 18  # of all tags; Pillow makes objects of them all: 40 MB in a PNG took 1 GB
MAX_PAGES = 16  # that are looked at for the photo; Pillow reads all before it
_COMPACT = (1, 2, 7)  # types that become one object: bytes, text, undefined
_DIRECTORIES = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo)
_SUBFILE_TYPE, _WIDTH, _HEIGHT, _PHOTOMETRIC, _CHILDREN, _DNG_VERSION = 254, 256, 257, 262, 330, 50706
_BITS, _COMPRESSION, _PLANES, _NUMBERS = 258, 259, 284, 339
_UNSIGNED, _SIGNED = 1, 2  # of the last
_WHITE_IS_ZERO = 0  # photometric
_WIDTHS = {3: 2, 4: 4, 13: 4, 16: 8, 18: 8}  # bytes, of the types of whole numbers
_PIECES = ((273, 279), (324, 325))  # where strips and tiles begin, and how long they are
_REDUCED, _MASK = 1, 4  # bits of the first
_SENSOR = (32803, 34892)  # photometric: a filter before each pixel, or linear light

Entries = np.ndarray[Any, Any]


class _Directories:
    def __init__(self, block: bytes):
        self.block, self.order = block, "<>"[block[:2] == b"MM"]
        self.large = block[2:4] in (b"+\0", b"\0+")  # of files above 4 GB
        self.width = 8 if self.large else 4
        size = f"{self.order}u{self.width}"
        self.entry = np.dtype(
            [("tag", f"{self.order}u2"), ("type", f"{self.order}u2"), ("count", size), ("value", size)]
        )

    def number(self, at: int, width: int) -> int:
        return int.from_bytes(self.block[at : at + width], "little" if self.order == "<" else "big")

    def entries(self, at: int) -> Entries:
        """Of the directory that begins there; as many as the block holds."""
        start = at + (8 if self.large else 2)
        count = min(self.number(at, start - at), max(len(self.block) - start, 0) // self.entry.itemsize)
        return np.frombuffer(self.block, self.entry, count, start) if count else np.empty(0, self.entry)

    def pages(self) -> Iterator[Entries]:
        """The first directory, and those that follow in its chain."""
        at, seen = self.number(8 if self.large else 4, self.width), set[int]()
        while at and at not in seen and len(seen) < MAX_PAGES:
            seen.add(at)
            found = self.entries(at)
            yield found
            at = self.number(at + (8 if self.large else 2) + found.nbytes, self.width)

    def values(self, entries: Entries, tag: int) -> list[int]:
        """The whole numbers of a tag; at most MAX_PAGES, and none of other types."""
        entry = entries[entries["tag"] == tag][:1]
        if not len(entry):
            return []
        width, count = _WIDTHS.get(int(entry["type"][0]), 0), int(entry["count"][0])
        content = entry["value"].tobytes()  # in the file's order
        if width * count > self.width:
            at = int(entry["value"][0])
            content = self.block[at : at + width * MAX_PAGES]
        order: Literal["little", "big"] = "little" if self.order == "<" else "big"
        parts = [content[i * width : (i + 1) * width] for i in range(min(count, MAX_PAGES) if width else 0)]
        return [int.from_bytes(part, order) for part in parts]

    def all_values(self, entries: Entries, tag: int) -> Entries:
        """All of them, as far as the file has them, as 64 bits."""
        entry = entries[entries["tag"] == tag][:1]
        width = _WIDTHS.get(int(entry["type"][0]), 0) if len(entry) else 0
        if not width:
            return np.empty(0, np.uint64)
        count, content = int(entry["count"][0]), entry["value"].tobytes()
        if width * count > self.width:
            content = self.block[int(entry["value"][0]) :]
        count = min(count, len(content) // width)
        return np.frombuffer(content, f"{self.order}u{width}", count).astype(np.uint64)

    def value(self, entries: Entries, tag: int) -> int:
        return next(iter(self.values(entries, tag)), 0)


def numbers_in(block: bytes, pages: int = 1) -> int:
    """How many numbers Pillow would make objects of, to read a TIFF file or EXIF block: as its directories say.

    0 where it is too short for MAX_NUMBERS: to look takes 0.3 ms.
    """
    if len(block) <= MAX_NUMBERS:
        return 0
    directories = _Directories(block)
    numbers = 0
    for _, page in zip(range(pages), directories.pages(), strict=False):
        others = np.unique(page["value"][np.isin(page["tag"], _DIRECTORIES)])
        if len(others) > MAX_PAGES:  # a camera writes one of each, and each could be as large as the block
            return MAX_NUMBERS + 1
        for entries in (page, *(directories.entries(int(at)) for at in others)):
            counts = entries["count"][~np.isin(entries["type"], _COMPACT)]
            numbers += int(counts[counts <= len(block)].sum())  # Pillow skips tags that claim more than the block holds
    return numbers


def photo_page(data: bytes) -> int | None:
    """Which page of a TIFF file is the photo; None where it is a camera's raw file.

    The first, unless it is a reduced copy: then the largest that is none. Raw files begin with a reduced copy too, and
    have what the sensor saw beside or below it (TIFF/EP), which is no picture yet; nothing else is looked for below a
    page, where pyramids keep what is reduced.
    """
    directories = _Directories(data)
    pages = list(directories.pages())
    below = [at for page in pages for at in directories.values(page, _CHILDREN)][:MAX_PAGES]
    everything = [*pages, *(directories.entries(at) for at in below)]
    sensor = any(directories.value(each, _PHOTOMETRIC) in _SENSOR or _DNG_VERSION in each["tag"] for each in everything)
    if sensor or data[8:10] == b"CR":  # the latter is Canon's, whose sensor data has no photometric tag
        return None
    kinds = [directories.value(page, _SUBFILE_TYPE) for page in pages]
    if not kinds or not kinds[0] & _REDUCED:
        return 0
    full = [i for i, kind in enumerate(kinds) if not kind & (_REDUCED | _MASK)]
    areas = {i: directories.value(pages[i], _WIDTH) * directories.value(pages[i], _HEIGHT) for i in full}
    return max(full, key=lambda i: areas[i], default=None)


def is_cut(data: bytes) -> bool:
    """Whether a page, or what lies below one, has pixels behind the end of the file."""
    directories = _Directories(data)
    pages = list(directories.pages()) if data.startswith(TIFF) else []
    below = [at for page in pages for at in directories.values(page, _CHILDREN)][:MAX_PAGES]
    for entries in [*pages, *(directories.entries(at) for at in below)]:
        for places, lengths in _PIECES:
            starts, sizes = (directories.all_values(entries, tag) for tag in (places, lengths))
            if len(starts) == len(sizes) and len(starts) and int((starts + sizes).max()) > len(data):
                return True
    return False


def is_described(data: bytes) -> bool:
    """Whether a page says how large it is and of how many bits: such pixels may be unknown to Pillow, and no damage."""
    directories = _Directories(data)
    return any(all(directories.value(page, tag) for tag in (_WIDTH, _HEIGHT, _BITS)) for page in directories.pages())


def is_misread(tags: ImageFileDirectory_v2) -> bool:
    """Whether Pillow makes noise of a page without a word: of more than 8 bits in planes that are not compressed, and
    of bytes with a sign."""
    bits = tags.get(_BITS, (1,))
    planes = tags.get(_PLANES) == 2 and tags.get(_COMPRESSION, 1) == 1 and len(bits) > 1
    return (planes and max(bits) > 8) or (max(bits) == 8 and _SIGNED in tags.get(_NUMBERS, (_UNSIGNED,)))


def is_unsigned(tags: ImageFileDirectory_v2) -> bool:
    return tags.get(_NUMBERS, (_UNSIGNED,))[0] == _UNSIGNED


def white_is_zero(tags: ImageFileDirectory_v2) -> bool:
    return tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
