"""tasks/onnx/detectors.py: what goes into a detector, and what is made of its outputs, layout by layout."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.onnx_files import network
from muster.errors import TaskError
from muster.tasks.models.session import Session
from muster.tasks.objects import Found
from muster.tasks.onnx.declared import Declared, complete
from muster.tasks.onnx.detectors import family_of, prepared

CPU = torch.device("cpu")
SIZE = (64, 96)  # height, width
SHOWN = {"input.resize": "stretch", "input.colour": "rgb", "input.scale": 255.0}
PHOTO = np.zeros((128, 192, 3), np.uint8)
# Two things in parts of the sides, xyxy, with their classes' scores; and one that is hardly there
BOXES = np.array([[0.25, 0.125, 0.75, 0.5], [0.0, 0.5, 0.25, 1.0], [0.1, 0.1, 0.9, 0.9]], np.float32)
CHANCES = np.array([[0.1, 0.9], [0.8, 0.05], [0.05, 0.01]], np.float32)
PIXELS = np.array([96, 64, 96, 64], np.float32)


def about(layout: str, **more: Any) -> Declared:
    said = {key.replace("__", "."): value for key, value in more.items()}
    return complete({"layout": layout, "classes": ("cat", "dog"), **said}, SIZE)


def centres(boxes: Any) -> Any:
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)


def run(outputs: dict[str, Any], declared: Declared, photo: Any = PHOTO, least: float = 0.5) -> Found:
    session = Session(network(outputs, (1, 3, *SIZE)).SerializeToString())
    [found] = family_of(declared).detector(session, CPU, least)([photo])
    return found


def _same(found: Found) -> None:
    assert torch.allclose(found.boxes, torch.from_numpy(BOXES[:2]), atol=1e-6)
    assert torch.allclose(found.scores, torch.tensor([0.9, 0.8]), atol=1e-6)
    assert found.labels.tolist() == [1, 0]


# ---- what comes out --------------------------------------------------------------------------------------------------


def test_yolov8() -> None:
    made = np.concatenate([centres(BOXES * PIXELS), CHANCES], 1).T[None]
    _same(run({"output0": made}, about("yolov8", input__resize="stretch")))


def test_yolov5() -> None:
    there = np.array([[0.9], [1.0], [0.1]], np.float32)
    made = np.concatenate([centres(BOXES * PIXELS), there, CHANCES / there], 1)[None]
    _same(run({"output0": made}, about("yolov5", input__resize="stretch")))


def test_yolov10() -> None:
    made = np.concatenate([BOXES * PIXELS, CHANCES.max(1)[:, None], CHANCES.argmax(1)[:, None]], 1)[None]
    _same(run({"output0": made.astype(np.float32)}, about("yolov10", input__resize="stretch")))


def test_yolox() -> None:
    """Of 8 × 12, 4 × 6 and 2 × 3 cells: the first thing is in one of stride 8, the second in one of stride 32."""
    made = np.zeros((1, 96 + 24 + 6, 7), np.float32)
    for row, box, chances, stride, (x, y) in ((5 * 12 + 3, 0, 0.9, 8, (3, 5)), (96 + 24 + 3, 1, 0.8, 32, (0, 1))):
        cx, cy, width, height = centres(BOXES[box : box + 1] * PIXELS)[0]
        made[0, row, :4] = [cx / stride - x, cy / stride - y, np.log(width / stride), np.log(height / stride)]
        made[0, row, 4], made[0, row, 5:] = 1, [0, chances] if box == 0 else [chances, 0]
    _same(run({"output": made}, about("yolox", input__resize="stretch")))


def test_fastestdet() -> None:
    """One cell of 1 × 1, whose box is the middle half."""
    made = np.array([1, 0.5493061, 0.5493061, 0, 0, 0.25, 0.75], np.float32).reshape(1, 7, 1, 1)  # tanh: 0.5
    found = run({"output": made}, about("fastestdet"))
    assert torch.allclose(found.boxes, torch.tensor([[0.25, 0.25, 0.75, 0.75]]), atol=1e-6)
    assert found.scores.tolist() == pytest.approx([0.75**0.4])
    assert found.labels.tolist() == [1]


@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_detr(scores: str) -> None:
    if scores == "sigmoid":
        logits = np.log(CHANCES / (1 - CHANCES))
    else:  # with a last class: nothing
        chances = np.concatenate([CHANCES, 1 - CHANCES.sum(1, keepdims=True)], 1)
        logits = np.log(np.maximum(chances, 1e-6)) + 3
    outputs = {"logits": logits[None], "pred_boxes": centres(BOXES)[None]}
    _same(run(outputs, about("detr", scores=scores, **_keys(SHOWN))))


@pytest.mark.parametrize("batch", [True, False])
@pytest.mark.parametrize("units", ["pixels", "sides"])
@pytest.mark.parametrize("order", ["xyxy", "yxyx"])
def test_boxes(batch: bool, units: str, order: str) -> None:
    """With the background as label 0, as torchvision and TensorFlow have it; with other names of outputs."""
    boxes = BOXES * PIXELS if units == "pixels" else BOXES
    boxes = boxes[:, [1, 0, 3, 2]] if order == "yxyx" else boxes
    made = {"b": boxes, "scores": CHANCES.max(1), "labels": CHANCES.argmax(1) + 1, "number": np.float32(3)}
    made = {name: np.asarray(value)[None] if batch else value for name, value in made.items()}
    said = {"outputs__boxes": "b", "boxes": order, "units": units, "first_label": 1}
    _same(run(made, about("boxes", **said, **_keys(SHOWN))))


def test_boxes_of_nothing_and_of_the_background() -> None:
    said = {"units": "pixels", "first_label": 1, **_keys(SHOWN)}
    none = {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "labels": np.zeros(0, np.int64)}
    assert len(run(none, about("boxes", **said)).scores) == 0
    background = {"boxes": np.ones((1, 4)), "scores": np.ones(1), "labels": np.zeros(1, np.int64)}
    assert len(run(background, about("boxes", **said)).scores) == 0


def _keys(facts: dict[str, Any]) -> dict[str, Any]:
    return {key.replace(".", "__"): value for key, value in facts.items()}


@pytest.mark.parametrize(
    ("layout", "outputs", "said"),
    [
        ("yolov8", {"o": (1, 85, 99)}, "with 2 classes has an output of 1 × 6 × any numbers, and its 'o' has 1 × 85"),
        ("yolov8", {"o": (6, 99)}, "and its 'o' has 6 × 99"),
        ("yolov5", {"o": (1, 6, 99)}, "1 × any × 7 numbers, and its 'o' has 1 × 6 × 99"),
        ("yolov10", {"o": (1, 300, 7)}, "1 × any × 6 numbers, and its 'o' has 1 × 300 × 7"),
        ("yolox", {"o": (1, 8400, 7)}, "1 × 126 × 7 numbers, and its 'o' has 1 × 8400 × 7"),
        ("fastestdet", {"o": (1, 85, 22, 22)}, "1 × 7 × any × any numbers, and its 'o' has 1 × 85"),
        ("yolov8", {"o": (1, 6, 9), "p": (1, 1)}, r"it has several outputs: say .* `outputs\.found`, one of o, p"),
        ("detr", {"a": (1, 9, 3), "b": (1, 9, 4)}, r"it has no output 'logits': say which it is by `outputs\.scores`"),
        ("detr", {"logits": (1, 9, 2), "pred_boxes": (1, 9, 4)}, "1 × any × 3 numbers, and its 'logits' has 1 × 9 × 2"),
        ("detr", {"logits": (1, 9, 3), "pred_boxes": (1, 8, 4)}, "1 × 9 × 4 numbers, and its 'pred_boxes' has 1 × 8"),
        ("boxes", {"boxes": (9, 4), "scores": (9,), "labels": (8,)}, "1 × 9 numbers, and its 'labels' has 1 × 8"),
    ],
)  # fmt: skip
def test_outputs_of_another_layout(layout: str, outputs: dict[str, tuple[int, ...]], said: str) -> None:
    more: dict[str, Any] = {"detr": {"scores": "softmax"}, "boxes": {"units": "pixels", "first_label": 0}}.get(
        layout, {}
    )
    more |= _keys(SHOWN) if more else {}
    with pytest.raises(TaskError, match=said):
        run({name: np.zeros(shape, np.float32) for name, shape in outputs.items()}, about(layout, **more))


def test_scores_and_labels_that_are_none() -> None:
    made = np.array([[[10, 10, 20, 20, 3.5, 1]]], np.float32)
    with pytest.raises(TaskError, match=r"scores of up to 3\.5 are no probabilities: it has another layout"):
        run({"o": made}, about("yolov10"))
    made = np.array([[[10, 10, 20, 20, 0.9, 2]]], np.float32)
    with pytest.raises(TaskError, match="it finds class 2, and 2 are declared, which begin with 0"):
        run({"o": made}, about("yolov10"))
    made = np.array([[[10, 10, 20, 20, np.nan, 2], [0, 0, 9, 9, 0.0, -1]]], np.float32)  # what fills up the rows
    assert len(run({"o": made}, about("yolov10")).scores) == 0


# ---- what goes in ----------------------------------------------------------------------------------------------------


def test_a_photo_is_made_into_what_is_declared() -> None:
    photo = np.zeros((32, 32, 3), np.uint8)
    photo[...] = (255, 51, 0)
    shown, frame = prepared(photo, about("yolov8"))
    assert (shown.shape, shown.dtype, frame) == ((1, 3, 64, 96), np.float32, (16, 0, 64, 64))
    assert np.allclose(shown[0, :, 30, 50], [1, 0.2, 0])
    assert np.allclose(shown[0, :, 30, 15], 114 / 255)
    assert np.allclose(shown[0, :, 30, 80], 114 / 255)
    shown, frame = prepared(photo, about("yolox"))
    assert frame == (0, 0, 64, 64)
    assert (shown[0, :, 30, 50].tolist(), shown[0, :, 30, 70].tolist()) == ([0, 51, 255], [114, 114, 114])
    facts = {"input.mean": (0.5, 0.0, 0.0), "input.std": (0.25, 1.0, 1.0), "scores": "softmax", **SHOWN}
    shown, frame = prepared(photo, about("detr", **_keys(facts)))
    assert frame == (0, 0, 96, 64)
    assert np.allclose(shown[0, :, 5, 5], [2, 0.2, 0])


@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.sampled_from(["stretch", "letterbox", "corner"]),
    st.tuples(*(st.floats(0, 1) for _ in range(4))),
)
def test_a_box_comes_back_to_where_it_is_in_the_photo(
    height: int, width: int, resize: str, box: tuple[float, ...]
) -> None:
    """Whatever a photo is made into: a box in pixels of that is the same box in parts of the photo."""
    declared = about("yolov10", input__resize=resize)
    photo = np.zeros((height, width, 3), np.uint8)
    shown, (left, top, across, down) = prepared(photo, declared)
    assert shown.shape == (1, 3, *SIZE)
    assert min(left, top) >= 0
    assert (left + across <= SIZE[1], top + down <= SIZE[0]) == (True, True)
    inside = shown[0, 0, top : top + down, left : left + across]
    assert (inside == 0).all()
    assert (shown == 0).sum() == 3 * across * down  # and nowhere else
    where = [left + box[0] * across, top + box[1] * down, left + box[2] * across, top + box[3] * down]
    found = run({"o": np.array([[[*where, 1, 0]]], np.float32)}, declared, photo)
    assert torch.allclose(found.boxes, torch.tensor([box]), atol=1e-3 + 1e-4 / min(across, down))


def test_how_the_task_runs_it() -> None:
    family = family_of(about("detr", scores="sigmoid", min_score=0.3, **_keys(SHOWN)))
    assert (family.max_side, family.min_score, family.max_overlap) == (640, 0.3, 1.0)
    assert (family.classes, family.most, family.by_words) == (("cat", "dog"), 300, False)
