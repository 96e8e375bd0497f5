"""JPEG XL (ISO/IEC 18181): how large a picture is, by its header, and the picture by libjxl (pillow-jxl-plugin)."""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from muster.arrays import Pixels
from muster.errors import ImageError
from muster.storage.photos.exif import exif_of
from muster.storage.photos.first_bytes import JXL, needed
from muster.storage.photos.heif import boxes
from muster.storage.photos.pixels import rgb
from muster.storage.photos.rendered import Rendered, memory
from muster.storage.rust import no_panic

BARE = b"\xff\x0a"  # a codestream without boxes around it
_HEADER = 128  # bytes that are looked at; what is read here takes at most 60
# Of 12 and 24 MP, decoding takes 3.8 (grey) to 8.5 (RGBA, float) bytes a pixel, with the pixels that come out. Passes
# of a progressive picture are held beside them: 4 bytes a channel.
_BYTES_PER_PIXEL, _BYTES_PER_EXTRA = 24, 8
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


class Header(NamedTuple):
    """`size`: (width, height), upright. `orientation`: EXIF 1..8, which libjxl applies. `extra`: channels beside colour
    or grey, such as alpha."""

    size: tuple[int, int]
    orientation: int
    extra: int


def render(data: bytes, max_side: int | None) -> Rendered:
    """The JPEG that it was made from, bit for bit, or its pixels, which libjxl has turned upright.

    Raises ImageError, and what Pillow raises.
    """
    try:
        from pillow_jxl import Decoder
    except ImportError:
        raise needed(JXL) from None
    found = header(codestream(data))
    pixels = found.size[0] * found.size[1]
    with memory(found.size, pixels * (_BYTES_PER_PIXEL + _BYTES_PER_EXTRA * found.extra)):
        try:
            with no_panic():
                was_jpeg, about, content, profile, others = Decoder(num_threads=0)(data)
        except (RuntimeError, ValueError):
            raise ImageError("corrupt", "libjxl cannot decode it") from None
        if was_jpeg:
            return Rendered(picture=content)
        exif = next((box.data[4:] for box in others if box.box_type == b"Exif"), b"")
        picture = _rgb(about, content)
    return Rendered(
        picture=picture, orientation=1, stored=found.orientation, exif=exif_of(exif), profile=profile or None
    )


def _rgb(about: Any, content: bytes) -> Pixels:
    shape = about.height, about.width
    if about.mode in _MODES:
        image = Image.frombuffer(about.mode, shape[::-1], content, "raw", about.mode, 0, 1)
    elif about.mode == "I;16":
        image = Image.fromarray((np.frombuffer(content, np.uint16).reshape(shape) >> 8).astype(np.uint8))
    elif about.mode == "F":  # 0 is black, 1 white
        grey = np.nan_to_num(np.frombuffer(content, np.float32).reshape(shape)).clip(0, 1) * 255
        image = Image.fromarray(grey.round().astype(np.uint8))
    else:
        raise ImageError("unsupported", "a variant of its format that is not read")
    return np.asarray(rgb(image))


# ---- the header ------------------------------------------------------------------------------------------------------


def codestream(data: bytes) -> bytes:
    """How the codestream begins. ImageError where a box goes on behind the end of the file, or there is none."""
    if data.startswith(BARE):
        return data[:_HEADER]
    parts, at = list[bytes](), 0
    for kind, content in boxes(data):
        if kind in (b"jxlc", b"jxlp"):
            parts.append(content[4 if kind == b"jxlp" else 0 :][:_HEADER])
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        length = int.from_bytes(data[at + 8 : at + 16], "big") if length == 1 else length
        if not length:
            break
        at += max(length, 8)
    if at > len(data) or (at < len(data) and at + 8 > len(data)):
        raise ImageError("truncated", "the file is cut short")
    return b"".join(parts)[:_HEADER]


class _Bits:
    """Fields of a codestream: bits from the lowest of each byte on (18181-1, 9.2)."""

    def __init__(self, data: bytes) -> None:
        self._rest, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, bits: int) -> int:
        if bits > self._left:
            raise ImageError("truncated", "the file is cut short")
        value, self._rest, self._left = self._rest & ((1 << bits) - 1), self._rest >> bits, self._left - bits
        return value

    def one_of(self, *choices: tuple[int, int]) -> int:
        """U32: two bits choose an offset and the number of bits that are added to it."""
        offset, bits = choices[self.take(2)]
        return offset + self.take(bits)

    def size(self) -> tuple[int, int]:
        """SizeHeader: (width, height)."""
        small = self.take(1)

        def side() -> int:
            return 8 * (self.take(5) + 1) if small else self.one_of((1, 9), (1, 13), (1, 18), (1, 30))

        height = side()
        return self._wide(height) or side(), height

    def preview(self) -> None:
        """PreviewHeader, of which nothing is wanted."""
        sides = ((16, 0), (32, 0), (1, 5), (33, 9)) if self.take(1) else ((1, 6), (65, 8), (321, 10), (1345, 12))
        if not self._wide(self.one_of(*sides)):
            self.one_of(*sides)

    def _wide(self, height: int) -> int:
        """The width by one of seven ratios; 0 where it is written itself."""
        ratio = _RATIOS.get(self.take(3))
        return height * ratio[0] // ratio[1] if ratio else 0


def header(stream: bytes) -> Header:
    """What SizeHeader and ImageMetadata say. ImageError where it is no such header, or cut short."""
    if not stream.startswith(BARE):
        raise ImageError("corrupt", "an image file with a broken header")
    bits = _Bits(stream[len(BARE) :])
    (width, height), orientation, extra = bits.size(), 1, 0
    if not bits.take(1):  # all_default
        if bits.take(1):  # extra_fields
            orientation = bits.take(3) + 1
            if bits.take(1):
                bits.size()  # intrinsic_size: how large it is to be shown
            if bits.take(1):
                bits.preview()
            if bits.take(1):  # animation
                bits.one_of((100, 0), (1000, 0), (1, 10), (1, 30))
                bits.one_of((1, 0), (1001, 0), (1, 8), (1, 10))
                bits.one_of((0, 0), (0, 3), (0, 16), (0, 32))
                bits.take(1)
        if bits.take(1):  # bit depth: floats
            bits.one_of((32, 0), (16, 0), (24, 0), (1, 6))
            bits.take(4)
        else:
            bits.one_of((8, 0), (10, 0), (12, 0), (1, 6))
        bits.take(1)  # modular_16bit_buffers
        extra = bits.one_of((0, 0), (1, 0), (2, 4), (1, 12))
    return Header((height, width) if orientation >= 5 else (width, height), orientation, extra)
