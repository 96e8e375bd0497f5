"""What a HEIC file says of its picture in its boxes (ISO/IEC 23008-12), where pillow_heif says nothing."""

from collections.abc import Iterator

import numpy as np

from muster.storage.photos.pixels import upright

MOST = 1 << 20  # bytes of the box `meta` that are looked at; 1,000 tiles take 40 kB
_PLAIN = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)


def orientation(data: bytes) -> int:
    """As EXIF counts it, 1..8: how libheif turned and mirrored the picture, by `irot` and `imir` of the primary item.

    EXIF's own does not count in HEIC (the standard, and libheif); phones write one that agrees, or a stale one.
    """
    turned = _PLAIN
    for kind, value in _properties_of_the_primary_item(data):
        if kind == b"irot":
            turned = np.rot90(turned, value & 3)  # anticlockwise
        elif kind == b"imir":
            turned = turned[:, ::-1] if value & 1 else turned[::-1]
    return next(each for each in range(1, 9) if (upright(_PLAIN, each) == turned).all())


def _properties_of_the_primary_item(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Type and first byte, in the order in which they are applied."""
    meta = next((content for kind, content in boxes(data) if kind == b"meta"), b"")
    inside = dict(boxes(meta[4:]))
    properties = dict(boxes(inside.get(b"iprp", b"")))
    kinds = list(boxes(properties.get(b"ipco", b"")))
    primary, wanted = inside.get(b"pitm", b""), properties.get(b"ipma", b"")
    if not primary or not wanted:
        return
    item = int.from_bytes(primary[4 : 6 if primary[0] == 0 else 8], "big")
    width, wide = 2 if wanted[0] == 0 else 4, bool(wanted[3:4] and wanted[3] & 1)
    at = 8
    while at + width < len(wanted):
        count, start = wanted[at + width], at + width + 1
        end = start + count * (1 + wide)
        if int.from_bytes(wanted[at : at + width], "big") == item:
            places = wanted[start:end]
            for i in range(0, len(places), 1 + wide):
                place = int.from_bytes(places[i : i + 1 + wide], "big") & (0x7FFF if wide else 0x7F)
                if 0 < place <= len(kinds):
                    kind, content = kinds[place - 1]
                    yield kind, int.from_bytes(content[:1], "big")
            return
        at = end


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each that stands in these bytes; a content of more than MOST bytes is cut."""
    at = 0
    while at + 8 <= len(data):
        length, head = int.from_bytes(data[at : at + 4], "big"), 8
        if length == 1:  # the length follows in 8 bytes
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if length == 0:  # to the end
            length = len(data) - at
        if length < head:
            return
        yield data[at + 4 : at + 8], data[at + head : at + min(length, head + MOST)]
        at += length
