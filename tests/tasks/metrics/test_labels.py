import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.tasks.metrics.labels import average_precision, calibration_error, judge_one, judge_several, top

SCORED = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.booleans()), min_size=1, max_size=30)


@given(SCORED)
def test_average_precision_is_that_of_the_book(scored: list[tuple[float, bool]]) -> None:
    """Counted photo by photo."""
    scores, truth = (np.array(part) for part in zip(*scored, strict=True))
    precisions = [truth[scores >= score].mean() for score, there in scored if there]
    found = average_precision(scores, truth)
    assert np.isnan(found) if not precisions else found == pytest.approx(np.mean(precisions))


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_the_true_class_is_among_the_first(k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    chances, truth = random.random((7, 6)).astype(np.float32), random.integers(6, size=7)
    order = np.argsort(-chances, axis=1)[:, :k]
    assert top(chances, truth, k).tolist() == [bool(t in row) for t, row in zip(truth, order.tolist(), strict=True)]


def test_nothing_that_is_said_is_right() -> None:
    assert top(np.zeros((2, 3), np.float32), np.array([0, 2]), 2).tolist() == [False, False]


def test_calibration_error() -> None:
    """Guo et al., eq. 3: of two bins, one says .9 and is right half of the times, the other says 0 and is right."""
    assert calibration_error(np.array([0.9] * 4 + [0.0] * 4), np.array([1, 1, 0, 0] + [0] * 4, bool)) == pytest.approx(
        0.2
    )
    random = np.random.default_rng(0)
    said = random.random(20_000)
    assert calibration_error(said, random.random(20_000) < said) < 0.02
    assert calibration_error(np.empty(0), np.empty(0, bool)) == 0


def test_one_and_several() -> None:
    chances = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.8, 0.1, 0.1]], np.float32)
    one = judge_one(chances, np.array([0, 0, 2]), ["a", "b", "c"])
    assert (one["top1"], one["top5"], one["per_class"]) == (0.3333, 1.0, {"a": 0.5, "c": 0.0})
    truth = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0]], bool)
    several = judge_several(chances, truth, ["a", "b", "c"])
    assert several["per_class"] == {"a": 0.5, "b": round((1 + 2 / 3) / 2, 4)}  # nothing shows c
    assert several["map"] == pytest.approx((0.5 + 5 / 6) / 2, abs=1e-4)
    assert judge_several(chances, np.zeros((3, 3), bool), ["a", "b", "c"])["map"] is None
