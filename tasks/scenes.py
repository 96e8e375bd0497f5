"""The task `scenes`: day or night, from the pixels and, as a second opinion, from the camera's clock and the sun.

Both may abstain. They speak for the image where they agree or where only one is sure; where they contradict each other
(a dark room at noon, a lit one at night, a clock never set) the image has no label, and both opinions stand in its row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, time
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image as PillowImage

from muster.arrays import F64, Pixels
from muster.tasks.base import IMAGE_ID, Findings, Image, StateDict, Task, to_device
from muster.tasks.models import zoo
from muster.tasks.models.daynight import SIDE
from muster.tasks.models.fuse import for_inference

# What software writes where it knows the date alone.
_DATE_ONLY = (time(0, 0, 0), time(12, 0, 0))

SCHEMA = pa.schema(
    [
        IMAGE_ID,
        pa.field("label", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("p_day", pa.float32()),
        pa.field("exif_label", pa.string()),
        pa.field("sun_low", pa.int8()),
        pa.field("sun_high", pa.int8()),
    ]
)


@dataclass(frozen=True)
class SceneParameters:
    """What changes the rows. Probabilities of day, elevations of the sun in degrees, hours, degrees of latitude."""

    night_below: float = 0.2
    day_above: float = 0.8
    sun_day: int = 0  # the horizon
    sun_night: int = -6  # the end of civil twilight, when lamps are needed
    # How far clocks run ahead of the mean sun: an hour behind in the north-east of India, 3 ahead in the west of China,
    # 2.6 in Galicia in summer.
    clock_ahead: tuple[float, float] = (-1.0, 3.0)
    # Where the latitude is not known: Ushuaia to Edinburgh.
    latitudes: tuple[float, float] = (-55.0, 56.0)


class Scenes(Task):
    name = "scenes"
    version = 1
    schema = SCHEMA
    max_side = 4 * SIDE  # enough to average over, at 1:4 too
    classes = ("day", "night")
    findings = Findings(
        noun="scene",
        label="label",
        phrases={"day": "by day", "night": "at night"},
        # Night counts where the camera's clock says it: of 47 COCO photos that pixels alone call night, about 5 are.
        hidden=({"label": "night", "source": "pixels"},),
    )

    def __init__(self, model: str | None = None, parameters: SceneParameters | None = None) -> None:
        self.models = zoo.roles(self.name, model or zoo.DEFAULTS[self.name])
        self._parameters = parameters or SceneParameters()
        self.parameters: Mapping[str, Any] = asdict(self._parameters)

    def load(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        entry = self.models["classifier"]
        # In single precision everywhere: it costs nothing here, and labels are the same on every machine.
        self.network = for_inference(zoo.ENTRIES[entry].build(weights[entry]), device, torch.float32)
        self.device = device

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image]) -> pa.Table:
        small = torch.from_numpy(np.array([thumbnail(i.pixels) for i in images], np.uint8).reshape(-1, SIDE, SIDE, 3))
        chances = self.network(normalised(to_device(small, self.device))).sigmoid().tolist() if images else []
        rows = [_row(image, p, self._parameters) for image, p in zip(images, chances, strict=True)]
        return pa.Table.from_pylist(rows, SCHEMA)


def thumbnail(pixels: Pixels, side: int = SIDE) -> Pixels:
    """uint8 RGB (H, W, 3) → (side, side, 3): each pixel the mean of the area it covers; the aspect is given up."""
    if pixels.shape[:2] == (side, side):
        return pixels
    return np.asarray(PillowImage.fromarray(pixels).resize((side, side), PillowImage.Resampling.BOX))


def normalised(small: torch.Tensor) -> torch.Tensor:
    """uint8 (N, H, W, 3) → (N, 3, H, W) float32 in -1..1, channels-last in memory."""
    return small.permute(0, 3, 1, 2).float() / 127.5 - 1


def _row(image: Image, p_day: float, parameters: SceneParameters) -> dict[str, Any]:
    low, high = sun_range(image.taken_at, image.latitude, parameters)
    pixels, exif = from_pixels(p_day, parameters), from_sun(low, high, parameters)
    label, source = agreed(pixels, exif)
    return {
        "image_id": image.image_id,
        "label": label,
        "source": source,
        "p_day": p_day,
        "exif_label": exif,
        "sun_low": low,
        "sun_high": high,
    }


def from_pixels(p_day: float, parameters: SceneParameters) -> str | None:
    """ "day" or "night"; None in the band between, where the network is not sure."""
    if p_day >= parameters.day_above:
        return "day"
    return "night" if p_day <= parameters.night_below else None


def from_sun(low: int | None, high: int | None, parameters: SceneParameters) -> str | None:
    """ "day" or "night" where every elevation the sun may have had says so; None in twilight and in doubt."""
    if low is None or high is None:
        return None
    if low > parameters.sun_day:
        return "day"
    return "night" if high < parameters.sun_night else None


def agreed(pixels: str | None, exif: str | None) -> tuple[str | None, str]:
    """The label and who spoke for it: "both", "pixels", "exif", or "none" where nobody is sure or they contradict."""
    if pixels is None and exif is None:
        return None, "none"
    if pixels == exif:
        return pixels, "both"
    if exif is None:
        return pixels, "pixels"
    return (exif, "exif") if pixels is None else (None, "none")


def sun_range(
    taken_at: datetime | None, latitude: float | None, parameters: SceneParameters
) -> tuple[int | None, int | None]:
    """The lowest and highest elevation that the sun may have had, in whole degrees; None, None without a time of day.

    A camera's clock has no zone. With the zone approximated as longitude ÷ 15, longitude drops out: the clock shows
    mean solar time. What real zones and summer time add to it is covered by taking the extremes over `clock_ahead`;
    without a position, over `latitudes` too.
    """
    if taken_at is None or taken_at.time() in _DATE_ONLY:
        return None, None
    north = np.array([latitude]) if latitude is not None else np.linspace(*parameters.latitudes, 12)
    ahead = np.linspace(*parameters.clock_ahead, 17)
    degrees = sun_elevation(taken_at, north[:, None], ahead)
    return round(float(degrees.min())), round(float(degrees.max()))


def sun_elevation(clock: datetime, latitude: F64, ahead: F64) -> F64:
    """Degrees of the sun's centre over the horizon, without refraction, for a clock `ahead` hours of mean solar time.

    NOAA Global Monitoring Laboratory, General Solar Position Calculations (solareqns.PDF), with longitude and zone 0.
    """
    hour = clock.hour + clock.minute / 60 + clock.second / 3600 - ahead
    year = 2 * np.pi / 365 * (clock.timetuple().tm_yday - 1 + (hour - 12) / 24)
    harmonics = [np.ones_like(year)] + [f(k * year) for k in (1, 2, 3) for f in (np.cos, np.sin)]
    minutes = 229.18 * np.tensordot((0.000075, 0.001868, -0.032077, -0.014615, -0.040849), harmonics[:5], 1)
    declination = np.tensordot((0.006918, -0.399912, 0.070257, -0.006758, 0.000907, -0.002697, 0.00148), harmonics, 1)
    angle = np.radians((hour * 60 + minutes) / 4 - 180)  # from noon
    north = np.radians(latitude)
    sine = np.sin(north) * np.sin(declination) + np.cos(north) * np.cos(declination) * np.cos(angle)
    return np.degrees(np.arcsin(np.clip(sine, -1, 1)))
