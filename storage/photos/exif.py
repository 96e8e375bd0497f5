"""What a camera wrote beside the pixels: time, place, its name, and which way is up."""

import re
import struct
from datetime import datetime
from math import isfinite
from typing import Any, NamedTuple

from PIL import ExifTags, Image

from muster.storage.photos.tiff import MAX_NUMBERS, numbers_in

_TIMES = (
    (ExifTags.Base.DateTimeOriginal, ExifTags.Base.SubsecTimeOriginal),
    (ExifTags.Base.DateTimeDigitized, ExifTags.Base.SubsecTimeDigitized),
    (ExifTags.Base.DateTime, ExifTags.Base.SubsecTime),
)
_TIME = re.compile(r"(\d{4})[:/.-](\d\d)[:/.-](\d\d)[ T](\d\d):(\d\d):(\d\d)")


# What Pillow's EXIF parser raises on broken blocks. Such a photo is kept, without time, place and camera.
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


def read_exif(image: Image.Image) -> Image.Exif:
    block = image.info.get("exif") or b""
    try:
        if numbers_in(re.sub(b"^(Exif\0\0){1,2}", b"", block)) > MAX_NUMBERS:
            return Image.Exif()
        return image.getexif()
    except _EXIF_ERRORS:
        return Image.Exif()


def orientation(exif: Image.Exif) -> int:
    found = exif.get(ExifTags.Base.Orientation)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


class CameraFacts(NamedTuple):
    """What the camera wrote; None where it did not, or nonsense. `taken_at`: local time without zone. `latitude`,
    `longitude`: decimal degrees, both or neither. `camera`: make and model."""

    taken_at: datetime | None = None
    latitude: float | None = None
    longitude: float | None = None
    camera: str | None = None


def facts(exif: Image.Exif) -> CameraFacts:
    try:
        return CameraFacts(_taken_at(exif), *_position(exif), _camera(exif))
    except _EXIF_ERRORS:
        return CameraFacts()


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
