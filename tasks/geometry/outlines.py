"""Masks as polygons."""

from collections.abc import Iterator
from typing import Any

import numpy as np


def outlines(mask: np.ndarray[Any, Any]) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
    """(H, W), set where not 0 → the outer borders of its parts, each (N, 2) x, y of its corners, clockwise.

    They run along the edges of pixels, so filling them gives the mask again, its holes filled. Parts are connected by
    sides, not by corners.
    """
    inside = np.pad(mask != 0, 1)
    core, row = inside[1:-1, 1:-1], mask.shape[1] + 1  # corners are numbered y × row + x
    beside = (inside[:-2, 1:-1], inside[1:-1, 2:], inside[2:, 1:-1], inside[1:-1, :-2])  # above, right, below, left
    # An edge runs right above its pixel, down on its right, left below, up on its left.
    steps, begins = np.array([1, row, -1, -row]), (0, 1, row + 1, row)
    starts = [
        np.flatnonzero(np.pad(core & ~other, ((0, 0), (0, 1)))) + b for other, b in zip(beside, begins, strict=True)
    ]
    direction = np.repeat(np.arange(4), [len(each) for each in starts])
    start = np.concatenate(starts)
    leaving = np.full((4, (mask.shape[0] + 1) * row), -1)  # the edge that leaves a corner in each direction
    leaving[direction, start] = np.arange(len(start))
    end = start + steps[direction]
    right, ahead, left = (leaving[(direction + turn) % 4, end] for turn in (1, 0, 3))
    following = np.where(right >= 0, right, np.where(ahead >= 0, ahead, left))
    corners = np.stack([end % row, end // row], 1)
    turns = direction[following] != direction
    borders = (corners[cycle][turns[cycle]] for cycle in _cycles(following.tolist()))
    return [border for border in borders if _area(border) > 0]  # those of holes run the other way


def _cycles(following: list[int]) -> Iterator[list[int]]:
    """The cycles of a permutation."""
    seen = bytearray(len(following))
    for first in range(len(following)):
        cycle = []
        while not seen[first]:
            seen[first] = 1
            cycle.append(first)
            first = following[first]
        if cycle:
            yield cycle


def _area(corners: np.ndarray[Any, np.dtype[np.int64]]) -> int:
    """Twice the area, below 0 where the corners run against the clock (y down)."""
    x, y = corners.T
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())
