"""Photoshop documents: what Pillow says nothing of. Adobe Photoshop File Formats Specification (2019)."""

from collections.abc import Iterable

EXIF, _VERSION = 1058, 1057  # image resources
_HEAD = 26  # bytes before the sections of the file, each of which begins with its length


def has_composite(resources: Iterable[tuple[int, bytes]]) -> bool:
    """Whether the picture of all layers together is in the file, of whose resources these are number and content."""
    return all(content[4:5] != b"\0" for number, content in resources if number == _VERSION)


def is_transparent(data: bytes) -> bool:
    """Whether the first channel beside the colours is the transparency of all layers: their number is negative then."""
    at = _HEAD
    for _ in range(2):  # colour table, image resources
        at += 4 + int.from_bytes(data[at : at + 4], "big")
    layers = int.from_bytes(data[at + 4 : at + 8], "big")
    return layers >= 2 and int.from_bytes(data[at + 8 : at + 10], "big", signed=True) < 0


def unread(data: bytes) -> bool:
    """Whether it is of a kind that Pillow does not know: of the large files (PSB), or of 16 or 32 bits a channel."""
    version, bits = (int.from_bytes(data[at : at + 2], "big") for at in (4, 22))
    return version != 1 or bits not in (1, 8)
