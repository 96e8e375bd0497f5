import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from helpers.embeddings import people
from muster.tasks.people.tracks import GAP, best, spread, tracks

HERE, THERE = [0, 0, 10, 10], [50, 0, 60, 10]


def found(*faces):
    """The track of each face: (video, moment, box, who)."""
    videos, moments, boxes, who = zip(*faces, strict=True)
    return tracks(
        np.array(videos), np.array(moments, float), np.array(boxes, np.float32), np.eye(4, dtype=np.float32)[list(who)]
    ).tolist()


def test_a_face_that_stays_where_it_is_is_one_track():
    assert found((0, 0, HERE, 0), (0, 1, [1, 1, 11, 11], 0), (0, 2, [2, 2, 12, 12], 0)) == [0, 0, 0]


def test_a_cut_to_another_face_in_the_same_place_begins_a_track():
    assert found((0, 0, HERE, 0), (0, 1, HERE, 1)) == [0, 1]


def test_a_lookalike_elsewhere_in_the_picture_begins_a_track():
    assert found((0, 0, HERE, 0), (0, 1, THERE, 0)) == [0, 1]


def test_a_moment_without_the_face_does_not_end_its_track_and_a_pause_does():
    assert found((0, 0, HERE, 0), (0, 2, HERE, 0)) == [0, 0]
    assert found((0, 0, HERE, 0), (0, GAP + 0.1, HERE, 0)) == [0, 1]


def test_two_videos_share_no_track_and_photos_have_none():
    assert found((0, 0, HERE, 0), (1, 1, HERE, 0), (-1, 1, HERE, 0), (-1, 2, HERE, 0)) == [0, 1, 2, 3]


def test_of_two_faces_that_could_go_on_each_keeps_its_own():
    one, other = [0, 0, 10, 10], [4, 0, 14, 10]
    moved = [2, 0, 12, 10]  # nearer to where the other was
    assert found((0, 0, one, 0), (0, 0, other, 1), (0, 1, other, 1), (0, 1, moved, 0)) == [0, 1, 1, 0]


@given(st.integers(0, 10_000), st.integers(1, 25))
def test_no_track_has_two_faces_of_a_moment_and_the_order_of_rows_is_of_no_account(seed, n):
    random = np.random.default_rng(seed)
    faces, _ = people([n], 0.5, 8, seed)
    videos, moments = random.integers(-1, 2, n), random.integers(0, 6, n) / 2
    corner = random.uniform(0, 12, (n, 2))
    boxes = np.hstack([corner, corner + 10]).astype(np.float32)
    track = tracks(videos, moments, boxes, faces)
    for number in set(track.tolist()):
        rows = np.flatnonzero(track == number)
        assert len(rows) == 1 or (len(set(moments[rows])) == len(rows) and len(set(videos[rows])) == 1)
        assert (np.diff(np.sort(moments[rows])) <= GAP).all()
    order = random.permutation(n)
    again = tracks(videos[order], moments[order], boxes[order], faces[order])
    pairs = track[order][:, None] == track[order]
    assert ((again[:, None] == again) == pairs).all()
    assert sorted(set(track.tolist())) == list(range(track.max() + 1))


def test_no_faces_are_no_tracks():
    nothing, none = np.empty((0, 4), np.float32), np.empty(0, np.int64)
    assert tracks(none, np.empty(0), nothing, nothing).tolist() == []
    assert best(none, np.empty(0, np.float32), 3).tolist() == []
    assert spread(none, none, none).tolist() == []


def test_the_best_faces_of_a_track_stand_for_it():
    assert best(np.array([1, 0, 0, 0, 1]), np.array([0.1, 0.5, 0.9, 0.7, 0.2]), 2).tolist() == [0, 2, 3, 4]
    assert best(np.array([0, 1, 2]), np.zeros(3), 1).tolist() == [0, 1, 2]


def test_a_track_is_who_most_of_its_faces_are_and_all_of_it_is():
    track = np.array([0, 0, 0, 0, 1, 1, 2])
    assert spread(track, np.array([0, 1, 2, 4, 6]), np.array([3, 3, 1, -1, 0])).tolist() == [3, 3, 3, 3, -1, -1, 0]
    assert spread(np.array([0, 0]), np.array([0, 1]), np.array([5, 2])).tolist() == [2, 2], "the larger cluster"


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1)), min_size=1, max_size=30), st.integers(1, 5))
def test_of_each_track_as_many_stand_for_it_as_may(faces, most):
    track, quality = (np.array(column) for column in zip(*faces, strict=True))
    rows = best(track, quality, most)
    assert (np.diff(rows) > 0).all()
    for number in set(track.tolist()):
        taken, left = quality[rows[track[rows] == number]], np.delete(quality, rows)[np.delete(track, rows) == number]
        assert len(taken) == min(most, int((track == number).sum()))
        assert not len(left) or taken.min() >= left.max()
