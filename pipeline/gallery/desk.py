"""Where the gallery is asked: answers hold for it as it is at that moment, and stand in the audit log before they are
given.

The lock of the log is all that is held (`LibraryFiles.lock_log`): under it the gallery is compared with the one that
was asked, so that nobody is named who was forgotten, or whose consent ended, a moment ago; and an enrolment that works
on photos for an hour stops no answer.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from muster.errors import InputError, MusterError, NotEnrolledError, NotYetError
from muster.pipeline import forget
from muster.pipeline.gallery.answers import Enrolled, Limits, Probes, compared, disclosed, limits_of, named
from muster.pipeline.people.faces import strangers_of
from muster.pipeline.work.choice import TaskChoice
from muster.storage import layout
from muster.storage.gallery import audit, gallery
from muster.storage.gallery.gallery import Gallery
from muster.storage.index import vectors
from muster.storage.index.inverted_file import THOROUGH
from muster.storage.library import LibraryFiles
from muster.tasks.people.search import Templates, templates

IDENTIFY, VERIFY, WATCH, LEAVE, NOTE = "identify", "verify", "watch", "leave", "note"
ATTEMPTS = 10  # at answering for a gallery that is changed meanwhile
BACK = timedelta(minutes=10)  # that a clock may be behind the log: others are set a little otherwise


@dataclass(frozen=True)
class Question:
    """`kind`: IDENTIFY, or WATCH of a camera: who is each of `probes`? VERIFY: are they `person`? LEAVE: is `person`,
    who is not seen any more, still enrolled? NOTE: nothing is asked of the gallery, and a line is written.
    `action`: what the log calls it, where that is not its kind. `noted`: what its line says besides."""

    kind: str
    probes: Probes | None = None
    person: str = ""
    action: str = ""
    noted: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """`rows`: of IDENTIFY and WATCH, see `answers.named`. `facts`: of VERIFY, see `answers.compared`; of LEAVE
    person_id and name. `remark`: what is to be known about the threshold."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    remark: str = ""


@dataclass(frozen=True)
class _State:
    """What answers depend on: the gallery's digest, who is being forgotten, and the day."""

    gallery: str | None
    forgetting: bytes
    today: date


@dataclass
class _Standing:
    """The gallery at a state, ready to be asked. `problem`: why it cannot be."""

    state: _State
    enrolled: Enrolled | None
    problem: MusterError | None = None
    limits: dict[str, Limits | InputError] = field(default_factory=dict)


class Desk:
    """`threshold`: given by hand, in place of the measured one. `model`: that faces are made with; an InputError of
    each question where the gallery's is another by now. None: the gallery's."""

    def __init__(self, library: LibraryFiles, threshold: float | None = None, model: str | None = None) -> None:
        self.library, self.threshold, self.model = library, threshold, model
        self._standing: _Standing | None = None

    def answer(self, questions: Sequence[Question]) -> list[Answer | MusterError]:
        """An answer to each, or why there is none; all are in the log by then.

        Raises MusterError where the log cannot be written, or the clock was set back behind its last line.
        """
        for _ in range(ATTEMPTS):
            standing = self._standing
            with self.library.lock_log():
                state = self._state()
                if standing is not None and standing.state == state:
                    found = [self._answer(standing, question) for question in questions]
                    audit.extend(self.library, [line for _, line in found])
                    return [answer for answer, _ in found]
            self._at(state)
        raise MusterError(f"the gallery of library {self.library.uri} is changed all the time: ask again")

    def enrolled(self) -> Enrolled:
        """Who may be named now. Nothing is logged: it is no answer yet. Raises MusterError where nobody can be."""
        return _people(self._now())

    def check(self, kind: str) -> str:
        """The remark on the threshold for such questions; MusterError where they cannot be answered."""
        standing = self._now()
        _people(standing)
        return _limits(standing, kind, self.threshold).remark

    def renew(self) -> None:
        """Keep nothing of the gallery in memory until the next question: somebody was forgotten."""
        self._standing = None

    def _now(self) -> _Standing:
        with self.library.lock_log():
            state = self._state()
        return self._at(state)

    def _at(self, state: _State) -> _Standing:
        standing = self._standing  # other threads may replace it
        if standing is None or standing.state != state:
            standing = self._standing = self._loaded(state)
        return standing

    def _state(self) -> _State:
        now, last = datetime.now(UTC), audit.last_at(self.library)
        if last is not None and now < last - BACK:
            raise MusterError(
                f"the clock of this machine says {now:%Y-%m-%d %H:%M} (UTC), and the last line of the audit log is of"
                f" {last:%Y-%m-%d %H:%M}: consent that has ended would hold again. Set the clock right; where the log"
                " is what is wrong, `calibrate` again, which writes a line by this clock"
            )
        try:
            forgetting = self.library.read(layout.FORGETTING)
        except FileNotFoundError:
            forgetting = b""
        return _State(gallery.digest(self.library), forgetting, date.today())

    def _loaded(self, state: _State) -> _Standing:
        """The gallery, which may be newer than the state; then that is loaded again."""
        try:
            known = enrolled(self.library, self.model, state.today)
            return _Standing(state, Enrolled(known, templates_of(self.library, known)))
        except MusterError as error:
            return _Standing(state, None, error)

    def _answer(self, standing: _Standing, question: Question) -> tuple[Answer | MusterError, tuple[str, Any]]:
        """And the line of the log."""
        action, line = question.action or question.kind, {"people": [], **question.noted}
        try:
            answer, told = _said(standing, question, self.threshold)
        except MusterError as error:
            why = "not enrolled" if isinstance(error, NotEnrolledError) else "no answer"  # its text names them
            return error, (action, line | {"refused": why})
        return answer, (action, line | told)


