"""Who is who among faces where nobody knows how many people there are; never against what was said."""

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from muster.arrays import F32, I64, Bools
from muster.tasks.people.collages import Likeness, forbidden, photo_numbers, same_photo
from muster.tasks.people.numbering import by_size
from muster.tasks.people.said import Bounds, Said, nothing
from muster.tasks.people.settle import settle


@dataclass(frozen=True, slots=True)
class GraphParameters:
    """Settings of `cluster_graph`; similarities are cosines.

    Chosen in a flat region on half of the people of LFW (the even first bytes of the SHA-256 of their names), for both
    models, where COCO's strangers stay apart (benchmarks/strangers.py). There pairwise and BCubed F are .994 and .988
    (published), .987 and .969 (own), on the other half .988 and .986, .967 and .969, on both together .992 and .985,
    .975 and .966; Chinese whispers .990 and .983 (published; 50 neighbours, cosine .5).
    """

    threshold: float = 0.465  # two clusters whose faces are this similar on average are one person
    smoothing: float = 0.5  # neighbours at least this similar are averaged into a face before it is compared
    stranger: float = 0.43  # neighbours less similar than this are taken for other people
    crowd: float = 0.34  # how similar the ten nearest strangers of a face usually are, on average
    sparse: float = -0.04  # the least crowding
    min_quality: float = 0.25  # faces below it join a cluster, and never start or bridge one
    picture: float = 0.9  # two faces this similar are one picture, which may be twice in a photo
    same_photo: bool = False  # whether two faces of one photo may be one person


@dataclass(frozen=True, slots=True)
class Strangers:
    """People who are in no library, that come with an embedder: where they lie close together, faces do.

    `embeddings`: (K, D) float32, L2-normalised, each the mean of several people's, or things'. `usual`: the median
    of `lookalikes` of ordinary faces.
    """

    embeddings: F32
    usual: float

    def crowding(self, faces: F32) -> F32:
        """How much more alike than usual the strangers nearest to each of faces (N, D) are: (N,), in cosine."""
        return lookalikes(faces, self.embeddings) - np.float32(self.usual)


def lookalikes(faces: F32, strangers: F32) -> F32:
    """Mean cosine of each of faces (N, D) with the ten most similar of strangers (K, D), without the first: (N,).

    The first may be made of this very face, where it is one that the strangers were taken from.
    """
    count = min(11, len(strangers))
    if not count:
        return np.zeros(len(faces), np.float32)
    found = [np.empty(0, np.float32)]
    for start in range(0, len(faces), 8192):
        nearest = np.partition(faces[start : start + 8192] @ strangers.T, -count, axis=1)[:, -count:]
        found.append((nearest.sum(1) - nearest.max(1)) / max(1, count - 1))
    return np.concatenate(found)


