"""Who is who among unlabelled faces: by graph where nobody knows k, by k-means where someone does; stable ids."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float32]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class GraphParameters:
    """Settings of `cluster_graph`; similarities are cosines. Chosen on half of the people of LFW, in a flat region."""

    threshold: float = 0.48  # two clusters whose faces are this similar on average are one person
    smoothing: float = 0.5  # neighbours at least this similar are averaged into a face before it is compared
    stranger: float = 0.45  # neighbours less similar than this are taken for other people;
    crowd: float = 0.35  # a face whose ten most similar strangers are above this on average has to be closer to match
    min_quality: float = 0.1  # faces below it join a cluster, and never start or bridge one
    same_photo: bool = False  # whether two faces of one photo may be one person


def cluster_graph(
    embeddings: Floats,
    neighbours: Ints,
    similarities: Floats,
    images: Ints,
    quality: Floats,
    parameters: GraphParameters | None = None,
) -> Ints:
    """Labels (N,) int64 of the people found: 0 is the largest cluster, -1 a face alone. A cluster has at least two.

    `embeddings`: (N, D) float32, L2-normalised. `neighbours`, `similarities`: (N, K) int64 and float32 as a FAISS
    inner-product search over these embeddings returns them, -1 for none. `images`: (N,) int, the photo a face is in.
    `quality`: (N,) float32 in [0, 1]. Deterministic, whatever the order of the rows.
    """
    p = parameters or GraphParameters()
    order = np.lexsort((*embeddings.T[:8], images))  # one order for all orders of the rows, so that ties fall alike
    place = np.full(len(order) + 1, -1)  # the last entry keeps neighbour -1 at -1
    place[order] = np.arange(len(order))
    neighbours, similarities, images = place[neighbours[order]], similarities[order], images[order]
    good = quality[order] >= p.min_quality
    photos = np.arange(len(order)) if p.same_photo else images

    pairs = np.repeat(np.arange(len(order)), neighbours.shape[1]), neighbours.ravel()
    known = (pairs[1] >= 0) & (pairs[0] != pairs[1])
    a, b, s = pairs[0][known], pairs[1][known], similarities.ravel()[known]
    crowding = _crowding(a, s, len(order), p)
    close = (s - (crowding[a] + crowding[b]) / 2 >= p.smoothing) & good[b] & (photos[a] != photos[b])
    vectors = _smooth(embeddings[order], a[close], b[close], s[close])
    clusters = _Clusters(vectors, crowding)
    both = good[a] & good[b] & (photos[a] != photos[b])
    _link(clusters, a[both], b[both], photos, p.threshold)
    labels = clusters.labels()
    _one_per_photo(labels, vectors, crowding, clusters, photos)
    to_good = ~good[a] & (labels[b] >= 0)
    _attach(clusters, labels, a[to_good], b[to_good], photos, p.threshold)
    result = np.empty_like(labels)
    result[order] = _by_size(labels)
    return result


def _crowding(a: Ints, s: Floats, n: int, p: GraphParameters) -> Floats:
    """How much more alike the ten most similar strangers of each face are than usual, in cosine, at least 0: (n,).

    Faces in a crowd of lookalikes, such as blurred ones, or any face of a very large library, need more evidence.
    Source: adaptive score normalisation (Cumani et al., Interspeech 2011), and CSLS (Conneau et al., ICLR 2018).
    """
    a, s = a[s < p.stranger], s[s < p.stranger]
    order = np.lexsort((-s, a))
    a, s = a[order], s[order]
    nearest = np.arange(len(a)) - np.searchsorted(a, a) < 10
    a, s = a[nearest], s[nearest]
    count = np.bincount(a, minlength=n)
    mean = np.bincount(a, s, n) / np.maximum(count, 1)
    return np.where(count > 0, np.maximum(mean - p.crowd, -0.06), 0).astype(np.float32)


def _smooth(embeddings: Floats, a: Ints, b: Ints, s: Floats) -> Floats:
    """Each face a plus its neighbours b, weighted by the cube of their similarity, L2-normalised: (N, D) float32.

    Source: α-weighted query expansion, Radenović, Tolias, Chum, Fine-tuning CNN image retrieval, TPAMI 41 (2019), 3.4.
    """
    n = len(embeddings)
    total = embeddings + csr_matrix((s.astype(np.float32) ** 3, (a, b)), (n, n)) @ embeddings
    return np.asarray(total / np.linalg.norm(total, axis=1, keepdims=True), dtype=np.float32)


class _Clusters:
    """Clusters as sums over their faces, which is all that the mean similarity of two clusters takes."""

    def __init__(self, vectors: Floats, crowding: Floats) -> None:
        self.sums, self.crowding = vectors.copy(), crowding.copy()
        self.sizes = np.ones(len(vectors), np.int64)
        self.parents = np.arange(len(vectors))
        self.scratch = np.empty(len(vectors), np.float32), np.empty(len(vectors), np.int64)

    def linkage(self, a: Ints, b: Ints) -> Floats:
        """Mean cosine between the faces of clusters a and of b, less their mean crowding. Rounded, so ties are ties."""
        parts = [slice(i, i + 65536) for i in range(0, len(a), 65536)]  # 64 MiB at a time
        dots = [np.einsum("nd,nd->n", self.sums[a[part]], self.sums[b[part]]) for part in parts]
        mean = np.concatenate([*dots, np.empty(0, np.float32)]) / (self.sizes[a] * self.sizes[b])
        crowding = (self.crowding[a] / self.sizes[a] + self.crowding[b] / self.sizes[b]) / 2
        return np.asarray(np.round(mean - crowding, 5), dtype=np.float32)

    def merge(self, a: Ints, b: Ints) -> None:
        """Clusters b become part of clusters a; no cluster twice in b, nor in both."""
        for values in (self.sums, self.crowding, self.sizes):
            np.add.at(values, a, values[b])
        self.parents[b] = a

    def labels(self) -> Ints:
        """(N,): for each face its cluster, -1 where it is alone."""
        while (self.parents != (up := self.parents[self.parents])).any():
            self.parents = up
        return np.where(self.sizes[self.parents] > 1, self.parents, -1)


def _link(clusters: _Clusters, a: Ints, b: Ints, photos: Ints, threshold: float) -> None:
    """Average linkage over the pairs a, b of neighbours, down to `threshold`; never two faces of one photo.

    In rounds: every two clusters that are each other's most similar merge, which without the rule of the photos gives
    the clusters of merging one by one (Murtagh, A survey of recent advances in hierarchical clustering algorithms,
    1983; at scale Sumengen et al., arXiv 2105.11653, 2021). Pairs below the threshold are dropped: the mean similarity
    to a merged cluster is at most that to the better of its parts, which is then still here.
    """
    n = len(photos)
    keys = _keys(a, b, n)
    s = clusters.linkage(*np.divmod(keys, n))
    keys, s = keys[s >= threshold], s[s >= threshold]
    c, d = _rivals(photos)
    touched = np.zeros(n, bool)
    while len(keys):
        into, what = _round(clusters, keys, s, c, d)
        clusters.merge(into, what)
        touched[into] = touched[what] = True
        a, b = np.divmod(keys, n)
        stale = touched[a] | touched[b]
        c, d = clusters.parents[c], clusters.parents[d]
        fresh = _keys(clusters.parents[a[stale]], clusters.parents[b[stale]], n)
        near = touched[c] | touched[d]
        fresh = fresh[~np.isin(fresh, _forbidden(clusters.sizes, c[near], d[near]))]
        t = clusters.linkage(*np.divmod(fresh, n))
        keys = np.concatenate([keys[~stale], fresh[t >= threshold]])
        s = np.concatenate([s[~stale], t[t >= threshold]])
        touched[into] = touched[what] = False


def _keys(a: Ints, b: Ints, n: int) -> Ints:
    """The pairs a, b of two different clusters, each once, whichever way round, as numbers: smaller · n + larger."""
    keys = np.sort((np.minimum(a, b) * n + np.maximum(a, b))[a != b])  # np.unique hashes, which takes four times as long
    return keys[np.diff(keys, prepend=-1) > 0]


def _forbidden(sizes: Ints, c: Ints, d: Ints) -> Ints:
    """The pairs of clusters, as numbers, that hold faces c and d of one photo, more often than in one face of twenty."""
    n = len(sizes)
    keys, counts = np.unique(np.minimum(c, d) * n + np.maximum(c, d), return_counts=True)
    c, d = np.divmod(keys, n)
    return keys[counts * 20 > np.minimum(sizes[c], sizes[d])]


def _round(clusters: _Clusters, keys: Ints, s: Floats, c: Ints, d: Ints) -> tuple[Ints, Ints]:
    """Which clusters merge into which: pairs that are each other's most similar, of equal ones the first.

    And, so that a person of thousands of photos does not take as many rounds: small clusters whose most similar one is
    ten times their size and merging, and hardly more similar to what it merges with. c, d: clusters not to be joined.
    """
    n = len(clusters.sizes)
    a, b = np.concatenate([np.divmod(keys, n), np.divmod(keys, n)[::-1]], axis=1)  # both ways round
    keys, s = np.tile(keys, 2), np.tile(s, 2)
    best, first = clusters.scratch
    best[a] = -np.inf
    np.maximum.at(best, a, s)
    first[a] = n * n
    top = s == best[a]
    np.minimum.at(first, a[top], keys[top])
    chosen = first[a] == keys
    a, b, keys, s = a[chosen], b[chosen], keys[chosen], s[chosen]  # b is the choice of a, for each a once
    mutual = first[b] == keys
    smaller = (clusters.sizes[a] < clusters.sizes[b]) | ((clusters.sizes[a] == clusters.sizes[b]) & (a > b))
    centre = np.zeros(n, bool)
    centre[b[mutual & smaller]] = True
    joins = ~mutual & centre[b] & (clusters.sizes[a] * 10 <= clusters.sizes[b]) & (s >= best[b] - 0.02)
    goal = np.arange(n)
    goal[a[joins]] = b[joins]
    goal[a[mutual & smaller]] = b[mutual & smaller]
    blocked = np.zeros(n, bool)
    quarrel = (goal[c] == goal[d])
    blocked[c[quarrel]] = blocked[d[quarrel]] = True
    merging = (mutual & smaller) | (joins & ~blocked[a])
    return b[merging], a[merging]


def _rivals(photos: Ints) -> tuple[Ints, Ints]:
    """All pairs of faces that are in one photo."""
    order = np.argsort(photos, kind="stable")
    photos, pairs = photos[order], [np.empty((2, 0), np.int64)]
    for step in range(1, len(photos)):
        same = photos[step:] == photos[:-step]
        if not same.any():
            break
        pairs.append(np.stack([order[:-step][same], order[step:][same]]))
    c, d = np.concatenate(pairs, axis=1)
    return c, d


def _one_per_photo(labels: Ints, vectors: Floats, crowding: Floats, clusters: _Clusters, photos: Ints) -> None:
    """Of the faces of one photo in one cluster only the one most like the cluster stays; changes `labels`."""
    similarity = np.einsum("nd,nd->n", vectors, clusters.sums[labels]) / clusters.sizes[labels]
    order = np.lexsort((-np.round(similarity, 5), labels, photos))
    again = (np.diff(labels[order], prepend=-1) == 0) & (np.diff(photos[order], prepend=photos[order[0]] - 1) == 0)
    labels[order[again]] = -1


def _attach(clusters: _Clusters, labels: Ints, a: Ints, b: Ints, photos: Ints, threshold: float) -> None:
    """Faces a that may not start a cluster join, best pairs first, that of their neighbour b; changes `labels`."""
    n = len(labels)
    a, b = np.divmod(np.unique(a * n + labels[b]), n)
    s = clusters.linkage(a, b)
    order = np.lexsort((b, a, -s))
    taken = {(photo, label) for photo, label in zip(photos.tolist(), labels.tolist(), strict=True) if label >= 0}
    for i in order[s[order] >= threshold]:
        place = int(photos[a[i]]), int(b[i])
        if labels[a[i]] < 0 and place not in taken:
            labels[a[i]] = b[i]
            taken.add(place)


def _by_size(labels: Ints) -> Ints:
    """Labels numbered 0.. by size, largest first, equal ones by their first face; -1 stays."""
    found, first, code, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    order = np.lexsort((first, -sizes, found < 0))
    number = np.empty(len(found), np.int64)
    number[order] = np.arange(len(found))
    number[found < 0] = -1
    return number[code]
