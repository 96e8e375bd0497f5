import numpy as np
import pytest

from helpers.people import A, B, C, D
from muster.storage.people.attach import Draft, Votes, attached


def given_by(clusters: str, votes: dict[str, list[int]]) -> dict[str, str]:
    """`clusters`: a letter for each face, `.` for one alone."""
    names = sorted(set(clusters) - {"."})
    of = np.array([names.index(each) if each != "." else -1 for each in clusters], np.int64)
    people = list(votes)
    voters = [people.index(person) for person, rows in votes.items() for _ in rows]
    rows = [row for rows in votes.values() for row in rows]
    ids = [each * 12 for each in names]
    return attached(ids, of, Votes(people, np.array(voters, np.int64), np.array(rows, np.int64)))


@pytest.mark.parametrize(
    ("clusters", "votes", "expected"),
    [
        ("aabb", {A: []}, {A: A}),  # by its id alone
        ("aabb", {C: [0, 1, 2]}, {A: C}),  # of another model: where most are
        ("aabb", {C: [0, 1], D: [2]}, {A: C, B: D}),
        ("aabb", {C: [0, 1], D: [0, 2]}, {A: C, B: D}),  # one to one
        ("aabb", {D: [0, 1], C: [0]}, {A: D}),  # the one who has most there
        ("aab.", {C: [3]}, {}),  # nobody's cluster
        ("aab", {A: [2], C: [0]}, {A: C, B: A}),  # another cluster goes by the id of somebody who is elsewhere
        ("aabbb", {A: [0, 2, 3]}, {B: A}),
        ("aabbb", {A: [0, 2]}, {A: A}),  # in doubt the one of the id
        ("", {C: []}, {}),
    ],
)
def test_clusters_go_to_people(clusters: str, votes: dict[str, list[int]], expected: dict[str, str]) -> None:
    assert given_by(clusters, votes) == expected


def test_a_cluster_that_goes_by_the_id_of_somebody_elsewhere_gets_another() -> None:
    draft = Draft([A, B], np.array([0, 0, 1]))
    draft.attach(Votes([A], np.array([0]), np.array([2])))
    *first, last = (draft.ids[place] for place in draft.persons)
    assert last == A
    assert len(set(first)) == 1
    assert first[0] not in (A, B)


def test_what_is_said_of_faces_goes_before_clusters() -> None:
    draft = Draft([A, B], np.array([0, 0, 1, -1]))
    draft.say({1: C, 3: B})
    draft.bar({(0, A), (2, A), (3, D)})
    assert [draft.ids[place] if place >= 0 else None for place in draft.persons] == [None, C, B, B]
    assert draft.shown() == [B, C]


def test_people_who_are_one_go_by_one_id() -> None:
    draft = Draft([A, B], np.array([0, 1, -1]))
    draft.rename(lambda person: A)
    assert draft.persons.tolist() == [0, 0, -1]


def test_whose_cluster_is_that_of_the_same_person_already_takes_no_other() -> None:
    votes = Votes([A, C], np.array([0, 0, 1, 1, 1]), np.array([0, 1, 2, 3, 4]))
    of = np.array([0, 0, 0, 0, 1, 1, 1])
    assert attached([A, B], of, votes) == {A: A, B: C}
    assert attached([A, B], of, votes, {A: A, C: A}.__getitem__) == {A: A}
