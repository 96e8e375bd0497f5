"""Bytes of a photo to upright RGB pixels and the facts a camera wrote beside them. Hostile bytes become ImageErrors."""

import hashlib
import io
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pillow_heif
import pyarrow as pa
from PIL import Image, ImageFile, JpegImagePlugin, PsdImagePlugin, TiffImagePlugin, UnidentifiedImageError

from muster.arrays import Pixels
from muster.errors import ImageError
from muster.storage.files import open_regular
from muster.storage.http import fetch
from muster.storage.photos import heif, jxl, png, psd, raw
from muster.storage.photos.exif import CameraFacts, facts, orientation, read_exif
from muster.storage.photos.first_bytes import (
    FORMATS,
    HEAD,
    ISO_BRANDS,
    JXL,
    OTHER_IMAGES,
    OURS,
    RAW,
    TIFF,
    Format,
    format_of,
)
from muster.storage.photos.pixels import TURNED_BY_LOADING, dct_divisor, profile_of, shrunk, upright, upright_pixels
from muster.storage.photos.rendered import Rendered, memory
from muster.storage.photos.tiff import MAX_NUMBERS, is_described, is_misread, numbers_in, photo_page
from muster.storage.retry import retried
from muster.storage.uris import filesystem_of, is_http, local_path

KINDS = (
    "not_found",  # no such file or object
    "permission",  # it may not be read
    "unreadable",  # reading failed for another reason: a folder, a network error, a bad URI
    "empty",  # zero bytes
    "not_an_image",  # bytes of no format known here
    "unsupported",  # a known format that is not read here: PDF, video, …; or an address: ftp, …
    "truncated",  # the file ends before its pixels do
    "corrupt",  # the decoder gave up
    "gone",  # of a web server: it says that there is no such file (404, 410)
    "refused",  # of a web server: it does not give it, or its robots directives disallow it
    "private",  # of a web server on this machine or in a private network, which a scan has to allow
    "timeout",  # a web server did not send it in time
    "too_large",  # decoding would take more than MAX_MEMORY, or the file is longer than MAX_FILE
)
MAX_FILE = 1 << 29  # bytes
MAX_SCANNED = 3 * 10**9  # pixels times scans of a progressive JPEG (6 s): a file of some kB can ask for hours

