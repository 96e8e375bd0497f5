import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.embeddings import people
from muster.tasks.metrics.people import pairwise_f1
from muster.tasks.people import mergeable_kmeans
from muster.tasks.people.mergeable_kmeans import SCALE, InMemory, Sums, centroids_of, kmeans, partial, seeds, step


def random_faces(n, dimensions=16, seed=0):
    return people([1] * n, 0, dimensions, seed)[0]


def same(a, b):
    return (a.embeddings == b.embeddings).all() and (a.counts == b.counts).all() and a.similarity == b.similarity


@given(st.integers(1, 12), st.integers(0, 1000), st.lists(st.integers(1, 199), max_size=12, unique=True), st.randoms())
@settings(max_examples=50, deadline=None)
def test_every_split_in_every_order_gives_the_same_centroids(k, seed, cuts, random):
    faces = random_faces(200, 128, seed)
    centroids = random_faces(k, 128, seed + 1)
    whole_labels, whole = step(faces, centroids)
    parts = np.split(np.arange(200), sorted(cuts))
    random.shuffle(parts)
    labels = np.empty(200, np.int64)
    total = Sums(np.zeros((k, 128), np.int64), np.zeros(k, np.int64), 0)
    for part in parts:
        rows = np.array(random.sample(part.tolist(), len(part)))
        labels[rows], sums = partial(faces[rows], centroids)
        total += sums
    assert labels.tolist() == whole_labels.tolist()
    assert same(total, whole)
    assert centroids_of(total).tobytes() == centroids_of(whole).tobytes()


@given(st.integers(1, 600), st.integers(0, 1000))
@settings(max_examples=50)
def test_partial_is_what_whole_numbers_give(dimensions, seed):
    centroids = random_faces(20, dimensions, seed)
    faces = np.concatenate([random_faces(40, dimensions, seed + 1), centroids[::3]])  # the longest products there are
    a, b = (np.rint(v * np.float32(SCALE)).astype(np.int64) for v in (faces, centroids))
    similarity = a @ b.T
    expected = similarity.argmax(1)
    labels, sums = partial(faces, centroids)
    assert labels.tolist() == expected.tolist()
    assert sums.similarity == similarity.max(1).sum()
    for cluster in range(20):
        assert sums.embeddings[cluster].tolist() == a[expected == cluster].sum(0).tolist()
        assert sums.counts[cluster] == (expected == cluster).sum()


def test_a_step_is_in_blocks_and_tiles(monkeypatch):
    faces, centroids = random_faces(1000), random_faces(70, seed=1)
    centroids[65] = centroids[3]  # of equals the first, across tiles too
    labels, sums = step(faces, centroids)
    monkeypatch.setattr(mergeable_kmeans, "ROWS", 64)
    monkeypatch.setattr(mergeable_kmeans, "COLUMNS", 32)
    again, tiled = step(faces, centroids)
    assert labels.tolist() == again.tolist()
    assert same(sums, tiled)
    assert sums.counts[3] > 0
    assert sums.counts[65] == 0


def test_empty_clusters_share_the_largest_ones():
    faces, _ = people([30, 20, 10], 0.3, 16)
    centroids = np.stack([faces[0], faces[30], faces[50], -faces[0], -faces[0]])
    _, sums = step(faces, centroids)
    assert sums.counts.tolist() == [30, 20, 10, 0, 0]
    fresh = centroids_of(sums)
    assert np.linalg.norm(fresh, axis=1) == pytest.approx(1, abs=1e-6)
    assert (fresh @ fresh.T)[[0, 1], [3, 4]] == pytest.approx(1, abs=1e-3)
    mean = faces[:30].mean(0) / np.linalg.norm(faces[:30].mean(0))
    assert (np.abs(fresh[[0, 3]] - mean).max(1) > np.abs(mean).max() / 128).all()  # both go apart
    labels, sums = step(faces, fresh)
    assert (sums.counts > 0).all()
    assert set(labels[:30]) == {0, 3}


@given(st.integers(1, 40), st.integers(0, 3), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_kmeans_with_copies_repeats_itself(k, seed, different):
    faces = np.resize(random_faces(different), (40, 16))
    centroids, labels, cosine = kmeans(InMemory(faces), k, seed)
    again = kmeans(InMemory(faces), k, seed)
    assert centroids.tobytes() == again[0].tobytes()
    assert labels.tolist() == again[1].tolist()
    assert centroids.shape == (k, 16)
    assert cosine == pytest.approx((faces @ centroids.T).max(1).mean(), abs=1e-3)
    if k >= different:
        assert cosine == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("sizes", "k", "few"), [([20] * 50, 50, 10**9), ([100, 50] + [5] * 50, 52, 10**9), ([100] * 200, 50, 0)]
)
def test_kmeans_is_as_good_as_faiss(sizes, k, few, monkeypatch):
    """In steps over all faces, where there are few; in one pass, where there are many. On average over five starts."""
    monkeypatch.setattr(mergeable_kmeans, "FEW_SIMILARITIES", few)
    faces, _ = people(sizes, 0.7)
    theirs = []
    for seed in range(5):
        how = {"init_method": faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS, "min_points_per_centroid": 1}
        model = faiss.Kmeans(64, k, niter=10, spherical=True, seed=seed, max_points_per_centroid=len(faces), **how)
        model.train(faces)
        theirs.append(1 - model.index.search(faces, 1)[0].mean())
    assert np.mean([1 - kmeans(InMemory(faces), k, seed)[2] for seed in range(5)]) <= 1.05 * np.mean(theirs)


def test_kmeans_in_one_pass_finds_people_and_repeats_itself(monkeypatch):
    monkeypatch.setattr(mergeable_kmeans, "FEW_SIMILARITIES", 0)
    faces, truth = people([150] * 20, 0.3)
    centroids, labels, _ = kmeans(InMemory(faces), 20)
    assert pairwise_f1(labels, truth).f1 > 0.8
    assert centroids.tobytes() == kmeans(InMemory(faces), 20)[0].tobytes()


def test_seeds_are_far_apart():
    """Of 12 drawn at random about ten would be of the large person."""
    faces, truth = people([500] + [10] * 11, 0.1)
    drawn = seeds(faces, 12, np.random.default_rng(0))
    assert len(set(truth[(faces @ drawn.T).argmax(0)])) >= 11


def test_a_batch_fades_what_it_adds_to():
    faded = mergeable_kmeans._faded(Sums(np.array([[9, 0], [-9, 30]]), np.array([3, 9]), 5), np.array([True, False]))
    assert faded.embeddings.tolist() == [[6, 0], [-9, 30]]
    assert faded.counts.tolist() == [2, 9]
