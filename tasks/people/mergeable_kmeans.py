"""Spherical k-means by sums that can be merged: the same centroids however the embeddings are split, bit for bit.

Embeddings and centroids are compared after rounding to whole numbers, 1 being `SCALE`. Every product, partial sum and
similarity is then a whole number below 2^24, which float32 holds exactly: no order of blocks, number of threads or make
of processor changes a bit. Rounding changes a similarity by about 1e-4. Fixed blocks merged in a fixed order would give
the same sums on one kind of processor only, because a matrix product rounds differently from one to the next.

Where several machines hold the embeddings (pipeline/distributed/kmeans.py), each calls `step` on its own and sends back
its `Sums`; one adds them, in any order, and calls `centroids_of`. `EmbeddingStore` is all that `kmeans` needs of them.
"""

import itertools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from scipy.sparse import csr_matrix

from muster.arrays import F32, I64, Bools

SCALE = 4000  # (SCALE + sqrt(D) / 2)² is below 2^24 for D up to 36,000
BLOCK = 16_384  # embeddings summed at once
ROWS, COLUMNS = 1024, 2048  # similarities compared at once: 8 MiB, which stay in the cache
FEW_SIMILARITIES = 500_000_000  # similarities in a step over all embeddings, some seconds
EMBEDDINGS_PER_CENTROID = 1024  # embeddings per centroid for one pass


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What a step needs to know of some embeddings, in whole numbers."""

    embeddings: I64  # (K, D): the embeddings of each cluster, times SCALE, rounded and summed
    counts: I64  # (K,)
    similarity: int  # of embedding and nearest centroid, times SCALE², summed

    def __add__(self, other: "Sums") -> "Sums":
        similarity = self.similarity + other.similarity
        return Sums(self.embeddings + other.embeddings, self.counts + other.counts, similarity)


class EmbeddingStore(Protocol):
    """N embeddings (N, D) float32, L2-normalised, wherever they are. `rows`: (M,) int64, rising."""

    def __len__(self) -> int: ...

    def take(self, rows: I64) -> F32:
        """These embeddings."""
        ...

    def sums(self, rows: I64, centroids: F32) -> Sums:
        """`step` of these embeddings, without the labels."""
        ...

    def step(self, centroids: F32) -> tuple[I64, Sums]:
        """`step` of all of them."""
        ...


class InMemory:
    """`EmbeddingStore` in the memory of this process."""

    def __init__(self, embeddings: F32) -> None:
        self.embeddings = embeddings

    def __len__(self) -> int:
        return len(self.embeddings)

    def take(self, rows: I64) -> F32:
        return self.embeddings[rows]

    def sums(self, rows: I64, centroids: F32) -> Sums:
        return step(self.embeddings[rows], centroids)[1]

    def step(self, centroids: F32) -> tuple[I64, Sums]:
        return step(self.embeddings, centroids)


def kmeans(embeddings: EmbeddingStore, k: int, seed: int = 0) -> tuple[F32, I64, float]:
    """Centroids (k, D) float32, L2-normalised; for each embedding the number of its nearest, (N,) int64; the objective.

    1 <= k <= N. Deterministic for a seed. The objective is the mean cosine of embedding and centroid. Few embeddings,
    or few per centroid, are seen in up to ten steps over all of them (LFW settles in five); many in one pass of small
    steps, and a step for the labels, measured in `benchmarks/kmeans_scale.py`.
    """
    n = len(embeddings)
    random, before = np.random.default_rng(seed), -1
    centroids = seeds(embeddings.take(np.arange(n)), k, random) if few(n, k) else _one_pass(embeddings, k, random)
    for last in reversed(range(11 if few(n, k) else 1)):
        labels, sums = embeddings.step(centroids)
        if last == 0 or sums.similarity == before:
            break
        centroids, before = centroids_of(sums), sums.similarity
    return centroids, labels, sums.similarity / SCALE**2 / n


def few(n: int, k: int) -> bool:
    """Whether n embeddings, or n for each of k centroids, are few enough for several steps over all of them."""
    return n <= 64 * k or n * k <= FEW_SIMILARITIES


def step(embeddings: F32, centroids: F32) -> tuple[I64, Sums]:
    """`partial` of any number of embeddings."""
    labels, total = np.empty(len(embeddings), np.int64), Sums(*_zeros(centroids), 0)
    for i in range(0, len(embeddings), BLOCK):
        labels[i : i + BLOCK], sums = partial(embeddings[i : i + BLOCK], centroids)
        total += sums
    return labels, total


def partial(embeddings: F32, centroids: F32) -> tuple[I64, Sums]:
    """For each embedding the number of the nearest of `centroids`, the first of equals: (N,) int64; and their sums.

    `embeddings` (N, D), at most some thousands, and `centroids` (K, D): float32, L2-normalised.
    """
    n, k = len(embeddings), len(centroids)
    rounded = _rounded(embeddings)
    labels, similarity = _nearest(rounded, _rounded(centroids))
    member = csr_matrix((np.ones(n, np.int32), labels, np.arange(n + 1)), (n, k))
    sums = (member.T @ rounded.astype(np.int32)).astype(np.int64)
    return labels, Sums(sums, np.bincount(labels, minlength=k), int(similarity.sum(dtype=np.float64)))


def centroids_of(sums: Sums) -> F32:
    """The mean of each cluster, L2-normalised: (K, D) float32. Empty clusters share those of the largest, in order.

    Two that share one go apart by a 64th of each component, one up and the other down, as in faiss.Kmeans.
    """
    means = _normalised(sums.embeddings.astype(np.float64))
    empty = np.flatnonzero(sums.counts == 0)
    largest = np.argsort(-sums.counts, kind="stable")[: len(means) - len(empty)]
    shared = np.resize(largest, len(empty))
    apart = np.where(np.arange(means.shape[1]) % 2, 1, -1) / 64
    means[empty] = means[shared] * (1 + apart)
    means[shared] *= 1 - apart
    return _normalised(means).astype(np.float32)


def seeds(embeddings: F32, k: int, random: np.random.Generator) -> F32:
    """k of the embeddings, drawn in 64 rounds by squared distance to the nearest of those drawn before: (k, D) float32.

    Source: Bahmani et al., Scalable k-means++, VLDB 5 (2012), without clustering more candidates than k. On LFW at
    k 4000 64 rounds are as good as k-means++, one after the other.
    """
    rounded = _rounded(embeddings)
    own = np.einsum("nd,nd->n", rounded, rounded)
    far = own
    drawn = []
    for part in np.array_split(np.arange(k), min(k, 64)):
        # the smallest of exponential variables of these rates are a draw without replacement (Efraimidis 2006)
        times = random.exponential(size=len(far)) / np.maximum(far, 1e-9)
        drawn.append(np.argpartition(times, len(part) - 1)[: len(part)])
        far = np.clip(own - _nearest(rounded, rounded[drawn[-1]])[1], 0, far)
    return embeddings[np.sort(np.concatenate(drawn))]


def _one_pass(embeddings: EmbeddingStore, k: int, random: np.random.Generator) -> F32:
    """Centroids (k, D) after one pass, over up to `EMBEDDINGS_PER_CENTROID` · k of the embeddings, in growing batches.

    Source: Sculley, Web-scale k-means clustering, WWW 2010. Unlike there, the batches are larger, and old ones count
    less with each step: with equal weights the centroids stop moving too early.
    """
    order = random.permutation(len(embeddings))[: EMBEDDINGS_PER_CENTROID * k]
    centroids = seeds(embeddings.take(np.sort(order[: 4 * k])), k, random)
    total, seen = Sums(*_zeros(centroids), 0), 0
    while (left := len(order) - seen) > 0:
        size = max(2 * k, seen // 10)
        batch = np.sort(order[seen : seen + (size if left > 2 * size else left)])
        sums = embeddings.sums(batch, centroids)
        total = _faded(total, sums.counts > 0) + sums
        centroids = centroids_of(total)
        seen += len(batch)
    return centroids


def _faded(sums: Sums, clusters: Bools) -> Sums:
    """At two thirds of their weight in these clusters, (K,): one that a batch has nothing of stays as it is."""
    kept = np.where(clusters, 2, 3)
    return Sums(sums.embeddings * kept[:, None] // 3, sums.counts * kept // 3, sums.similarity)


def _nearest(embeddings: F32, centroids: F32) -> tuple[I64, F32]:
    """Number of the nearest centroid of each embedding, (N,), and similarity to it, all in whole numbers."""
    labels, best = np.zeros(len(embeddings), np.int64), np.full(len(embeddings), -np.inf, np.float32)
    for i, j in itertools.product(range(0, len(embeddings), ROWS), range(0, len(centroids), COLUMNS)):
        similarity = embeddings[i : i + ROWS] @ centroids[j : j + COLUMNS].T
        found = similarity.argmax(1)
        top = similarity[np.arange(len(found)), found]
        better = top > best[i : i + ROWS]
        labels[i : i + ROWS][better], best[i : i + ROWS][better] = found[better] + j, top[better]
    return labels, best


def _rounded(vectors: F32) -> F32:
    rounded = vectors * np.float32(SCALE)
    return np.rint(rounded, out=rounded)


def _normalised(vectors: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def _zeros(centroids: F32) -> tuple[I64, I64]:
    return np.zeros(centroids.shape, np.int64), np.zeros(len(centroids), np.int64)
