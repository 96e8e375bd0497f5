"""Users who put right who is who, by the edits of the live page, recorded in the ledger. See benchmarks/edits.py."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from muster.arrays import I64
from muster.errors import InputError
from muster.storage.library import LibraryFiles
from muster.storage.people import edits
from muster.storage.people.facts import Fact
from muster.storage.people.ledger import ContradictionError, Ledger
from muster.storage.people.view import People, Scene
from muster.tasks.metrics.people import bcubed_f1
from muster.tasks.people.suggestions import Prepared, Suggestion, suggestions

GOAL = 0.999  # BCubed F
SHEET = 12  # questions that are shown and answered together
WORTH = 1.0  # faces that a sheet must promise to put right; less, and the user goes through the pages


class Desk:
    """A library in front of a user who knows the `truth` of each face (N,): a person's number, -1 where nobody knows.

    An edit is one file of the ledger. `labels` are read from the view after each, as the pages are.
    """

    def __init__(self, library: LibraryFiles, scene: Scene, truth: I64) -> None:
        self.ledger, self.scene, self.truth = Ledger(library), scene, truth
        self.edits, self.scores = 0, list[float]()
        self.face_ids = self.scene.people(self.ledger.known).faces["face_id"].to_pylist()
        self.look()

    def look(self) -> None:
        self.people: People = self.scene.people(self.ledger.known)
        found = self.people.faces.slice(0, len(self.truth))
        column = found["person_id"].combine_chunks().dictionary_encode()
        self.ids = column.dictionary.to_pylist()
        self.labels = column.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        self.pages = self._pages()
        known = self.truth >= 0
        self.scores.append(bcubed_f1(self.labels[known], self.truth[known]).f1)

    @property
    def done(self) -> bool:
        return self.scores[-1] >= GOAL

    def say(self, *said: Sequence[Fact]) -> None:
        """One edit; of facts that contradict what was said before, those are left out."""
        facts = list(dict.fromkeys(fact for each in said for fact in each))
        while facts:
            try:
                self.ledger.record(facts, by="user")
                break
            except ContradictionError as error:
                facts = [fact for fact in facts if all(fact != each.fact for each in error.conflicts)]
        self.edits += 1
        self.look()

    # ---- what the user sees ------------------------------------------------------------------------------------------

    def who(self, rows: I64) -> int:
        """Whom most of these faces show, -1 nobody whom the user knows."""
        known = self.truth[rows]
        most = Counter(known[known >= 0].tolist()).most_common(1)
        return most[0][0] if most else -1

    def rows(self, label: int) -> I64:
        return np.flatnonzero(self.labels == label)

    def person(self, row: int) -> str:
        return self.ids[self.labels[row]]

    def named(self, rows: I64) -> list[str]:
        return [self.face_ids[row] for row in rows.tolist()]

    def _pages(self) -> dict[str, int]:
        """person_id → whom the cluster shows, the largest first."""
        sizes = np.bincount(self.labels[self.labels >= 0], minlength=len(self.ids))
        known, most = (self.labels >= 0) & (self.truth >= 0), np.full(len(self.ids), -1)
        cells, counts = np.unique(self.labels[known] * (self.truth.max() + 1) + self.truth[known], return_counts=True)
        order = np.argsort(counts, kind="stable")  # the last of a cluster has most
        most[cells[order] // (self.truth.max() + 1)] = cells[order] % (self.truth.max() + 1)
        by_size = sorted(range(len(self.ids)), key=lambda label: (-sizes[label], self.ids[label]))
        return {self.ids[label]: int(most[label]) for label in by_size if sizes[label]}


def through_the_pages(desk: Desk) -> None:
    """Page by page, the largest person first: what is somebody else's goes to them, or to a page of its own; other
    pages of the person are merged in; then all faces of theirs that are nobody's are assigned, at once. At the end the
    people who have no page. Every step is one edit, however many faces are selected in it."""
    seen: set[str] = set()
    while not desk.done and (page := next((each for each in desk.pages if each not in seen), None)):
        seen.add(page)
        person = desk.pages[page]
        if person >= 0:
            put_right(desk, page, person)
    homeless = Counter(desk.truth[(desk.labels < 0) & (desk.truth >= 0)].tolist())
    for person, count in homeless.most_common():
        rows = np.flatnonzero((desk.labels < 0) & (desk.truth == person))
        if not desk.done and count > 1:
            desk.say(edits.moved(desk.people, desk.named(rows), edits.new_person()))


def put_right(desk: Desk, page: str, person: int) -> None:
    rows = desk.rows(desk.ids.index(page))
    others = Counter(desk.truth[rows][(desk.truth[rows] >= 0) & (desk.truth[rows] != person)].tolist())
    for other, _ in others.most_common():
        home = next((each for each, shows in desk.pages.items() if shows == other), edits.new_person())
        if not desk.done:
            theirs = rows[desk.truth[rows] == other]
            desk.say(edits.moved(desk.people, desk.named(theirs), home))
    for twin in [each for each, shows in desk.pages.items() if shows == person and each != page]:
        if not desk.done:
            desk.say(edits.merged(desk.people, page, twin))
    rows = np.flatnonzero((desk.labels < 0) & (desk.truth == person))
    if len(rows) and not desk.done:
        here = next((each for each, shows in desk.pages.items() if shows == person), page)
        desk.say(edits.moved(desk.people, desk.named(rows), here))


def by_suggestions(desk: Desk, prepared: Prepared, at_once: int, worth: float) -> dict[str, Any]:
    """Answer what is asked, truly, so many questions `at_once` and as one edit, while they promise to put so many faces
    right; then go through the pages as without."""
    asked, sheets, answered = 0, 0, list[tuple[int, int]]()
    while not desk.done:
        pairs = np.array(answered, np.int64).reshape(-1, 2)
        sheet = suggestions(prepared, desk.labels, pairs, at_once)
        if not sheet or sum(each.gain for each in sheet) < worth:
            break
        said = []
        for question in sheet:
            asked += 1
            facts, known = answer(desk, question)
            said.append(facts)
            answered += known
        sheets += 1
        desk.say(*said)
    reached = desk.scores[-1]
    through_the_pages(desk)
    return {"questions": asked, "sheets": sheets, "after_sheets": round(reached, 4)}


def answer(desk: Desk, question: Suggestion) -> tuple[list[Fact], list[tuple[int, int]]]:
    """What is true, as facts; and pairs of faces of which the user has said something."""
    faces, person = question.faces, desk.who(question.faces)
    pairs = [(int(faces[0]), int(choice.faces[0])) for choice in question.choices]
    if question.part:
        same = desk.who(question.choices[0].faces) == person
        return ([] if same else taken_out(desk, faces)), pairs
    yes = [c.faces for c in question.choices if person >= 0 and desk.who(c.faces) == person]
    if yes:
        return one_person(desk, faces, yes[0]), []
    return [fact for choice in question.choices for fact in two_people(desk, faces, choice.faces)], pairs


def taken_out(desk: Desk, faces: I64) -> list[Fact]:
    if len(faces) > 1:
        return edits.moved(desk.people, desk.named(faces), edits.new_person())
    return edits.barred(desk.people, desk.named(faces), desk.person(int(faces[0])))


def one_person(desk: Desk, a: I64, b: I64) -> list[Fact]:
    alone = [desk.labels[rows[0]] < 0 for rows in (a, b)]
    if all(alone):
        return edits.moved(desk.people, desk.named(np.append(a, b)), edits.new_person())
    if alone[0]:
        return edits.moved(desk.people, desk.named(a), desk.person(int(b[0])))
    return edits.merged(desk.people, desk.person(int(b[0])), desk.person(int(a[0])))


def two_people(desk: Desk, a: I64, b: I64) -> list[Fact]:
    alone = [desk.labels[rows[0]] < 0 for rows in (a, b)]
    try:
        if not any(alone):
            return edits.different(desk.people, desk.person(int(b[0])), desk.person(int(a[0])))
        return [] if all(alone) else edits.barred(desk.people, desk.named(a), desk.person(int(b[0])))
    except InputError:
        return []
