from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from muster.tasks.geometry import rle

Mask = np.ndarray[Any, Any]
EACH = 100  # masks of one example
SIDES = st.integers(1, 40)


def masks(seed: int) -> list[Mask]:
    """Noise of every density, and blobs; every size to 40 pixels."""
    draw = np.random.default_rng(seed)
    found = []
    for i in range(EACH):
        noise = draw.random(draw.integers(1, 41, 2))
        noise = np.repeat(noise, 4, draw.integers(2)) if i % 2 else noise
        found.append(noise < draw.choice([0, 0.02, 0.3, 0.5, 0.9, 1]))
    return found


@settings(max_examples=100)
@given(st.integers(0, 1 << 32))
def test_masks_come_back_and_areas_and_boxes_are_exact(seed: int) -> None:
    """10,000 masks."""
    for mask in masks(seed):
        coded = rle.encode(mask)
        assert coded["size"] == list(mask.shape)
        assert np.array_equal(rle.decode(coded), mask)
        assert rle.encode(rle.decode(coded)) == coded
        assert rle.area(coded) == mask.sum() == coco.area(coco.encode(np.asfortranarray(mask, np.uint8)))
        y, x = np.nonzero(mask)
        assert rle.box(coded) == ((x.min(), y.min(), x.max() + 1, y.max() + 1) if len(x) else (0, 0, 0, 0))


@settings(max_examples=50)
@given(st.integers(0, 1 << 32))
def test_resized_is_the_nearest_neighbour(seed: int) -> None:
    draw = np.random.default_rng(seed)
    for mask in masks(seed)[:20]:
        height, width = draw.integers(1, 90, 2).tolist()
        rows, columns = (
            (2 * np.arange(new) + 1) * old // (2 * new) for old, new in zip(mask.shape, (height, width), strict=True)
        )
        expected = rle.encode(mask[rows][:, columns])
        assert rle.resized(rle.encode(mask), height, width) == expected


@pytest.mark.parametrize("value", [0, 1])
def test_one_value(value: int) -> None:
    mask = np.full((3, 5), value, np.uint8)
    assert np.array_equal(rle.decode(rle.resized(rle.encode(mask), 7, 2)), np.full((7, 2), value))


def test_what_is_not_zero_is_set() -> None:
    assert rle.encode(np.array([[255, 0, 7]], np.uint8)) == rle.encode(np.array([[True, False, True]]))


def test_to_twelve_megapixels_and_back() -> None:
    y, x = np.mgrid[:480, :640]
    small = rle.encode((y - 200) ** 2 + (x - 300) ** 2 < 150**2)
    large = rle.resized(small, 3000, 4000)
    assert large["size"] == [3000, 4000]
    assert rle.area(large) == pytest.approx(rle.area(small) * 39.0625, rel=1e-3)
    assert rle.resized(large, 480, 640) == small
