"""Bytes of a photo to upright RGB pixels and the facts a camera wrote beside them. Hostile bytes end as an ImageError.

Decisions that show in the pixels:
- Alpha is laid over white: transparent pixels often hide odd colours; white is what viewers and JPEG exports show.
- ICC profiles are left alone, except for CMYK. On two Display P3 phone photos, applying them changes a pixel by 0.5 and
  2.0 levels on average and costs 14 ms per megapixel; on a CMYK photo the profile moves 12 levels.
- A truncated file is an error, though most of its pixels may be there: half a photo is not the photo its owner sees.
"""

import ctypes
import hashlib
import io
import logging
import os
import re
import stat
import struct
import threading
import warnings
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import datetime
from math import ceil, isfinite

import numpy as np
import numpy.typing as npt
import pillow_heif
import pyarrow as pa
import simplejpeg
from PIL import (
    AvifImagePlugin,
    ExifTags,
    Image,
    ImageCms,
    ImageFile,
    JpegImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    _imaging,
)

from storage.uris import filesystem_of, local_path

KINDS = (
    "not_found",  # no such file or object
    "permission",  # it may not be read
    "unreadable",  # reading failed for another reason: a folder, a network error, a bad URI
    "empty",  # zero bytes
    "not_an_image",  # bytes of no format known here
    "unsupported",  # a known format that is not read here: PDF, camera raw, video, …
    "truncated",  # the file ends before its pixels do
    "corrupt",  # the decoder gave up
    "too_large",  # decoding would take more than MAX_MEMORY, or the file is longer than MAX_FILE
)
MAX_MEMORY = 1200 << 20  # bytes held while one image is decoded, estimated from its header before anything is allocated
LARGE = 256 << 20  # images that need more bytes than this are decoded one at a time, whatever the number of threads
MAX_FILE = 1 << 29  # bytes
MAX_SCANNED = 3 * 10**9  # pixels times scans of a progressive JPEG (5 s): a file of some kB can ask for hours

Pixels = npt.NDArray[np.uint8]

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

# In the order Pillow tries them. An MPO is a JPEG with more JPEGs behind it; the first is the photo.
_FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "BMP", "GIF")
_NAMES = {"MPO": "jpeg", "HEIF": "heic"}
_SRGB = ImageCms.createProfile("sRGB")
_TURNED_BY_LOADING = ("HEIF", "TIFF")  # libheif by irot and imir (EXIF does not count in HEIF), Pillow by the TIFF tag


class ImageError(Exception):
    """One image could not be read or decoded.

    kind: one of KINDS; str(error): one line for people. What was known by then: sha256 (of the bytes), format, and
    size (width, height as stored in the file, before orientation), each None when unknown.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = " ".join(message.split())[:300]
        self.sha256: str | None = None
        self.format: str | None = None
        self.size: tuple[int, int] | None = None

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded image.

    pixels: (H, W, 3) uint8 RGB, C-contiguous, upright. scale: decoded longest side / full longest side, in (0, 1].
    size: (width, height) of the full upright image. format: "jpeg", "heic", … orientation: EXIF 1..8 as found; already
    applied. taken_at: local time without zone, as cameras write it. latitude, longitude: decimal degrees, both or
    neither. sha256: of the bytes, hex. phash: see `perceptual_hash`.
    """

    pixels: Pixels
    scale: float
    size: tuple[int, int]
    format: str
    orientation: int
    taken_at: datetime | None
    latitude: float | None
    longitude: float | None
    camera: str | None
    sha256: str
    phash: int


