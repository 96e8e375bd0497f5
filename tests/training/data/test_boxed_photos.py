import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.errors import InputError
from muster.storage.exchange.coco import read_coco
from muster.training.data.boxed_photos import NOTHING, BoxedPhotos, boxes_of, mosaics, stacked, views

NAMES = ("person", "dog")


def photos(count: int) -> BoxedPhotos:
    """Black photos of 60×40, each with one white box, whose class is its number's parity."""
    random = np.random.default_rng(1)
    made = []
    for number in range(count):
        pixels = np.zeros((40, 60, 3), np.uint8)
        x, y = random.integers(2, 30), random.integers(2, 15)
        pixels[y : y + 20, x : x + 25] = 255
        made.append((f"{number}.png", pixels, np.array([[x, y, x + 25, y + 20]], np.float32), [number % 2]))
    return stacked(made, 60)


def test_boxes_of_a_coco_file(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
        "categories": [{"id": 7, "name": "dog"}],
        "annotations": [
            {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]},
            {"image_id": 1, "category_id": 7, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(content))
    file = read_coco(tmp_path / "coco.json", {})
    boxes = boxes_of(file, NAMES)
    assert boxes["a.jpg"][0].tolist() == [[1, 2, 4, 6]]
    assert boxes["a.jpg"][1] == [1]
    assert (boxes["b.jpg"][0].shape, boxes["b.jpg"][1]) == ((0, 4), [])
    with pytest.raises(InputError, match="this detector has no class dog"):
        boxes_of(file, ("cat",))


def test_photos_are_scaled_down_with_their_boxes() -> None:
    big = (np.zeros((100, 200, 3), np.uint8), np.array([[20, 10, 120, 90]], np.float32))
    made = stacked([("big", *big, [3]), ("none", np.zeros((5, 5, 3), np.uint8), np.empty((0, 4), np.float32), [])], 50)
    assert made.sizes.tolist() == [[25, 50], [5, 5]]
    assert made.boxes[0].tolist() == [[5, 2.5, 30, 22.5]]
    assert made.labels.tolist() == [[3], [NOTHING]]


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.booleans())
def test_boxes_move_with_the_pixels(seed: int, four: bool) -> None:
    """Inside every box asked for it is white, and what is white lies in some box, asked for or nearly gone."""
    make = mosaics if four else views
    images, boxes, labels = make(photos(8), 64, (0.8, 1.6), torch.Generator().manual_seed(seed))
    assert len(images) == (2 if four else 8)
    for image, each, asked in zip(images, boxes.round().long(), labels, strict=True):
        white = image[0] > 0.5
        covered = torch.zeros_like(white)
        for (x0, y0, x1, y1), label in zip(each.tolist(), asked.tolist(), strict=True):
            covered[max(0, y0 - 1) : y1 + 1, max(0, x0 - 1) : x1 + 1] = True
            if label != NOTHING:
                assert white[y0 + 1 : y1 - 1, x0 + 1 : x1 - 1].all()
        assert not (white & ~covered).any()


def test_what_is_hardly_seen_is_not_asked_for() -> None:
    pixels = np.zeros((60, 60, 3), np.uint8)
    made = stacked([("x", pixels, np.array([[0, 0, 6, 6], [20, 20, 40, 40]], np.float32), [0, 1])] * 40, 60)
    _, boxes, labels = views(made, 32, (1.0, 1.001), torch.Generator().manual_seed(0))
    size = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    assert (labels[:, 0] == NOTHING)[size[:, 0] < 10].all()
    assert labels[:, 1].eq(1).any()
