"""Which of two boxes of a face are of one face. Boxes: [x0, y0, x1, y1] in pixels of one photo."""

from collections.abc import Sequence

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
