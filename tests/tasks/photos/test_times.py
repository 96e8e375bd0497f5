from datetime import datetime, timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from muster.tasks.photos.times import SECONDS, may_be_one, of_one_time, seconds_apart

NOON = datetime(2019, 5, 4, 12, 30)
TIMES = st.one_of(st.none(), st.integers(-3_000_000, 3_000_000).map(lambda us: NOON + timedelta(microseconds=us)))


def times(*values: datetime | None) -> np.ndarray:
    return np.array(values, "M8[us]")


def one(first: datetime | None, second: datetime | None) -> bool:
    return bool(may_be_one(times(first), times(second))[0])


@given(TIMES, TIMES)
def test_it_does_not_matter_which_comes_first(first: datetime | None, second: datetime | None) -> None:
    assert one(first, second) == one(second, first)


def test_a_copy_has_the_time_of_its_original_or_none() -> None:
    fraction = NOON + timedelta(milliseconds=250)
    assert one(NOON, NOON)
    assert one(NOON, None)
    assert one(None, None)
    assert one(NOON, fraction)
    assert not one(NOON, NOON + timedelta(seconds=1))
    assert not one(fraction, NOON + timedelta(milliseconds=350))


def test_what_has_no_time_goes_with_the_photo_that_it_is_most_like() -> None:
    taken = times(NOON, NOON + timedelta(hours=1), None, None, NOON)
    first, second = np.array([0, 1, 2, 2, 0]), np.array([2, 2, 3, 4, 4])
    alike = np.array([0.98, 0.97, 0.99, 0.975, 0.99], np.float32)
    assert of_one_time(first, second, alike, taken).tolist() == [True, False, True, True, True]
    assert of_one_time(second, first, alike, taken).tolist() == [True, False, True, True, True]


def pairs(taken: list[datetime | None], camera: list[int]) -> set[frozenset[int]]:
    found = seconds_apart(times(*taken), np.array(camera, np.int64))
    return {frozenset(pair) for pair in zip(*(side.tolist() for side in found), strict=True)}


def test_photos_of_one_camera_within_seconds_are_compared() -> None:
    taken = [NOON, NOON + timedelta(seconds=SECONDS), NOON + timedelta(seconds=2 * SECONDS + 1), None]
    assert pairs(taken, [0, 0, 0, 0]) == {frozenset({0, 1})}
    assert pairs(taken, [0, 1, 1, 0]) == set()
    assert pairs(taken, [0, -1, 1, 0]) == {frozenset({0, 1})}


def test_each_is_compared_with_the_next_three() -> None:
    taken = [NOON + timedelta(seconds=i) for i in (4, 0, 2, 1, 3)]
    assert pairs(taken, [0] * 5) == {
        frozenset(p) for p in [(1, 3), (1, 2), (1, 4), (3, 2), (3, 4), (3, 0), (2, 4), (2, 0), (4, 0)]
    }


def test_dates_without_a_time_are_no_moment() -> None:
    assert pairs([datetime(2019, 5, 4)] * 2, [0, 0]) == set()
    assert pairs([datetime(2019, 5, 4, 12)] * 2, [0, 0]) == set()


def test_no_photos() -> None:
    assert pairs([], []) == set()
    assert pairs([NOON], [0]) == set()
