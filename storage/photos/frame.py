"""A decoded frame of a video as the bytes of an image file: upright, square pixels, sRGB, 8 bits.

The file is a TIFF that is not compressed, because that can say when, where and with what it was filmed, as a photo
does.
"""

import io
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from muster.arrays import F32, Pixels
from muster.errors import ImageError
from muster.storage.photos.exif import local_time

if TYPE_CHECKING:
    import av

MAX_PIXELS = 1 << 25  # of a frame, 8192 × 4096: decoders hold up to 16 besides, of 1.5 bytes a pixel or 3
WIDEST = 4  # times that a pixel may be as wide as high, or high as wide; others are a broken header's
EARLIEST = datetime(1990, 1, 1)  # creation times before it are clocks that were never set: 1904, 1970, 1980
_HD = 720  # lines, from which on unmarked colours are BT.709's (ITU-R BT.709), below it BT.601's
_UNMARKED, _BT709, _BT601, _BT2020 = 2, 1, 5, 9  # colour spaces as ITU-T H.273 numbers them, and libswscale
_PQ, _HLG = 16, 18  # transfer characteristics there
_DATES = ("com.apple.quicktime.creationdate", "creation_time")  # the first is local time, with its zone; the other UTC
_PLACES = ("com.apple.quicktime.location.iso6709", "location", "location-eng")
_ISO6709 = re.compile(r"([+-]\d{1,3}(?:\.\d+)?)([+-]\d{1,3}(?:\.\d+)?)")


def as_tiff(frame: "av.VideoFrame", ratio: Fraction | None, facts: ImageFileDirectory_v2) -> bytes:
    """Raises ImageError where the frame is too large. `ratio`: width of a pixel by its height, None: not known."""
    file = io.BytesIO()
    Image.fromarray(pixels(frame, ratio)).save(file, "TIFF", tiffinfo=facts, strip_size=4 * MAX_PIXELS)
    return file.getvalue()


def pixels(frame: "av.VideoFrame", ratio: Fraction | None = None) -> Pixels:
    """(H, W, 3) uint8 RGB, upright."""
    width, height = _square(frame.width, frame.height, ratio)
    check_size(width, height)
    unmarked = _BT709 if frame.height >= _HD else _BT601
    space = unmarked if frame.colorspace in (0, _UNMARKED) else int(frame.colorspace)
    hdr = frame.color_trc in (_PQ, _HLG)
    form = {"format": "rgb48le" if hdr else "rgb24", "src_colorspace": _BT2020 if hdr else space}
    shown: Any = frame.reformat(width=width, height=height, **form).to_ndarray()
    upright: Pixels = _turned(tone_mapped(shown, frame.color_trc == _PQ) if hdr else shown, _matrix(frame))
    return upright


def check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        text = f"frames of {width}×{height} pixels (limit {MAX_PIXELS // 10**6} million)"
        raise ImageError("too_large", text)


def _square(width: int, height: int, ratio: Fraction | None) -> tuple[int, int]:
    """As wide as it is shown, where its pixels are not square (DVDs, HDV, DV)."""
    if not ratio or not Fraction(1, WIDEST) <= ratio <= WIDEST:
        return width, height
    return max(1, round(width * ratio)), height


