"""What a user said about faces, as arrays, and which clusters may become one.

A *person* is somebody of whom something was said. That a face is said to be a person binds. That a group of faces was
shown as one cluster when the user said who that is binds less: these faces never go to another person, and may leave
with a cluster that is somebody else's for the most part.
"""

from dataclasses import dataclass

import numpy as np

from muster.arrays import I64, Bools


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """Of N faces. People and groups go by numbers from 0, -1 is nobody and none.

    `person`: (N,) int64, who each face is said to be. `excluded`: (M, 2) int64, a face (its row) and a person that it
    is not. `shown`: (N,) int64, the group that each face is of. `groups`: (G,) int64, the person of each group.
    Where these contradict each other, `person` stands before `excluded`, and both before `shown`.
    """

    person: I64
    excluded: I64
    shown: I64
    groups: I64

    @property
    def people(self) -> int:
        """How many numbers of people there are."""
        return 1 + max(int(each.max(initial=-1)) for each in (self.person, self.groups, self.excluded[:, 1]))

    @property
    def known(self) -> I64:
        """(N,): the person of each face, by what was said or shown, -1 nobody."""
        shown = np.append(self.groups, -1)[self.shown]
        shown = np.where(self.excludes(np.arange(len(shown)), shown), -1, shown)
        return np.where(self.person >= 0, self.person, shown)

    @property
    def votes(self) -> I64:
        """(N,): by which group a face says whose its cluster is, -1 by none. A face that is said to be a person who has
        no group is of one that all such faces of the person make, with a number after the others."""
        known, own = self.known, np.append(self.groups, -1)[self.shown]
        grouped = (known >= 0) & (own == known)
        lone = (self.person >= 0) & ~np.isin(self.person, known[grouped])
        return np.where(grouped, self.shown, np.where(lone, len(self.groups) + self.person, -1))

    def excludes(self, faces: I64, people: I64) -> Bools:
        """Whether each of `faces` (rows) is not the person beside it in `people`, where -1 is nobody."""
        if not len(self.excluded):
            return np.zeros(len(faces), bool)
        rows, numbers = self.excluded.T
        count = max(self.people, int(people.max(initial=-1)) + 1)
        said = np.isin(faces * count + people, rows * count + numbers)
        return said & (people >= 0) & (self.person[faces] != people)

    def bars(self, faces: I64, people: I64) -> Bools:
        """Whether each of `faces` (rows) may not be the person beside it in `people`, where -1 is nobody."""
        known = self.known[faces]
        return self.excludes(faces, people) | ((known >= 0) & (people >= 0) & (known != people))

    def strange(self, a: I64, b: I64) -> tuple[I64, I64]:
        """The pairs a, b of faces that are not known to be one person."""
        known = self.known
        kept = (known[a] < 0) | (known[a] != known[b])
        return a[kept], b[kept]

    def part(self, rows: I64) -> "Said":
        """Of these rows, (M,), in their order."""
        place = np.full(len(self.person), -1)
        place[rows] = np.arange(len(rows))
        excluded = np.stack([place[self.excluded[:, 0]], self.excluded[:, 1]], 1)
        return Said(self.person[rows], excluded[excluded[:, 0] >= 0], self.shown[rows], self.groups)


def nothing(n: int) -> Said:
    """Of n faces."""
    return Said(np.full(n, -1), np.empty((0, 2), np.int64), np.full(n, -1), np.empty(0, np.int64))


class Bounds:
    """Which clusters may become one, while they grow. A cluster goes by the number of one of its faces.

    `who`: (N,), the person of each cluster, -1 nobody. `faces`, `others`: (M,), clusters, and people beside them that a
    face of theirs is not.
    """

    def __init__(self, said: Said) -> None:
        self.who, self.count = said.known, max(1, said.people)
        kept = said.excludes(*said.excluded.T)
        self.faces, self.others = said.excluded[kept].T

    def apart(self, a: I64, b: I64) -> Bools:
        """Whether clusters a and b beside them may not become one: two people, or a face and who it is not."""
        one, other = self.who[a], self.who[b]
        return ((one >= 0) & (other >= 0) & (one != other)) | self._excludes(a, other) | self._excludes(b, one)

    def may_join(self, a: I64, b: I64) -> Bools:
        """Whether cluster a may become part of b, from which it is not apart, while others do."""
        return (self.who[b] >= 0) | ((self.who[a] < 0) & ~np.isin(a, self.faces))

    def merge(self, a: I64, into: I64) -> None:
        """Each cluster a has become part of the one beside it in `into`."""
        np.maximum.at(self.who, into, self.who[a])
        parents = np.arange(len(self.who))
        parents[a] = into
        self.faces = parents[self.faces]

    def _excludes(self, clusters: I64, people: I64) -> Bools:
        if not len(self.faces):
            return np.zeros(len(clusters), bool)
        return np.isin(clusters * self.count + people, self.faces * self.count + self.others) & (people >= 0)
