"""Who may be who: questions that teach most, and faces that are nobody's by whom they may be.

What is found once for the faces of a library is found in a thread of its own, after the first page, when nobody waits:
it takes seconds. What follows from it for one page is quick.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from muster.arrays import F32, I64, matrix
from muster.errors import MusterError
from muster.storage.people.known import Known
from muster.web.live.album import LiveAlbum, Moment
from muster.web.live.columns import Columns, LiveSource, read_columns
from muster.web.live.said import NOBODY

if TYPE_CHECKING:
    from muster.tasks.people.suggestions import Prepared, Suggestion

WAIT, NICE = 1.0, 10  # seconds after somebody first looked; and how much others go before it
GROUPS, IN_GROUP = 24, 48  # of faces that are nobody's, on one page
LOOKED_AT = 50_000  # questions of which groups are made
LIKELY = 0.2  # chance from which on a face goes into a group
NEXT = 12  # questions that are found at once, and asked on one page


@dataclass(frozen=True)
class Group:
    """Faces that are nobody's, rows (N,), and whom they may be: the row of a face of that person; or -1: each other."""

    faces: I64
    like: int
    gain: float


@dataclass(frozen=True)
class Found:
    """For the faces of `columns`. `lone`: those that were alone, each with the row of the face that it is most likely
    of one person with, and the chance of that."""

    columns: Columns
    prepared: "Prepared"
    lone: Sequence[tuple[int, int, float]]


class Guesses:
    """Many threads may use it."""

    def __init__(self, album: LiveAlbum) -> None:
        self._album, self._lock = album, threading.Lock()
        self._found: Found | None = None
        self._working = False
        self._answered: list[tuple[int, int]] = []
        self._kept: list[Suggestion] = []  # the next questions, of when they were last looked for
        self.trouble = ""

    def start(self) -> None:
        """Begin, where nobody has yet."""
        with self._lock:
            columns = self._album.now().base
            if self._working or (self._found is not None and self._found.columns is columns):
                return
            self._working, self._answered, self._kept = True, [], []
        threading.Thread(target=self._work, args=(columns,), daemon=True).start()

    def _work(self, columns: Columns) -> None:
        time.sleep(WAIT)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        try:
            self._found = self._looked(columns)
        except MusterError as error:
            self.trouble = str(error)
        finally:
            self._working = False

    def _looked(self, columns: Columns) -> Found:
        from muster.tasks.people.suggestions import prepare, suggestions  # faiss and scipy: half a second

        source, labels = self._album.source, columns.cluster.astype(np.int64)
        prepared = prepare(_embeddings(source, columns), labels, columns.photo.astype(np.int64), source.strangers())
        asked = suggestions(prepared, labels, np.empty((0, 2), np.int64), LOOKED_AT)
        alone = (each for each in asked if len(each.faces) == 1 and each.choices and not each.part)
        likely = ((int(each.faces[0]), each.choices[0]) for each in alone if each.choices[0].chance >= LIKELY)
        lone = [(face, int(choice.faces[0]), choice.chance) for face, choice in likely]
        return Found(columns, prepared, lone)

    def answered(self, faces: Sequence[int], choices: Sequence[Sequence[int]]) -> None:
        """Somebody was asked about these faces (rows), and need not be again."""
        with self._lock:
            self._answered += [(faces[0], choice[0]) for choice in choices if choice]
            self._kept = [each for each in self._kept if int(each.faces[0]) not in faces]

    def questions(self, moment: Moment, known: Known) -> "list[Suggestion] | None":
        """The next few; None where they are not known yet."""
        found, answered = self._found, list(self._answered)
        if found is None or found.columns is not moment.base:
            return None
        if left := [each for each in self._kept if _is_open(each, moment)]:
            return left
        from muster.tasks.people.suggestions import suggestions

        faces = len(found.columns.photo)
        pairs = np.array([*answered, *said(moment, known)], np.int64).reshape(-1, 2)
        labels = moment.said.person_of[:faces].astype(np.int64)
        asked = suggestions(found.prepared, labels, pairs[(pairs < faces).all(1)], NEXT)
        with self._lock:
            if len(answered) == len(self._answered):
                self._kept = asked
        return asked

    def groups(self, moment: Moment, known: Known) -> list[Group] | None:
        """Of faces that are nobody's, by the one whom they most likely are; those that put most faces right first."""
        found, person_of = self._found, moment.said.person_of
        if found is None or found.columns is not moment.base:
            return None
        barred = {(face, int(person_of[other])) for face, other in said(moment, known)}
        members: dict[int, list[tuple[int, int, float]]] = {}
        for face, other, chance in found.lone:
            person = int(person_of[other])
            if person_of[face] == NOBODY and (face, person) not in barred:
                members.setdefault(person if person != NOBODY else -2 - other, []).append((face, other, chance))
        groups = [_group(key, faces) for key, faces in members.items()]
        return sorted(groups, key=lambda group: -group.gain)[:GROUPS]


def _embeddings(source: LiveSource, columns: Columns) -> F32:
    """(N, D), of the faces that were found; a shard at a time, so that memory holds them once."""
    found: F32 = np.empty((0, 0), np.float32)
    for shard in source.shards("faces"):
        rows = read_columns(source, "faces", ["face_id", "embedding"], [shard])
        if rows.num_rows:
            place, here = columns.places_of(rows["face_id"]), matrix(rows["embedding"])
            if not found.size:
                found = np.zeros((len(columns.faces), here.shape[1]), np.float32)
            found[place[place >= 0]] = here[place >= 0]
    pa.default_memory_pool().release_unused()
    return found


def _group(key: int, members: list[tuple[int, int, float]]) -> Group:
    """`key`: a person's place; below -1: they are only like another face that is nobody's, which is one of them."""
    best = sorted(members, key=lambda each: -each[2])[:IN_GROUP]
    faces, other, gain = [face for face, _, _ in best], best[0][1], sum(chance for _, _, chance in best)
    if key >= 0:
        return Group(np.array(faces, np.int64), other, gain)
    return Group(np.array([other, *faces], np.int64), -1, gain)


def _is_open(asked: "Suggestion", moment: Moment) -> bool:
    """Whether it can still be asked: nobody has moved since, as far as the sides are one person or two."""
    of = moment.said.person_of
    one = [int(of[asked.faces[0]]) == int(of[each.faces[0]]) != NOBODY for each in asked.choices]
    return all(one) if asked.part else not any(one)


def said(moment: Moment, known: Known) -> Iterator[tuple[int, int]]:
    """Pairs of faces (rows) of whom somebody has said whether they are one person."""
    of = moment.first_face
    for pair in known.different:
        a, b = (of(person) for person in sorted(pair))
        if a >= 0 and b >= 0:
            yield a, b
    is_, is_not = moment.album.scene.said(known)
    for row, person in [*is_not, *is_.items()]:
        other = of(person)
        if other >= 0 and other != row:
            yield row, other