_FORMATS = tuple(plugin for kind in FORMATS for plugin in kind.pillow)
_NAMES = {"MPO": "jpeg", "HEIF": "heic"}
# Formats that Pillow does not read: who makes a picture of the bytes that it knows, and their name in tables
_RENDERERS: Mapping[Format, tuple[str, Callable[[bytes, int | None], Rendered]]] = {
    RAW: ("raw", raw.render),
    JXL: ("jxl", jxl.render),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A decoded image.

    pixels: (H, W, 3) uint8 RGB, C-contiguous, upright. scale: decoded longest side / full longest side, in (0, 1].
    size: (width, height) of the full upright image. format: "jpeg", "heic", … orientation: EXIF 1..8, what was
    applied. taken_at: local time without zone, as cameras write it. latitude, longitude: decimal degrees, both or
    neither. sha256: of the bytes, hex. profile: the file's ICC profile, which the pixels are in, if any
    (`muster.colour`).
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
    profile: bytes | None = None


def decode(data: bytes, max_side: int | None = None) -> Photo:
    """The photo in `data`, its longest side at most `max_side` pixels (full size if None), never enlarged.

    Raises ImageError, and nothing else, for any bytes whatever. Safe to call from several threads.
    """
    if max_side is not None and max_side < 1:
        raise ValueError(f"max_side must be at least 1, not {max_side}")
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        return _decode(data, max_side, sha256)
    except ImageError as error:
        mended = png.without_broken_chunks(data) if error.kind in ("corrupt", "truncated") else None
        if mended is None:
            raise
        try:
            return _decode(mended, max_side, sha256)
        except ImageError:
            raise error from None


def _decode(data: bytes, max_side: int | None, sha256: str) -> Photo:
    name, size = None, None
    try:
        if (kind := _format_of(data)) is not None and kind in _RENDERERS:
            name, render = _RENDERERS[kind]
            return _rendered(render(data, max_side), max_side, name, sha256)
        image = _open(data)
        name, size = _NAMES.get(image.format or "", (image.format or "unknown").lower()), image.size
        return _photo(image, data, max_side, name, sha256)
    except Exception as cause:  # on hostile bytes decoders raise nearly every built-in exception; none may stop a run
        error = cause if isinstance(cause, ImageError) else _decoder_error(cause)
        error.sha256, error.format, error.size = sha256, name, size or error.size
        raise error from (cause.__cause__ if error is cause else cause)


def read(uri: str) -> bytes:
    """The bytes of the file that `uri` names, as muster.storage.uris has it (not of inline images).

    Raises ImageError, or UnreachableError where its bucket does not answer, which is no fault of the image.
    """
    try:
        path = local_path(uri)
        return _read_elsewhere(uri) if path is None else _read_local(path)
    except FileNotFoundError as error:
        raise ImageError("not_found", f"{uri}: no such file") from error
    except PermissionError as error:
        raise ImageError("permission", f"{uri}: not allowed to read it") from error
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a name with a null byte
        raise ImageError("unreadable", f"{uri}: {getattr(error, 'strerror', None) or error}") from error


# ---- opening ---------------------------------------------------------------------------------------------


def _format_of(data: bytes) -> Format | None:
    """None of no bytes, and of those that begin like no format."""
    if not data.startswith(TIFF):
        return format_of(data[:HEAD])
    if photo_page(data) is None:
        return RAW
    _check_numbers(data, 1)
    return format_of(data[:HEAD])


def _open(data: bytes) -> ImageFile.ImageFile:
    if not data:
        raise ImageError("empty", "the file is empty")
    if data.startswith(b"8BPS") and psd.unread(data):
        raise _variant()
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except OSError as error:
        if _cut_short(data):
            raise ImageError("truncated", "the file is cut short") from error
        if not isinstance(error, UnidentifiedImageError):
            raise
        if data[8:12] in ISO_BRANDS:
            pillow_heif.open_heif(data)  # raises the error that Pillow hides
            raise ImageError("unsupported", "no picture in it is HEVC or AV1") from None
        if data.startswith(TIFF) and is_described(data):
            raise _variant() from None
        raise _unidentified(data[:16]) from None
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if page := photo_page(data):
            _check_numbers(data, page + 1)
            image.seek(page)
        if is_misread(image.tag_v2):
            raise _variant()
    if isinstance(image, PsdImagePlugin.PsdImageFile):
        _take_composite(image)
    return image


def _take_composite(image: PsdImagePlugin.PsdImageFile) -> None:
    """See that a Photoshop document has the picture of its layers, and the camera's EXIF at its place."""
    resources = [(number, content) for number, _, content in image.resources]
    if not psd.has_composite(resources):
        raise ImageError("unsupported", "its layers are not read, and it has no picture of them: export it as JPEG")
    image.info["exif"] = dict(resources).get(psd.EXIF, b"")


def _variant() -> ImageError:
    return ImageError("unsupported", "a variant of its format that is not read")


def _check_numbers(data: bytes, pages: int) -> None:
    """Of a TIFF, of which that many pages are to be read."""
    numbers = numbers_in(data, pages)
    if numbers > MAX_NUMBERS:
        raise ImageError("too_large", f"{numbers} numbers in its tags (limit {MAX_NUMBERS})")


def _cut_short(data: bytes) -> bool:
    """Whether a HEIC, AVIF or WebP file says that it goes on behind its last byte.

    libheif fills the tiles that are missing from a cut HEIC and says nothing. Phones append other things to the boxes
    of ISO/IEC 14496-12 (4 bytes length, 4 bytes type), so the walk ends at the first type that a photo does not need.
    """
    if data[8:12] == b"WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if data[8:12] not in ISO_BRANDS:
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
    """Messages never quote the file: a row may name /etc/shadow, and readers of the tables may not read that."""
    if head[4:8] == b"ftyp":
        return ImageError("unsupported", "a video or another ISO media file is not read")
    for magic, name in OTHER_IMAGES.items():
        if head.startswith(magic):
            return ImageError("unsupported", f"{name} is not read")
    if head.startswith(OURS):
        return ImageError("corrupt", "an image file with a broken header")
    return ImageError("not_an_image", "not an image: it begins like no format known here")


def _decoder_error(cause: Exception) -> ImageError:
    text = str(cause) or type(cause).__name__
    if isinstance(cause, MemoryError | Image.DecompressionBombError | Image.DecompressionBombWarning):
        return ImageError("too_large", "too large to decode")
    if "Unsupported codec" in text or "Unsupported feature" in text:  # libheif's words
        return _variant()
    if isinstance(cause, EOFError) or re.search("truncated|end of (file|data)|premature", text, re.IGNORECASE):
        return ImageError("truncated", "the file is cut short")
    return ImageError("corrupt", f"cannot be decoded ({type(cause).__name__})")


# ---- decoding --------------------------------------------------------------------------------------------


def _photo(
    image: ImageFile.ImageFile, data: bytes, max_side: int | None, name: str, sha256: str, turned: int | None = None
) -> Photo:
    """`turned`: its orientation, where something else says it than the picture's own EXIF."""
    full = image.size
    side = min(max_side or max(full), max(full))
    if image.format in ("HEIF", "AVIF") and _cut_short(data):
        raise ImageError("truncated", "the file is cut short")
    with memory(full, _memory(image, data, side)):
        if image.format == "PNG":  # its EXIF may stand behind the pixels
            if png.is_cut(data):
                raise ImageError("truncated", "the file is cut short")
            image.load()
        exif = read_exif(image)
        turn = turned or (heif.orientation(data) if image.format == "HEIF" else orientation(exif))
        pixels = upright_pixels(image, data, side, turn)
    if image.format in TURNED_BY_LOADING:
        full = image.size
    elif turn >= 5:
        full = full[::-1]
    scale = max(pixels.shape[:2]) / max(full)
    found = facts(exif)
    if (
        image.format == "TIFF" and image.tell() and not any(found)
    ):  # the photo is a later page of a TIFF, and the first may know more
        image.seek(0)
        found = facts(read_exif(image))
    return Photo(
        pixels=pixels,
        scale=scale,
        size=full,
        format=name,
        orientation=turn,
        sha256=sha256,
        profile=profile_of(image),
        **found._asdict(),
    )


def _rendered(found: Rendered, max_side: int | None, name: str, sha256: str) -> Photo:
    """The photo that a file of another format was made of, or shows."""
    if isinstance(found.picture, bytes):
        image = Image.open(io.BytesIO(found.picture), formats=("JPEG",))
        photo = _photo(image, found.picture, max_side, name, sha256, found.orientation)
    else:
        picture = upright(found.picture, found.orientation or 1)
        side = min(max_side or max(picture.shape), max(picture.shape[:2]))
        photo = Photo(
            pixels=np.ascontiguousarray(shrunk(Image.fromarray(np.ascontiguousarray(picture)), side)),
            scale=1,
            size=picture.shape[1::-1],
            format=name,
            orientation=found.orientation or 1,
            sha256=sha256,
            profile=found.profile,
            **CameraFacts()._asdict(),
        )
    size = max(found.size or photo.size, photo.size, key=max)
    known = facts(found.exif) if len(found.exif) else CameraFacts()
    return replace(
        photo,
        size=size,
        scale=max(photo.pixels.shape[:2]) / max(size),
        orientation=found.stored or photo.orientation,
        **{name: value for name, value in known._asdict().items() if value is not None},
    )


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
    elif image.info.get("tiling") and image.mode == "RGB" and image.info.get("bit_depth") == 8:
        held = 5  # a phone's HEIC; one that is coded in one piece needs more
    return int(held * pixels + 12 * output + _tile(image))


def _tile(image: ImageFile.ImageFile) -> float:
    """Bytes of one tile of a TIFF, which may be larger than the image. Strips end with it; `held` has them."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 0
    tags = image.tag_v2
    bits = max(tags.get(258, (1,))) * max(len(tags.get(258, (1,))), tags.get(277, 1))
    return float(tags.get(322, 0) * tags.get(323, 0) * bits / 8)


_BYTES_PER_PIXEL = {"AVIF": 14, "HEIF": 11, "TIFF": 12, "WEBP": 18}


def _jpeg_memory(image: JpegImagePlugin.JpegImageFile, data: bytes, side: int) -> float:
    pixels = image.width * image.height
    progressive = image.info.get("progressive", 0)
    scans = data.count(b"\xff\xda") if progressive or pixels > 64e6 else 1  # counting costs 1 ms per MB
    if scans * pixels > MAX_SCANNED:
        raise ImageError("too_large", f"{scans} scans over {image.width}×{image.height} pixels")
    areas = [h * v for _, h, v, _ in image.layer]
    coefficients = 2 * pixels * sum(areas) / max(areas) if scans > 1 else 0  # all are held, whatever the scale
    divisor = dct_divisor(image.size, side)
    return coefficients + (8 if image.mode == "CMYK" or divisor * side < max(image.size) else 4) * pixels / divisor**2


# ---- reading ---------------------------------------------------------------------------------------------


def _read_local(path: str) -> bytes:
    with open_regular(path) as file:
        length = os.fstat(file.fileno()).st_size
        _check_length(path, length)
        return file.read(length)  # at most: /proc/self/pagemap claims 0 bytes and gives 256 GB


def _read_elsewhere(uri: str) -> bytes:
    if is_http(uri):
        return fetch.read(uri, MAX_FILE)

    def attempt() -> bytes:
        filesystem, path = filesystem_of(uri)
        with filesystem.open_input_file(path) as file:
            _check_length(uri, file.size())
            content: bytes = file.read()
            return content

    return retried(f"read {uri}", attempt)


def _check_length(uri: str, length: int) -> None:
    if length > MAX_FILE:
        raise ImageError("too_large", f"{uri}: {length >> 20} MiB is too long for a photo (limit {MAX_FILE >> 20} MiB)")
