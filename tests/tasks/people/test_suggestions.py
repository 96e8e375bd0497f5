import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from helpers.embeddings import people
from muster.tasks.people.collages import same_photo
from muster.tasks.people.suggestions import CHOICES, prepare, suggestions

NONE = np.empty((0, 2), np.int64)


def asked(faces, labels, photos=None, answered=NONE, before=None, limit=100):
    photos = np.arange(len(faces)) if photos is None else photos
    prepared = prepare(faces, labels if before is None else before, photos)
    return suggestions(prepared, labels, np.array(answered, np.int64).reshape(-1, 2), limit)


def joins(found):
    pairs = [(each.faces[0], choice.faces[0]) for each in found if not each.part for choice in each.choices]
    return {(min(pair), max(pair)) for pair in pairs}


@st.composite
def libraries(draw):
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    faces, _ = people(sizes, draw(st.sampled_from([0.3, 0.8])), 12, draw(st.integers(0, 1000)))
    n = len(faces)
    before = np.array(draw(st.lists(st.integers(-1, 4), min_size=n, max_size=n)), np.int64)
    now = np.array(draw(st.lists(st.integers(-1, 4), min_size=n, max_size=n)), np.int64)
    rows = st.tuples(st.integers(0, n - 1), st.integers(0, n - 1))
    photos = np.array(draw(st.lists(st.integers(0, n), min_size=n, max_size=n)), np.int64)
    return faces, before, draw(st.sampled_from([before, now])), photos, draw(st.lists(rows, max_size=6))


@given(libraries(), st.integers(0, 8))
def test_what_holds_of_every_question(library, limit):
    faces, before, now, photos, answered = library
    found = asked(faces, now, photos, answered, before, limit)
    assert len(found) <= limit
    assert [each.gain for each in found] == sorted((each.gain for each in found), reverse=True)
    asked_of = [tuple(each.faces.tolist()) for each in found]
    assert len(set(asked_of)) == len(asked_of), "the same faces are in question once"
    groups = [np.flatnonzero(now == label).tolist() for label in range(5)] + [[i] for i in np.flatnonzero(now < 0)]
    for each in found:
        assert 0 <= each.gain <= len(each.faces)
        chances = [choice.chance for choice in each.choices]
        assert 1 <= len(chances) <= CHOICES
        assert chances == sorted(chances, reverse=True)
        assert sum(chances) <= 1 + 1e-6
        for choice in each.choices:
            one, other = set(each.faces.tolist()), set(choice.faces.tolist())
            assert not any((a in one and b in other) or (a in other and b in one) for a, b in answered)
            assert len(one) <= len(other)
            if each.part:
                assert any(one | other <= set(group) for group in groups)
            else:
                assert sorted(one) in groups
                assert sorted(other) in groups


def test_first_what_puts_most_faces_right():
    """A person in two large halves, one in two small ones, and a face alone."""
    faces, who = people([12, 4, 5], 1.1, 64, 3)
    labels = np.array([0] * 6 + [1] * 6 + [2] * 2 + [3] * 2 + [4] * 4 + [-1])
    found = [each for each in asked(faces, labels) if not each.part]
    assert [len(each.faces) for each in found] == [6, 2, 1]
    assert all(who[each.faces[0]] == who[each.choices[0].faces[0]] for each in found)


def test_what_was_answered_is_not_asked_again_and_the_next_best_is():
    faces, _ = people([13], 1.1, 64, 1)
    labels = np.array([0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [-1])
    about = [each for each in asked(faces, labels) if each.faces.tolist() == [12]]
    best, *others = [choice.faces.tolist() for choice in about[0].choices]
    again = asked(faces, labels, answered=[(best[1], 12)])
    about = [each for each in again if each.faces.tolist() == [12]]
    assert [choice.faces.tolist() for choice in about[0].choices] == others != []


def test_people_of_one_photo_are_not_asked_about():
    faces, _ = people([8], 0.5)
    labels, photos = np.array([0] * 4 + [1] * 4), np.array([0, 1, 2, 3, 0, 5, 6, 7])
    assert joins(asked(faces, labels)) == {(0, 4)}
    assert joins(asked(faces, labels, photos)) == set()
    assert len(same_photo(photos)[0]) == 1


def test_a_face_that_a_user_put_out_is_asked_about_where_it_may_belong():
    faces, _ = people([6, 6], 0.5)
    before = np.array([0] * 6 + [1] * 5 + [0])  # the last is of the second
    found = asked(faces, np.where(np.arange(12) == 11, -1, before), answered=[(11, 0)], before=before)
    assert joins(found) == {(6, 11)}


def test_a_part_that_may_be_somebody_else():
    faces, _ = people([3, 9], 0.5)
    labels = np.zeros(12, np.int64)
    [first, *_] = asked(faces, labels)
    assert (first.part, first.faces.tolist(), first.choices[0].chance < 0.5) == (True, [0, 1, 2], True)
    assert asked(faces, labels, answered=[(1, 5)]) == []
    assert asked(faces, np.where(np.arange(12) == 7, -1, 0), before=labels)[0].part is False


def test_there_is_nothing_to_ask_of_nobody():
    assert asked(np.empty((0, 4), np.float32), np.empty(0, np.int64)) == []
    assert asked(people([1], 1, 4)[0], np.array([-1])) == []
