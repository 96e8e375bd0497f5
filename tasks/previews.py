"""The task `previews`: a small upright JPEG of every image, for pages and contact sheets."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import simplejpeg
import torch

from muster.tasks.base import Image, StateDict, register, shrink

SIDE = 512
QUALITY = 80


@register
class Previews:
    name = "previews"
    version = 1
    schema = pa.schema(
        [
            pa.field("image_id", pa.string(), nullable=False),
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("jpeg", pa.binary()),
        ]
    )
    max_side = SIDE
    models: Mapping[str, str] = {}
    parameters: Mapping[str, Any] = {"side": SIDE, "quality": QUALITY}

    def __init__(self, model: str | None = None) -> None:
        pass

    def load(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        pass

    def __call__(self, images: Sequence[Image]) -> pa.Table:
        small = [shrink(image, SIDE).pixels for image in images]
        columns = [
            [image.image_id for image in images],
            [pixels.shape[1] for pixels in small],
            [pixels.shape[0] for pixels in small],
            [simplejpeg.encode_jpeg(pixels, quality=QUALITY, colorsubsampling="420") for pixels in small],
        ]
        return pa.table(columns, self.schema)
