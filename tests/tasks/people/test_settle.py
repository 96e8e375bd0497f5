import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.embeddings import arc, people
from helpers.said import said_of, sayings, violations
from muster.tasks.people.kmeans import cluster_kmeans
from muster.tasks.people.mergeable_kmeans import InMemory, kmeans
from muster.tasks.people.numbering import by_size
from muster.tasks.people.said import nothing
from muster.tasks.people.settle import settle


@st.composite
def labelled(draw):
    n = draw(st.integers(0, 14))
    return np.array(draw(st.lists(st.integers(-1, 4), min_size=n, max_size=n)), np.int64), draw(sayings(n))


def settled(labels, said, faces=None):
    faces = people([1] * max(1, len(labels)), 1, 8)[0][: len(labels)] if faces is None else faces
    return settle(labels, said, faces.__getitem__)


@given(labelled())
def test_whatever_the_labels_nothing_is_against_what_was_said(case):
    labels, said = case
    found, who = settled(labels, said)
    assert violations(found, who, said) == []
    sizes = np.bincount(found[found >= 0], minlength=len(who))
    assert len(sizes) == len(who)
    assert ((sizes > 1) | ((who >= 0) & (sizes == 1))).all()
    assert (np.diff(sizes) <= 0).all()
    of_others = (said.known >= 0) & (np.append(who, -1)[found] >= 0)
    assert (np.append(who, -1)[found] == said.known)[of_others].all(), "what was shown goes to no other person"


@given(labelled(), st.integers(1, 5), st.integers(0, 50))
def test_k_means_of_both_kinds_keeps_to_what_was_said(case, k, seed):
    _, said = case
    n = len(said.person)
    if n < k:
        return
    faces = people([1] * n, 1, 8, seed)[0]
    for labels in (cluster_kmeans(faces, k, seed)[0], kmeans(InMemory(faces), k, seed)[1]):
        assert violations(*settled(labels, said, faces), said) == []


@given(labelled())
def test_people_are_not_lost(case):
    labels, said = case
    _, who = settled(labels, said)
    assert set(said.known.tolist()) - {-1} == set(who.tolist()) - {-1}


@given(labelled())
def test_where_nothing_was_said_nothing_changes(case):
    labels = np.where(np.bincount(case[0] + 1)[case[0] + 1] > 1, case[0], -1)
    found, who = settled(labels, nothing(len(labels)))
    assert (found.tolist(), set(who.tolist()) <= {-1}) == (by_size(labels).tolist(), True)


def test_a_new_cluster_follows_the_face_that_was_named():
    labels = np.array([0, 0, 0, 0, 1, 1])
    found, who = settled(labels, said_of(6, {0: 5}))
    assert (found.tolist(), who.tolist()) == ([0, 0, 0, 0, 1, 1], [5, -1])


def test_one_face_out_of_another_cluster_does_not_bring_that_cluster_with_it():
    labels = np.array([0] * 5 + [1] * 6)
    said = said_of(11, dict.fromkeys([0, 1, 2, 3, 5], 0))
    found, who = settled(labels, said)
    assert (found.tolist(), who.tolist()) == ([0] * 6 + [1] * 5, [0, -1])


def test_a_person_who_falls_into_pieces_stays_one_but_for_what_is_mostly_of_others():
    """Shown with eight faces: of a cluster of their own, of one alone, and of a few in a large cluster."""
    labels = np.array([0, 0, 0, 0, 1, 1, -1, 2, *[2] * 9])
    found, who = settled(labels, said_of(17, shown=dict.fromkeys(range(8), 0)))
    assert (found[:7] == found[0]).all()
    assert who[found[0]] == 0
    assert found[7] == found[8] != found[0]


def test_two_clusters_that_the_user_put_together_stay_together():
    """The second group's three faces are in a cluster with many more by now, of which nothing was said."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, *[1] * 9])
    shown = dict.fromkeys(range(4), 0) | dict.fromkeys(range(4, 7), 1)
    found, who = settled(labels, said_of(16, shown=shown, groups=[0, 0]))
    assert (found.tolist(), who.tolist()) == ([0] * 16, [0])
    found, who = settled(labels, said_of(16, shown=dict.fromkeys(shown, 0), groups=[0]))
    assert (found.tolist(), who.tolist()) == (by_size(labels).tolist(), [-1, 0]), "of one group three are no matter"


def test_two_people_in_one_cluster_share_it_by_likeness():
    faces = arc(0, 60, 10, 50, 29, 31)
    said = said_of(6, {0: 0, 1: 1}, [(4, 0), (5, 1)])
    found, who = settled(np.zeros(6, np.int64), said, faces)
    assert who[found].tolist() == [0, 1, 0, 1, 1, 0]


def test_who_is_none_of_the_people_of_a_cluster_leaves_it():
    said = said_of(4, {0: 0, 1: 1}, [(2, 0), (2, 1), (3, 0)])
    found, who = settled(np.zeros(4, np.int64), said, arc(0, 60, 1, 1))
    assert found[2] == -1
    assert who[found[3]] == 1
    assert settled(np.zeros(3, np.int64), said_of(3, {0: 0}, [(2, 0)]))[0].tolist() == [0, 0, -1]


def test_only_the_faces_of_clusters_of_several_people_are_asked_for():
    def never(rows):
        pytest.fail(f"asked for {rows}")

    said = said_of(4, {0: 0, 2: 1}, [(1, 0)])
    assert settle(np.array([0, 0, 1, 1]), said, never)[0].tolist() == [1, -1, 0, 0]
