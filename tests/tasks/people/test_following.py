import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.tasks.people.following import agreed, ended, follow, nobody

WIDTH = 8
PEOPLE = np.eye(WIDTH, dtype=np.float32)
WHERE = np.array([[100 * i, 0, 100 * i + 80, 90] for i in range(WIDTH)], np.float32)

# A film: in each frame, who of eight people is there, and by how much they moved
films = st.lists(
    st.lists(st.tuples(st.integers(0, WIDTH - 1), st.integers(-9, 9)), unique_by=lambda x: x[0]), max_size=9
)


def faces(frame, noise=0.1):
    rows = [who for who, _ in frame]
    moved = np.array([[x, x, x, x] for _, x in frame], np.float32).reshape(-1, 4)
    looks = PEOPLE[rows] + noise * np.roll(PEOPLE, 1, 0)[rows]
    return WHERE[rows] + moved, (looks / np.linalg.norm(looks, axis=1, keepdims=True)).astype(np.float32)


def even(count):
    return np.full(count, 0.5, np.float32)


def run(film, unseen=3.0):
    """The numbers of each frame's faces, and of the tracks that ended after it; and the tracks at the end."""
    tracks, found = nobody(WIDTH), []
    for now, frame in enumerate(film):
        tracks, number = follow(tracks, now, *faces(frame), even(len(frame)))
        tracks, over = ended(tracks, now, unseen)
        found.append((number.tolist(), over.tolist()))
    return found, tracks


@given(films)
def test_each_face_is_in_one_track_and_each_track_ends_once(film):
    found, tracks = run(film)
    numbers = [number for number, _ in found]
    assert all(len(set(number)) == len(number) == len(frame) for number, frame in zip(numbers, film, strict=True))
    over = [number for _, over in found for number in over]
    everything = sorted({n for number in numbers for n in number})
    assert sorted(over + tracks.number.tolist()) == everything == list(range(tracks.begun))


@given(films)
def test_people_who_look_different_are_never_one_track(film):
    found, _ = run(film)
    owner = {}
    for (number, _), frame in zip(found, film, strict=True):
        for n, (who, _) in zip(number, frame, strict=True):
            assert owner.setdefault(n, who) == who


@given(films, st.randoms(use_true_random=False))
def test_the_order_of_a_frames_faces_does_not_matter(film, random):
    mixed = [random.sample(frame, len(frame)) for frame in film]
    for (a, over_a), (b, over_b), one, other in zip(run(film)[0], run(mixed)[0], film, mixed, strict=True):
        assert dict(zip(one, a, strict=True)) == dict(zip(other, b, strict=True))
        assert over_a == over_b


@given(st.integers(1, 30))
def test_who_stands_still_is_one_track(length):
    found, tracks = run([[(3, 0)]] * length)
    assert {n for number, _ in found for n in number} == {0}
    assert tracks.begun == 1


def test_who_flickers_is_one_track_and_who_stays_away_is_another():
    film = [[(3, 0)], [], [], [(3, 5)], [], [], [], [], [(3, 5)]]
    assert [number for number, _ in run(film)[0]] == [[0], [], [], [0], [], [], [], [], [1]]
    assert [over for _, over in run(film)[0]].index([0]) == 7  # more than three seconds after the last one


def test_a_face_is_followed_wherever_it_goes_where_it_looks_the_same_and_only_then():
    boxes, looks = faces([(0, 0)])
    tracks, _ = follow(nobody(WIDTH), 0, boxes, looks, even(1))
    assert follow(tracks, 1, boxes + 500, looks, even(1))[1].tolist() == [0]
    less = (0.55 * looks + np.sqrt(1 - 0.55**2) * PEOPLE[5]).astype(np.float32)
    assert follow(tracks, 1, boxes + 500, less, even(1))[1].tolist() == [1]
    assert follow(tracks, 1, boxes, less, even(1))[1].tolist() == [1], "nor at the same place"
    assert follow(tracks, 1, boxes, PEOPLE[5:6], even(1))[1].tolist() == [1], "somebody else at the same place"


def test_two_who_cross_keep_their_tracks():
    (left, a), (right, b) = faces([(0, 0)]), faces([(1, 0)])
    tracks, number = follow(nobody(WIDTH), 0, np.concatenate([left, right]), np.concatenate([a, b]), even(2))
    assert number.tolist() == [0, 1]
    _, number = follow(tracks, 1, np.concatenate([right, left]), np.concatenate([a, b]), even(2))
    assert number.tolist() == [0, 1]


def film_of_one_place(*seen):
    """The tracks of faces (direction, quality) that are at one place, one after the other."""
    tracks, numbers = nobody(WIDTH), []
    for now, (who, quality) in enumerate(seen):
        tracks, found = follow(tracks, now, WHERE[:1], PEOPLE[who : who + 1], np.float32([quality]))
        numbers += found.tolist()
    return numbers


def test_who_turns_away_and_back_is_one_track():
    assert film_of_one_place((0, 0.9), (5, 0.2), (6, 0.1), (0, 0.9)) == [0, 0, 0, 0]


def test_who_steps_in_while_another_is_turned_away_is_another_track():
    assert film_of_one_place((0, 0.9), (1, 0.2), (1, 0.9)) == [0, 0, 1]
    assert film_of_one_place((5, 0.1), (6, 0.2), (0, 0.9), (1, 0.9)) == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("said", "agree", "what"),
    [
        ("", 1, None),
        ("A", 1, "A"),
        ("A", 2, None),
        ("AA", 2, "A"),
        ("AAB", 2, "A"),
        ("AABB", 2, None),
        ("AABC", 2, None),
        ("ABABA", 3, "A"),
        ("ABABA", 4, None),
    ],
)
def test_so_many_agree_and_more_than_half(said, agree, what):
    assert agreed(said, agree) == what
