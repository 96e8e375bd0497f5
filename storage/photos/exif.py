"""What a camera wrote beside the pixels: time, place, its name, and which way is up."""

import re
import struct
from collections.abc import Callable
from datetime import datetime, timedelta
from math import isfinite, nan
from typing import Any, NamedTuple, TypeVar

from PIL import ExifTags, Image

from muster.storage.photos.tiff import MAX_NUMBERS, numbers_in

T = TypeVar("T")

_TIMES = (
    (ExifTags.Base.DateTimeOriginal, ExifTags.Base.SubsecTimeOriginal),
    (ExifTags.Base.DateTimeDigitized, ExifTags.Base.SubsecTimeDigitized),
    (ExifTags.Base.DateTime, ExifTags.Base.SubsecTime),
)
# Year first; separators of any kind, also of several characters ("2019年"), and blanks in place of zeros. A zone behind
# it is left: the column is local time. No year of two digits: nobody knows which of them it is.
_BETWEEN = r"[^\d]{1,4}"
_TIME = re.compile(
    rf"(\d{{4}}){_BETWEEN}(\d\d?){_BETWEEN}(\d\d?)(?!\d)"
    rf"(?:{_BETWEEN}(\d\d?){_BETWEEN}(\d\d?)(?:{_BETWEEN}(\d\d?)(?:[.,](\d+))?)?(?!\d)(?:\s?([AaPp])\.?[Mm])?)?"
)
_COMPACT_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:[ T]?(\d\d)(\d\d)(\d\d)?)?(?!\d)")
_ZONE = re.compile(r"(\d: ?\d\d?(?:: ?\d\d?(?:[.,]\d+)?)?) ?[+-]\d\d:?\d\d")
_DAY = len("2019:1:5")  # at least: no zone begins before its end
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_DECIMAL_COMMA = re.compile(r"\D*\d+,\d+\D*")


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
    return _guarded(image.info.get("exif") or b"", lambda _: image.getexif())


def exif_of(block: bytes) -> Image.Exif:
    """What stands in a TIFF file or EXIF block."""

    def loaded(block: bytes) -> Image.Exif:
        exif = Image.Exif()
        exif.load(block)
        return exif

    return _guarded(block, loaded)


def _guarded(block: bytes, read: Callable[[bytes], Image.Exif]) -> Image.Exif:
    try:
        if numbers_in(re.sub(b"^(Exif\0\0){1,2}", b"", block)) > MAX_NUMBERS:
            return Image.Exif()
        return read(block)
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
    """Each by itself: a broken directory of positions costs no time."""
    if not len(exif):
        return CameraFacts()
    return CameraFacts(_known(_taken_at, exif), *(_known(_position, exif) or (None, None)), _known(_camera, exif))


def _known(fact: Callable[[Image.Exif], T], exif: Image.Exif) -> T | None:
    try:
        return fact(exif)
    except _EXIF_ERRORS:
        return None


def _taken_at(exif: Image.Exif) -> datetime | None:
    tags = {**exif, **(_known(lambda each: each.get_ifd(ExifTags.IFD.Exif), exif) or {})}
    for when, fraction in _TIMES:
        try:
            found = local_time(_text(tags.get(when, "")), _text(tags.get(fraction, "")))
        except (ValueError, OverflowError):
            continue  # 0000:00:00 and the like: a camera whose clock was never set
        if found:
            return found
    return None


def local_time(text: str, fraction: str = "") -> datetime | None:
    """A time as it is written, whatever its separators; a zone behind it is left. A date alone is its midnight.

    None where it is no date. Raises ValueError or OverflowError for a day or time that does not exist.
    """
    text = text[:_DAY] + _ZONE.sub(r"\1", text[_DAY:])
    if match := _TIME.match(text):
        *parts, own_fraction, half = match.groups()
    elif match := _COMPACT_TIME.match(text):
        parts, own_fraction, half = [*match.groups()], None, None
    else:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in parts)
    if half and hour <= 12:
        hour = hour % 12 + 12 * (half in "Pp")
    if hour == 24:
        hour = 0  # of the same day: phones that count hours from 1 to 24 wrote 24:08 for 00:08
    digits = re.search(r"\d+", fraction) or (own_fraction and re.match(r"\d+", own_fraction))
    part = int(f"{digits[0]:0<6.6}") if digits and parts[-1] else 0
    if second == 60:  # a leap second, or rounded up
        return datetime(year, month, day, hour, minute, 59) + timedelta(seconds=1)
    return datetime(year, month, day, hour, minute, second, part)


def _position(exif: Image.Exif) -> tuple[float | None, float | None]:
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    latitude = _degrees(gps.get(ExifTags.GPS.GPSLatitude), gps.get(ExifTags.GPS.GPSLatitudeRef), 90)
    longitude = _degrees(gps.get(ExifTags.GPS.GPSLongitude), gps.get(ExifTags.GPS.GPSLongitudeRef), 180)
    # 0, 0 is what receivers without a fix write; the place itself is open ocean.
    if latitude is None or longitude is None or latitude == longitude == 0:
        return None, None
    return latitude, longitude


def _degrees(value: object, ref: object, limit: int) -> float | None:
    """Degrees, minutes and seconds to signed decimal degrees; None where they are not numbers in range.

    0/0 is "unknown" (EXIF, 4.6.6): seconds may be, which moves the place by 2 km at most; minutes only behind degrees
    with a fraction. Without a ref the sign of the numbers counts, which is plus as a rule: so exiftool, and all who
    rely on it, and most files that lack refs are of programs that leave out N and E.
    """
    where = _text(ref)
    if isinstance(value, str | bytes):
        text = _text(value)
        where = where or re.sub(r"[^NSEWnsew]", "", text)
        text = text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text
        negative, parts = text.startswith("-"), [float(number) for number in _NUMBER.findall(text)]
    else:
        numbers = [_number(each) for each in (value if isinstance(value, tuple) else (value,))][:3]
        known = numbers[: next((i for i, number in enumerate(numbers) if not isfinite(number)), 3)]
        if len(known) < min(len(numbers), 2) and not (known and known[0] % 1):
            return None
        negative, parts = any(number < 0 for number in known), [abs(number) for number in known]
    degrees = sum(part / 60**i for i, part in enumerate(parts[:3]))
    if not parts or degrees > limit:
        return None
    return -degrees if negative or where[:1].upper() in ("S", "W") else degrees


def _number(value: Any) -> float:
    """NaN for what is none, such as 0/0."""
    try:
        return float(value)
    except (TypeError, ValueError, ArithmeticError):
        return nan


def _camera(exif: Image.Exif) -> str | None:
    make, model = _text(exif.get(ExifTags.Base.Make)), _text(exif.get(ExifTags.Base.Model))
    if make and model and model.lower().startswith(make.split()[0].lower()):
        return model
    return f"{make} {model}".strip() or None


def _text(value: object) -> str:
    """An EXIF string without padding, numbers as they are written; "" for anything else."""
    if not value:
        return ""
    if isinstance(value, tuple):
        return " ".join(filter(None, map(_text, value[:8])))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):  # Pillow takes bytes for Latin-1; phones write UTF-8
        value = value.encode("latin-1", "replace")
    if not isinstance(value, bytes):
        return ""
    value = value.strip(b"\0 ").split(b"\0")[0]
    try:
        text = value.decode()
    except UnicodeDecodeError:
        text = value.decode("latin-1")
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())