def _matrix(frame: "av.VideoFrame") -> tuple[int, int, int, int]:
    """Signs of a, b, c, d by which a player shows the frame: x' = a·x + c·y, y' = b·x + d·y (ISO/IEC 14496-12, 6.2.2).
    What is no turn by right angles is left."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = np.sign(np.frombuffer(data, np.int32)).tolist()
            if (abs(a), abs(d), abs(b), abs(c)) in ((1, 1, 0, 0), (0, 0, 1, 1)):
                return a, b, c, d
    return 1, 0, 0, 1


def _turned(image: Pixels, matrix: tuple[int, int, int, int]) -> Pixels:
    a, b, c, d = matrix
    if not a:
        image, a, d = image.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(image[:: d or 1, :: a or 1])


# ---- what a camera wrote beside the pixels -----------------------------------------------------------------


def facts(metadata: Mapping[str, str], moment: float) -> ImageFileDirectory_v2:
    """When, where and with what a moment was filmed, as tags of a TIFF; `moment` in seconds from the start."""
    said, tags = {name.lower(): value for name, value in metadata.items()}, ImageFileDirectory_v2()
    if began := _began(said):
        tags[ExifTags.Base.DateTime] = f"{began + timedelta(seconds=moment):%Y:%m:%d %H:%M:%S}"
    for tag, name in ((ExifTags.Base.Make, "make"), (ExifTags.Base.Model, "model")):
        if value := said.get(f"com.apple.quicktime.{name}") or said.get(f"com.android.{name}"):
            tags[tag] = value[:100].encode("ascii", "replace").decode()
    place = next((match for name in _PLACES if (match := _ISO6709.match(said.get(name, "")))), None)
    if place:
        tags[ExifTags.IFD.GPSInfo] = _position(*map(float, place.groups()))
    return tags


def _began(said: Mapping[str, str]) -> datetime | None:
    for name in _DATES:
        try:
            began = local_time(said.get(name, ""))
        except (ValueError, OverflowError):
            continue
        if began and began >= EARLIEST:
            return began
    return None


def _position(latitude: float, longitude: float) -> dict[int, Any]:
    return {
        ExifTags.GPS.GPSLatitudeRef: "NS"[latitude < 0],
        ExifTags.GPS.GPSLatitude: (abs(latitude), 0.0, 0.0),
        ExifTags.GPS.GPSLongitudeRef: "EW"[longitude < 0],
        ExifTags.GPS.GPSLongitude: (abs(longitude), 0.0, 0.0),
    }


# ---- high dynamic range ------------------------------------------------------------------------------------

WHITE = 203.0  # cd/m² of paper white in HDR (ITU-R BT.2408, table 1)
PEAK = 1000.0  # cd/m² that are shown as white: the display that HLG is made for (BT.2100), and most masters of PQ
_TO_709 = np.array(  # of linear BT.2020 (ITU-R BT.2407, 2.2)
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
_WEIGHTS = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of luminance in BT.2020


@cache
def _light(pq: bool) -> F32:
    """(65536,): the light of each coded value; of PQ in cd/m² (SMPTE ST 2084, 5.2), of HLG that of the scene, 0..1
    (BT.2100, table 5)."""
    coded = np.arange(1 << 16) / 0xFFFF
    if pq:
        root = coded ** (32 / 2523)
        light = 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (16384 / 2610)
    else:
        light = np.where(coded <= 0.5, coded**2 / 3, (np.exp((coded - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return light.astype(np.float32)


def tone_mapped(image: "np.ndarray[Any, np.dtype[np.uint16]]", pq: bool) -> Pixels:
    """PQ or HLG pixels (H, W, 3) uint16 as sRGB, uint8.

    Light is divided by paper white and then compressed, L·(1 + L/W²)/(1 + L) with W the peak: Reinhard et al.,
    Photographic tone reproduction for digital images, SIGGRAPH 2002, equation 4. Colours beyond BT.709 are cut off.
    """
    light = _light(pq)[image]
    luminance = light @ _WEIGHTS
    if not pq:  # what a display adds to scene light (BT.2100, table 5: the OOTF, of system gamma 1.2)
        light = light * (PEAK * np.maximum(luminance, 1e-6) ** 0.2)[..., None]
        luminance = light @ _WEIGHTS
    light, luminance, most = light / WHITE, luminance / WHITE, PEAK / WHITE
    light = light * ((1 + luminance / most**2) / (1 + luminance))[..., None] @ _TO_709.T
    light = np.clip(light, 0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    return np.asarray(np.round(encoded * 255), np.uint8)
