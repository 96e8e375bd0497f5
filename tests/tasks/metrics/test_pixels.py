import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from muster.errors import TaskError
from muster.tasks.metrics.pixels import VOID, confusion, segment_scores

CLASSES = 4
MAPS = arrays.arrays(np.int64, (2, 60), elements=st.integers(0, CLASSES - 1))


def test_by_hand() -> None:
    truth = np.array([[0, 0, 0, 1], [1, 1, VOID, 2]])
    found = np.array([[0, 0, 1, 1], [1, 0, 1, 2]], np.uint8)
    matrix = confusion(truth, found, 4)
    assert matrix.tolist() == [[2, 1, 0, 0], [1, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    scores = segment_scores(matrix)
    assert scores.iou[:3] == (0.5, 0.5, 1.0)
    assert math.isnan(scores.iou[3])
    assert scores.miou == pytest.approx(2 / 3)
    assert scores.global_accuracy == pytest.approx(5 / 7)
    assert scores.class_average == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


def test_a_class_that_is_only_predicted_counts_as_missed() -> None:
    scores = segment_scores(confusion(np.array([0, 0]), np.array([0, 1]), 2))
    assert scores.iou == (0.5, 0.0)
    assert (scores.miou, scores.class_average) == (0.25, 0.5)


@given(MAPS)
def test_it_equals_the_definition(maps: np.ndarray) -> None:  # type: ignore[type-arg]
    truth, found = maps
    matrix = confusion(truth, found, CLASSES)
    assert matrix.sum() == truth.size
    for c, iou in enumerate(segment_scores(matrix).iou):
        either = ((truth == c) | (found == c)).sum()
        both = ((truth == c) & (found == c)).sum()
        assert math.isnan(iou) if either == 0 else iou == both / either


@given(MAPS, MAPS)
def test_matrices_add_up(one: np.ndarray, other: np.ndarray) -> None:  # type: ignore[type-arg]
    parts = confusion(*one, CLASSES) + confusion(*other, CLASSES)
    assert np.array_equal(parts, confusion(*np.concatenate([one, other], 1), CLASSES))


def test_nothing_to_compare() -> None:
    scores = segment_scores(confusion(np.full(3, VOID), np.zeros(3, np.uint8), 2))
    assert all(map(math.isnan, (scores.miou, scores.global_accuracy, scores.class_average, *scores.iou)))


def test_maps_that_cannot_be_compared() -> None:
    with pytest.raises(TaskError, match=r"\(2, 3\) cannot be compared with one of \(3, 2\)"):
        confusion(np.zeros((3, 2)), np.zeros((2, 3)), 2)
    with pytest.raises(TaskError, match="prediction has class 0 to 2, of 2"):
        confusion(np.array([0, 1]), np.array([2, 0]), 2)
