"""Candidates for a nearest-neighbour search among very many embeddings, and their exact similarities.

An inverted file (Jégou, Douze and Schmid, "Product quantization for nearest neighbor search", 2011) keeps each vector
in the list of its nearest centroid, as a code of 4 bits for every 2 dimensions of what differs from the centroid, laid
out to be compared in registers (André, Kermarrec and Le Scouarnec, "Cache locality is not enough", 2015; in FAISS:
IndexIVFPQFastScan). docs/scale.md has measurements of this and of what it was preferred to.

FAISS 1.15 spoils codes that are added to a table after others were removed (it packs them over what those left in their
block): nothing is removed from a table here.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from muster.arrays import F32, I64, U8, Bools

Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
Sure = Callable[[F32], Bools]

LISTS = 1  # times the square root of the rows: with 4 times as many, a search for as many codes took twice as long
DEPTHS = (1 / 64, 5 / 32)  # shares of the lists that a search looks at: first, and where it is not sure
THOROUGH = (1 / 64, 7 / 16)  # the same, where a face hardly more alike than all others is to be found: docs/scale.md
ALIKE = 0.6  # similarity beyond which there is hardly a nearer one to be found: few among a million strangers reach it
CANDIDATES = 100  # at least, and OVERSHOT for each neighbour asked for, are compared exactly
OVERSHOT = 4
SHARD = 2**18  # rows that are coded at once
TRAINED_ON = 64  # vectors per list
ROUNDS = 6  # of k-means
SEED = 0


def all_alike(similarities: F32) -> Bools:
    """(N,): whether all neighbours found (N, K) are so similar that more lists would hardly give nearer ones."""
    return similarities[:, -1] >= ALIKE


@dataclass
class Lists:
    """`table`: a FAISS index."""

    table: Any

    def search(
        self, queries: F32, vectors: F32, place: I64, k: int, depths: Sequence[float], sure: Sure
    ) -> tuple[F32, I64]:
        """Similarities and rows (N, k) among `vectors`, best first, -inf and -1 for none, for `queries` (N, D).

        `place` (B + 1,): the row among `vectors` of each row in the lists, -1 for none, and a last -1. A query looks
        at the next of the shares `depths` of all lists as long as it is not `sure` of its neighbours; at all lists, if
        these hold fewer than `k`.
        """
        found = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        left = np.arange(len(queries))
        for depth in (*depths, 1):
            rows = place[self._candidates(queries[left], max(OVERSHOT * k, CANDIDATES), depth)]
            found[0][left], found[1][left] = best(similarities(queries[left], vectors, rows), rows, k)
            few = found[1][left, -1] < 0
            left = left[few if depth == depths[-1] else few | ~sure(found[0][left])]
        return found

    def _candidates(self, queries: F32, count: int, depth: float) -> I64:
        parameters = faiss.SearchParametersIVF()  # not the table's own: threads may search at once
        parameters.nprobe = max(1, round(depth * self.table.nlist))
        rows: I64 = self.table.search(queries, count, params=parameters)[1]
        return rows

    def dump(self) -> U8:
        """The table in FAISS's format, which `parse` reads. FAISS may crash on other bytes."""
        return faiss.serialize_index(self.table)


def parse(table: U8) -> Lists:
    return Lists(faiss.deserialize_index(table))


def build_lists(vectors: F32, spread: Spread = map) -> Lists:
    """Lists over `vectors` (N, D), L2-normalised and possibly mapped from a file, made shard by shard.

    `spread`: calls a function for each item, as `map` does, or elsewhere.
    """
    empty = train(vectors)
    shards = ((empty, vectors[start : start + SHARD], start) for start in range(0, len(vectors), SHARD))
    return Lists(merge(map(faiss.deserialize_index, spread(fill, shards))))


def train(vectors: F32) -> U8:
    """A table without rows, for as many vectors (N, D) as these."""
    rows, width = vectors.shape
    count = 2 ** round(math.log2(LISTS * math.sqrt(rows)))
    sample = np.sort(np.random.default_rng(SEED).choice(rows, min(rows, TRAINED_ON * count), replace=False))
    kmeans = faiss.Kmeans(width, count, niter=ROUNDS, spherical=True, seed=SEED, min_points_per_centroid=1)
    kmeans.train(vectors[sample])
    centroids = faiss.IndexFlatIP(width)
    centroids.add(np.asarray(kmeans.centroids))
    pieces = width // 2 if width % 2 == 0 else width
    table = faiss.IndexIVFPQFastScan(centroids, width, count, pieces, 4, faiss.METRIC_INNER_PRODUCT)
    table.by_residual = True
    table.train(vectors[sample])
    return faiss.serialize_index(table)


def fill(shard: tuple[U8, F32, int]) -> U8:
    """The table of one shard: an empty table, `vectors` (N, D), the row of the first. Shards can be made anywhere."""
    empty, vectors, first = shard
    table = faiss.deserialize_index(empty)
    table.add_with_ids(np.ascontiguousarray(vectors), np.arange(first, first + len(vectors)))
    return faiss.serialize_index(table)


def merge(shards: Iterable[Any]) -> Any:
    """One table of several that were filled from the same empty one, in any order."""
    shards = iter(shards)
    whole = next(shards)
    for shard in shards:
        whole.merge_from(shard, 0)
    return whole


def similarities(queries: F32, vectors: F32, rows: I64) -> F32:
    """Exact inner products (N, M) of `queries` (N, D) with `vectors[rows]`, rows (N, M); -inf for row -1."""
    exact = np.empty(rows.shape, np.float32)
    pointers = [faiss.swig_ptr(array) for array in (exact, queries, vectors, rows)]
    faiss.fvec_inner_products_by_idx(*pointers, queries.shape[1], *rows.shape)  # type: ignore[attr-defined]
    exact[rows < 0] = -np.inf
    return exact


def best(similarities: F32, rows: I64, k: int) -> tuple[F32, I64]:
    """The `k` highest of each line (N, M), best first, both (N, k)."""
    order = np.argpartition(-similarities, k - 1, axis=1)[:, :k]
    by_similarity = np.argsort(-np.take_along_axis(similarities, order, axis=1), axis=1, kind="stable")
    order = np.take_along_axis(order, by_similarity, axis=1)
    return np.take_along_axis(similarities, order, axis=1), np.take_along_axis(rows, order, axis=1)
