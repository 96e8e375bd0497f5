import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from muster.errors import InputError
from muster.tasks.models.yolo import STRIDES, Yolo, cells
from muster.training import loop
from muster.training.data.boxed_photos import NOTHING
from muster.training.inputs import Inputs
from muster.training.recipes import objects
from muster.training.record import METRICS, read_metrics


@pytest.fixture
def squares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    """Twelve photos, each with a bright square that is called a tv."""
    random = np.random.default_rng(0)
    images, annotations = [], []
    (tmp_path / "images").mkdir()
    for number in range(12):
        x, y, side = (int(v) for v in random.integers((5, 5, 40), (80, 40, 70)))
        photo = random.integers(0, 90, (120, 160, 3)).astype(np.uint8)
        photo[y : y + side, x : x + side] += 150
        Image.fromarray(photo).save(tmp_path / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png"})
        annotations.append({"image_id": number, "category_id": 9, "bbox": [x, y, side, side]})
    content = {"images": images, "categories": [{"id": 9, "name": "tvmonitor"}], "annotations": annotations}
    (tmp_path / "coco.json").write_text(json.dumps(content))
    settings = replace(objects.SETTINGS, steps=24, batch=4, report_every=4, learning_rate=3e-3)
    monkeypatch.setattr(objects, "SETTINGS", settings)
    monkeypatch.setattr(objects, "SIDES", (96,))
    return Inputs(images=[str(tmp_path / "images")], out=tmp_path / "out", labels=[str(tmp_path / "coco.json")])


def test_it_learns(squares: Inputs) -> None:
    recipe = objects.build(squares)
    loop.train(recipe, squares.out, torch.device("cpu"), lambda report: None)
    lines = read_metrics(squares.out / METRICS)
    first, last = (sum(line["loss"] for line in part) for part in (lines[:2], lines[-2:]))
    assert last < 0.9 * first
    card = json.loads((squares.out / loop.CARD).read_text())
    assert {"ap", "ap50"} <= card["measured"].keys()
    assert card["photos"] + card["held_out"]["photos"] == 12


def test_the_same_step_is_the_same_batch(squares: Inputs) -> None:
    for step in range(3):
        one, other = (objects.build(squares).batch(step, 0, 1) for _ in range(2))
        assert all(one[name].equal(other[name]) for name in ("images", "boxes", "labels"))
        assert set(one["labels"].unique().tolist()) <= {NOTHING, 62}


def test_what_is_kept_out_is_no_photo_of_the_training(squares: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PHOTOS_HELD_OUT", 0.0)
    recipe = objects.ObjectsRecipe(squares)
    assert recipe.card()["held_out"] == {"photos": 0}
    assert recipe.measure(recipe.network().eval()) == {}
    monkeypatch.setattr(objects, "PHOTOS_HELD_OUT", 1.0)
    with pytest.raises(InputError, match="all 12 photos are among those kept out"):
        objects.ObjectsRecipe(squares)


def test_what_the_teacher_is_sure_of(squares: Inputs, data: Path, weights: Path) -> None:
    state = torch.load(weights / "fastestdet_coco80.pth", "cpu", weights_only=True)
    teacher = objects.fastestdet.from_published(state).eval()
    photo = np.asarray(Image.open(next((data / "person_masks/images").iterdir())).convert("RGB"))
    boxes, labels = objects.taught(teacher, photo)
    assert 0 in labels  # a person
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes.max() <= max(photo.shape)
    dark = squares.out.parent / "dark"
    dark.mkdir()
    Image.new("RGB", (64, 64)).save(dark / "dark.png")
    given = replace(squares, scenes=[str(dark)], weights={"fastestdet": state})
    with pytest.raises(InputError, match="the published detector is sure of nothing in"):
        objects.build(given)


def test_a_perfect_answer_costs_nothing() -> None:
    boxes = torch.tensor([[[20.0, 20.0, 50.0, 81.0], [0, 0, 0, 0]]])  # shaped as an anchor of stride 16
    labels = torch.tensor([[2, NOTHING]])
    outputs = [torch.zeros(1, 3 * 85, 96 // stride, 96 // stride) for stride in STRIDES]
    for level, output in enumerate(outputs):
        values = output.view(1, 3, 85, *output.shape[2:])
        values[:, :, 4:] = -20.0
        rows, anchors, y, x = objects.assigned(boxes[0, :1], output.shape[2:], level)
        middle, side = (boxes[0, 0, :2] + boxes[0, 0, 2:]) / 2, boxes[0, 0, 2:] - boxes[0, 0, :2]
        for anchor, row, column in zip(anchors.tolist(), y.tolist(), x.tolist(), strict=True):
            offset = middle / STRIDES[level] - torch.tensor([column, row])
            size = (side / torch.tensor(objects.ANCHORS[level][anchor])).sqrt() / 2
            values[0, anchor, :4, row, column] = torch.cat([(offset + 0.5) / 2, size]).logit(1e-4)
            values[0, anchor, [4, 7], row, column] = 20.0
        assert (rows == 0).all()
        if len(rows):
            found = cells(output, level)[0][0, anchors, y, x]
            torch.testing.assert_close(found, torch.cat([middle, side]).expand_as(found), atol=0.05, rtol=0)
    parts = objects.losses(outputs, boxes, labels)
    assert all(value < 0.01 for value in parts.values())
    worse = objects.losses([torch.zeros_like(output) for output in outputs], boxes, labels)
    assert all(worse[name] > parts[name] for name in parts)


def test_overlapping_finds_of_one_class() -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [1, 0, 11, 10], [1, 0, 11, 10], [50, 50, 60, 60.0]])
    found = objects.suppressed((boxes, torch.tensor([0.9, 0.8, 0.7, 0.001]), torch.tensor([1, 1, 2, 1])))
    assert found[0].tolist() == boxes[[0, 2]].tolist()
    assert found[2].tolist() == [1, 2]


def test_it_needs_coco_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 `images` and 0 `labels`: this recipe needs a COCO file"):
        objects.build(Inputs(images=[str(tmp_path)], out=tmp_path))


def test_few_objects_are_expected_at_first() -> None:
    network = objects.ObjectsRecipe.network(object.__new__(objects.ObjectsRecipe))
    assert isinstance(network, Yolo)
    with torch.inference_mode():
        outputs = network.eval()(torch.zeros(1, 3, 64, 64))
    assert all(cells(output, level)[1][..., 0].sigmoid().max() < 0.05 for level, output in enumerate(outputs))