def cluster_graph(
    embeddings: F32,
    neighbours: I64,
    similarities: F32,
    images: I64,
    quality: F32,
    parameters: GraphParameters | None = None,
    strangers: Strangers | None = None,
    said: Said | None = None,
    tracks: I64 | None = None,
) -> I64:
    """Labels (N,) int64 of the people found: 0 is the largest cluster, -1 a face alone. A cluster has at least two
    faces, but for that of a person in `said`, who may have one.

    `embeddings`: (N, D) float32, L2-normalised. `neighbours`, `similarities`: (N, K) int64 and float32, as a FAISS
    inner-product search over these embeddings returns them: most similar first, -1 for none, the face itself or not.
    `images`: (N,) int, the photo that a face is in: two faces of one are two people, but for what `photo_numbers` says.
    `quality`: (N,) float32 in [0, 1]. `strangers`: those of the model,
    without whom a small library does not know where faces lie close together. `said`: what binds, see `settle`; faces
    of one photo that a user put together stay together, and so do those of low quality. `tracks`: (N,), the good faces
    of one number are one person from the start; none is in a photo with another of them. Deterministic, and the same
    for every order of the rows. 100,000 made faces took 7 s (2 cores).
    """
    p = parameters or GraphParameters()
    n = len(embeddings)
    order = np.lexsort((*embeddings.T[:8], images))  # one order for all orders of the rows, so that ties fall alike
    place = np.full(n + 1, -1)  # the last entry keeps neighbour -1 at -1
    place[order] = np.arange(n)
    neighbours, similarities = place[neighbours[order]], similarities[order]
    good = quality[order] >= p.min_quality

    # Compare smoothed embeddings, and subtract each face's crowding. Faces of low quality join only at the end.
    others = (neighbours >= 0) & (neighbours != np.arange(n)[:, None]) & good[neighbours]
    crowding = _crowding(others, similarities, p)
    known = crowding if strangers is None else strangers.crowding(embeddings[order])
    crowding = np.maximum(crowding, known)
    photos = np.arange(n)
    if not p.same_photo:
        likeness = Likeness(embeddings[order], np.maximum(known, 0))  # nowhere will less do than usual
        photos = photo_numbers(likeness, neighbours, similarities, images[order], good, p.picture)
    face, column = np.nonzero(others & (photos[neighbours] != photos[:, None]))
    said = nothing(n) if said is None else said.part(order)
    bounds = Bounds(said)
    kept = ~bounds.apart(face, neighbours[face, column])
    face, column = face[kept], column[kept]
    neighbour, similarity = neighbours[face, column], similarities[face, column]
    close = similarity - (crowding[face] + crowding[neighbour]) / 2 >= p.smoothing
    faces = _Clusters(_smooth(embeddings[order], face[close], neighbour[close], similarity[close]), crowding)
    clusters = deepcopy(faces)
    if tracks is not None:
        joined = _tracked(tracks[order], good)
        clusters.merge(*joined)
        bounds.merge(*joined)
    near, together = (face[good[face]], neighbour[good[face]]), said.strange(*same_photo(photos))
    if said.people:
        near = _link_known(clusters, bounds, near, said, p.threshold)
    _link(clusters, bounds, near, together, p.threshold)
    labels, people, named = clusters.labels(), np.full(n, -1), np.zeros(n, bool)
    if said.people:
        labels, people = settle(labels, said, embeddings[order].__getitem__)
        clusters = faces.grouped(labels) if len(people) else clusters
        named = (said.known >= 0) & (np.append(people, -1)[labels] == said.known)
    loose = (~good & ~named) | _doubles(faces, clusters, labels, photos, named)
    labels[loose] = -1
    joins = loose[face] & (labels[neighbour] >= 0)
    joins[joins] = ~said.bars(face[joins], people[labels[neighbour[joins]]])
    _attach(faces, clusters, (face[joins], labels[neighbour[joins]]), labels, photos, p.threshold)
    return by_size(_several(labels, people))[place[:n]]


def _tracked(tracks: I64, good: Bools) -> tuple[I64, I64]:
    """The good faces of each track but the first, and beside them that."""
    rows = np.flatnonzero(good)
    _, first, track = np.unique(tracks[rows], return_index=True, return_inverse=True)
    into = rows[first][track.reshape(-1)]
    others = rows != into
    return rows[others], into[others]


def _crowding(others: Bools, similarities: F32, p: GraphParameters) -> F32:
    """How much more alike than usual the ten nearest strangers of each face are: (N,), in cosine, at least `sparse`.

    `others`, `similarities`: (N, K), which neighbours count, and how alike they are, most alike first.

    A face amid lookalikes, such as a blurred one, or any face of a very large library, needs more evidence; in a small
    one less will do, though not much less: its strangers are a small sample. 0 where all neighbours are too alike to
    be strangers. Source: adaptive score normalisation as speaker verification uses it (Cumani et al., Interspeech
    2011), and CSLS (Conneau et al., ICLR 2018, section 2.3), which subtracts the same mean.
    """
    strangers = others & (similarities < p.stranger)
    strangers &= strangers.cumsum(1, dtype=np.int32) <= 10
    count = strangers.sum(1)
    mean = np.where(strangers, similarities, 0).sum(1) / np.maximum(count, 1)
    return np.where(count > 0, np.maximum(mean - p.crowd, p.sparse), 0).astype(np.float32)


def _smooth(embeddings: F32, a: I64, b: I64, s: F32) -> F32:
    """Each face a plus its neighbours b, weighted by the cube of their similarity s, L2-normalised: (N, D) float32.

    Source: α-weighted query expansion, Radenović, Tolias, Chum, Fine-tuning CNN image retrieval with no human
    annotation, TPAMI 41 (2019).
    """
    n = len(embeddings)
    total = embeddings + csr_matrix((s**3, (a, b)), (n, n)) @ embeddings
    return np.asarray(total / np.linalg.norm(total, axis=1, keepdims=True), dtype=np.float32)


