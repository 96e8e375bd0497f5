"""Groups of photos from pairs that are alike."""

import heapq
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from muster.arrays import I64


def stars(first: I64, second: I64, count: int) -> I64:
    """The group of each of rows 0..count-1, as a number, or -1: (count,) int64. `first`, `second` (P,): alike pairs.

    A group is a photo with all that are like it: the photo with most such first, then those that are left. So nothing
    is in a group through a chain of photos each a little different. Of photos with as many, the lesser row is first.
    """
    labels = chains(first, second, count)
    nodes = np.bincount(labels[labels >= 0])
    pairs = np.unique(np.minimum(first, second) * count + np.maximum(first, second))
    pairs = pairs[pairs // max(count, 1) != pairs % max(count, 1)]
    edges = np.bincount(labels[pairs // max(count, 1)], minlength=len(nodes))
    loose = edges < nodes * (nodes - 1) // 2  # in all others everything is like everything
    neighbours: dict[int, set[int]] = defaultdict(set)
    for pair in pairs[loose[labels[pairs // max(count, 1)]]].tolist():
        one, other = divmod(pair, count)
        neighbours[one].add(other)
        neighbours[other].add(one)
    labels[list(neighbours)] = -1
    for label, group in enumerate(_taken(neighbours), len(nodes)):
        labels[group] = label
    return labels


def _taken(neighbours: dict[int, set[int]]) -> Iterable[list[int]]:
    """The groups, each taken out of what is left; `neighbours` is used up."""
    queue = [(-len(theirs), node) for node, theirs in neighbours.items()]
    heapq.heapify(queue)
    while queue:
        degree, node = heapq.heappop(queue)
        theirs = neighbours.get(node, set())
        if not theirs:
            continue
        if len(theirs) < -degree:  # some went meanwhile
            heapq.heappush(queue, (-len(theirs), node))
            continue
        group = [node, *sorted(theirs)]
        for member in group:
            for other in neighbours.pop(member, ()):
                if other in neighbours:
                    neighbours[other].discard(member)
        yield group


def chains(first: I64, second: I64, count: int) -> I64:
    """The group of each of rows 0..count-1, as a number, or -1: (count,) int64. All that pairs connect is one group."""
    links = coo_array((np.ones(len(first), np.bool_), (first, second)), shape=(count, count))
    labels = connected_components(links, directed=False)[1].astype(np.int64) if count else np.empty(0, np.int64)
    several = np.bincount(labels, minlength=1) > 1
    numbers = np.where(several, np.cumsum(several) - 1, -1)
    return numbers[labels]
