import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from helpers.said import said_of, sayings
from muster.tasks.people.said import Bounds, nothing

SAID = st.integers(1, 12).flatmap(lambda n: sayings(n))


@given(SAID)
def test_what_is_said_stands_before_what_is_excluded_and_both_before_what_was_shown(said):
    excluded = set(map(tuple, said.excluded.tolist()))
    for face, known in enumerate(said.known.tolist()):
        person, shown = int(said.person[face]), int(np.append(said.groups, -1)[said.shown[face]])
        assert known == (person if person >= 0 else -1 if (face, shown) in excluded else shown)
        for each in range(4):
            one = np.array([face]), np.array([each])
            assert said.excludes(*one)[0] == ((face, each) in excluded and person != each)
            assert said.bars(*one)[0] == (known not in (-1, each) or bool(said.excludes(*one)[0]))


@given(SAID, st.data())
def test_a_part_says_the_same_of_its_rows(said, data):
    n = len(said.person)
    rows = np.array(data.draw(st.permutations(range(n)))[: data.draw(st.integers(0, n))], np.int64)
    part = said.part(rows)
    assert part.known.tolist() == said.known[rows].tolist()
    for person in range(4):
        everybody = np.full(len(rows), person)
        assert part.excludes(np.arange(len(rows)), everybody).tolist() == said.excludes(rows, everybody).tolist()


@given(SAID, st.data())
def test_clusters_that_bounds_let_grow_hold_one_person_and_nobody_excluded(said, data):
    """Also where several become part of one at once, as in a round of the linkage."""
    n, bounds = len(said.person), Bounds(said)
    cluster = np.arange(n)
    for _ in range(n):
        alive = np.unique(cluster).tolist()
        into, heart, *others = data.draw(st.permutations(alive)) if len(alive) > 1 else (0, 0)
        if into == heart or bounds.apart(np.array([heart]), np.array([into]))[0]:
            continue
        near = np.array(others, np.int64)
        both = np.full(len(near), into)
        near = near[~bounds.apart(near, both) & bounds.may_join(near, both)]
        merged = np.append(near, heart)
        bounds.merge(merged, np.full(len(merged), into))
        cluster[np.isin(cluster, merged)] = into
    for each in np.unique(cluster).tolist():
        rows = np.flatnonzero(cluster == each)
        people = set(said.known[rows].tolist()) - {-1}
        assert len(people) <= 1
        for person in people:
            assert not said.excludes(rows, np.full(len(rows), person)).any()


def test_pairs_that_are_known_to_be_one_person_are_not_strange():
    said = said_of(5, {0: 0, 1: 0, 2: 1}, shown={3: 0})
    a, b = said.strange(np.array([0, 0, 0, 0, 4]), np.array([1, 2, 3, 4, 4]))
    assert (a.tolist(), b.tolist()) == ([0, 0, 4], [2, 4, 4])


def test_groups_say_whose_a_cluster_is_and_single_faces_only_where_there_is_no_group():
    said = said_of(6, {0: 0, 1: 1, 2: 0, 5: 1}, [(4, 0)], shown={2: 0, 3: 1, 4: 1, 5: 0}, groups=[0, 0])
    assert said.votes.tolist() == [-1, 3, 0, 1, -1, 3]


def test_nothing_said_is_nobody():
    said = nothing(3)
    assert (said.people, said.known.tolist(), said.votes.tolist()) == (0, [-1] * 3, [-1] * 3)
    assert not Bounds(said).apart(np.array([0, 1]), np.array([1, 2])).any()