def _said(standing: _Standing, question: Question, threshold: float | None) -> tuple[Answer, dict[str, Any]]:
    if question.kind == NOTE:
        return Answer(), {}
    known = _people(standing)
    if question.kind == LEAVE:
        person = known.people[known.number_of(question.person)]
        return Answer(facts={"person_id": person, "name": known.name_of(person)}), {
            "people": [known.pseudonym_of(person)]
        }
    probes = question.probes
    assert probes is not None
    if question.kind == VERIFY:
        number = known.number_of(question.person)
        limits = _limits(standing, VERIFY, threshold)
        facts = compared(known, number, probes, limits)
        noted = {name: facts[name] for name in ("match", "answer")}
        return Answer(facts=facts, remark=limits.remark), {
            "people": [known.pseudonym_of(facts["person_id"])],
            **noted,
        }
    limits = _limits(standing, IDENTIFY, threshold)
    rows = named(known, probes, limits)
    used = {"faces": len(rows), "threshold": limits.threshold, "unsure_from": limits.unsure_from}
    return Answer(rows=rows, remark=limits.remark), {**used, **disclosed(known, rows)}


def _people(standing: _Standing) -> Enrolled:
    if standing.enrolled is None:
        assert standing.problem is not None
        raise standing.problem
    return standing.enrolled


def _limits(standing: _Standing, what: str, threshold: float | None) -> Limits:
    if what not in standing.limits:
        assert standing.enrolled is not None
        try:
            standing.limits[what] = limits_of(standing.enrolled.known, what, threshold)
        except InputError as error:
            standing.limits[what] = error
    found = standing.limits[what]
    if isinstance(found, InputError):
        raise found
    return found


def enrolled(library: LibraryFiles, model: str | None = None, today: date | None = None) -> Gallery:
    """The gallery without those whose consent has ended, and who are being forgotten. `model`: that the probes were
    made with, where they were."""
    known = forget.staying(library, current(library))
    if model not in (None, known.model):
        raise InputError(
            f"the gallery of library {library.uri} was made anew meanwhile, by faces={known.model}: ask again"
        )
    ended = pc.fill_null(pc.less(known.faces["valid_until"], pa.scalar(today or date.today())), False)
    known = replace(known, faces=known.faces.filter(pc.invert(ended)))
    if not known.faces.num_rows:
        text = f"the consent of everybody enrolled in library {library.uri} has ended"
        raise NotYetError(text, "enroll", library.uri)
    return known


def current(library: LibraryFiles) -> Gallery:
    """The gallery; InputError where there is none, or it is of faces that those of today cannot be compared with."""
    known = gallery.require(library)
    if known.fingerprint != TaskChoice(name="faces", model=known.model).fingerprint:
        raise InputError(
            f"the gallery of library {library.uri} was made by an older faces={known.model}, whose faces cannot be"
            " compared with those of today: enrol everybody anew in another library, and run `calibrate` there"
        )
    return known


def templates_of(library: LibraryFiles, known: Gallery, held: bool = False) -> Templates:
    """What the people of this gallery are known by. Of very many the nearest are searched for, by an index that the
    library keeps where no other is writing there. `held`: the caller holds its lock."""
    made = templates(known.embeddings, known.owner, len(known.people), strangers_of(known.model))
    if len(made.vectors) <= vectors.EXACT_UP_TO or made.strangers is None:
        return made
    name, note = layout.index(known.fingerprint, "templates"), made.strangers.crowding
    try:
        with nullcontext() if held else library.lock():
            index = vectors.current(library, name, made.vectors, note=note)
    except MusterError:  # it is in use
        index = vectors.unsaved(library, name, made.vectors, note)
    return replace(made, near=partial(index.search, depths=THOROUGH), noted=index.notes)
