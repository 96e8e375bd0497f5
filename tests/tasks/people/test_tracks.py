import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.embeddings import people
from muster.tasks.people.tracks import GAP, join, tracks

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
    nothing = np.empty((0, 4), np.float32)
    track = tracks(np.empty(0, np.int64), np.empty(0), nothing, nothing)
    assert track.tolist() == []
    assert join(track, nothing, np.empty(0, np.float32), np.empty(0, np.int64), 0.25).photos.tolist() == []


def joined(track, quality, photos, embeddings=None):
    faces = np.eye(len(track), dtype=np.float32) if embeddings is None else embeddings
    return join(np.array(track), faces, np.array(quality, np.float32), np.array(photos), 0.25)


def test_a_track_is_the_mean_of_its_good_faces():
    one = joined([0, 0, 0], [0.8, 0.4, 0.1], [0, 1, 2])
    assert one.embeddings[0] == pytest.approx([0.5**0.5, 0.5**0.5, 0])
    assert one.quality == pytest.approx([0.6])
    assert one.faces.tolist() == [2]


def test_a_track_without_a_good_face_stays_poor():
    one = joined([0, 0], [0.2, 0.1], [0, 1])
    assert one.quality == pytest.approx([0.15])
    assert one.faces.tolist() == [0]
    assert np.linalg.norm(one.embeddings[0]) == pytest.approx(1)


def test_tracks_that_are_seen_together_are_faces_of_one_photo():
    # 0 and 1 in moment 7, 2 in moment 8
    one = joined([0, 0, 1, 1, 2], [1] * 5, [6, 7, 7, 9, 8])
    assert one.photos.tolist() == [7, 7, 8]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=20, unique=True))
def test_a_track_counts_as_in_a_photo_that_shows_it(pairs):
    photos, who = np.array(sorted(pairs)).T
    track = np.unique(who, return_inverse=True)[1]
    one = joined(track, [1] * len(track), photos)
    assert all(photo in photos[track == number] for number, photo in enumerate(one.photos.tolist()))
