import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import TaskError
from muster.tasks.metrics import people
from muster.tasks.metrics.people import bcubed_f1, best_threshold, fold_accuracy, pairwise_f1, tar_at_far

LABELS = st.integers(0, 25).flatmap(
    lambda n: st.tuples(
        *[st.lists(st.integers(-1, 6), min_size=n, max_size=n).map(lambda x: np.array(x, int)) for _ in range(2)]
    )
)
# few distinct scores, so that ties are common; float32 as cosines are
PAIRS = st.lists(st.tuples(st.sampled_from(np.linspace(-1, 1, 9, dtype=np.float32)), st.booleans()), min_size=1)


def together(labels):
    """(N, N) bool, by the definition: equal labels, -1 equal to itself only."""
    n = len(labels)
    return np.array([[i == j or labels[i] == labels[j] != -1 for j in range(n)] for i in range(n)], bool).reshape(n, n)


@given(LABELS)
def test_pairwise_equals_counting_the_pairs(sides):
    claimed, true = (together(side) for side in sides)
    upper = np.triu(np.ones_like(claimed), 1)
    both = (claimed & true & upper).sum()
    score = pairwise_f1(*sides)
    assert score.precision * (claimed & upper).sum() == pytest.approx(both)
    assert score.recall * (true & upper).sum() == pytest.approx(both)


@given(LABELS)
def test_bcubed_equals_the_mean_over_items(sides):
    claimed, true = (together(side) for side in sides)
    score = bcubed_f1(*sides)
    if len(sides[0]):
        assert score.precision == pytest.approx(((claimed & true).sum(1) / claimed.sum(1)).mean())
        assert score.recall == pytest.approx(((claimed & true).sum(1) / true.sum(1)).mean())


def test_figures_worked_by_hand():
    labels, truth = np.array([0, 0, 0, 1, -1]), np.array([0, 0, 1, 1, 2])
    pairs, bcubed = pairwise_f1(labels, truth), bcubed_f1(labels, truth)
    assert (pairs.precision, pairs.recall) == (1 / 3, 1 / 2)
    assert pairs.f1 == pytest.approx(0.4)
    assert bcubed.precision == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1 + 1) / 5)
    assert bcubed.recall == pytest.approx((1 + 1 + 1 / 2 + 1 / 2 + 1) / 5)
    assert pairwise_f1(np.full(3, -1), np.zeros(3, int)).f1 == 0


def test_counts_beyond_32_bits_are_exact():
    everything = np.zeros(100_000, np.int32)
    assert pairwise_f1(everything, np.arange(100_000, dtype=np.int32) % 2).precision == 49_999 / 99_999


def test_unequal_lengths_are_refused():
    with pytest.raises(TaskError, match="2 labels for 3 truths"):
        pairwise_f1(np.zeros(2, int), np.zeros(3, int))


@given(PAIRS)
def test_no_threshold_beats_the_best(pairs):
    scores, same = (np.array(side) for side in zip(*pairs, strict=True))
    right = ((scores >= best_threshold(scores, same)) == same).sum()
    candidates = [*scores.tolist(), 2.0]
    assert right == max(((scores >= t) == same).sum() for t in candidates)


def test_the_threshold_lies_half_way_in_the_gap():
    assert best_threshold(np.array([0.1, 0.2, 0.6, 0.7]), np.array([False, False, True, True])) == pytest.approx(0.4)
    neighbours = np.array([1.0, np.nextafter(1.0, 2)])  # no number lies between these
    assert best_threshold(neighbours, np.array([False, True])) == neighbours[1]


@given(PAIRS, st.sampled_from([0.0, 0.01, 0.29, 0.5, 1.0]))
def test_tar_is_the_best_that_keeps_the_far(pairs, far):
    scores, same = (np.array(side) for side in zip(*pairs, strict=True))
    if same.all() or not same.any():
        with pytest.raises(TaskError, match="genuine and impostor"):
            tar_at_far(scores, same, far)
        return
    kept = [t for t in [*scores.tolist(), 2.0] if (scores[~same] >= t).mean() <= far]
    assert tar_at_far(scores, same, far) == max((scores[same] >= t).mean() for t in kept)


