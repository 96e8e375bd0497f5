"""A task for Muster: where photos show strong colours."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image as PillowImage
from scipy import ndimage

from muster.tasks.base import IMAGE_ID, Findings, Image, Option, Task, number, shrink

HUES = {"red": 0, "yellow": 43, "green": 85, "blue": 170}  # of 256


class Colours(Task):
    name = "colours"
    version = 1
    schema = pa.schema([IMAGE_ID, ("label", pa.string()), ("score", pa.float32()), ("box", pa.list_(pa.float32(), 4))])
    max_side = 320
    classes = tuple(HUES)
    findings = Findings(noun="colour", label="label", score="score", box="box", phrases={c: f"with {c}" for c in HUES})
    options: Mapping[str, Option] = {"min_area": Option(number(0, 1), "least share of the photo that it fills", 0.01)}

    def __init__(self, model: str | None = None, min_area: float = 0.01) -> None:
        self.parameters = {"min_area": min_area}

    def __call__(self, images: Sequence[Image]) -> pa.Table:
        rows = [row for image in images for row in self.regions(shrink(image, self.max_side))]
        return pa.Table.from_pylist(rows, self.schema)

    def regions(self, image: Image) -> Iterator[dict[str, Any]]:
        hsv = np.asarray(PillowImage.fromarray(image.pixels).convert("HSV")).astype(int)
        hue, saturation, value = np.moveaxis(hsv, 2, 0)
        for label, middle in HUES.items():
            near = np.abs((hue - middle + 128) % 256 - 128) < 16
            regions, _ = ndimage.label(near & (saturation > 128) & (value > 80))
            for i, (rows, columns) in enumerate(ndimage.find_objects(regions), 1):
                region = regions[rows, columns] == i
                if region.sum() >= self.parameters["min_area"] * hue.size:
                    box = np.array([columns.start, rows.start, columns.stop, rows.stop]) / image.scale
                    box = np.minimum(box, [*image.size, *image.size])
                    score = saturation[rows, columns][region].mean() / 255
                    yield {"image_id": image.image_id, "label": label, "score": score, "box": box.tolist()}