def decode(data: bytes, max_side: int | None = None) -> Photo:
    """The photo in `data`, its longest side at most `max_side` pixels (full size if None), never enlarged.

    Raises ImageError, and nothing else, for any bytes whatever. Safe to call from several threads.
    """
    if max_side is not None and max_side < 1:
        raise ValueError(f"max_side must be at least 1, not {max_side}")
    sha256 = hashlib.sha256(data).hexdigest()
    image: ImageFile.ImageFile | None = None
    try:
        image = _open(data)
        return _photo(image, data, max_side, sha256)
    except ImageError as error:
        raise _with_known(error, sha256, image) from error.__cause__
    except (
        Exception
    ) as cause:  # decoders raise nearly every built-in exception on hostile bytes: each is an error value
        raise _with_known(_decoder_error(cause), sha256, image) from cause


def read(uri: str) -> bytes:
    """The bytes of the file that `uri` names, as storage.uris has it (not of inline images). Raises ImageError."""
    try:
        path = local_path(uri)
        return _read_elsewhere(uri) if path is None else _read_local(path)
    except FileNotFoundError as error:
        raise ImageError("not_found", f"{uri}: no such file") from error
    except PermissionError as error:
        raise ImageError("permission", f"{uri}: not allowed to read it") from error
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a name with a null byte
        raise ImageError("unreadable", f"{uri}: {error}") from error


def perceptual_hash(pixels: Pixels) -> int:
    """64 bits of the picture's coarse structure as a signed int64. Copies differ in few bits, others in about 32.

    The DCT hash of Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010): 32×32 grey,
    frequencies 1..8 in both directions, each compared with their median.
    """
    small = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX, reducing_gap=2.0)
    grey = np.asarray(small, np.float64) @ (0.299, 0.587, 0.114)
    low = (_DCT @ grey @ _DCT.T).round(3)  # rounded: in a flat picture all are 0, not noise
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big", signed=True)


_DCT = np.cos(np.pi / 32 * np.outer(np.arange(1, 9), np.arange(32) + 0.5))  # DCT-II rows 1..8


# ---- opening ---------------------------------------------------------------------------------------------

_OURS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*", b"BM", b"GIF8")
_OTHERS = {
    b"%PDF": "a PDF",
    b"8BPS": "a Photoshop document",
    b"\0\0\1\0": "an icon",
    b"icns": "an icon",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"FUJIFILMCCD-RAW": "camera raw",
    b"IIRO": "camera raw",
    b"IIU\0": "camera raw",
    b"DDS ": "a texture",
    b"<svg": "SVG",
    b"\x1aE\xdf\xa3": "a video",
}
_ISO_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")


def _open(data: bytes) -> ImageFile.ImageFile:
    if not data:
        raise ImageError("empty", "the file is empty")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except OSError as error:
        if _cut_short(data):
            raise ImageError("truncated", "the file is cut short") from error
        if not isinstance(error, UnidentifiedImageError):
            raise
        if data[8:12] in _ISO_BRANDS:
            pillow_heif.open_heif(data)  # raises what Pillow has swallowed
            raise ImageError("unsupported", "no picture in it is HEVC or AV1") from None
        raise _unidentified(data[:16]) from None
    # A camera's raw file is a TIFF whose first image is a thumbnail: tag 254 bit 0; 50706 is DNGVersion.
    if isinstance(image, TiffImagePlugin.TiffImageFile) and (image.tag_v2.get(254, 0) & 1 or 50706 in image.tag_v2):
        raise ImageError("unsupported", "camera raw is not read; export it as JPEG")
    return image


def _cut_short(data: bytes) -> bool:
    """Whether a HEIC, AVIF or WebP file says that it goes on behind its last byte.

    libheif fills the tiles that are missing from a cut HEIC and says nothing. Phones append other things to the boxes
    of ISO/IEC 14496-12 (4 bytes length, 4 bytes type), so the walk ends at the first type that a photo does not need.
    """
    if data[8:12] == b"WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data[8:12] not in _ISO_BRANDS:
        return False
    end = 0
    while data[end + 4 : end + 8] in (b"ftyp", b"meta", b"mdat", b"free", b"skip"):
        length = int.from_bytes(data[end : end + 4], "big")
        if length == 1:  # the length follows in 8 bytes
            length = int.from_bytes(data[end + 8 : end + 16], "big")
        if length < 8:  # 0: to the end of the file
            return False
        end += length
    return end > len(data)


