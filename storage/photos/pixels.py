"""An opened image to upright RGB pixels, no larger than asked for.

Decisions that show in the pixels:
- Alpha is laid over white: transparent pixels often hide odd colours; white is what viewers and JPEG exports show.
- ICC profiles are left alone, except for CMYK. On two Display P3 phone photos, applying them changes a pixel by 0.5 and
  2.0 levels on average and costs 14 ms per megapixel; on a CMYK photo the profile moves 12 levels. The profile goes
  along with the pixels: small pictures for people are converted (`muster.colour`, ADR 29).
- A truncated file is an error, though most of its pixels may be there: half a photo is not the photo its owner sees.
  A JPEG that lacks nothing but its end marker is no such file.
"""

import ctypes
import io
import logging
import warnings
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from typing import Any

import numpy as np
import pillow_heif
import simplejpeg
from PIL import AvifImagePlugin, Image, ImageCms, ImageFile, _imaging

from muster.arrays import Pixels
from muster.colour import MAX_PROFILE
from muster.storage.photos import jpeg, psd
from muster.storage.photos.tiff import is_unsigned, white_is_zero

Image.init()  # now: Pillow registers its formats lazily, which is not safe when two threads open the first two images
# MAX_MEMORY is the limit that counts. Pillow's default refuses the 200 MP photos that phones take; this one stays
# behind ours (an error above twice its value) for the plugins that check before they allocate.
Image.MAX_IMAGE_PIXELS = 300_000_000
logging.getLogger("PIL").addHandler(logging.NullHandler())
# Pillow warns about odd EXIF and MPO headers; the photo is fine, and catch_warnings() is not safe in threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
with suppress(AttributeError, OSError):  # libtiff prints its errors to stderr; Pillow raises them as well
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)
pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # callers decode several images at once; threads per image would only compete

_SRGB = ImageCms.createProfile("sRGB")
# Microscopes, X-rays and depth cameras write 10, 12 or 14 bits into 16, and files rarely say so. Such a picture has no
# value from here on; one of 16 bits that has none either is a photo with nothing brighter than a quarter of white, and
# more is seen of it when it is stretched too.
FEWER_BITS = 1 << 14
TURNED_BY_LOADING = ("HEIF", "TIFF")  # libheif by irot and imir (EXIF does not count in HEIF), Pillow by the TIFF tag


def upright_pixels(image: ImageFile.ImageFile, data: bytes, side: int, orientation: int) -> Pixels:
    """(H, W, 3) uint8 RGB, C-contiguous, upright, the longest side at most `side`.

    `image` was opened from `data` and not loaded. Raises whatever the decoders raise.
    """
    pixels = _READERS.get(image.format or "", _generic_pixels)(image, data, side)
    return np.ascontiguousarray(pixels if image.format in TURNED_BY_LOADING else upright(pixels, orientation))


def profile_of(image: ImageFile.ImageFile) -> bytes | None:
    """The ICC profile that the pixels are still in, once they are read."""
    profile = image.info.get("icc_profile")
    carried = isinstance(profile, bytes) and len(profile) <= MAX_PROFILE and image.mode not in ("CMYK", "LAB")
    return profile if carried else None


def perceptual_hash(pixels: Pixels) -> int:
    """64 bits of the picture's coarse structure as a signed int64. Copies differ in few bits, others in about 32.

    The DCT hash of Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010): 32×32 grey,
    frequencies 1..8 in both directions, each compared with their median.
    """
    small = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX, reducing_gap=2.0)
    grey = np.frombuffer(small.tobytes(), np.uint8).reshape(32, 32, 3) @ _LUMA
    low = (_DCT @ grey @ _DCT.T).round(3)  # rounded: in a flat picture all are 0, not noise
    median = np.sort(low, None)[31:33].mean()  # np.median takes ten times as long, a tenth of this function
    return int.from_bytes(np.packbits(low > median).tobytes(), "big", signed=True)