def test_a_far_that_rounds_down_in_binary_allows_its_share():
    scores = np.append(np.arange(100.0), 70.5)
    assert tar_at_far(scores, scores == 70.5, 0.29) == 1.0


def test_each_fold_is_judged_by_the_others():
    # fold 1 would be perfect at its own threshold, and is half wrong at that of folds 0 and 2
    scores = np.array([0.2, 0.6, 0.7, 0.9, 0.2, 0.6])
    same = np.array([False, True, False, True, False, True])
    folds = np.array([0, 0, 1, 1, 2, 2])
    accuracies, threshold = fold_accuracy(scores, same, folds)
    assert accuracies.tolist() == [1.0, 0.5, 1.0]
    each = [best_threshold(scores[folds != f], same[folds != f]) for f in range(3)]
    assert threshold == pytest.approx(np.mean(each))


@pytest.mark.parametrize("scores", [[], [0.5, np.nan], [0.5, 0.4, 0.3]])
def test_scores_that_cannot_be_judged_are_refused(scores):
    with pytest.raises(TaskError, match="finite numbers, one per pair"):
        best_threshold(np.array(scores), np.array([True, False])[: max(len(scores) - 1, 0) or len(scores)])


def test_one_fold_is_refused():
    with pytest.raises(TaskError, match="two folds"):
        fold_accuracy(np.array([0.1, 0.9]), np.array([False, True]), np.zeros(2, int))


def test_every_arrangement_of_four_items_is_symmetric():
    """Swapping the sides swaps precision and recall."""
    for labels, truth in itertools.product(itertools.product(range(-1, 2), repeat=4), repeat=2):
        for measure in (pairwise_f1, bcubed_f1):
            forth, back = measure(np.array(labels), np.array(truth)), measure(np.array(truth), np.array(labels))
            assert (forth.precision, forth.recall) == pytest.approx((back.recall, back.precision))


# ---- error rates -----------------------------------------------------------------------------------------------------


def test_det_and_equal_error_rate_by_hand() -> None:
    scores, same = np.array([0.1, 0.2, 0.3, 0.4]), np.array([False, True, False, True])
    thresholds, accepted, rejected = people.det_curve(scores, same)
    assert thresholds.tolist() == [0.1, 0.2, 0.3, 0.4, np.inf]
    assert (accepted.tolist(), rejected.tolist()) == ([1, 0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5, 1])
    assert people.equal_error_rate(scores, same) == 0.5
    assert people.equal_error_rate(scores, np.array([False, False, True, True])) == 0
    assert people.equal_error_rate(scores, np.array([True, True, False, False])) == 1
    assert people.equal_error_rate(np.zeros(4), same) == 0.5


@given(st.integers(2, 40), st.integers(0, 999))
def test_weights_are_how_often_a_pair_counts(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores, same = random.integers(0, 9, count).astype(float), random.random(count) < 0.5
    same[:2] = True, False
    weights = random.integers(0, 3, count)
    weights[:2] = 1
    again = np.repeat(np.arange(count), weights)
    found = people.equal_error_rates(scores, same, [weights, np.zeros(count), np.ones(count)])
    assert found[0] == pytest.approx(people.equal_error_rate(scores[again], same[again]))
    assert found[1:].tolist() == [people.equal_error_rate(scores, same)]  # of none there is no rate


@given(st.integers(2, 40), st.integers(0, 999))
def test_the_area_under_roc_is_how_often_the_genuine_score_higher(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores, same = random.integers(0, 9, count).astype(float), random.random(count) < 0.5
    same[:2] = True, False
    apart = scores[same][:, None] - scores[~same]
    assert people.area_under_roc(scores, same) == pytest.approx(((apart > 0) + 0.5 * (apart == 0)).mean())


@pytest.mark.parametrize("measure", [people.equal_error_rate, people.area_under_roc])
def test_error_rates_need_both_kinds(measure: Callable[..., float]) -> None:
    with pytest.raises(TaskError, match="need"):
        measure(np.zeros(3), np.ones(3, bool))