def _unidentified(head: bytes) -> ImageError:
    if head[4:8] == b"ftyp":
        return ImageError("unsupported", f"not a photo but a video or another ISO media file ({head[8:12]!r})")
    for magic, name in _OTHERS.items():
        if head.startswith(magic):
            return ImageError("unsupported", f"{name} is not read")
    if head.startswith(_OURS):
        return ImageError("corrupt", "an image file with a broken header")
    return ImageError("not_an_image", f"not an image (it begins with {head[:8]!r})")


def _decoder_error(cause: Exception) -> ImageError:
    text = str(cause) or type(cause).__name__
    if isinstance(cause, MemoryError | Image.DecompressionBombError | Image.DecompressionBombWarning):
        return ImageError("too_large", f"too large to decode: {text}")
    if "Unsupported codec" in text or "Unsupported feature" in text:  # libheif's words
        return ImageError("unsupported", f"a variant that is not read: {text}")
    if isinstance(cause, EOFError) or re.search(
        "truncated|end of (file|data)|not enough data|premature", text, re.IGNORECASE
    ):
        return ImageError("truncated", f"the file is cut short: {text}")
    return ImageError("corrupt", f"cannot be decoded: {text}")


def _format(image: Image.Image) -> str:
    name = image.format or "unknown"
    return _NAMES.get(name, name.lower())


def _with_known(error: ImageError, sha256: str, image: Image.Image | None) -> ImageError:
    error.sha256 = sha256
    if image is not None:
        error.format, error.size = _format(image), image.size
    return error


# ---- pixels ----------------------------------------------------------------------------------------------


def _photo(image: ImageFile.ImageFile, data: bytes, max_side: int | None, sha256: str) -> Photo:
    if image.format in ("HEIF", "AVIF") and _cut_short(data):
        raise ImageError("truncated", "the file is cut short")
    side = min(max_side or max(image.size), max(image.size))
    need = _memory(image, data, side)
    if need > MAX_MEMORY:
        size = "×".join(map(str, image.size))
        raise ImageError("too_large", f"{size} pixels need {need >> 20} MiB to decode (limit {MAX_MEMORY >> 20})")
    with _one_large if need > LARGE else nullcontext():
        return _decode(image, data, side, sha256)


_one_large = threading.Lock()


def _decode(image: ImageFile.ImageFile, data: bytes, side: int, sha256: str) -> Photo:
    full = image.size
    if image.format == "PNG":  # its EXIF may stand behind the pixels
        image.load()
    exif = _exif(image)
    orientation = _orientation(image, exif)
    pixels = _READERS.get(_format(image), _generic_pixels)(image, data, side)
    if image.format not in _TURNED_BY_LOADING:
        pixels, full = _upright(pixels, orientation), full[::-1] if orientation >= 5 else full
    pixels = np.ascontiguousarray(pixels)
    scale = max(pixels.shape[:2]) / max(full)
    return Photo(pixels, scale, full, _format(image), orientation, *_facts(exif), sha256, perceptual_hash(pixels))


def _memory(image: ImageFile.ImageFile, data: bytes, side: int) -> int:
    """Bytes that decoding to `side` takes at most, by the header: the peaks of fresh processes, rounded up."""
    pixels = image.width * image.height
    if not pixels:
        raise ImageError("corrupt", f"an image of {image.width}×{image.height} pixels")
    output = pixels * (side / max(image.size)) ** 2
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return int(_jpeg_memory(image, data, side) + 7 * output)
    held = _BYTES_PER_PIXEL.get(image.format or "", 10)
    if image.mode in ("I", "F"):
        held = 22
    elif image.info.get("tiling"):
        held = 5
    return int(held * pixels + 12 * output)


