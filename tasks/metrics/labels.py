"""How good probabilities of labels are, given the truth: first and first five, average precision, calibration."""

from typing import Any

import numpy as np

from muster.arrays import F64, Bools, Floats, Ints

BINS = 15


def top(chances: Floats, truth: Ints, k: int) -> Bools:
    """(N,): whether the true class is among the `k` likeliest. `chances` (N, C), all 0 where nothing is said, which is
    wrong; `truth` (N,): a class each."""
    own = chances[np.arange(len(truth)), truth]
    found: Bools = ((chances > own[:, None]).sum(1) < k) & (own > 0)
    return found


def average_precision(scores: Floats, truth: Bools) -> float:
    """Of one class: the mean, over the photos that show it, of the precision among all that score at least as high.

    `scores`, `truth` (N,). NaN where no photo shows it. Source: Manning, Raghavan, Schütze, Introduction to
    Information Retrieval (2008), section 8.4; photos of one score come together.
    """
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.searchsorted(-scores[order], -scores[order], side="right")  # how many score at least as high
    precision = hits[last - 1] / last
    return float(precision[truth[order]].mean()) if truth.any() else float("nan")


def calibration_error(chances: Floats, right: Bools) -> float:
    """Mean difference between how probable something was said to be and how often it was so, in BINS equal ranges.

    `chances`, `right`: of the same shape. Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017,
    eq. 3.
    """
    said, so = np.ravel(chances).astype(np.float64), np.ravel(right).astype(np.float64)
    bins = np.minimum((said * BINS).astype(np.int64), BINS - 1)
    apart: F64 = np.abs(np.bincount(bins, said - so, BINS))
    return float(apart.sum() / max(1, len(said)))


def judge_one(chances: Floats, truth: Ints, classes: list[str]) -> dict[str, Any]:
    """Of photos that show one class each. `chances` (N, C), `truth` (N,). `per_class`: the share that is right."""
    right = top(chances, truth, 1)
    said = chances.max(1, initial=0.0)
    return {
        "top1": _rounded(right.mean()),
        "top5": _rounded(top(chances, truth, 5).mean()),
        "calibration_error": _rounded(calibration_error(said, right)),
        "per_class": {classes[c]: _rounded(right[truth == c].mean()) for c in np.unique(truth)},
    }


def judge_several(chances: Floats, truth: Bools, classes: list[str]) -> dict[str, Any]:
    """Of photos that show any number of classes. `chances`, `truth` (N, C). `per_class`: average precision, of those
    that a photo shows; `map`: their mean."""
    found = {name: average_precision(chances[:, c], truth[:, c]) for c, name in enumerate(classes) if truth[:, c].any()}
    return {
        "map": _rounded(np.mean(list(found.values()))) if found else None,
        "calibration_error": _rounded(calibration_error(chances, truth)),
        "per_class": {name: _rounded(value) for name, value in found.items()},
    }


def _rounded(value: Any) -> float:
    return round(float(value), 4)
