import io

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import ImageCms, _imagingcms

from helpers.profiles import WIDE
from muster.tasks.base import Image
from muster.tasks.previews import SIDE, Previews


def test_a_preview_is_the_picture_in_small() -> None:
    y, x = np.mgrid[:900, :1200]
    pixels = np.stack([x * 255 / 1200, y * 255 / 900, np.zeros_like(x)], -1).astype(np.uint8)
    row = Previews()([Image("a", pixels, 1.0, (1200, 900))]).to_pylist()[0]
    preview = PillowImage.open(io.BytesIO(row["jpeg"]))
    assert preview.size == (row["width"], row["height"]) == (SIDE, 384)
    difference = np.asarray(preview).astype(int) - np.asarray(PillowImage.fromarray(pixels).resize(preview.size))
    assert np.abs(difference).mean() < 3


def test_a_small_picture_stays_as_it_is() -> None:
    row = Previews()([Image("a", np.zeros((10, 20, 3), np.uint8), 1.0, (20, 10))]).to_pylist()[0]
    assert (row["width"], row["height"]) == (20, 10)


@pytest.mark.parametrize("name", WIDE)
def test_a_preview_has_the_colours_that_the_profile_means(name: str) -> None:
    srgb = ImageCms.createProfile("sRGB")
    target = ImageCms.ImageCmsProfile(_imagingcms.profile_frombytes(WIDE[name]))
    y, x = np.mgrid[:60, :80]
    original = np.stack([200 - y, 60 + y / 2, 40 + x / 2], -1).astype(np.uint8)
    stored = np.asarray(ImageCms.buildTransform(srgb, target, "RGB", "RGB").apply(PillowImage.fromarray(original)))
    wide, plain = Previews()([Image(i, stored, 1.0, (80, 60), profile=p) for i, p in (("a", WIDE[name]), ("b", None))])[
        "jpeg"
    ].to_pylist()
    shown = np.asarray(PillowImage.open(io.BytesIO(wide))).astype(int)
    assert "icc_profile" not in PillowImage.open(io.BytesIO(wide)).info
    assert np.abs(shown - original).mean() < 2
    assert np.abs(np.asarray(PillowImage.open(io.BytesIO(plain))).astype(int) - original).mean() > 4