_LUMA = np.array((0.299, 0.587, 0.114))
_DCT = np.cos(np.pi / 32 * np.outer(np.arange(1, 9), np.arange(32) + 0.5))  # DCT-II rows 1..8


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """What EXIF orientation 1..8 asks for, as a view."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]


def _generic_pixels(image: Image.Image, data: bytes, side: int) -> Pixels:
    return np.asarray(rgb(shrunk(_resizable(image), side), image.info.get("icc_profile")))


def _jpeg_pixels(image: ImageFile.ImageFile, data: bytes, side: int) -> Pixels:
    """libjpeg-turbo's DCT scaling first (1/2, 1/4, 1/8; never below `side`), then an antialiased resize.

    simplejpeg decodes the plain cases: the same pixels as Pillow in 59 instead of 132 ms (12 MP), 0.12 instead of
    0.21 ms (162×162). What it warns about goes to Pillow, which tells a cut file from a sloppy one, and so does CMYK.
    """
    divisor = dct_divisor(image.size, side)
    width, height = (ceil(n / divisor) for n in image.size)
    pixels = _plain_jpeg_pixels(image.mode, data, width, height)
    if pixels is None and (mended := jpeg.with_end(data, image.mode == "CMYK")):
        image, data = Image.open(io.BytesIO(mended), formats=("JPEG",)), mended
        pixels = _plain_jpeg_pixels(image.mode, data, width, height)
    if pixels is not None:
        return pixels if max(pixels.shape) <= side else np.asarray(shrunk(Image.fromarray(pixels), side))
    if divisor > 1:
        image.draft(image.mode, (width, height))
    return _generic_pixels(image, data, side)


def _plain_jpeg_pixels(mode: str, data: bytes, width: int, height: int) -> Pixels | None:
    """At least of this size; None for CMYK and for what libjpeg warns about."""
    if mode not in ("RGB", "L"):
        return None
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
    except ValueError:
        return None
    return pixels


def dct_divisor(size: tuple[int, int], side: int) -> int:
    return next(d for d in (8, 4, 2, 1) if ceil(max(size) / d) >= side or d == 1)


def _heif_pixels(image: ImageFile.ImageFile, data: bytes, side: int) -> Pixels:
    """Straight from libheif's buffer, shrunk in bands: a 200 MP photo takes 0.9 GB so, 1.4 GB through Pillow."""
    heif = pillow_heif.open_heif(data)
    buffer = np.frombuffer(heif.data, np.uint8).reshape(-1, heif.stride)
    width, height = heif.size  # decoding may correct it
    factor = max(width, height) // (2 * side)
    if factor < 2:
        small = _resizable(_as_image(heif, buffer))
    else:
        starts = range(0, height, 256 * factor)
        bands = [_resizable(_as_image(heif, buffer[y : y + 256 * factor])).reduce(factor) for y in starts]
        small = Image.new(bands[0].mode, (bands[0].width, sum(band.height for band in bands)))
        for i, band in enumerate(bands):
            small.paste(band, (0, 256 * i))
    return np.asarray(rgb(shrunk(small, side), None))


def _as_image(heif: pillow_heif.HeifFile, rows: Pixels) -> Image.Image:
    return Image.frombuffer(heif.mode, (heif.size[0], len(rows)), rows, "raw", heif.mode, heif.stride, 1)


def _psd_pixels(image: ImageFile.ImageFile, data: bytes, side: int) -> Pixels:
    """What Pillow takes for transparency may be a selection that was saved with the picture."""
    opaque = image.mode == "RGBA" and not psd.is_transparent(data)
    return _generic_pixels(image.convert("RGB") if opaque else image, data, side)


_READERS: dict[str, Callable[[ImageFile.ImageFile, bytes, int], Pixels]] = {
    "JPEG": _jpeg_pixels,
    "MPO": _jpeg_pixels,
    "HEIF": _heif_pixels,
    "PSD": _psd_pixels,
}


def _resizable(image: Image.Image) -> Image.Image:
    """The same picture in a mode that Pillow can resize: L, LA, RGB, RGBA or CMYK."""
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        return Image.fromarray(_grey_of_eight_bits(image))
    if "transparency" in image.info or image.mode in ("PA", "La", "RGBa"):
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK") else image.convert("RGB")


def _grey_of_eight_bits(image: Image.Image) -> Pixels:
    values, tags = np.asarray(image), getattr(image, "tag_v2", None)
    if image.mode == "I" and tags and is_unsigned(tags):  # Pillow knows whole numbers with a sign only
        values = values.view(np.uint32)
    if image.mode == "F":
        values = np.nan_to_num(values, posinf=0, neginf=0)
    full = image.mode.startswith("I;16") and values.max() >= FEWER_BITS  # of the others no range is defined
    grey = (values >> 8).astype(np.uint8) if full else _stretched(values)
    return 255 - grey if tags and white_is_zero(tags) else grey


def _stretched(values: np.ndarray[Any, Any]) -> Pixels:
    """The least value to 0, the greatest to 255."""
    low, high = float(values.min()), float(values.max())
    scaled = values.astype(np.float32)
    scaled -= low  # in place: a copy is 4 bytes a pixel
    scaled *= 255 / ((high - low) or 1)
    return scaled.astype(np.uint8)


def shrunk(image: Image.Image, side: int) -> Image.Image:
    longest = max(image.size)
    if longest <= side:
        return image
    width, height = (max(1, round(n * side / longest)) for n in image.size)
    return image.resize((width, height), Image.Resampling.HAMMING, reducing_gap=2.0)


def rgb(image: Image.Image, profile: bytes | None = None) -> Image.Image:
    """Of a mode that Pillow can resize, over white where it is transparent."""
    if image.mode in ("LA", "RGBA"):
        white = Image.new("RGB", image.size, "white")
        white.paste(image.convert("RGB"), mask=image.getchannel("A"))
        return white
    if image.mode == "CMYK" and profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            return ImageCms.buildTransform(source, _SRGB, "CMYK", "RGB").apply(image)
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken profile: as without one
    return image.convert("RGB")
