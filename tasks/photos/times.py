"""What times of photos say: whether two can be one picture, and which were taken within seconds."""

from typing import Any

import numpy as np

from muster.arrays import F32, I64, Bools

Times = np.ndarray[Any, np.dtype[np.datetime64]]  # microseconds, NaT where it is not known

SECONDS = 20  # between photos of one moment
NEXT = 3  # photos that each is compared with: two people may be taking turns
_SECOND, _DAY = np.timedelta64(1_000_000, "us"), np.timedelta64(86_400_000_000, "us")


def may_be_one(one: Times, other: Times) -> Bools:
    """(P,): whether photos taken at these times can be one picture. A copy has its time, or none, or lacks the fraction
    of the second; where both have one, it is the same."""
    unknown = np.isnat(one) | np.isnat(other)
    both = _has_fraction(one) & _has_fraction(other)
    apart = abs(one - other)
    return unknown | np.where(both, apart == np.timedelta64(0, "us"), one.astype("M8[s]") == other.astype("M8[s]"))


def _has_fraction(times: Times) -> Bools:
    return times != times.astype("M8[s]")


def of_one_time(first: I64, second: I64, alike: F32, taken: Times) -> Bools:
    """(P,): which pairs of rows are to stay, so that nothing without a time is one picture with photos of two times: of
    these it is the one that it is most alike, `alike` (P,)."""
    undated = np.isnat(taken[first]) != np.isnat(taken[second])
    swapped = np.isnat(taken[second])
    without, dated = np.where(swapped, second, first), np.where(swapped, first, second)
    rows = np.flatnonzero(undated)
    rows = rows[np.lexsort((dated[rows], -alike[rows], without[rows]))]
    owners, best = np.unique(without[rows], return_index=True)
    time_of = np.full(len(taken), np.datetime64("NaT", "us"))
    time_of[owners] = taken[dated[rows[best]]]
    return ~undated | may_be_one(taken[dated], time_of[without])


def seconds_apart(taken: Times, camera: I64) -> tuple[I64, I64]:
    """Pairs of rows taken by one camera, or one that is not known (-1), at most `SECONDS` apart: each with the next
    `NEXT` in time. Midnight and noon, sharp, are dates without a time (as in muster.tasks.scenes)."""
    known = np.flatnonzero(~np.isnat(taken))
    clock = (taken[known] - taken[known].astype("M8[D]")) % (_DAY // 2)
    known = known[clock != np.timedelta64(0, "us")]
    rows = known[np.lexsort((known, taken[known]))]
    pairs = [(rows[:-step], rows[step:]) for step in range(1, NEXT + 1)]
    first, second = (np.concatenate(side) for side in zip(*pairs, strict=True))
    near = taken[second] - taken[first] <= SECONDS * _SECOND
    one = (camera[first] == camera[second]) | (camera[first] < 0) | (camera[second] < 0)
    return first[near & one], second[near & one]
