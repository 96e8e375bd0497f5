import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from helpers.embeddings import people
from muster.tasks.people.halves import halves


@given(st.lists(st.integers(-1, 3), max_size=20), st.sampled_from([0.0, 0.8]), st.integers(0, 100))
def test_each_cluster_of_two_and_more_faces_falls_in_two(labels, noise, seed):
    labels = np.array(labels, np.int64)
    faces = people([max(1, len(labels))], noise, 8, seed)[0][: len(labels)]
    found = halves(faces, labels)
    several = [label for label in range(4) if np.count_nonzero(labels == label) > 1]
    assert len(found) == len(several)
    for label, (small, large) in zip(several, found, strict=True):
        assert 1 <= len(small) <= len(large)
        assert sorted([*small.tolist(), *large.tolist()]) == np.flatnonzero(labels == label).tolist()


def test_two_people_in_one_cluster_are_told_apart():
    faces, who = people([7, 20], 0.5)
    [(small, large)] = halves(faces, np.zeros(27, np.int64))
    assert (small.tolist(), set(who[large].tolist())) == (list(range(7)), {1})
