from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.tasks.metrics.coco import judge, xywh

CATEGORIES = {"cat": 1, "dog": 2}


def boxes_of(*boxes: tuple[int, int, list[float], int]) -> list[dict[str, Any]]:
    """Of two photos and two categories: (image, category, x y width height, crowd)."""
    return [
        {"id": i, "image_id": image, "category_id": c, "bbox": box, "area": box[2] * box[3], "iscrowd": crowd}
        for i, (image, c, box, crowd) in enumerate(boxes, 1)
    ]


def find(image: int, category: int, box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def test_precision_and_recall_by_hand() -> None:
    near, far = [10, 10, 100, 100], [300, 300, 50, 50]
    labels = boxes_of((1, 1, near, 0), (1, 2, far, 0), (2, 1, near, 0), (2, 1, far, 1))
    found = [
        find(1, 1, [12, 10, 100, 100], 0.9),  # right
        find(1, 1, [10, 12, 100, 100], 0.8),  # the same again: wrong
        find(1, 1, far, 0.7),  # another category: wrong
        find(1, 2, far, 0.4),  # right, but not sure
        find(2, 1, far, 0.6),  # a crowd: neither
    ]
    facts = judge([1, 2], labels, CATEGORIES, found)
    assert (facts["images"], facts["boxes"]) == (2, 3)
    assert facts["precision_at_0.5"] == pytest.approx(1 / 3, abs=1e-5)
    assert facts["recall_at_0.5"] == pytest.approx(1 / 3, abs=1e-5)
    assert facts["per_class"]["dog"] == {"ap": 1.0, "ap50": 1.0, "boxes": 1}
    assert facts["per_class"]["cat"]["ap50"] == pytest.approx(51 / 101, abs=1e-5)  # one of two, at recalls to 0.5
    only_dogs = judge([1, 2], labels, {"dog": 2}, found)
    assert (only_dogs["ap"], only_dogs["boxes"], only_dogs["precision_at_0.5"]) == (1.0, 1, None)


def test_nothing_found_and_nothing_to_find() -> None:
    labels = boxes_of((1, 1, [0, 0, 50, 50], 0))
    facts = judge([1, 2], labels, CATEGORIES, [])
    assert (facts["ap"], facts["ap_large"], facts["precision_at_0.5"], facts["recall_at_0.5"]) == (0.0, None, None, 0.0)
    assert facts["per_class"]["dog"] == {"ap": None, "ap50": None, "boxes": 0}
    nothing = judge([1, 2], boxes_of(), CATEGORIES, [find(1, 1, [0, 0, 5, 5], 0.9)])
    assert (nothing["ap"], nothing["boxes"], nothing["precision_at_0.5"]) == (None, 0, 0.0)


box = st.tuples(*(st.integers(0, 300),) * 2, *(st.integers(20, 200),) * 2).map(list)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(1, 2), st.integers(1, 2), box, st.just(0)), min_size=1, max_size=8, unique_by=str)
)
def test_the_truth_itself_is_perfect(boxes: list[tuple[int, int, list[float], int]]) -> None:
    labels = boxes_of(*boxes)
    facts = judge([1, 2], labels, CATEGORIES, [find(image, c, each, 0.9) for image, c, each, _ in boxes])
    assert facts["ap"] == facts["ap50"] == facts["precision_at_0.5"] == facts["recall_at_0.5"] == 1.0


def test_the_form_of_a_box() -> None:
    assert xywh([1, 2, 4, 8]) == [1.0, 2.0, 3.0, 6.0]
