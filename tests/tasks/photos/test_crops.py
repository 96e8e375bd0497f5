import io

import numpy as np
import pytest
from PIL import Image

from muster.tasks.photos.crops import FINE, cropped_likeness
from muster.tasks.photos.likeness import grey, likeness


def scene(seed: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (13, 17, 3), np.uint8)
    return Image.fromarray(noise).resize((480, 320), Image.Resampling.BICUBIC)


def seen(image: Image.Image, side: int = FINE) -> np.ndarray:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return grey(file.getvalue(), side)


@pytest.mark.parametrize(
    "kept", [(0.0, 0.0, 1.0, 1.0), (0.025, 0.025, 0.975, 0.975), (0.05, 0.05, 1.0, 1.0), (0.0, 0.06, 0.94, 1.0)]
)
def test_a_crop_is_the_same_once_the_other_is_cut_too(kept: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = kept
    cut = scene(1).crop((round(480 * left), round(320 * top), round(480 * right), round(320 * bottom)))
    one, other = seen(scene(1)), seen(cut)
    assert cropped_likeness(one, other) > 0.98
    assert cropped_likeness(one, other) == cropped_likeness(other, one)
    plain = likeness(seen(scene(1), 32)[None], seen(cut, 32)[None])[0]
    assert cropped_likeness(one, other) > plain - 0.01
    assert kept == (0.0, 0.0, 1.0, 1.0) or plain < 0.97


@pytest.mark.parametrize("seed", range(2, 8))
def test_another_picture_is_not(seed: int) -> None:
    assert cropped_likeness(seen(scene(1)), seen(scene(seed))) < 0.7


def test_blanks() -> None:
    blank = np.full((FINE, FINE), 9, np.uint8)
    assert cropped_likeness(blank, seen(scene(1))) < 0.1
