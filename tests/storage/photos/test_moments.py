import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.photos.moments import NEAR, SAME, moments

MANY = 10**6


def of(frames, keyframes=(), fps=1.0, most=MANY):
    return moments(np.array(frames, float), np.array(keyframes, float), fps, most).tolist()


def test_one_a_second_from_the_first_frame_on():
    assert of(np.arange(0, 4, 0.04)) == [0, 1, 2, 3]


def test_a_keyframe_near_by_is_taken_and_one_far_off_is_not():
    assert of(np.arange(0, 3, 0.04), [0, 1.4, 2.8]) == [0, 1.4, 2]


def test_the_frame_that_is_shown_then_is_named_by_its_own_time():
    assert of([0, 0.7, 2.2, 3]) == [0, 0.7, 3]


def test_a_picture_that_is_shown_for_long_is_one_moment():
    assert of([0, 0.04, 60]) == [0, 0.04, 60]


def test_of_many_the_middles_of_equal_parts():
    assert of(np.arange(0, 100.5, 0.5), most=4) == [12.5, 37.5, 62.5, 87.5]
    assert of(np.arange(0, 100.5, 0.5), most=1) == [50]


def test_more_a_second_than_there_are_frames_are_all_of_them():
    assert of([0, 0.4, 0.8], fps=50) == [0, 0.4, 0.8]


def test_no_frames_are_no_moments_and_one_frame_is_one():
    assert of([]) == []
    assert of([3.2], [3.2]) == [3.2]


def test_times_are_named_to_a_thousandth():
    assert of([0, 1001 / 1000 / 3]) == [0]
    assert of([1 / 3]) == [0.333]


@given(
    st.lists(st.floats(0, 50).map(lambda time: round(time, 3)), min_size=1, max_size=60, unique=True).map(sorted),
    st.sets(st.integers(0, 59)),
    st.sampled_from([0.5, 1, 2, 10]),
    st.integers(1, 80),
)
def test_moments_are_frames_and_no_wanted_one_is_far_from_what_is_shown(frames, keys, fps, most):
    keyframes = [time for number, time in enumerate(frames) if number in keys]
    found = of(frames, keyframes, fps, most)
    assert 1 <= len(found) <= most
    assert found == sorted(set(found))
    assert set(found) <= set(frames)
    if most >= (frames[-1] - frames[0]) * fps + 1:
        for wanted in np.arange(frames[0], frames[-1] + SAME, 1 / fps):
            last = max(time for time in frames if time <= wanted + SAME)
            near = min(NEAR, 0.5 / fps)
            assert last in found or any(abs(key - wanted) <= near + 2 * SAME for key in set(keyframes) & set(found))


def test_a_header_that_claims_centuries_costs_nothing():
    assert len(of([0, 1e12], most=100_000)) == pytest.approx(1, abs=1)
