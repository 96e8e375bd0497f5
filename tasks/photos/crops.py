"""Whether one photo is the other with its edges cut off: how alike they are once they lie on each other."""

from typing import Any

import numpy as np

from muster.arrays import F32
from muster.tasks.photos.likeness import SIDE

FINE = 2 * SIDE  # pixels a side of the pictures that are cut
EDGES = (0.0, 0.02, 0.04, 0.06)  # shares of the width or height that may be cut off on each side
ROUNDS = 2  # of the cuts across and then down: each is the best for the other

Fine = np.ndarray[Any, np.dtype[np.uint8]]


def cropped_likeness(one: Fine, other: Fine) -> float:
    """The correlation -1..1 of two grey pictures (64, 64), where one of them may have lost up to `EDGES` of itself.

    Which one is not known: both ways are tried. Of 170 photos and their crops by 5 % it is .989 and more in 99 of 100
    cases, where .95 is the median without it; of other photos whose hashes are near, all of .98 and more were copies.
    """
    return max(_best_cut(one, other), _best_cut(other, one))


def _best_cut(whole: Fine, part: Fine) -> float:
    target, picture = _standard((_CUTS[0] @ part @ _CUTS[0].T).reshape(1, -1))[0], whole.astype(np.float32)
    down, best = 0, -1.0
    for _ in range(ROUNDS):
        across = int((_standard(_flat((_CUTS[down] @ picture) @ _CUTS.swapaxes(1, 2))) @ target).argmax())
        found = _standard(_flat(_CUTS @ (picture @ _CUTS[across].T))) @ target
        down, best = int(found.argmax()), max(best, float(found.max()))
    return best


def _flat(pictures: F32) -> F32:
    return pictures.reshape(len(pictures), -1)


def _standard(rows: F32) -> F32:
    rows = rows - rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def _cut(before: float, after: float) -> F32:
    """(32, 64): what resamples 64 pixels without such shares at both ends to 32, with a triangle filter."""
    step = (1 - before - after) * FINE / SIDE
    centres = before * FINE + (np.arange(SIDE) + 0.5) * step
    weights = np.maximum(0, 1 - abs(np.arange(FINE) + 0.5 - centres[:, None]) / max(1.0, step))
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


_CUTS = np.array([_cut(before, after) for before in EDGES for after in EDGES])  # (16, 32, 64); the first cuts nothing
