"""Which questions to ask a user about who is who, so that few answers put many faces right.

A question is always the same: are these faces the person that those are? It is asked of faces that are alone and of
clusters, with the people whom they may be, and of a part of a cluster that may be somebody else.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from scipy.sparse import csr_matrix

from muster.arrays import F32, F64, I64
from muster.tasks.people.collages import forbidden, same_photo
from muster.tasks.people.graph import Strangers
from muster.tasks.people.halves import halves

CHOICES = 5  # people who are offered: of LFW's faces that are alone, .87 have theirs among five, .73 as the first
NEAR = 13  # neighbours that are looked at, of which one is the cluster itself,
LEAST = 0.25  # from this cosine on, less crowding: of those below it 1 in 500 is the person
LARGEST = 20_000  # that many clusters are looked at, the largest, and as many faces that are alone
PUT_OUT = 500  # faces that users have put out of clusters since
PARTS = 1000  # parts of clusters that are looked at, the most doubtful
# Logistic regressions on LFW's people with an even first byte of the SHA-256 of their names, both models, libraries of
# those with at least one, two and three photos. Of 1; the cosine of two means, less half the crowding of both; and for
# JOIN the logarithms of the smaller and the larger number of faces
JOIN = (-18.5, 38.9, -3.6, 0.4)
PART = (-1.9, 9.1)


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Somebody whom they may be. `faces`: rows of a cluster, or of a face that is alone. `chance`: in 0..1."""

    faces: I64
    chance: float