class _Clusters:
    """Clusters as sums over their faces, which is all that the mean similarity of two clusters takes.

    A cluster goes by the number of one of its faces; `parents` leads from a face to it, in steps.
    """

    def __init__(self, faces: F32, crowding: F32) -> None:
        self.sums, self.crowding = faces, crowding
        self.sizes = np.ones(len(faces), np.int64)
        self.parents = np.arange(len(faces))

    def linkage(self, a: I64, other: "_Clusters", b: I64) -> F32:
        """Mean cosine between the faces of clusters a here and b in `other`, less their mean crowding: (len(a),)."""
        parts = [slice(i, i + 65536) for i in range(0, len(a), 65536)]  # 64 MiB at a time
        dots = [np.einsum("nd,nd->n", self.sums[a[part]], other.sums[b[part]]) for part in parts]
        mean = np.concatenate([*dots, np.empty(0, np.float32)]) / (self.sizes[a] * other.sizes[b])
        crowding = (self.crowding[a] / self.sizes[a] + other.crowding[b] / other.sizes[b]) / 2
        return np.asarray(np.round(mean - crowding, 5), dtype=np.float32)  # rounded, so that ties are ties

    def grouped(self, labels: I64) -> "_Clusters":
        """Of these clusters, those together that have one of `labels` (N,), and go by it; -1 is in none."""
        count, rows = labels.max(initial=-1) + 1, np.flatnonzero(labels >= 0)
        several = _Clusters(np.zeros((count, self.sums.shape[1]), np.float32), np.zeros(count, np.float32))
        several.sizes[:] = 0
        for values, own in ((several.sums, self.sums), (several.crowding, self.crowding), (several.sizes, self.sizes)):
            np.add.at(values, labels[rows], own[rows])
        return several

    def merge(self, a: I64, into: I64) -> None:
        """Each cluster a becomes part of the cluster beside it in `into`; none may be in both."""
        for values in (self.sums, self.crowding, self.sizes):
            np.add.at(values, into, values[a])
        self.parents[a] = into

    def labels(self) -> I64:
        """(N,): for each face its cluster, -1 where it is alone."""
        while (self.parents != (up := self.parents[self.parents])).any():
            self.parents = up
        return np.where(self.sizes[self.parents] > 1, self.parents, -1)


def _link_known(
    clusters: _Clusters, bounds: Bounds, near: tuple[I64, I64], said: Said, threshold: float
) -> tuple[I64, I64]:
    """Link the faces that are known to be one person. Returns the pairs of `near` that are left to link.

    A face that is said to be a person and is unlike all others of theirs brings nobody: who is like it is, as often as
    not, whom it was taken from.
    """
    a, b = near
    known, none = said.known, np.empty(0, np.int64)
    own = (known[a] >= 0) & (known[a] == known[b])
    _link(clusters, bounds, (a[own], b[own]), (none, none), threshold)
    linked = clusters.labels() >= 0
    odd = ~linked & (said.person >= 0) & np.isin(known, known[linked])
    kept = ~odd[a] & ~odd[b]
    return a[kept], b[kept]


def _link(
    clusters: _Clusters, bounds: Bounds, near: tuple[I64, I64], in_one_photo: tuple[I64, I64], threshold: float
) -> None:
    """Average linkage over the pairs `near` of neighbours, down to `threshold`.

    In rounds: every two clusters that are each other's most similar merge, which gives the clusters of merging one by
    one (Murtagh, A survey of recent advances in hierarchical clustering algorithms, 1983; at scale Sumengen et al.,
    arXiv 2105.11653, 2021), but for what `bounds`, `forbidden` and `_round` say. Pairs below the threshold are
    dropped: the mean similarity to a merged cluster is at most that to the better of its parts, and that pair is still
    here.
    """
    n = len(clusters.sizes)
    pairs = _pairs(clusters.parents[near[0]], clusters.parents[near[1]], n)
    a, b = np.divmod(pairs, n)
    s = clusters.linkage(a, clusters, b)
    c, d = clusters.parents[in_one_photo[0]], clusters.parents[in_one_photo[1]]
    kept = (s >= threshold) & ~bounds.apart(a, b) & ~np.isin(pairs, forbidden(clusters.sizes, c[c != d], d[c != d]))
    pairs, s = pairs[kept], s[kept]
    touched = np.zeros(n, bool)
    while len(pairs):
        small, large = _round(clusters, bounds, pairs, s, c, d)
        clusters.merge(small, large)
        bounds.merge(small, large)
        touched[small] = touched[large] = True
        a, b = np.divmod(pairs, n)
        stale = touched[a] | touched[b]
        c, d = clusters.parents[c], clusters.parents[d]
        c, d = c[c != d], d[c != d]
        near = touched[c] | touched[d]
        fresh = _pairs(clusters.parents[a[stale]], clusters.parents[b[stale]], n)
        fresh = fresh[~np.isin(fresh, forbidden(clusters.sizes, c[near], d[near]))]
        a, b = np.divmod(fresh, n)
        t = clusters.linkage(a, clusters, b)
        kept = (t >= threshold) & ~bounds.apart(a, b)
        pairs = np.concatenate([pairs[~stale], fresh[kept]])
        s = np.concatenate([s[~stale], t[kept]])
        touched[small] = touched[large] = False


