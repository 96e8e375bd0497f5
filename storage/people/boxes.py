"""Which of two boxes of a face are of one face. Boxes: [x0, y0, x1, y1] in pixels of one photo."""

from collections.abc import Sequence

import numpy as np

from muster.arrays import F32, F64, I64, Bools

SAME_FACE = 0.4  # intersection over union: two models' boxes of one face have .5 and more


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union, in 0..1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def matched(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]], least: float) -> dict[int, int]:
    """Which box of `first` goes with which of `second`, one to one, those that overlap most first, from `least` on."""
    pairs = [(overlap(a, b), i, j) for i, a in enumerate(first) for j, b in enumerate(second)]
    found: dict[int, int] = {}
    taken: set[int] = set()
    for share, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if share < least:
            break
        if i not in found and j not in taken:
            found[i] = j
            taken.add(j)
    return found


def matched_pairs(first: F64, second: F32, pairs: tuple[I64, I64], least: float) -> tuple[I64, I64]:
    """The same for many photos at once: boxes (N, 4) and (M, 4), and which of them may go with which: (P,) places in
    either, no pair twice. Returns those that do."""
    a, b = first[pairs[0]], second[pairs[1]].astype(np.float64)
    sides = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    both = sides.prod(1)
    share = both / np.maximum((a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - both, 1e-9)
    order = np.lexsort((pairs[1], pairs[0], -share))
    i, j = (each[order[share[order] >= least]] for each in pairs)
    found = [np.empty((2, 0), np.int64)]
    while len(i):  # of those that are left, a pair that is best for both
        best = _comes_first(i) & _comes_first(j)
        found.append(np.stack([i[best], j[best]]))
        left = ~np.isin(i, i[best]) & ~np.isin(j, j[best])
        i, j = i[left], j[left]
    one, other = np.concatenate(found, 1)
    return one, other


def _comes_first(values: I64) -> Bools:
    """Whether each of these is the first of its kind."""
    first = np.zeros(len(values), bool)
    first[np.unique(values, return_index=True)[1]] = True
    return first
