"""How good a label map is, given the truth: the confusion matrix of its pixels, and what is read from it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from muster.arrays import Ints
from muster.errors import TaskError

VOID = -1  # in the truth: not compared


@dataclass(frozen=True, slots=True)
class SegmentScores:
    """Each in 0..1. `iou`: of each class; NaN where neither truth nor prediction has it. `miou`: mean of the others.

    `global_accuracy`: share of pixels that are right. `class_average`: mean over the classes of the truth of the share
    of their pixels that are right. Source: Badrinarayanan, Kendall, Cipolla, SegNet, 2017, section 4.
    """

    iou: tuple[float, ...]
    miou: float
    global_accuracy: float
    class_average: float


def confusion(truth: Ints, predicted: Ints, classes: int) -> Ints:
    """Pixels of each pair of classes: (classes, classes) int64, a row for each class of the truth.

    `truth`, `predicted`: of one shape; 0..classes - 1, in the truth VOID too. TaskError where they are something else.
    """
    if truth.shape != predicted.shape:
        raise TaskError(f"a label map of {predicted.shape} cannot be compared with one of {truth.shape}")
    counted = truth != VOID
    rows, columns = truth[counted].astype(np.int64), predicted[counted].astype(np.int64)
    for name, values in (("truth", rows), ("prediction", columns)):
        if values.size and not (values.min() >= 0 and values.max() < classes):
            raise TaskError(f"the {name} has class {values.min()} to {values.max()}, of {classes}")
    return np.bincount(rows * classes + columns, minlength=classes**2).reshape(classes, classes)


def segment_scores(confusion: Ints) -> SegmentScores:
    """Scores of a confusion matrix, (classes, classes), a row for each class of the truth; NaN where it is empty."""
    right, true, claimed = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    iou, recall = _share(right, true + claimed - right), _share(right, true)
    return SegmentScores(
        iou=tuple(iou.tolist()),
        miou=_mean(iou),
        global_accuracy=float(_share(right.sum(), true.sum())),
        class_average=_mean(recall),
    )


def _share(part: Any, whole: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def _mean(values: np.ndarray[Any, Any]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
