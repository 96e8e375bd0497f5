"""Camera raw, by LibRaw (rawpy): the preview that the camera made, or what the sensor saw at half its size."""

import io
from typing import Any

import numpy as np
from PIL import Image

from muster.arrays import Pixels
from muster.errors import ImageError
from muster.storage.photos.exif import exif_of, read_exif
from muster.storage.photos.first_bytes import RAW, needed
from muster.storage.photos.rendered import Rendered, memory
from muster.storage.photos.tiff import is_cut

ENOUGH = 1024  # pixels of a preview's longest side, from which on it is taken whatever is asked for
SAME_SHAPE = 0.02  # by which sides of a preview may be in another proportion: cameras cut some rows off
_UNPACKED = 8  # bytes a pixel that LibRaw holds of the sensor at most: four channels of 16 bits where it has no filter
_DEVELOPED = (6, 27)  # bytes a pixel until it is RGB, all in all: of a sensor with a filter, halved; of others
_EXIF = "12435867"  # orientation by LibRaw's `flip`, as dcraw writes it
_HEADS = (
    b"II*\0",
    b"MM\0*",
    b"IIRO",
    b"IIRS",
    b"MMOR",
    b"IIU\0",
)  # of TIFF, and of what Olympus and Panasonic make of it


def render(data: bytes, max_side: int | None) -> Rendered:
    """The preview, if its longest side has `max_side` or ENOUGH pixels; else what the sensor saw. ImageError."""
    try:
        import rawpy
    except ImportError:
        raise needed(RAW) from None
    if is_cut(data):
        raise ImageError("truncated", "the file is cut short")
    with rawpy.RawPy() as raw:
        try:
            raw.open_buffer(io.BytesIO(data))
            return _render(raw, data, max_side)
        except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
            raise _error(rawpy, error) from error


def _render(raw: Any, data: bytes, max_side: int | None) -> Rendered:
    flip = raw.sizes.flip % 8
    stored = int(_EXIF[flip])
    size = _upright(_full(raw.sizes), flip)
    preview = _preview(raw)
    exif = exif_of(b"II*\0" + data[4:] if data[:2] == b"II" else data) if data.startswith(_HEADS) else Image.Exif()
    shape = (0, 0)
    if isinstance(preview, bytes):
        jpeg = Image.open(io.BytesIO(preview), formats=("JPEG",))
        exif = exif if len(exif) else read_exif(jpeg)
        shape = jpeg.size
    elif preview is not None:
        shape = preview.shape[1::-1]
    if preview is None or max(shape) < min(max_side or ENOUGH, ENOUGH, max(size)) or not _same_shape(shape, size, flip):
        return Rendered(picture=_develop(raw, size), orientation=1, stored=stored, size=size, exif=exif)
    turned = flip >= 4 and _near(shape, size)  # some programs turn the preview, and leave the rest
    return Rendered(picture=preview, orientation=1 if turned else stored, stored=stored, size=size, exif=exif)


def _full(sizes: Any) -> tuple[int, int]:
    """As LibRaw stretches pixels that are not square."""
    width, height, aspect = sizes.width, sizes.height, sizes.pixel_aspect
    if not width or not height:
        raise ImageError("corrupt", f"an image of {width}×{height} pixels")
    return (width, round(height / aspect)) if 0 < aspect < 1 else (round(width * (aspect or 1)), height)


def _upright(size: tuple[int, int], flip: int) -> tuple[int, int]:
    return size[::-1] if flip >= 4 else size


def _near(shape: tuple[int, int], size: tuple[int, int]) -> bool:
    return abs(shape[0] * size[1] / (shape[1] * size[0]) - 1) < SAME_SHAPE


def _same_shape(shape: tuple[int, int], size: tuple[int, int], flip: int) -> bool:
    return _near(shape, size) or _near(_upright(shape, flip), size)


def _preview(raw: Any) -> bytes | Pixels | None:
    """The largest that is there, as the bytes of a JPEG or as pixels."""
    import rawpy

    try:
        found = raw.extract_thumb()
        if found.format == rawpy.ThumbFormat.JPEG:
            Image.open(io.BytesIO(found.data), formats=("JPEG",))
            return bytes(found.data)
    except (rawpy.LibRawError, NotImplementedError, OSError):  # there is none, or of a kind that is not known
        return None
    return np.array(found.data) if found.data.ndim == 3 and found.data.shape[2] == 3 else None


def _develop(raw: Any, size: tuple[int, int]) -> Pixels:
    import rawpy

    pixels = max(raw.sizes.raw_width * raw.sizes.raw_height, size[0] * size[1])
    with memory(size, pixels * _UNPACKED):
        raw.unpack()
        mosaic = raw.raw_type == rawpy.RawType.Flat
    with memory(size, pixels * _DEVELOPED[0 if mosaic else 1]):
        return np.array(raw.postprocess(half_size=True, use_camera_wb=True))


def _error(rawpy: Any, error: Exception) -> ImageError:
    """LibRaw's error as one of ours. It calls whatever lies behind the end of a file an error of input."""
    if isinstance(error, rawpy.LibRawIOError):
        return ImageError("truncated", "the file is cut short")
    if isinstance(error, rawpy.LibRawFileUnsupportedError | rawpy.NotSupportedError | rawpy.LibRawNotImplementedError):
        return ImageError("unsupported", "LibRaw does not know this kind of camera raw: export it as JPEG")
    too_large = rawpy.LibRawUnsufficientMemoryError, rawpy.LibRawTooBigError, rawpy.LibRawMemPoolOverflowError
    if isinstance(error, too_large):
        return ImageError("too_large", "too large to decode")
    return ImageError("corrupt", f"LibRaw cannot decode it ({type(error).__name__})")
