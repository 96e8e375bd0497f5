import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.embeddings import arc, people
from muster.errors import TaskError
from muster.tasks.metrics.people import pairwise_f1
from muster.tasks.people import mergeable_kmeans
from muster.tasks.people.kmeans import cluster_kmeans
from muster.tasks.people.numbering import by_size


def test_kmeans_takes_k_and_finds_the_groups():
    faces, truth = people([30, 20, 10], 0.3)
    labels, k, how = cluster_kmeans(faces, 3)
    assert labels.tolist() == truth.tolist()
    assert (k, how) == (3, "k as given")


def test_many_faces_are_clustered_in_one_pass(monkeypatch):
    monkeypatch.setattr(mergeable_kmeans, "FEW_SIMILARITIES", 0)
    faces, _ = people([200, 150, 100], 0.3)
    assert (
        cluster_kmeans(faces, 3)[0].tolist()
        == by_size(mergeable_kmeans.kmeans(mergeable_kmeans.InMemory(faces), 3)[1]).tolist()
    )
    monkeypatch.setattr("muster.tasks.people.kmeans._kmeans", None)  # not asked
    assert cluster_kmeans(faces, 3)[1:] == (3, "k as given")


def test_kmeans_chooses_k_and_says_how():
    faces, truth = people([15] * 9, 0.5)
    labels, k, how = cluster_kmeans(faces, None)
    assert k == 9
    assert pairwise_f1(labels, truth).f1 == 1
    assert "k 9 has the highest simplified silhouette" in how


def test_kmeans_chooses_k_by_region_in_a_large_library():
    faces, _ = people([10] * 60, 0.4)
    _, k, how = cluster_kmeans(faces, None, region=100)
    assert 50 <= k <= 70
    assert "scaled" in how


def test_kmeans_chooses_k_among_copies():
    labels, k, _ = cluster_kmeans(np.repeat(arc(0, 90), 300, axis=0), None, region=200)
    assert pairwise_f1(labels, np.repeat([0, 1], 300)).precision == 1
    assert k >= 2


@given(st.integers(1, 12), st.integers(0, 3))
@settings(max_examples=20)
def test_kmeans_repeats_itself_and_numbers_by_size(k, seed):
    faces, _ = people([4, 3, 3, 2], 0.5)
    labels, _, _ = cluster_kmeans(faces, k, seed)
    assert labels.tolist() == cluster_kmeans(faces, k, seed)[0].tolist()
    sizes = np.bincount(labels[labels >= 0])
    assert (np.diff(sizes) <= 0).all()
    assert (sizes > 1).all()


def test_a_face_alone_has_no_cluster():
    labels, k, _ = cluster_kmeans(arc(0, 1, 90), 2)
    assert (labels.tolist(), k) == ([0, 0, -1], 2)


@pytest.mark.parametrize("k", [0, -1, 5])
def test_a_k_that_cannot_be_is_refused(k):
    with pytest.raises(TaskError, match=f"from 1 to the number of faces, 4, not {k}"):
        cluster_kmeans(arc(0, 1, 2, 3), k)


def test_no_faces_are_refused_by_kmeans():
    with pytest.raises(TaskError, match="no faces"):
        cluster_kmeans(np.empty((0, 8), np.float32), None)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_kmeans_on_its_own_with_few_faces(n):
    labels, k, _ = cluster_kmeans(arc(0, 1, 90)[:n], None)
    assert (len(labels), k) == (n, min(n, 2))