_BYTES_PER_PIXEL = {"AVIF": 14, "HEIF": 11, "TIFF": 12, "WEBP": 18}


def _jpeg_memory(image: JpegImagePlugin.JpegImageFile, data: bytes, side: int) -> float:
    pixels = image.width * image.height
    progressive = image.info.get("progressive", 0)
    scans = data.count(b"\xff\xda") if progressive or pixels > 64e6 else 1  # counting costs 1 ms per MB
    if scans * pixels > MAX_SCANNED:
        raise ImageError("too_large", f"{scans} scans over {image.width}×{image.height} pixels")
    areas = [h * v for _, h, v, _ in image.layer]
    coefficients = 2 * pixels * sum(areas) / max(areas) if scans > 1 else 0  # all are held, whatever the scale
    divisor = _dct_divisor(image.size, side)
    return coefficients + (8 if image.mode == "CMYK" or divisor * side < max(image.size) else 4) * pixels / divisor**2


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """What EXIF orientation 1..8 asks for, as a view."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]


def _generic_pixels(image: ImageFile.ImageFile, data: bytes, side: int) -> Pixels:
    return np.asarray(_rgb(_shrink(_resizable(image), side), image.info.get("icc_profile")))


def _jpeg_pixels(image: ImageFile.ImageFile, data: bytes, side: int) -> Pixels:
    """libjpeg-turbo's DCT scaling first (1/2, 1/4, 1/8; never below `side`), then an antialiased resize.

    simplejpeg decodes the plain cases: the same pixels as Pillow in 59 instead of 132 ms (12 MP), 0.12 instead of
    0.21 ms (162×162). What it warns about goes to Pillow, which tells a cut file from a sloppy one, and so does CMYK.
    """
    divisor = _dct_divisor(image.size, side)
    width, height = (ceil(n / divisor) for n in image.size)
    if image.mode in ("RGB", "L"):
        try:
            pixels: Pixels = simplejpeg.decode_jpeg(data, "RGB", min_height=height, min_width=width)
        except ValueError:
            pass
        else:
            return pixels if max(pixels.shape) <= side else np.asarray(_shrink(Image.fromarray(pixels), side))
    if divisor > 1:
        image.draft(image.mode, (width, height))
    return _generic_pixels(image, data, side)


def _dct_divisor(size: tuple[int, int], side: int) -> int:
    return next(d for d in (8, 4, 2, 1) if ceil(max(size) / d) >= side or d == 1)


def _heif_pixels(image: ImageFile.ImageFile, data: bytes, side: int) -> Pixels:
    """Straight from libheif's buffer, shrunk in bands: a 200 MP photo takes 0.9 GB so, and 2 GB through Pillow."""
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
    return np.asarray(_rgb(_shrink(small, side), None))


def _as_image(heif: pillow_heif.HeifFile, rows: Pixels) -> Image.Image:
    return Image.frombuffer(heif.mode, (heif.size[0], len(rows)), rows, "raw", heif.mode, heif.stride, 1)


_READERS: dict[str, Callable[[ImageFile.ImageFile, bytes, int], Pixels]] = {"jpeg": _jpeg_pixels, "heic": _heif_pixels}


