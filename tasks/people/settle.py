"""Labels that keep to what was said, whatever made them."""

from collections.abc import Callable

import numpy as np

from muster.arrays import F32, I64
from muster.tasks.people.numbering import by_size
from muster.tasks.people.said import Said

Take = Callable[[I64], F32]  # the embeddings (M, D) of rows (M,)
NONE = -2  # a face that leaves, and is nobody's


def settle(labels: I64, said: Said, take: Take) -> tuple[I64, I64]:
    """Labels (N,) that keep to what was said, whatever `labels` (N,) do; and the person of each cluster, -1 nobody.

    `labels`: -1 is a face alone. Numbered again by size, as `by_size` does; only a person may have a single face.
    `take` is asked for the faces of clusters that are several people's.

    A cluster is a person's if half of its faces are, or if none holds more of a group that is the person; of equal ones
    the smallest, then that of the first row. All that were said to be the person go there. What else is in the cluster
    is that person's too, or of several that one's whose faces there are most like it on average; it leaves where it is
    none of them.
    """
    clusters, known = _alone_apart(labels), said.known
    owned, owners = _owners(clusters, said)
    count = np.bincount(owned, minlength=len(clusters))
    person = np.where((known >= 0) & (count[clusters] > 0), known, said.person)
    only = np.full(len(clusters), -1)
    only[owned] = owners
    rows = np.flatnonzero((person < 0) & (count[clusters] == 1))
    person[rows] = np.where(said.excludes(rows, only[clusters[rows]]), NONE, only[clusters[rows]])
    for members in _groups(clusters, count[clusters] > 1):
        among = owners[owned == clusters[members[0]]]
        rows = members[person[members] < 0]
        person[rows] = _nearest(rows, members, among, said, take)
    return _numbered(clusters, person)


def _alone_apart(labels: I64) -> I64:
    """(N,): below N, a number for each cluster, and for each face that is alone."""
    apart = np.where(labels >= 0, labels, labels.max(initial=-1) + 1 + np.arange(len(labels)))
    return np.unique(apart, return_inverse=True)[1].reshape(-1)


def _owners(clusters: I64, said: Said) -> tuple[I64, I64]:
    """Clusters, and beside each a person whose it is; each pair once."""
    sizes = np.bincount(clusters)
    cluster, person, faces, _ = _cells(clusters, said.known)
    half = 2 * faces >= sizes[cluster]
    home, vote, faces, first = _cells(clusters, said.votes)
    order = np.lexsort((first, sizes[home], -faces, vote))
    most = order[np.diff(vote[order], prepend=-1) > 0]
    groups = np.append(said.groups, np.arange(said.people))
    pairs = np.stack([np.append(cluster[half], home[most]), np.append(person[half], groups[vote[most]])])
    cluster, person = np.unique(pairs, axis=1)
    return cluster, person


def _cells(clusters: I64, values: I64) -> tuple[I64, I64, I64, I64]:
    """Each cluster with each of the values (N,) that are in it, but for -1; how many faces; the first of them."""
    rows, count = np.flatnonzero(values >= 0), max(1, int(values.max(initial=-1)) + 1)
    cells, first, faces = np.unique(clusters[rows] * count + values[rows], return_index=True, return_counts=True)
    cluster, value = np.divmod(cells, count)
    return cluster, value, faces, rows[first]


def _groups(clusters: I64, chosen: np.ndarray) -> list[I64]:
    """The rows of each cluster of which the rows are `chosen` (N,) bool."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(clusters[rows], kind="stable")]
    return [each for each in np.split(rows, np.flatnonzero(np.diff(clusters[rows])) + 1) if len(each)]


def _nearest(rows: I64, members: I64, among: I64, said: Said, take: Take) -> I64:
    """For each of rows (M,) who of `among` it is most like, by the faces of these among `members`, or `NONE`."""
    known = said.known[members]
    means = np.stack([take(members[known == person]).mean(0) for person in among.tolist()])
    alike = take(rows) @ means.T
    for column, person in enumerate(among.tolist()):
        alike[said.excludes(rows, np.full(len(rows), person)), column] = -np.inf
    best = alike.argmax(1)
    return np.where(np.isneginf(alike.max(1)), NONE, among[best])


def _numbered(clusters: I64, person: I64) -> tuple[I64, I64]:
    """Labels by size, and the person of each, where `person` (N,) goes before `clusters` (N,)."""
    labels = np.where(person >= 0, len(clusters) + person, np.where(person == NONE, -1, clusters))
    kept, sizes = labels >= 0, np.bincount(labels[labels >= 0], minlength=1)
    kept[kept] = (sizes[labels[kept]] > 1) | (person[kept] >= 0)
    labels = by_size(np.where(kept, labels, -1))
    people = np.full(labels.max(initial=-1) + 1, -1)
    people[labels[person >= 0]] = person[person >= 0]
    return labels, people
