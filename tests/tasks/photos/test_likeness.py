import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from muster.storage.photos import pixels
from muster.tasks.photos.likeness import SIDE, grey, likeness, scene_likeness, sharpness, upright


def scene(seed: int, width: int = 480, height: int = 320) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, quality: int = 80) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def alike(one: Image.Image, other: Image.Image) -> float:
    return float(likeness(grey(jpeg(one))[None], grey(jpeg(other))[None])[0])


@pytest.mark.parametrize("size", [(512, 341), (341, 512), (500, 333), (65, 512), (40, 30), (3, 2), (1, 1)])
def test_a_preview_of_any_size_becomes_a_square(size: tuple[int, int]) -> None:
    found = grey(jpeg(scene(1).resize(size)))
    assert (found.shape, found.dtype) == ((SIDE, SIDE), np.uint8)


@pytest.mark.parametrize("size", [(512, 341), (333, 222), (257, 171), (160, 107), (300, 300)])
def test_a_resized_copy_is_the_same_to_it(size: tuple[int, int]) -> None:
    assert alike(scene(1), scene(1).resize(size, Image.Resampling.LANCZOS)) > 0.995


def test_brighter_and_grey_copies_are_alike_and_other_pictures_are_not() -> None:
    assert alike(scene(1), scene(1).point(lambda v: v * 0.7 + 20)) > 0.99
    assert alike(scene(1), scene(1).convert("L")) > 0.999
    assert alike(scene(1), scene(2)) < 0.6


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_turned_copy_is_alike_once_the_other_is_turned(turn: int) -> None:
    turned = Image.fromarray(np.ascontiguousarray(pixels.upright(np.asarray(scene(1)), turn)))
    one, other = grey(jpeg(scene(1)))[None], grey(jpeg(turned))[None]
    assert likeness(upright(one, turn), other)[0] > 0.99


@given(st.integers(0, 99), st.integers(0, 99))
def test_likeness_is_symmetric_and_a_picture_is_like_itself(one: int, other: int) -> None:
    some = [np.random.default_rng(seed).integers(0, 256, (1, SIDE, SIDE), np.uint8) for seed in (one, other)]
    assert likeness(*some) == pytest.approx(likeness(*some[::-1]), abs=1e-6)
    assert likeness(some[0], some[0])[0] == pytest.approx(1, abs=1e-5)
    assert scene_likeness(*some) == pytest.approx(scene_likeness(*some[::-1]), abs=1e-5)


def test_blanks_are_told_by_their_grey() -> None:
    black, grey_one, white = (np.full((1, SIDE, SIDE), level, np.uint8) for level in (0, 4, 255))
    picture = np.arange(SIDE * SIDE).reshape(1, SIDE, SIDE).astype(np.uint8)
    assert likeness(black, grey_one) == 1
    assert likeness(black, white) == 0
    assert likeness(black, picture) == 0


def test_a_camera_that_moved_sees_the_same_scene() -> None:
    wide = scene(3, 640, 320)
    left, right = (wide.crop((at, 0, at + 480, 320)) for at in (0, 100))
    one, other = grey(jpeg(left))[None], grey(jpeg(right))[None]
    assert scene_likeness(one, other)[0] > 0.9
    assert scene_likeness(one, other)[0] > likeness(one, other)[0] + 0.2
    assert scene_likeness(one, grey(jpeg(scene(4)))[None])[0] < 0.8


def test_a_blurred_photo_is_less_sharp() -> None:
    blurred = scene(1, 40, 30).resize((480, 320), Image.Resampling.BICUBIC)
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (320, 480), np.uint8))
    assert sharpness(jpeg(noisy)) > sharpness(jpeg(blurred)) > 0
    assert sharpness(jpeg(scene(1, 1, 1))) == 0


def test_what_is_no_jpeg_is_refused() -> None:
    with pytest.raises(ValueError, match="JPEG"):
        grey(b"no JPEG")


def test_nothing_to_compare() -> None:
    none = np.empty((0, SIDE, SIDE), np.uint8)
    assert likeness(none, none).shape == scene_likeness(none, none).shape == (0,)
