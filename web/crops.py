"""Pictures of faces that no model has found, cut from previews."""

import io
from collections.abc import Sequence

from PIL import Image

SIDE = 160  # pixels, as the thumbnails in the table of faces
AROUND = 0.8  # of the longer side of a box, from its middle: as there
EMPTY = (128, 128, 128)


def face_crop(preview: bytes | None, box: Sequence[float], size: tuple[int, int]) -> bytes:
    """A JPEG of SIDE × SIDE pixels: the square around a face, shifted to stay in the photo. Grey without a preview.

    `preview`: a JPEG of the whole photo. `box`: [x0, y0, x1, y1] in pixels of the photo, whose width and height are
    `size`.
    """
    picture = Image.new("RGB", (SIDE, SIDE), EMPTY)
    if preview is not None:
        with Image.open(io.BytesIO(preview)) as whole:
            scale = whole.width / size[0]
            square = _square([each * scale for each in box], whole.size)
            picture = whole.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR, square)
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=85)
    return sink.getvalue()


def _square(box: Sequence[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = box
    half = max(0.5, min(AROUND * max(x1 - x0, y1 - y0), size[0] / 2, size[1] / 2))
    x, y = (
        min(max((low + high) / 2, half), max(side - half, half))
        for low, high, side in ((x0, x1, size[0]), (y0, y1, size[1]))
    )
    return max(0.0, x - half), max(0.0, y - half), min(float(size[0]), x + half), min(float(size[1]), y + half)
