"""A small album of real photographs for trying Muster out, made from pictures that installed packages carry.

All are free to use. People: Eileen Collins (scikit-image's `astronaut`; NASA, public domain) and Grace Hopper
(matplotlib's `grace_hopper.jpg`; US Navy, public domain). Pictures without people, all from scikit-image: `coffee`
(Rachel Michetti, CC0), `rocket` (SpaceX, public domain), `hubble` (NASA, public domain), `clock` (Stefan van der Walt,
public domain), `grass` and `brick` (CC0). Its cat and its gravel are left out: YuNet sees a face in each.
"""

import io
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageEnhance

from muster.errors import InputError
from muster.storage.new_files import check_local, new_file

pillow_heif.register_heif_opener()

_SOURCES = {
    "collins": ("skimage", "data/astronaut.png"),
    "hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "hubble": ("skimage", "data/hubble_deep_field.jpg"),
    "clock": ("skimage", "data/clock_motion.png"),
    "grass": ("skimage", "data/grass.png"),
    "brick": ("skimage", "data/brick.png"),
}
_HOUSTON, _CANAVERAL = (29.5593, -95.0900), (28.3922, -80.6077)
_ARLINGTON, _SYDNEY = (38.8783, -77.0687), (-33.8568, 151.2153)
_TRANSPOSE = Image.Transpose
# How to store an upright picture so that its EXIF orientation makes it upright again.
_STORED = {
    2: _TRANSPOSE.FLIP_LEFT_RIGHT,
    3: _TRANSPOSE.ROTATE_180,
    4: _TRANSPOSE.FLIP_TOP_BOTTOM,
    5: _TRANSPOSE.TRANSPOSE,
    6: _TRANSPOSE.ROTATE_90,
    7: _TRANSPOSE.TRANSVERSE,
    8: _TRANSPOSE.ROTATE_270,
}


_SAVE: dict[str, dict[str, Any]] = {
    "jpg": {"format": "JPEG", "quality": 88},
    "png": {"format": "PNG"},
    "heic": {"format": "HEIF", "quality": 70, "enc_params": {"preset": "ultrafast"}},  # 0.15 s a picture instead of 1.0
}


@dataclass(frozen=True)
class Shot:
    """One picture of the album: what is on it, how it was framed and lit, and what the camera wrote."""

    people: str  # names of _SOURCES, joined by "+" when side by side
    taken_at: str
    suffix: str = "jpg"
    frame: tuple[float, float, float, float] = (0, 0, 1, 1)  # left, top, right, bottom as parts of the picture
    side: int = 1024  # the longer, in pixels
    tilt: float = 0  # degrees
    brightness: float = 1
    contrast: float = 1
    colour: float = 1
    warmth: float = 1  # factor on red, its inverse on blue
    orientation: int = 1
    camera: tuple[str, str] | None = ("Apple", "iPhone 5s")
    position: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        return f"IMG_{datetime.fromisoformat(self.taken_at):%Y%m%d_%H%M%S}.{self.suffix}"


_PIXEL, _GALAXY, _CANON = ("Google", "Pixel 3"), ("samsung", "SM-G930F"), ("Canon", "Canon EOS 80D")
_HEAD, _BUST = (0.2, 0.0, 0.72, 0.52), (0.1, 0.0, 0.85, 0.8)  # of Collins
_FACE, _PORTRAIT = (0.1, 0.05, 0.95, 0.75), (0.0, 0.0, 1.0, 0.85)  # of Hopper

