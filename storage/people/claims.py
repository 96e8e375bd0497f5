"""What the gallery and tags say of faces: it counts where users have said nothing."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from muster.arrays import F32, I64
from muster.storage.people.attach import Draft, Votes, attached
from muster.storage.people.boxes import matched
from muster.storage.people.facts import Box
from muster.storage.people.known import SaidPerson
from muster.storage.people.placed import rows_in
from muster.storage.texts import normal

ORIGINS = ("gallery", "xmp", "takeout")  # who is believed before whom, after the user
CLAIMED = 0.3  # intersection over union from which on a region of another program is a face that was found: theirs
# reach from chin to crown


@dataclass(frozen=True, slots=True)
class Claim:
    """What something else than a user says: that the face at `box` (full-size upright pixels) is called `name`.

    `origin`: "gallery", "xmp", …: `ORIGINS` tells which goes before which. `person`: its own id of the person, if any.
    """

    image_id: str
    box: Box
    name: str
    origin: str
    person: str = ""


class Claims:
    """Claims, with the faces of a library that they are about; origin by origin, each face once.

    `image_ids` (N,) and `boxes` (N, 4), full-size upright pixels: of the faces.
    """

    def __init__(self, claims: Sequence[Claim], image_ids: pa.ChunkedArray, boxes: F32) -> None:
        ranked = sorted(claims, key=_rank)
        theirs: dict[str, list[Claim]] = {}
        for claim in ranked:
            theirs.setdefault(claim.image_id, []).append(claim)
        rows = rows_in(image_ids, list(theirs)) if theirs else {}
        self._beside: list[Claim] = []
        self._who: list[Claim] = []  # the first claim of each of those who are named
        numbers: dict[str, int] = {}
        found: list[tuple[int, int]] = []
        for claim in ranked:
            if numbers.setdefault(claimed_id(claim), len(self._who)) == len(self._who):
                self._who.append(claim)
        for image_id, each in theirs.items():
            for claim, row in _rows_claimed(each, rows.get(image_id, []), boxes):
                if row is None:
                    self._beside.append(claim)
                else:
                    found.append((numbers[claimed_id(claim)], row))
        pairs = np.array(found, np.int64).reshape(-1, 2)
        self._number, self._row = pairs[:, 0], pairs[:, 1]

    def put(
        self,
        draft: Draft,
        said: Mapping[str, SaidPerson],
        person: Callable[[str], str],
        rows_said: tuple[Mapping[int, str], Set[tuple[int, str]]],
    ) -> dict[str, tuple[str, str]]:
        """Put them into a draft where no user has said otherwise. Clusters of which most claims say that they are
        somebody become that person; faces of clusters of which users have said who they are stay with them.

        `said`: people of whom users spoke; `person`: id → the id that they go by; `rows_said`: rows with whom they are
        said to be, and not to be. Returns person → name and origin.
        """
        ids, names = _ids_by_name(said.values()), dict[str, tuple[str, str]]()
        people = [person(ids.get(_folded(claim.name)) or claimed_id(claim)) for claim in self._who]
        for claim, each in zip(self._who, people, strict=True):
            names.setdefault(each, (claim.name, claim.origin))
        if not len(self._row):
            return names
        is_, is_not = rows_said
        settled = np.isin(draft.persons, [draft.place(each) for each in said])
        settled[list(is_)] = True
        codes = np.array([draft.place(each) for each in people], np.int64)
        number, row = self._number[~settled[self._row]], self._row[~settled[self._row]]
        barred = {(each, draft.place(who)) for each, who in is_not}
        free = np.array([pair not in barred for pair in zip(row.tolist(), codes[number].tolist(), strict=True)], bool)
        number, row = number[free], row[free]
        _join(draft, Votes(people, number, row), np.where(settled, -1, draft.persons), barred)
        draft.persons[row] = codes[number]
        return names

    def beside(self, said: Iterable[SaidPerson], person: Callable[[str], str]) -> Iterator[tuple[Claim, str]]:
        """Claims of faces that were not found, and who they are."""
        ids = _ids_by_name(said) if self._beside else {}
        for claim in self._beside:
            yield claim, person(ids.get(_folded(claim.name)) or claimed_id(claim))


def _rank(claim: Claim) -> int:
    return ORIGINS.index(claim.origin) if claim.origin in ORIGINS else len(ORIGINS)


def _rows_claimed(claims: Sequence[Claim], rows: Sequence[int], boxes: F32) -> Iterator[tuple[Claim, int | None]]:
    """Each claim about a photo with its face, None where there is none; origin by origin, each face once."""
    free, places = set(rows), boxes[list(rows)].tolist()
    for origin in dict.fromkeys(claim.origin for claim in claims):
        theirs = [claim for claim in claims if claim.origin == origin]
        every = matched([claim.box for claim in theirs], places, CLAIMED)
        for i, claim in enumerate(theirs):
            row = rows[every[i]] if i in every else None
            if row is None or row in free:
                yield claim, row
            if row is not None:
                free.discard(row)


def _join(draft: Draft, votes: Votes, unsaid: I64, barred: Set[tuple[int, int]]) -> None:
    """`unsaid` (N,): the persons of the draft, -1 where users have said who it is."""
    for cluster, person in attached(draft.ids, unsaid, votes).items():
        if cluster != person:
            old, new = draft.place(cluster), draft.place(person)
            rows = np.flatnonzero(unsaid == old)
            kept = [row for row in rows.tolist() if (row, new) not in barred] if barred else rows
            draft.persons[kept] = new


def _ids_by_name(people: Iterable[SaidPerson]) -> dict[str, str]:
    """Name → person, of names that one person alone has."""
    named = [(_folded(person.name), person.person_id) for person in people if person.name]
    counts = Counter(name for name, _ in named)
    return {name: person_id for name, person_id in named if counts[name] == 1}


def _folded(name: str) -> str:
    return normal(" ".join(name.split())).casefold()


def claimed_id(claim: Claim) -> str:
    """The person_id of somebody of whom no user has spoken."""
    own = f"{claim.origin}\0{claim.person}" if claim.person else _folded(claim.name)
    return hashlib.sha256(own.encode("utf-8", "surrogatepass")).hexdigest()[:12]
