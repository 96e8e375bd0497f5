"""People in order, with how many photos each is on: arrays over all faces at once."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from muster.arrays import F32, I64
from muster.web.live.columns import I32, Columns
from muster.web.live.said import NOBODY, Said


@dataclass(frozen=True)
class Ranking:
    """`face`, `person`: (K,), rows of faces of people, sorted by person, photo after photo in time order; of exact
    copies of a photo the first alone. `start`: (P + 1,), where each person's begin. `photos`: (P,)."""

    columns: Columns
    said: Said
    face: I64
    person: I64
    start: I64
    photos: I64

    @cached_property
    def order(self) -> I64:
        """People who have a face, most photos first; of equals, most faces, then the smaller id."""
        faces = np.diff(self.start)
        there = np.flatnonzero(faces)
        ids = np.array(self.said.person_ids, dtype=np.str_)[there]
        return there[np.lexsort((ids, -faces[there], -self.photos[there]))]

    @cached_property
    def best(self) -> I64:
        """(K,): as `face`, but the best of each person first."""
        return self.face[np.lexsort((-self.columns.quality[self.face], self.person))]

    @cached_property
    def certainty(self) -> F32:
        """(P,): mean of what is known of each person's faces; NaN where nothing is."""
        certain = self.columns.certainty[self.face]
        known = np.isfinite(certain)
        total, number = (
            np.bincount(self.person[known], weights, len(self.photos)) for weights in (certain[known], None)
        )
        with np.errstate(invalid="ignore"):
            return (total / number).astype(np.float32)

    def faces_of(self, person: int) -> slice:
        return slice(self.start[person], self.start[person + 1])


def ranking(columns: Columns, said: Said, time_order: I64) -> Ranking:
    rank = np.empty(len(time_order), np.int64)
    rank[time_order] = np.arange(len(time_order))
    face = np.flatnonzero(said.person_of != NOBODY)
    person, photo = said.person_of[face].astype(np.int64), columns.photo[face]
    face = face[_first_copies(person, columns.content[photo], rank[photo])]
    person, when = said.person_of[face].astype(np.int64), rank[columns.photo[face]]
    order = np.argsort(person * (len(rank) + 1) + when, kind="stable")
    face, person, when = face[order], person[order], when[order]
    start = np.searchsorted(person, np.arange(len(said.person_ids) + 1))
    new = np.ones(len(face), bool)
    new[1:] = (person[1:] != person[:-1]) | (when[1:] != when[:-1])
    photos = np.bincount(person[new], minlength=len(said.person_ids))
    return Ranking(columns, said, face, person, start, photos)


def _first_copies(person: I64, content: I32, rank: I64) -> I64:
    """Places of those whose photo is the first of its content that this person is on."""
    size = len(rank) and int(content.max()) + 1
    key = person * size + content
    order = np.lexsort((rank, key))
    new = np.ones(len(order), bool)
    new[1:] = key[order][1:] != key[order][:-1]
    first = rank[order][new][np.cumsum(new) - 1]
    return np.sort(order[rank[order] == first])
