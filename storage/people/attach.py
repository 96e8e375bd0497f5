"""Which cluster is which person: a draft of who each face is, that is corrected step by step."""

import hashlib
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from muster.arrays import I64


@dataclass(frozen=True)
class Votes:
    """`people`: their ids. `voters`, `rows` (M,): a place in `people`, and beside it the row of a face by which this
    person's cluster is known."""

    people: Sequence[str]
    voters: I64
    rows: I64


class Draft:
    """`persons` (N,): the place in `ids` of each face's person, -1 nobody. Begins as the clusters are."""

    def __init__(self, clusters: Sequence[str], of: I64) -> None:
        """`of` (N,): of each face the place of its cluster in `clusters`, -1 none."""
        self.ids, self.persons = list(clusters), of.copy()
        self._places = {each: place for place, each in enumerate(clusters)}

    def place(self, person: str) -> int:
        if person not in self._places:
            self._places[person] = len(self.ids)
            self.ids.append(person)
        return self._places[person]

    def shown(self) -> list[str]:
        """Who has a face, in order of `ids`."""
        count = np.bincount(self.persons[self.persons >= 0], minlength=len(self.ids))
        return [self.ids[place] for place in np.flatnonzero(count).tolist()]

    def attach(self, votes: Votes, same: Callable[[str], str] = str) -> None:
        """Make clusters the people that they are: see `attached`."""
        given = attached(self.ids, self.persons, votes, same)
        strange = (set(votes.people) & set(self.ids)) - set(given)  # of the id of somebody who is elsewhere
        self._translate({**{each: _another(each) for each in strange}, **given})

    def rename(self, name: Callable[[str], str]) -> None:
        """Who was found to be the same person goes by one id."""
        self._translate({each: new for each in self.ids if (new := name(each)) != each})

    def _translate(self, names: Mapping[str, str]) -> None:
        if moving := {self._places[old]: new for old, new in names.items() if old != new}:
            to = np.arange(len(self.ids))
            for place, new in moving.items():
                to[place] = self.place(new)
            self.persons = np.where(self.persons < 0, -1, to[self.persons])

    def say(self, said: Mapping[int, str]) -> None:
        """That these rows are these people."""
        self.persons[list(said)] = [self.place(person) for person in said.values()]

    def bar(self, barred: Set[tuple[int, str]]) -> None:
        """That these rows are not these people: nobody, where they would be."""
        for row, person in barred:
            if self.persons[row] == self._places.get(person, -2):
                self.persons[row] = -1


def attached(clusters: Sequence[str], of: I64, votes: Votes, same: Callable[[str], str] = str) -> dict[str, str]:
    """Cluster → the person it is, one to one. A cluster that goes by a person's id is that person, unless more of the
    person's votes are in another; else it is who has most votes in it; most votes first, ties by id.

    `of` (N,): of each face the place of its cluster in `clusters`, -1 none. `same`: the id that a person goes by: whose
    votes are in the cluster of the same person needs no other.
    """
    where = of[votes.rows]
    cells = votes.voters[where >= 0] * len(clusters) + where[where >= 0]
    cells, counts = np.unique(cells, return_counts=True)
    voters, homes = np.divmod(cells, max(1, len(clusters)))
    most = np.zeros(len(votes.people), np.int64)
    np.maximum.at(most, voters, counts)
    own, places = np.zeros(len(votes.people), np.int64), {each: place for place, each in enumerate(clusters)}
    mine = np.array([places.get(each, -1) for each in votes.people], np.int64)
    own[voters[homes == mine[voters]]] = counts[homes == mine[voters]]
    sure = (mine >= 0) & (own == most)
    given = {person: person for person, yes in zip(votes.people, sure.tolist(), strict=True) if yes}
    left = np.flatnonzero(~sure[voters])
    pairs = sorted((-int(counts[i]), votes.people[voters[i]], clusters[homes[i]]) for i in left)
    done: set[str] = set()
    for _, person, cluster in pairs:
        if person not in done and cluster not in given:
            given[cluster] = person
            done.add(person)
        elif person not in done and same(given[cluster]) == same(person):
            done.add(person)
    return given


def _another(person: str) -> str:
    """The id of a cluster that would go by the id of somebody else."""
    return hashlib.sha256(f"not {person}".encode()).hexdigest()[:12]
