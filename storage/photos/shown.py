"""An original as a browser shows it: its own bytes where every browser can, else an upright JPEG in sRGB."""

import io
from typing import BinaryIO

from PIL import Image

from muster.colour import in_srgb
from muster.storage.photos.decode import decode

MOST_SIDE = 4096  # pixels of a decoded original: a 12 MP photo as it is, and no screen has more
QUALITY = 90
_JPEG = b"\xff\xd8\xff"
_FRAMES = (0xC0, 0xC1, 0xC2)  # Huffman's codes; no browser reads arithmetic ones, nor lossless JPEGs
_OTHER_FRAMES = (0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
_ALONE = (0x01, *range(0xD0, 0xD9))  # markers without a length
_MARKERS = 4096  # of a file; profiles and previews take some hundred
_PIECE = 1 << 16


def media_type(file: BinaryIO, orientation: int) -> str | None:
    """Of a photo that every browser shows as it is; None where it is of another kind, or browsers differ.

    `orientation`: EXIF 1..8: browsers turn JPEGs by it, and not all of them others. Header bytes alone are read, and
    the place in the file is the start again.
    """
    head = file.read(12)
    try:
        if head.startswith(_JPEG):
            return "image/jpeg" if _is_plain_jpeg(file) else None
        return None if orientation != 1 else _by_head(head)
    finally:
        file.seek(0)


def _by_head(head: bytes) -> str | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:] == b"WEBP":
        return "image/webp"
    return "image/avif" if head[4:] in (b"ftypavif", b"ftypavis") else None


def _is_plain_jpeg(file: BinaryIO) -> bool:
    """Whether its pixels are grey or of three colours, 8 bits each: CMYK comes out inverted in some browsers."""
    file.seek(2)
    for _ in range(_MARKERS):
        code = _next_marker(file)
        if code in _ALONE:
            continue
        length = int.from_bytes(file.read(2), "big")
        if code in _FRAMES:
            frame = file.read(6)
            return len(frame) == 6 and frame[0] == 8 and frame[5] in (1, 3)
        if code is None or code in _OTHER_FRAMES or length < 2:
            return False
        file.seek(length - 2, io.SEEK_CUR)
    return False


def _next_marker(file: BinaryIO) -> int | None:
    """Its code; None where something else stands there. Any number of FF may stand before it, up to _PIECE."""
    if file.read(1) != b"\xff":
        return None
    for _ in range(_PIECE):
        byte = file.read(1)
        if byte != b"\xff":
            return byte[0] if byte else None
    return None


def as_jpeg(data: bytes) -> bytes:
    """A photo of any format that is read here, upright and in sRGB, its longest side at most MOST_SIDE pixels.

    Nothing else that stands in the file goes with it: no place, no name. Raises ImageError.
    """
    photo = decode(data, MOST_SIDE)
    sink = io.BytesIO()
    Image.fromarray(in_srgb(photo.pixels, photo.profile)).save(sink, "JPEG", quality=QUALITY)
    return sink.getvalue()
