"""How good clusters and scores are, given the truth: pairwise and BCubed F, TAR at FAR, accuracy over folds."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from muster.arrays import Bools, Floats, Ints
from muster.errors import TaskError


@dataclass(frozen=True, slots=True)
class FScore:
    """Each in [0, 1]. Precision is 1 where nothing was claimed, recall is 1 where there was nothing to claim."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def pairwise_f1(labels: Ints, truth: Ints) -> FScore:
    """Precision and recall over pairs of items: a pair is claimed when its labels are equal, true when its truths are.

    `labels`, `truth`: (N,) integers; -1 is an item alone, on either side. Exact; O(N log N).
    Source: Manning, Raghavan, Schütze, Introduction to Information Retrieval (2008), section 16.3.
    """
    _, _, cells, clusters, classes = _contingency(labels, truth)
    both, claimed, true = _pairs(cells), _pairs(clusters), _pairs(classes)
    return FScore(both / claimed if claimed else 1.0, both / true if true else 1.0)


def bcubed_f1(labels: Ints, truth: Ints) -> FScore:
    """Mean over items of the share of an item's cluster that is of its class (precision), and the converse (recall).

    `labels`, `truth`: (N,) integers; -1 is an item alone, on either side. An item counts itself. O(N log N).
    Source: Amigó, Gonzalo, Artiles, Verdejo, A comparison of extrinsic clustering evaluation metrics based on formal
    constraints, Information Retrieval 12 (2009), section 4, after Bagga and Baldwin (1998).
    """
    if len(labels) == 0:
        return FScore(1.0, 1.0)
    rows, columns, cells, clusters, classes = _contingency(labels, truth)
    squares = cells.astype(np.float64) ** 2
    return FScore(
        float((squares / clusters[rows]).sum() / len(labels)),
        float((squares / classes[columns]).sum() / len(labels)),
    )


def _contingency(labels: Ints, truth: Ints) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """The cells of the clusters × classes table that are not empty: cluster, class, count; and both margins."""
    if len(labels) != len(truth):
        raise TaskError(f"{len(labels)} labels for {len(truth)} truths: give one of each per item")
    row, column = _dense(labels), _dense(truth)
    width = int(column.max(initial=-1)) + 1
    cell, count = np.unique(row * width + column, return_counts=True)
    rows, columns = np.divmod(cell, max(width, 1))
    return rows, columns, count, np.bincount(row), np.bincount(column)


def _dense(labels: Ints) -> Ints:
    """Codes 0.. of the labels, a code of its own for every -1."""
    codes = np.asarray(labels, dtype=np.int64).copy()
    alone = codes == -1
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(alone.sum())
    return np.unique(codes, return_inverse=True)[1]