@dataclass(frozen=True, slots=True, eq=False)
class Suggestion:
    """Are `faces` (rows: a cluster, or a face that is alone) the person of one of `choices`, the likeliest first?

    `part`: they are in one cluster with the only choice now, and may be somebody else. `gain`: how many faces the
    answer puts right, as far as can be expected.
    """

    faces: I64
    choices: tuple[Choice, ...]
    part: bool
    gain: float


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What is found once for the faces of a library: see `prepare`.

    `together`: pairs of faces of one photo. `pairs`: (E, 2), faces of two clusters that may be one person. `parts`: of
    clusters, the most doubtful first.
    """

    embeddings: F32
    crowding: F32
    labels: I64
    together: tuple[I64, I64]
    pairs: I64
    parts: Sequence[Suggestion]


def prepare(embeddings: F32, labels: I64, photos: I64, strangers: Strangers | None = None) -> Prepared:
    """For `suggestions`, as long as the faces stay the same, whatever users say of them.

    `embeddings`: (N, D) float32, L2-normalised. `labels`: (N,), -1 for a face alone. `photos`: (N,), where each is.
    120,000 faces in 20,000 clusters and faces alone: 9 to 17 s (one thread, on a machine in use by others).
    """
    crowding = np.zeros(len(labels), np.float32) if strangers is None else strangers.crowding(embeddings)
    nodes = _Nodes(embeddings, crowding, labels)
    by_size = np.argsort(-nodes.sizes, kind="stable")
    several = nodes.sizes[by_size] > 1
    chosen = np.concatenate([by_size[several][:LARGEST], by_size[~several][:LARGEST]])
    a, b = _near(nodes, chosen, chosen)
    pairs = np.stack([nodes.first[a], nodes.first[b]], 1)
    parts = [_part(embeddings, crowding, *each) for each in halves(embeddings, labels)]
    parts = sorted(parts, key=lambda each: -each.gain)[:PARTS]
    return Prepared(embeddings, crowding, labels, same_photo(photos), pairs, parts)


def suggestions(prepared: Prepared, labels: I64, answered: I64, limit: int) -> list[Suggestion]:
    """At most `limit` questions, first those whose answers put most faces right; each face is in question once.

    `labels`: (N,), who is who now, -1 for a face alone. `answered`: (M, 2), two faces (rows) each of whom a user said
    whether they are one person, or did not want to be asked. 120,000 faces: .25 to .9 s (the same machine).
    """
    nodes = _Nodes(prepared.embeddings, prepared.crowding, labels)
    asked = _joins(prepared, nodes, answered, limit) + _parts(prepared, nodes, answered, limit)
    asked.sort(key=lambda each: (-each.gain, int(each.faces[0])))
    return asked[:limit]


class _Nodes:
    """Clusters and faces that are alone, as `labels` (N,) have them. `node`: (N,), of each face; of each node `sizes`,
    `first` (a row of it), `means` (L2-normalised) and mean `crowding`."""

    def __init__(self, embeddings: F32, crowding: F32, labels: I64) -> None:
        n = len(labels)
        apart = np.where(labels >= 0, labels, labels.max(initial=-1) + 1 + np.arange(n))
        _, self.first, self.node, self.sizes = np.unique(
            apart, return_index=True, return_inverse=True, return_counts=True
        )
        self.order = np.argsort(self.node, kind="stable")
        self.ends = np.cumsum(self.sizes)
        member = csr_matrix((np.ones(n, np.float32), self.order, np.append(0, self.ends)), (len(self.sizes), n))
        total = member @ embeddings
        self.means = np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9), np.float32)
        self.crowding = np.asarray(member @ crowding / np.maximum(self.sizes, 1), np.float32)

    def rows(self, node: int) -> I64:
        return self.order[self.ends[node] - self.sizes[node] : self.ends[node]]


def _near(nodes: _Nodes, a: I64, among: I64) -> tuple[I64, I64]:
    """Nodes of a, each with those `among` that may be the same person."""
    if not len(a) or not len(among):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    count = min(NEAR, len(among))
    alike, near = faiss.knn(nodes.means[a], nodes.means[among], count, metric=faiss.METRIC_INNER_PRODUCT)
    a, b = np.repeat(a, count), among[near.ravel()]
    kept = (alike.ravel() - (nodes.crowding[a] + nodes.crowding[b]) / 2 >= LEAST) & (a != b)
    return a[kept], b[kept]


def _joins(prepared: Prepared, nodes: _Nodes, answered: I64, limit: int) -> list[Suggestion]:
    """Of each node, whether it is one of the larger ones near it."""
    small, large, odds = _candidates(prepared, nodes, answered)
    order = np.lexsort((-odds, small))
    small, large, odds = small[order], large[order], odds[order]
    chance = odds / (1 + np.bincount(small, odds, len(nodes.sizes))[small])  # one of them at most
    place = np.arange(len(small)) - np.searchsorted(small, small)
    gain = nodes.sizes * np.bincount(small[place < CHOICES], chance[place < CHOICES], len(nodes.sizes))
    found = []
    for node in np.lexsort((nodes.first, -gain))[:limit].tolist():
        if gain[node] > 0:
            best = slice(*np.searchsorted(small, [node, node + 1]))
            offered = zip(large[best].tolist(), chance[best].tolist(), strict=True)
            choices = tuple(Choice(nodes.rows(other), each) for other, each in offered)[:CHOICES]
            found.append(Suggestion(nodes.rows(node), choices, False, float(gain[node])))
    return found


def _candidates(prepared: Prepared, nodes: _Nodes, answered: I64) -> tuple[I64, I64, F64]:
    """Pairs of nodes, the smaller first, and the odds that they are one person against their being two."""
    out = np.flatnonzero((nodes.sizes[nodes.node] == 1) & (prepared.labels >= 0))[:PUT_OUT]
    late = _near(nodes, nodes.node[out], np.arange(len(nodes.sizes)))
    a, b = (np.append(nodes.node[rows], more) for rows, more in zip(prepared.pairs.T, late, strict=True))
    count = max(1, len(nodes.sizes))
    pairs = np.sort((np.minimum(a, b) * count + np.maximum(a, b))[a != b])
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]  # np.unique, and so np.isin, hash: half of the time in all
    said = np.sort(nodes.node[answered], axis=1)
    no = said[:, 0] * count + said[:, 1]
    c, d = nodes.node[prepared.together[0]], nodes.node[prepared.together[1]]
    taboo = np.sort(np.concatenate([no, forbidden(nodes.sizes, c[c != d], d[c != d]), [-1]]))
    pairs = pairs[taboo[np.searchsorted(taboo, pairs, side="right") - 1] != pairs]
    a, b = np.divmod(pairs, count)
    swap = (nodes.sizes[a] > nodes.sizes[b]) | ((nodes.sizes[a] == nodes.sizes[b]) & (nodes.first[a] < nodes.first[b]))
    a, b = np.array([np.where(swap, b, a), np.where(swap, a, b)])
    alike = np.einsum("nd,nd->n", nodes.means[a], nodes.means[b]) - (nodes.crowding[a] + nodes.crowding[b]) / 2
    one, cosine, smaller, larger = JOIN
    evidence = one + cosine * alike + smaller * np.log(nodes.sizes[a]) + larger * np.log(nodes.sizes[b])
    return a, b, np.exp(np.minimum(evidence, 50.0))


def _parts(prepared: Prepared, nodes: _Nodes, answered: I64, limit: int) -> list[Suggestion]:
    """Of the parts that are in one cluster still, whether they are who the rest is."""
    said = np.zeros(len(nodes.node), bool)
    said[answered[nodes.node[answered[:, 0]] == nodes.node[answered[:, 1]]]] = True
    found: list[Suggestion] = []
    for each in prepared.parts:
        now = nodes.node[np.append(each.faces, each.choices[0].faces)]
        if len(found) < limit and (now == now[0]).all() and not said[each.faces].any():
            found.append(each)
    return found


def _part(embeddings: F32, crowding: F32, part: I64, rest: I64) -> Suggestion:
    one, other = embeddings[part].sum(0), embeddings[rest].sum(0)
    cosine = float(one @ other) / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-9)
    alike = cosine - float(crowding[part].mean() + crowding[rest].mean()) / 2
    chance = 1 / (1 + float(np.exp(-PART[0] - PART[1] * alike)))
    return Suggestion(part, (Choice(rest, chance),), True, (1 - chance) * len(part))
