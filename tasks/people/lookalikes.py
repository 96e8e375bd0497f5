"""Two enrolled people who look alike: by how much one must be ahead of the other to be named.

A photo x of B has, with templates t of unit length, x·(tB - tA) = c (1 - tA·tB) - f |tB - tA|: c is the cosine of
photos of one person, and f how far this one falls towards A. `spread` measures both on all people with two photos, each
against who is most alike, and `margin` says how far ahead A is then on a photo of B, so that no more than the share
that was asked for of B's photos is named A. That photos fall towards a look-alike as towards others is assumed, not
measured.
"""

from typing import NamedTuple

import numpy as np

from muster.arrays import F32, I64, Floats
from muster.tasks.people.calibrate import allowed, people_needed, person_weights, strictest, threshold_at
from muster.tasks.people.graph import GraphParameters
from muster.tasks.people.search import SEARCHED, Templates, nearest

ALIKE = GraphParameters().threshold  # templates this similar are one person's, as in clustering
SHARE = 0.1  # of photos that may be named as the other: where more would be, nothing is promised


def share_of(people: int, asked: float) -> float | None:
    """The share of photos of which so many people with two photos can promise that it is named as the other at most:
    what was asked for, or more. None: they are too few to promise `SHARE`."""
    share = max(asked, strictest(people))
    return share if people >= people_needed(SHARE) else None


class Spread(NamedTuple):
    """`cosine`: of photos of one person; `fallen`: towards another, in parts of their distance."""

    cosine: float
    fallen: float


def spread(embeddings: F32, owner: I64, another: I64, gallery: Templates, share: float) -> Spread:
    """How far photos fall towards another person, so that no more than this share falls further (95 %, over people).

    `embeddings` (N, D), `owner` (N,): see `gallery_searches`; `another`: (N,) the face that stands for each one's
    person. Of people with two photos, each compared with one other photo alone, and with whom the photo itself is most
    alike: both are worse than what a question meets.
    """
    number = np.bincount(owner)
    some = np.flatnonzero(number[owner] > 1)
    faces, person, own = embeddings[some], owner[some], embeddings[another[some]]
    other = gallery.vectors[nearest(faces, gallery, own=person)[0][:, 0]]
    apart = np.maximum(1 - (own * other).sum(1), 1e-6)
    weight, people = person_weights(person), len(np.unique(person))
    cosine = float(np.average((own * faces).sum(1), weights=weight))
    fallen = (cosine * apart - ((own - other) * faces).sum(1)) / np.sqrt(2 * apart)
    return Spread(cosine, threshold_at(fallen, weight, allowed(people, share) / people))


def margin(gallery: Templates, best: int, others: I64, measured: Spread) -> Floats:
    """(N,): by how much the score with the template `best` must be above that with each of `others` (N,).

    |tB - tA|² = 2 (1 - tA·tB). The crowding of templates is as in the score.
    """
    apart = np.maximum(1 - gallery.vectors[others] @ gallery.vectors[best], 0)
    lowered = gallery.lowered[others] - gallery.lowered[best]
    return np.asarray(np.maximum(measured.fallen * np.sqrt(2 * apart) - measured.cosine * apart + lowered, 0))


def alike(gallery: Templates, person: int) -> I64:
    """Who looks like this person: numbers of templates, not their own. Of very many, among the nearest."""
    if gallery.near is not None:
        cosines, rows = gallery.near(gallery.vectors[[person]], SEARCHED, lambda near: np.zeros(len(near), bool))
        found = rows[cosines >= ALIKE]
    else:
        found = np.flatnonzero(gallery.vectors @ gallery.vectors[person] >= ALIKE)
    return np.asarray(found[found != person], np.int64)