def _pairs(counts: Ints) -> int:
    return int((counts.astype(np.int64) * (counts - 1) // 2).sum())


def tar_at_far(scores: Floats, same: Bools, far: float) -> float:
    """The share of genuine pairs accepted at the lowest threshold that accepts at most `far` of the impostor pairs.

    `scores`: (N,), higher is more alike. `same`: (N,) bool, genuine or impostor. `far` in [0, 1]. Source: Grother,
    Ngan, Hanaoka, FRVT Part 1: Verification (NIST), the false match rate and 1 − the false non-match rate.
    """
    scores, same = _scores(scores, same)
    if same.all() or not same.any() or not 0 <= far <= 1:
        raise TaskError(f"TAR at FAR {far} needs genuine and impostor pairs, and a FAR in [0, 1]")
    impostors = np.sort(scores[~same])[::-1]
    allowed = int(far * len(impostors) + 1e-9)  # .29 × 100 is 28.999999999999996
    return 1.0 if allowed == len(impostors) else float((scores[same] > impostors[allowed]).mean())


def det_curve(scores: Floats, same: Bools) -> tuple[Floats, Floats, Floats]:
    """Each threshold t, ascending, where `score >= t` says same, and there the shares of impostors let in and of
    genuine pairs turned away: (T,) float64 each, the first with all accepted, the last with none.

    `scores`: (N,), higher is more alike. `same`: (N,) bool. Source: Martin, Doddington, Kamm, Ordowski, Przybocki, The
    DET Curve in Assessment of Detection Task Performance, Eurospeech 1997.
    """
    scores, same = _scores(scores, same)
    if same.all() or not same.any():
        raise TaskError("error rates need genuine and impostor pairs")
    thresholds, code = np.unique(scores, return_inverse=True)
    return np.append(thresholds, np.inf), *_error_rates(code, same, np.ones(len(same)))


def _error_rates(code: Ints, same: Bools, weights: Floats) -> tuple[Floats, Floats]:
    """The shares of impostors let in and of genuine pairs turned away, at a threshold before each code and one after
    all. `code`: (N,), the place of each score among all that there are; `weights`: (N,), how often a pair counts."""
    below = [
        np.append(0, np.cumsum(np.bincount(code[kind], weights[kind], code.max() + 1)) / weights[kind].sum())
        for kind in (same, ~same)
    ]
    return 1 - below[1], below[0]


def equal_error_rate(scores: Floats, same: Bools) -> float:
    """Where as large a share of impostors is let in as of genuine pairs is turned away; between two thresholds, the
    middle. As `det_curve` otherwise."""
    _, accepted, rejected = det_curve(scores, same)
    return _where_equal(accepted, rejected)


def equal_error_rates(scores: Floats, same: Bools, weights: Iterable[Floats]) -> Floats:
    """The same, for each of `weights` (N,), which say how often a pair counts: (W,) float64. Where none of a kind
    counts there is no rate, and it is left out."""
    scores, same = _scores(scores, same)
    order = np.argsort(scores)  # once: each of the weights is then summed from front to back
    code, same = np.unique(scores[order], return_inverse=True)[1], same[order]
    ordered = (each[order] for each in weights)
    return np.array(
        [_where_equal(*_error_rates(code, same, each)) for each in ordered if each[same].any() and each[~same].any()]
    )


def _where_equal(accepted: Floats, rejected: Floats) -> float:
    after = int(np.argmax(rejected >= accepted))
    at = [after] if rejected[after] == accepted[after] else [after - 1, after]
    gap = np.abs(rejected[at] - accepted[at])
    nearest = at[int(gap.argmin())]
    return float((rejected[nearest] + accepted[nearest]) / 2)


def area_under_roc(scores: Floats, same: Bools) -> float:
    """How often a genuine pair scores higher than an impostor one; half where they score alike.

    `scores`: (N,), higher is more alike. `same`: (N,) bool. Source: Hanley and McNeil, The Meaning and Use of the Area
    under a Receiver Operating Characteristic (ROC) Curve, Radiology 143, 1982.
    """
    scores, same = _scores(scores, same)
    genuine, impostor = int(same.sum()), int((~same).sum())
    if not genuine or not impostor:
        raise TaskError("an area under ROC needs genuine and impostor pairs")
    ranks = rankdata(scores)[same].sum()
    return float((ranks - genuine * (genuine + 1) / 2) / (genuine * impostor))


def best_threshold(scores: Floats, same: Bools) -> float:
    """The threshold t with the most pairs right, where `score >= t` says same: the middle one of equally good ones.

    `scores`: (N,), higher is more alike. `same`: (N,) bool. Thresholds tried: half-way between neighbouring scores,
    and one unit above the highest. O(N log N).
    """
    scores, same = _scores(scores, same)
    values, code = np.unique(scores, return_inverse=True)
    genuine, impostor = np.bincount(code[same], minlength=len(values)), np.bincount(code[~same], minlength=len(values))
    # right[i]: impostors below values[i] plus genuine pairs at or above it; the last entry accepts none
    right = np.append(0, np.cumsum(impostor)) + same.sum() - np.append(0, np.cumsum(genuine))
    best = np.flatnonzero(right == right.max())
    i = int(best[(len(best) - 1) // 2])
    if i == len(values):
        return float(values[-1] + 1)
    middle = values[i - 1] / 2 + values[i] / 2 if i else values[i]
    return float(middle if i and middle > values[i - 1] else values[i])


def fold_accuracy(scores: Floats, same: Bools, folds: Ints) -> tuple[Floats, float]:
    """The accuracy in each fold with the threshold that was best in all others, and the mean of those thresholds.

    `scores`: (N,); `same`: (N,) bool; `folds`: (N,) integers. Returns (F,) float64, folds in ascending order. Source:
    Huang, Ramesh, Berg, Learned-Miller, Labeled Faces in the Wild, UMass TR 07-49 (2007), section 2, View 2.
    """
    scores, same = _scores(scores, same)
    names = np.unique(folds)
    if len(names) < 2 or len(folds) != len(scores):
        raise TaskError("accuracy over folds needs at least two folds, and one fold number per pair")
    thresholds = np.array([best_threshold(scores[folds != name], same[folds != name]) for name in names])
    accuracies = np.array(
        [((scores >= t) == same)[folds == name].mean() for name, t in zip(names, thresholds, strict=True)]
    )
    return accuracies, float(thresholds.mean())


def _scores(scores: Floats, same: Bools) -> tuple[Floats, Bools]:
    scores, same = np.asarray(scores, dtype=np.float64), np.asarray(same, dtype=bool)
    if len(scores) == 0 or len(scores) != len(same) or not np.isfinite(scores).all():
        raise TaskError("scores must be finite numbers, one per pair, and at least one")
    return scores, same
