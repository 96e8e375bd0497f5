"""The task `previews`: a small upright JPEG of every image, in sRGB, for pages and contact sheets."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import simplejpeg

from muster.colour import in_srgb
from muster.tasks.base import IMAGE_ID, Findings, Image, Task, shrink

SIDE = 512
QUALITY = 80


class Previews(Task):
    name = "previews"
    version = 1
    schema = pa.schema(
        [
            IMAGE_ID,
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("jpeg", pa.binary()),
        ]
    )
    max_side = SIDE
    parameters: Mapping[str, Any] = {"side": SIDE, "quality": QUALITY}
    findings = Findings(noun="preview")

    def __call__(self, images: Sequence[Image]) -> pa.Table:
        small = [in_srgb(shrink(image, SIDE).pixels, image.profile) for image in images]
        columns = [
            [image.image_id for image in images],
            [pixels.shape[1] for pixels in small],
            [pixels.shape[0] for pixels in small],
            [simplejpeg.encode_jpeg(pixels, quality=QUALITY, colorsubsampling="420") for pixels in small],
        ]
        return pa.table(columns, self.schema)