ALBUM = (
    Shot("collins", "2014-05-03 10:12:44", position=_HOUSTON),
    Shot("collins", "2014-05-03 10:13:02", frame=_HEAD, side=800, orientation=6, position=_HOUSTON),
    Shot("collins", "2014-05-03 10:15:31", frame=_BUST, brightness=0.75, position=_HOUSTON),
    Shot("rocket", "2014-07-19 18:40:09", position=_CANAVERAL),
    Shot("collins", "2014-12-24 19:55:00", frame=_HEAD, side=640, warmth=1.12, brightness=0.85),
    Shot("hopper", "2015-02-11 14:02:27", camera=_CANON, side=1400, position=_ARLINGTON),
    Shot("hopper", "2015-02-11 14:02:59", camera=_CANON, frame=_PORTRAIT, orientation=8, position=_ARLINGTON),
    Shot("hopper", "2015-02-11 14:05:10", camera=_CANON, frame=_FACE, side=900, brightness=1.2, position=_ARLINGTON),
    Shot("collins+hopper", "2015-02-11 14:20:00", camera=_CANON, side=1600, position=_ARLINGTON),
    Shot("clock", "2015-02-11 15:00:01", camera=_CANON),
    Shot("collins", "2016-03-09 08:30:15", camera=_GALAXY, frame=_HEAD, side=480, contrast=0.8),
    Shot("collins", "2016-03-09 08:31:40", camera=_GALAXY, frame=_BUST, orientation=3, tilt=5),
    Shot("hopper", "2016-06-30 12:00:00", camera=_GALAXY, frame=_FACE, tilt=-6, orientation=2),
    Shot("coffee", "2016-06-30 12:45:37", camera=_GALAXY, orientation=6),
    Shot("hopper", "2016-09-17 16:21:08", camera=_GALAXY, frame=_PORTRAIT, side=700, contrast=1.2, warmth=0.92),
    Shot("rocket", "2016-11-05 09:09:09", camera=_GALAXY, frame=(0, 0.2, 0.7, 1), orientation=3),
    Shot("collins", "2017-01-20 17:45:12", suffix="png", frame=_BUST, side=600, camera=None),
    Shot("hopper", "2017-01-20 17:46:55", suffix="png", frame=_FACE, side=500, colour=0, camera=None),
    Shot("collins", "2017-04-12 11:11:11", frame=_HEAD, orientation=4, brightness=1.15),
    Shot("collins", "2017-04-12 11:12:30", frame=_BUST, orientation=5, tilt=-4),
    Shot("hopper", "2017-08-21 13:25:00", frame=_PORTRAIT, orientation=7, position=_SYDNEY),
    Shot("grass", "2017-08-21 13:40:18", position=_SYDNEY),
    Shot("hubble", "2018-02-02 22:22:22", suffix="png", camera=None),
    Shot("collins", "2018-10-14 15:05:48", suffix="heic", camera=_PIXEL, frame=_BUST, position=_HOUSTON),
    Shot("collins", "2018-10-14 15:06:20", suffix="heic", camera=_PIXEL, frame=_HEAD, side=720, orientation=6),
    Shot("hopper", "2018-12-09 10:00:30", suffix="heic", camera=_PIXEL, frame=_FACE, side=960),
    Shot("hopper", "2018-12-09 10:01:02", suffix="heic", camera=_PIXEL, frame=_PORTRAIT, orientation=8, warmth=1.08),
    Shot("hopper+collins", "2019-05-18 20:15:33", suffix="heic", camera=_PIXEL, side=1280, brightness=0.85),
    Shot("coffee", "2019-05-19 09:02:14", camera=_PIXEL, frame=(0.1, 0, 0.9, 1), brightness=1.1),
    Shot("collins", "2019-09-01 07:50:00", camera=_PIXEL, frame=_HEAD, side=400, contrast=1.25),
    Shot("hopper", "2019-09-01 08:00:00", camera=_PIXEL, frame=_FACE, side=400, brightness=0.7),
    Shot("brick", "2020-04-04 16:16:16", camera=_PIXEL),
    Shot("hopper", "2020-07-07 19:30:45", camera=_PIXEL, frame=(0, 0.05, 1, 0.9), tilt=7),
    Shot("collins", "2021-06-05 12:34:56", camera=_PIXEL, frame=(0, 0, 0.9, 0.9), side=1200, colour=0.5),
)
_NEAR = {"collins": (80, 0, 380, 360), "hopper": (40, 0, 512, 590)}  # crops with heads of like size
DUPLICATE_OF = ALBUM[1].name
DUPLICATE = f"Copy of {DUPLICATE_OF}"
BROKEN_FROM = ALBUM[20].name
BROKEN = "IMG_20170821_132500_download.jpg"  # the first half of that picture


