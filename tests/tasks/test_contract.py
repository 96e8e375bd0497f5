"""The contract that every registered task keeps, whatever it computes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image as PillowImage

from muster.pipeline.work.choice import TaskChoice
from muster.tasks import base, registry
from muster.testing import check_task

BOXES = ("box_xyxy", "landmarks")
# Those have no default: tests/tasks/test_answers.py, test_captions.py, test_style.py
OWN = sorted(registry.OWN.keys() - {"answers", "captions", "style"})
CPU = torch.device("cpu")
CANONICAL_BOX = [177.5, 60.3, 269.5, 177.7]
CANONICAL_LANDMARKS = [[201.5, 105.1], [245.2, 104.6], [222.6, 128.4], [203.7, 145.5], [241.5, 145.2]]


@pytest.fixture(scope="module")
def loaded(weights: Path) -> dict[str, base.Task]:
    return {name: TaskChoice(name=name).load(CPU, weights) for name in ("faces", "previews")}


@pytest.fixture(scope="module")
def images() -> list[base.Image]:
    """A portrait at three scales, decoded at less than full size; noise; one colour; long and narrow; one pixel."""
    from skimage import data

    portrait = data.astronaut()
    noise = np.random.default_rng(0).integers(0, 255, (200, 300, 3), np.uint8)
    found = [image(f"portrait-{side}", _resized(portrait, side)) for side in (512, 300, 800)]
    found.append(base.Image("portrait-half", _resized(portrait, 256), 0.5, (512, 512)))
    found.append(image("noise", noise))
    found.append(image("grey", np.full((64, 64, 3), 128, np.uint8)))
    found.append(image("narrow", np.ascontiguousarray(noise[:3])))
    found.append(image("pixel", noise[:1, :1].copy()))
    return found


def image(name: str, pixels: np.ndarray[Any, Any]) -> base.Image:
    return base.Image(name, pixels, 1.0, (pixels.shape[1], pixels.shape[0]))


def _resized(pixels: np.ndarray[Any, Any], side: int) -> np.ndarray[Any, Any]:
    return np.asarray(PillowImage.fromarray(pixels).resize((side, side)))


@pytest.mark.parametrize("name", OWN)
def test_our_own_tasks_keep_the_contract(name: str, weights: Path, images: Sequence[base.Image]) -> None:
    check_task(registry.find(name), weights_dir=weights, images=images)


@pytest.mark.parametrize("name", ["objects", "masks"])
def test_and_with_options(name: str, weights: Path, images: Sequence[base.Image]) -> None:
    check_task(registry.find(name), options={"min_score": 0.3}, weights_dir=weights, images=images[:4])


def _by_image(table: pa.Table, images: Sequence[base.Image]) -> list[int]:
    ids = table["image_id"].to_pylist()
    return [row for image in images for row, name in enumerate(ids) if name == image.image_id]


@pytest.mark.parametrize("name", ["faces"])
def test_boxes_are_in_full_size_pixels(name: str, loaded: dict[str, base.Task], images: Sequence[base.Image]) -> None:
    """An image decoded at half its size gives the rows of the whole one, nearly."""
    rows = loaded[name]([image for image in images if image.image_id in ("portrait-512", "portrait-half")])
    whole, half = (rows.take(_by_image(rows, [image])) for image in (images[0], images[3]))
    for column in set(BOXES) & set(rows.column_names):
        assert whole.num_rows == half.num_rows == 1
        assert np.abs(np.array(whole[column].to_pylist()) - np.array(half[column].to_pylist())).max() < 12


def test_canonical_face(loaded: dict[str, base.Task], images: Sequence[base.Image]) -> None:
    """Eileen Collins, in skimage's astronaut.png: about where the published detector sees her."""
    [row] = loaded["faces"](images[:1]).to_pylist()
    np.testing.assert_allclose(row["box_xyxy"], CANONICAL_BOX, atol=12)
    np.testing.assert_allclose(row["landmarks"], CANONICAL_LANDMARKS, atol=9)  # a fifth of the eye distance
    assert row["score"] > 0.8
    assert row["quality"] > 0.5


def test_canonical_preview(loaded: dict[str, base.Task], images: Sequence[base.Image]) -> None:
    rows = loaded["previews"](images).to_pylist()
    sizes = {row["image_id"]: (row["width"], row["height"]) for row in rows}
    assert sizes["portrait-800"] == sizes["portrait-512"] == (512, 512)
    assert (sizes["portrait-300"], sizes["pixel"]) == ((300, 300), (1, 1))


@pytest.mark.parametrize(("side", "size"), [(100, (100, 50)), (200, (200, 100)), (500, (200, 100)), (1, (1, 1))])
def test_shrink(side: int, size: tuple[int, int]) -> None:
    small = base.shrink(image("x", np.zeros((100, 200, 3), np.uint8)), side)
    assert (small.pixels.shape[1], small.pixels.shape[0]) == size
    assert small.scale == pytest.approx(size[0] / 200)
    assert small.size == (200, 100)
