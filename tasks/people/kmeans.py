"""Spherical k-means over faces, with k given or chosen."""

import faiss
import numpy as np

from muster.arrays import F32, I64
from muster.errors import TaskError
from muster.tasks.people import mergeable_kmeans
from muster.tasks.people.numbering import by_size


def cluster_kmeans(embeddings: F32, k: int | None, seed: int = 0, region: int = 10_000) -> tuple[I64, int, str]:
    """Spherical k-means: labels (N,) int64, 0 the largest cluster, -1 alone; k; and how k was found, as a sentence.

    `embeddings`: (N, D) float32, L2-normalised. `k` None: see `_choose_k`, which looks at about `region` faces at once.
    Deterministic for a seed. Time grows with N · k. TaskError where k is below 1 or above N. Source: Dhillon and
    Modha, Concept decompositions for large sparse text data using clustering, Machine Learning 42 (2001).
    """
    n = len(embeddings)
    if k is not None and not 1 <= k <= n:
        raise TaskError(f"k must be from 1 to the number of faces, {n}, not {k}")
    if n == 0:
        raise TaskError("there are no faces to cluster")
    faces = np.ascontiguousarray(embeddings, np.float32)
    k, how = (k, "k as given") if k is not None else _choose_k(faces, seed, region)
    # few by faiss.Kmeans: with automatic k on the 10,627 faces in LFW pairwise F .344 in 29 s, by lloyd .311 in 40 s
    labels = (
        _kmeans(faces, k, seed)[1][:, 0]
        if mergeable_kmeans.few(n, k)
        else mergeable_kmeans.kmeans(mergeable_kmeans.InMemory(faces), k, seed)[1]
    )
    return numbered(labels), k, how


def numbered(labels: I64) -> I64:
    """Labels (N,) numbered by size, 0 the largest cluster, -1 alone."""
    labels = by_size(labels)
    labels[np.bincount(labels)[labels] == 1] = -1
    return labels


def _choose_k(faces: F32, seed: int, region: int) -> tuple[int, str]:
    """The k of the highest simplified silhouette, among numbers √2 apart, then among ten around the best.

    In a library of more than two regions: in each of three regions of similar faces, and scaled up, because a random
    sample would miss most photos of each person. It cannot answer 1. On LFW, 10,562 faces of 4,859 people: 3,862.
    """
    n = len(faces)
    if n < 3:
        return n, "k is the number of faces, too few to compare"
    if n <= 2 * region:
        k, tried = _best_k(faces, seed)
        return k, f"k {k} has the highest simplified silhouette of {tried} values from 2 to {n - 1}"
    regions = n // region
    _, found = _kmeans(faces, regions, seed)
    sizes = np.bincount(found[:, 0], minlength=regions)
    typical = np.argsort(np.abs(sizes - region), kind="stable")[:3]
    typical = typical[sizes[typical] > 2]
    best = [_best_k(faces[found[:, 0] == r], seed)[0] for r in typical]
    seen = int(sizes[typical].sum())
    k = round(n * sum(best) / seen)
    return k, f"k {k} is scaled from {sum(best)} by simplified silhouette in {seen} faces of {len(best)} regions"


def _best_k(faces: F32, seed: int) -> tuple[int, int]:
    n = len(faces)
    coarse = {min(round(2 ** (i / 2)), n - 1) for i in range(2, 2 * n.bit_length() + 1)}
    scores = {k: _silhouette(faces, k, seed) for k in sorted(coarse)}
    peak = max(scores, key=lambda k: (scores[k], -k))
    low, high = max((k for k in coarse if k < peak), default=peak), min((k for k in coarse if k > peak), default=peak)
    fine = np.unique(np.linspace(low, high, 10).round().astype(int)).tolist()
    scores |= {k: _silhouette(faces, k, seed) for k in fine if k not in scores}
    return max(scores, key=lambda k: (scores[k], -k)), len(scores)


def _silhouette(faces: F32, k: int, seed: int) -> float:
    """The mean over faces of (b - a) / max(a, b), a and b the cosine distances to the nearest two centroids.

    A face alone counts 0, after Rousseeuw (1987). Source: Vendramin, Campello, Hruschka, Relative clustering validity
    criteria: a comparative overview, Statistical Analysis and Data Mining 3 (2010).
    """
    similarity, found = _kmeans(faces, k, seed)
    a, b = np.maximum(1 - similarity, 1e-6).T
    together = np.bincount(found[:, 0], minlength=k)[found[:, 0]] > 1
    return float(np.where(together, (b - a) / b, 0).mean())


def _kmeans(faces: F32, k: int, seed: int) -> tuple[F32, I64]:
    """Similarity to and number of the two nearest centroids (one, where k is 1), (N, 2) each."""
    # k-means++ starts: on LFW .24 pairwise and .71 BCubed F at k 4000, where random ones give .17 and .66.
    # Ten of them where they cost nothing: the 55 faces of the five Johns need more than one
    model = faiss.Kmeans(
        faces.shape[1],
        k,
        niter=10,  # LFW settles in five
        nredo=10 if len(faces) <= 2000 else 1,
        spherical=True,
        seed=seed,
        init_method=faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS,
        min_points_per_centroid=1,
        max_points_per_centroid=len(faces),
    )
    model.train(faces)
    similarity, found = model.index.search(faces, min(2, k))
    return similarity, found
