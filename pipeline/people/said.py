"""What users said of the faces of a library, as arrays for `muster.tasks.people`."""

from dataclasses import dataclass

import numpy as np

from muster.pipeline.people.faces import read_faces
from muster.pipeline.people.who import readable_images
from muster.storage.library import LibraryFiles
from muster.storage.people.counted import counted
from muster.storage.people.known import Known
from muster.storage.people.ledger import Ledger
from muster.storage.people.placed import Photos, place
from muster.storage.people.view import boxes_of
from muster.tasks.people.said import Said


@dataclass(frozen=True, eq=False)
class SaidHere:
    """`said`: of the rows of a faces table. `ids`: the person_id of each number in it. `taken`: ids that only people
    have, also such as they had before they were found to be somebody else. `edits`: which count."""

    said: Said
    ids: list[str]
    taken: frozenset[str]
    edits: str


def said_here(library: LibraryFiles, fingerprint: str) -> SaidHere | None:
    """Of the faces under this fingerprint; None where nothing was said of people. MusterError where a newer Muster
    has said something."""
    ledger = Ledger(library)
    ledger.check()
    known = ledger.known
    if not known.people:
        return None
    faces = read_faces(library, fingerprint, ["image_id", "box_xyxy"])
    placed = place(known.faces, Photos(readable_images(library)), faces["image_id"], boxes_of(faces))
    ids = sorted(known.people)
    taken = {*ids, *(other for person in known.people.values() for other in person.others)}
    return SaidHere(_as_arrays(known, placed.rows, ids, faces.num_rows), ids, frozenset(taken), counted(ledger))


def _as_arrays(known: Known, rows: list[list[int]], ids: list[str], n: int) -> Said:
    """`rows`: of each face of `known`. `n`: how many faces there are."""
    number = {person: i for i, person in enumerate(ids)}
    person, shown = np.full(n, -1), np.full(n, -1)
    for face, who in known.is_.items():
        person[rows[face]] = number[who]
    excluded = [(row, number[who]) for face, who in sorted(known.is_not) for row in rows[face]]
    for group, faces in enumerate(known.shows.values()):
        shown[[row for face in faces for row in rows[face]]] = group
    groups = np.array([number[known.person(each)] for each in known.shows], np.int64)
    return Said(person, np.array(excluded, np.int64).reshape(-1, 2), shown, groups)
