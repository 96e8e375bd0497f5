"""One page: what a network makes of a photo, stage by stage, down to its scores."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from muster.arrays import F32, U8
from muster.web.render import HERE, Page, environment, style_policy
from muster.web.site import Site
from muster.web.units import STATICS

MAPS = 32  # of a stage that are drawn
LEAST, MOST = 56, 160  # pixels of a map's longest side, as drawn
WIDE = 1040  # pixels of a row of maps, at most
GAP = 2


@dataclass(frozen=True)
class Stage:
    """`maps`: (C, H, W); of a vector (C, 1, 1). `kind`: what is done, in words."""

    name: str
    kind: str
    maps: F32

    @property
    def shape(self) -> str:
        units, height, width = self.maps.shape
        return f"{units} × {height} × {width}" if (height, width) != (1, 1) else f"{units} numbers"


@dataclass(frozen=True)
class StagesSource:
    """`photo`: uint8 (H, W, 3), as the network is shown it. `scores`: labels and chances, best first."""

    network: str
    name: str
    photo: U8
    stages: Sequence[Stage]
    scores: Sequence[tuple[str, float]]
    of: int  # how many labels there are


def write_stages(source: StagesSource, out: Path) -> None:
    """Write the page into the folder `out`. InputError where that holds anything else."""
    site = Site(out, {"stages": source.network})
    pictures = {f"stages/{number:03}.png": drawn(stage.maps) for number, stage in enumerate(source.stages)}
    times = -(-LEAST // max(source.photo.shape[:2]))
    pictures["photo.png"] = source.photo.repeat(times, 0).repeat(times, 1)
    statics = {f"static/{name}": HERE / "static" / name for name in STATICS}
    names = {"index.html", *pictures, *statics}
    site.begin(names)
    for name, pixels in pictures.items():
        sink = io.BytesIO()
        Image.fromarray(pixels).save(sink, "PNG")
        site.write(name, sink.getvalue())
    for name, path in statics.items():
        site.write(name, path.read_bytes())
    sizes = [pixels.shape[1::-1] for pixels in pictures.values()]
    templates = environment()
    templates.globals |= {"source": source, "policy": style_policy(""), "sizes": sizes, "maps": MAPS}
    page = Page("stages.html", ["index.html"], 1, {})
    site.write("index.html", templates.get_template("stages.html").render(page=page, root="").encode())
    site.finish(names)


def drawn(maps: F32) -> U8:
    """Maps (C, H, W) side by side in grey, the first `MAPS` of them; a vector as a row of bars. Black is the least and
    white the greatest value of all, but for one in two hundred on either side."""
    low, high = np.percentile(maps, (0.5, 99.5)) if maps.size else (0, 1)
    grey = ((maps - low) / max(float(high - low), 1e-12) * 255).clip(0, 255).round().astype(np.uint8)
    if maps.shape[1:] == (1, 1):
        return grey.reshape(1, -1).repeat(24, 0).repeat(max(1, WIDE // len(maps)), 1)
    tiles = [_scaled(each) for each in grey[:MAPS]]
    height, width = tiles[0].shape
    across = next(each for each in (16, 8, 4, 1) if each == 1 or each * (width + GAP) - GAP <= WIDE)
    across = min(across, len(tiles))
    down = -(-len(tiles) // across)
    whole = np.full((down * (height + GAP) - GAP, across * (width + GAP) - GAP), 128, np.uint8)
    for place, tile in enumerate(tiles):
        y, x = place // across * (height + GAP), place % across * (width + GAP)
        whole[y : y + height, x : x + width] = tile
    return whole


def _scaled(grey: U8) -> U8:
    longest = max(grey.shape)
    if longest > MOST:
        small = Image.fromarray(grey)
        small.thumbnail((MOST, MOST))
        return np.asarray(small)
    times = -(-LEAST // longest)
    return grey.repeat(times, 0).repeat(times, 1)