def make_album(folder: Path) -> None:
    """Write the album of `ALBUM`, one exact duplicate and one broken file into `folder`, unless it holds them all.

    The bytes are the same each time, given the same versions of Pillow and its codecs. Raises InputError when
    scikit-image or matplotlib is not installed.
    """
    folder = check_local(folder, "folder")
    names = [shot.name for shot in ALBUM] + [DUPLICATE, BROKEN]
    if all((folder / name).is_file() for name in names):
        return
    pictures = {name: _load(name) for name in _SOURCES}
    folder.mkdir(parents=True, exist_ok=True)
    for shot in ALBUM:
        _write(folder / shot.name, _encode(shot, pictures))
    _write(folder / DUPLICATE, (folder / DUPLICATE_OF).read_bytes())
    content = (folder / BROKEN_FROM).read_bytes()
    _write(folder / BROKEN, content[: len(content) // 2])


def _load(name: str) -> Image.Image:
    package, path = _SOURCES[name]
    spec = find_spec(package)  # not imported: their files are all that is needed
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"the demo album needs pictures of {package}: pip install scikit-image matplotlib")
    file = Path(spec.submodule_search_locations[0]) / path
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except FileNotFoundError as error:
        raise InputError(
            f"the installed {package} has no {path}: pip install --upgrade scikit-image matplotlib"
        ) from error


def _encode(shot: Shot, pictures: dict[str, Image.Image]) -> bytes:
    image = _picture(shot, pictures)
    if shot.orientation != 1:
        image = image.transpose(_STORED[shot.orientation])
    file = io.BytesIO()
    image.save(file, exif=_exif(shot).tobytes(), **_SAVE[shot.suffix])
    return file.getvalue()


def _picture(shot: Shot, pictures: dict[str, Image.Image]) -> Image.Image:
    """The upright picture."""
    names = shot.people.split("+")
    image = pictures[names[0]]
    if len(names) > 1:
        image = _side_by_side([pictures[name].crop(_NEAR[name]) for name in names])
    if shot.tilt:
        image = image.rotate(shot.tilt, Image.Resampling.BICUBIC, fillcolor=image.getpixel((0, 0)))
    left, top, right, bottom = shot.frame
    box = (left * image.width, top * image.height, right * image.width, bottom * image.height)
    factor = shot.side / max(box[2] - box[0], box[3] - box[1])
    size = (round((box[2] - box[0]) * factor), round((box[3] - box[1]) * factor))
    image = image.resize(size, Image.Resampling.LANCZOS, box)
    for enhance, amount in (
        (ImageEnhance.Brightness, shot.brightness),
        (ImageEnhance.Contrast, shot.contrast),
        (ImageEnhance.Color, shot.colour),
    ):
        image = enhance(image).enhance(amount)
    if shot.warmth != 1:
        tinted = np.asarray(image) * np.array([shot.warmth, 1, 1 / shot.warmth])
        image = Image.fromarray(tinted.clip(0, 255).astype(np.uint8))
    return image


def _side_by_side(images: list[Image.Image]) -> Image.Image:
    height = max(image.height for image in images)
    sizes = [(image.width * height // image.height, height) for image in images]
    scaled = [image.resize(size, Image.Resampling.LANCZOS) for image, size in zip(images, sizes, strict=True)]
    together = Image.new("RGB", (sum(image.width for image in scaled), height))
    left = 0
    for image in scaled:
        together.paste(image, (left, 0))
        left += image.width
    return together


def _exif(shot: Shot) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = shot.orientation
    when = f"{datetime.fromisoformat(shot.taken_at):%Y:%m:%d %H:%M:%S}"
    if shot.camera:
        exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = shot.camera
        exif[ExifTags.Base.DateTime] = when
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = when
    if shot.position:
        latitude, longitude = shot.position
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(
            {
                ExifTags.GPS.GPSLatitudeRef: "N" if latitude >= 0 else "S",
                ExifTags.GPS.GPSLatitude: _sexagesimal(latitude),
                ExifTags.GPS.GPSLongitudeRef: "E" if longitude >= 0 else "W",
                ExifTags.GPS.GPSLongitude: _sexagesimal(longitude),
            }
        )
    return exif


def _sexagesimal(degrees: float) -> tuple[Fraction, Fraction, Fraction]:
    """Degrees, minutes and seconds, to a hundredth of a second."""
    hundredths = round(abs(degrees) * 360_000)
    minutes, rest = divmod(hundredths, 6000)
    return Fraction(minutes // 60), Fraction(minutes % 60), Fraction(rest, 100)


def _write(path: Path, content: bytes) -> None:
    """Write the file whole or not at all, so that an interrupted album is noticed and made again."""
    with new_file(path) as file:
        file.write(content)