def _round(clusters: _Clusters, bounds: Bounds, pairs: I64, s: F32, c: I64, d: I64) -> tuple[I64, I64]:
    """Which clusters merge into which: of those that are each other's most similar, the smaller into the larger.

    A person of thousands of photos would take as many rounds, so clusters a tenth of the size of such a larger one,
    whose most similar it is, merge into it at the same time, unless they share a photo (c, d) with each other, or what
    was said could be against two of them.
    """
    n = len(clusters.sizes)
    a, b = np.divmod(pairs, n)
    best, first = np.full(n, -np.inf, np.float32), np.full(n, n * n)
    np.maximum.at(best, a, s)
    np.maximum.at(best, b, s)
    top_a, top_b = s == best[a], s == best[b]
    a, b = np.append(a[top_a], b[top_b]), np.append(b[top_a], a[top_b])
    pairs = np.append(pairs[top_a], pairs[top_b])
    np.minimum.at(first, a, pairs)
    chosen = first[a] == pairs  # of equal ones, the first
    a, b, pairs = a[chosen], b[chosen], pairs[chosen]  # b is the most similar one to a; each a is there once
    mutual = first[b] == pairs
    small, large = clusters.sizes[a], clusters.sizes[b]
    heart = mutual & ((small < large) | ((small == large) & (a > b)))
    growing = np.zeros(n, bool)
    growing[b[heart]] = True
    joins = ~mutual & growing[b] & (small * 10 <= large) & bounds.may_join(a, b)
    goal = np.arange(n)
    goal[a[heart | joins]] = b[heart | joins]
    quarrels = goal[c] == goal[d]
    out = np.isin(a, np.concatenate([c[quarrels], d[quarrels]]))
    merging = heart | (joins & ~out)
    return a[merging], b[merging]


def _pairs(a: I64, b: I64, n: int) -> I64:
    """The pairs a, b of two different clusters, each once whichever way round, as numbers: smaller · n + larger."""
    pairs = np.sort((np.minimum(a, b) * n + np.maximum(a, b))[a != b])
    return pairs[np.diff(pairs, prepend=-1) > 0]  # np.unique hashes: 6.8 of 17.7 s at 100,000 faces


def _doubles(faces: _Clusters, clusters: _Clusters, labels: I64, photos: I64, named: Bools) -> Bools:
    """(N,): the faces of one photo in one cluster, but for the one that is most like the cluster, and those `named`."""
    likeness = faces.linkage(np.arange(len(labels)), clusters, labels)
    order = np.lexsort((-likeness, ~named, labels, photos))
    doubles = np.zeros(len(labels), bool)
    doubles[order[1:]] = (np.diff(photos[order]) == 0) & (np.diff(labels[order]) == 0)
    return doubles & (labels >= 0) & ~named


def _several(labels: I64, people: I64) -> I64:
    """Labels (N,) without clusters of one face that are nobody of `people`."""
    sizes = np.bincount(labels[labels >= 0], minlength=len(people))
    kept = np.append((sizes > 1) | (people >= 0), False)
    return np.where(kept[labels], labels, -1)


def _attach(
    faces: _Clusters, clusters: _Clusters, pairs: tuple[I64, I64], labels: I64, photos: I64, threshold: float
) -> None:
    """Faces join the clusters beside them in `pairs`, best first, where their photo has no face in it yet; changes
    `labels`."""
    a, b = np.divmod(np.unique(pairs[0] * len(labels) + pairs[1]), len(labels))
    s = faces.linkage(a, clusters, b)
    taken = set(zip(photos[labels >= 0].tolist(), labels[labels >= 0].tolist(), strict=True))
    for i in np.lexsort((b, a, -s))[: np.count_nonzero(s >= threshold)].tolist():
        if labels[a[i]] < 0 and (place := (int(photos[a[i]]), int(b[i]))) not in taken:
            labels[a[i]] = b[i]
            taken.add(place)
