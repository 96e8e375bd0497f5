"""Numbers of clusters, and ids that stay when they are made anew."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from muster.arrays import I64


def by_size(labels: I64) -> I64:
    """Labels numbered 0.. by size, largest first, equal ones by their first face; -1 stays."""
    found, first, code, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    number = np.empty(len(found), np.int64)
    number[np.lexsort((first, -sizes, found < 0))] = np.arange(len(found))
    number[found < 0] = -1
    return np.asarray(number[code])


def inherit_ids(
    labels: I64,
    face_ids: Sequence[str],
    previous: Mapping[str, str],
    people: Mapping[int, str] | None = None,
    taken: Collection[str] = (),
) -> list[str | None]:
    """The cluster id of each face, None where its label is -1, kept from last time as far as can be.

    `labels`: (N,) int; `face_ids`: N different ones; `previous`: face id → cluster id. Each cluster takes the id of
    the previous one that it shares most faces with, one to one, largest overlap first, ties by id, then by smallest
    face id. The others get a new id from their smallest face id. Does not depend on the order of faces or labels.
    `people`: label → id of those that have one already. No other gets one of these, or of `taken`.
    """
    faces = dict(zip(face_ids, labels.tolist(), strict=True))
    smallest: dict[int, str] = {}
    for face in sorted(faces):
        smallest.setdefault(faces[face], face)
    smallest.pop(-1, None)
    overlap = Counter(
        (previous[face], smallest[label]) for face, label in faces.items() if label >= 0 and face in previous
    )
    ids = {smallest[label]: person for label, person in (people or {}).items()}  # by the cluster's smallest face
    used = {*ids.values(), *taken}
    for (old, first), _ in sorted(overlap.items(), key=lambda item: (-item[1], item[0])):
        if first not in ids and old not in used:
            ids[first] = old
            used.add(old)
    used |= set(previous.values())  # an id that is gone is not given to someone else
    for first in sorted(set(smallest.values()) - set(ids)):
        ids[first] = _new_id(first, used)
        used.add(ids[first])
    return [ids[smallest[label]] if label >= 0 else None for label in labels.tolist()]


def _new_id(face: str, used: set[str]) -> str:
    new = hashlib.sha256(face.encode()).hexdigest()[:12]
    return new if new not in used else _new_id(new, used)