def _resizable(image: Image.Image) -> Image.Image:
    """The same picture in a mode that Pillow can resize: L, LA, RGB, RGBA or CMYK."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):  # no range is defined for these: stretched from the least value to the greatest
        values = np.nan_to_num(np.asarray(image, np.float32), posinf=0, neginf=0)
        low, high = float(values.min()), float(values.max())
        return Image.fromarray(((values - low) * (255 / ((high - low) or 1))).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("PA", "La", "RGBa"):
        return image.convert("RGBA")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK") else image.convert("RGB")


def _shrink(image: Image.Image, side: int) -> Image.Image:
    longest = max(image.size)
    if longest <= side:
        return image
    width, height = (max(1, round(n * side / longest)) for n in image.size)
    return image.resize((width, height), Image.Resampling.HAMMING, reducing_gap=2.0)


def _rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
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


# ---- facts -----------------------------------------------------------------------------------------------

_TIMES = (
    (ExifTags.Base.DateTimeOriginal, ExifTags.Base.SubsecTimeOriginal),
    (ExifTags.Base.DateTimeDigitized, ExifTags.Base.SubsecTimeDigitized),
    (ExifTags.Base.DateTime, ExifTags.Base.SubsecTime),
)
_TIME = re.compile(r"(\d{4})[:/.-](\d\d)[:/.-](\d\d)[ T](\d\d):(\d\d):(\d\d)")


# What Pillow's EXIF parser raises on broken blocks. They cost the photo its facts, not its pixels.
_EXIF_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


def _exif(image: Image.Image) -> Image.Exif:
    try:
        return image.getexif()
    except _EXIF_ERRORS:
        return Image.Exif()


def _orientation(image: Image.Image, exif: Image.Exif) -> int:
    found = image.info.get("original_orientation") if image.format == "HEIF" else exif.get(ExifTags.Base.Orientation)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _facts(exif: Image.Exif) -> tuple[datetime | None, float | None, float | None, str | None]:
    try:
        return _taken_at(exif), *_position(exif), _camera(exif)
    except _EXIF_ERRORS:
        return None, None, None, None


def _taken_at(exif: Image.Exif) -> datetime | None:
    tags = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    for when, fraction in _TIMES:
        match = _TIME.match(_text(tags.get(when)))
        if match:
            digits = re.match(r"\d*", _text(tags.get(fraction)))
            try:
                year, month, day, hour, minute, second = map(int, match.groups())
                return datetime(year, month, day, hour, minute, second, int(f"{digits[0]:0<6.6}" if digits else 0))
            except ValueError:
                continue  # 0000:00:00 and the like: a camera whose clock was never set
    return None


def _position(exif: Image.Exif) -> tuple[float | None, float | None]:
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    latitude = _degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef), 90)
    longitude = _degrees(gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef), 180)
    # 0, 0 is what receivers without a fix write; the place itself is open ocean.
    if latitude is None or longitude is None or latitude == longitude == 0:
        return None, None
    return latitude, longitude


def _degrees(value: object, ref: object, limit: int) -> float | None:
    """Degrees, minutes and seconds to signed decimal degrees; None where they are not numbers in range."""
    try:
        parts = [float(part) for part in value]  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    degrees = sum(part / 60**i for i, part in enumerate(parts[:3]))
    if not parts or not isfinite(degrees) or not 0 <= degrees <= limit:
        return None
    return -degrees if _text(ref).upper() in ("S", "W") else degrees


def _camera(exif: Image.Exif) -> str | None:
    make, model = _text(exif.get(ExifTags.Base.Make)), _text(exif.get(ExifTags.Base.Model))
    if make and model and model.lower().startswith(make.split()[0].lower()):
        return model
    return f"{make} {model}".strip() or None


def _text(value: object) -> str:
    """An EXIF string without padding; "" for anything else."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return " ".join(value.split("\0")[0].split()) if isinstance(value, str) else ""


# ---- reading ---------------------------------------------------------------------------------------------


def _read_local(path: str) -> bytes:
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):  # reading a pipe or a device could wait or go on for ever
        raise ImageError("unreadable", f"{path}: not a regular file")
    _check_length(path, info.st_size)
    with open(path, "rb") as file:
        return file.read()


def _read_elsewhere(uri: str) -> bytes:
    filesystem, path = filesystem_of(uri)
    with filesystem.open_input_file(path) as file:
        _check_length(uri, file.size())
        content: bytes = file.read()
        return content


def _check_length(uri: str, length: int) -> None:
    if length > MAX_FILE:
        raise ImageError("too_large", f"{uri}: {length >> 20} MiB is too long for a photo (limit {MAX_FILE >> 20} MiB)")
