"""What a ledger says, taken together: facts in the order in which they were made, without those that were taken back.

A fact that contradicts one before it counts for nothing. None is recorded, but two processes may write at one moment:
then the first counts.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import TypeVar

from muster.storage.people import facts
from muster.storage.people.facts import FaceRef, Fact, PhotoRef
from muster.storage.people.numbers import Numbers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Conflict:
    """`fact` of the edit `by` contradicts `against`, which the edit `edit` says."""

    fact: Fact
    by: str
    against: Fact
    edit: str
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class SaidPerson:
    """What is said of a person. `nameless`: that they have no name. `cover`: number of a face in `Known.faces`.
    `since`: the edit that speaks of the person first. `others`: ids of those who are the same person."""

    person_id: str
    name: str = ""
    nameless: bool = False
    hidden: bool = False
    cover: int | None = None
    born: str = ""
    since: str = ""
    others: tuple[str, ...] = ()


@dataclass
class Known:
    """What a ledger says. Not changed once it is made: see `and_then`.

    `faces`: those that are spoken of, by number, as they were named first; None where nothing that counts speaks of one
    any more. `missed`: numbers of those that no model has found. `taken_back`: edits that count no more.
    """

    faces: list[FaceRef | None] = field(default_factory=list)
    favourites: dict[str, PhotoRef] = field(default_factory=dict)  # by SHA-256
    missed: set[int] = field(default_factory=set)
    conflicts: list[Conflict] = field(default_factory=list)
    taken_back: set[str] = field(default_factory=set)
    _numbers: Numbers = field(default_factory=Numbers)
    _partly: dict[str, set[int]] = field(default_factory=dict)
    _since: dict[str, str] = field(default_factory=dict)
    _kept: dict[str, tuple[str, str]] = field(default_factory=dict)  # other → person, and the edit that says so
    _is: dict[int, tuple[str, str]] = field(default_factory=dict)
    _is_not: dict[int, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    _shows: dict[str, tuple[int, ...]] = field(default_factory=dict)
    _different: dict[frozenset[str], str] = field(default_factory=dict)
    _names: dict[str, str] = field(default_factory=dict)
    _born: dict[str, str] = field(default_factory=dict)
    _covers: dict[str, int] = field(default_factory=dict)
    _hidden: set[str] = field(default_factory=set)

    # ---- what is said ------------------------------------------------------------------------------------------------

    def person(self, person: str) -> str:
        """The id that this person goes by."""
        while person in self._kept:
            person = self._kept[person][0]
        return person

    @cached_property
    def people(self) -> dict[str, SaidPerson]:
        """Everybody who is spoken of, by the id that they go by, in the order in which they came up."""
        same: dict[str, list[str]] = {}
        for person in self._since:
            same.setdefault(self.person(person), []).append(person)
        return {person: self._said(person, [p for p in ids if p != person]) for person, ids in same.items()}

    def _said(self, person: str, others: Sequence[str]) -> SaidPerson:
        if not others:
            name, date, hidden = self._names.get(person), self._born.get(person, ""), person in self._hidden
            cover, since = self._covers.get(person), self._since[person]
            return SaidPerson(person, name or "", name == "", hidden, cover, date, since)

        def first(values: Mapping[str, T]) -> T | None:
            """The person's own, or else one of the others'; nothing counts less than something."""
            said = [values[each] for each in (person, *others) if each in values]
            return next(filter(None, said), said[0]) if said else None

        name = first(self._names)
        return SaidPerson(
            person_id=person,
            name=name or "",
            nameless=name == "",
            hidden=person in self._hidden,
            cover=next((self._covers[each] for each in (person, *others) if each in self._covers), None),
            born=first(self._born) or "",
            since=self._since.get(person) or self._since[others[0]],
            others=tuple(others),
        )

    @cached_property
    def is_(self) -> dict[int, str]:
        """Face → who it is."""
        return {face: self.person(person) for face, (person, _) in self._is.items()}

    @cached_property
    def is_not(self) -> set[tuple[int, str]]:
        """Face, and who it is not."""
        return {(face, self.person(person)) for face, people in self._is_not.items() for person, _ in people}

    @cached_property
    def shows(self) -> dict[str, list[int]]:
        """Person → faces of the cluster that was said to show them, but for those of which something else is said. By
        the id that was said then: people who are one by now may be several clusters."""
        is_, is_not, spoken = self.is_, self.is_not, self._is.keys() | self._is_not.keys()

        def kept(face: int, who: str) -> bool:
            return is_.get(face, who) == who and (face, who) not in is_not

        def left(person: str, faces: Sequence[int]) -> list[int]:
            if spoken.isdisjoint(faces):
                return list(faces)
            who = self.person(person)
            return [face for face in faces if kept(face, who)]

        return {person: left(person, faces) for person, faces in self._shows.items()}

    @cached_property
    def votes(self) -> dict[str, list[int]]:
        """Person → faces by which their cluster is known: those that were said to be theirs, and of their cluster. Of
        everybody who was ever spoken of, by the id that was said then."""
        found: dict[str, list[int]] = {person: [] for person in self._since}
        for person, faces in self.shows.items():
            found[person] = faces if self._is.keys().isdisjoint(faces) else [f for f in faces if f not in self._is]
        theirs: dict[str, list[int]] = {}
        for face, (person, _) in self._is.items():
            theirs.setdefault(person, []).append(face)
        return found | {person: found[person] + faces for person, faces in theirs.items()}

    @property
    def partly(self) -> Mapping[str, Set[int]]:
        """Edits of which some faces were taken back: which."""
        return self._partly

    @property
    def different(self) -> set[frozenset[str]]:
        """Pairs of people of whom it was said that they are two."""
        return {frozenset(map(self.person, pair)) for pair in self._different}

    def counts(self, edit: str) -> bool:
        """Whether an edit was not taken back as a whole."""
        return edit not in self.taken_back

    # ---- how it came about -------------------------------------------------------------------------------------------

    @staticmethod
    def of(edits: Mapping[str, Sequence[Fact]], before: "Known | None" = None) -> "Known":
        """`edits`: edit id → what it says, oldest first. `before`: what some of them said: it saves time."""
        known = Known()
        if before is not None and before._numbers.known(edits):
            known._numbers = before._numbers.copy()
        for edit, said in edits.items():
            known._numbers.of(edit, said)
        known.faces = [None] * len(known._numbers)
        for edit, said in reversed(list(edits.items())):  # what takes back is younger than what it takes back
            if edit not in known.taken_back:
                for fact, faces in zip(said, known._numbers.of(edit, said), strict=True):
                    if isinstance(fact, facts.TakeBack) and fact.edit < edit:
                        known._take_back(fact, faces)
        for edit, said in edits.items():
            if edit not in known.taken_back:
                known._add(edit, said)
        return known

    def _take_back(self, fact: facts.TakeBack, faces: Sequence[int]) -> None:
        if fact.faces:
            self._partly.setdefault(fact.edit, set()).update(faces)
        else:
            self.taken_back.add(fact.edit)

    def and_then(self, edit: str, said: Sequence[Fact]) -> "Known":
        """With one more edit, that takes nothing back: some milliseconds of 100,000 faces."""
        known = Known(**{each.name: getattr(self, each.name).copy() for each in fields(self)})
        known._numbers.of(edit, said)
        known.faces += [None] * (len(known._numbers) - len(known.faces))
        known._add(edit, said)
        return known

    def _add(self, edit: str, said: Sequence[Fact]) -> None:
        gone = self._partly.get(edit, set())
        for whole, every in zip(said, self._numbers.of(edit, said), strict=True):
            fact, numbers = _without(whole, every, gone)
            if fact is None or isinstance(fact, facts.TakeBack):
                continue
            if conflict := self._conflict(edit, fact, numbers):
                self.conflicts.append(conflict)
            else:
                for person in facts.people_of(fact):
                    self._since.setdefault(person, edit)
                for number, face in zip(numbers, facts.faces_of(fact), strict=True):
                    self.faces[number] = self.faces[number] or face
                self._apply(edit, fact, numbers)

    def _apply(self, edit: str, fact: Fact, numbers: Sequence[int]) -> None:
        match fact:
            case facts.Is():
                self._is.update((face, (fact.person, edit)) for face in numbers)
            case facts.IsNot():
                for face in numbers:
                    self._is_not[face] = (*self._is_not.get(face, ()), (fact.person, edit))
            case facts.Shows():
                self._shows[fact.person] = tuple(dict.fromkeys((*self._shows.get(fact.person, ()), *numbers)))
            case facts.Same():
                kept, other = self.person(fact.person), self.person(fact.other)
                if kept != other:
                    self._kept[other] = (kept, edit)
            case facts.Different():
                self._different[frozenset((fact.person, fact.other))] = edit
            case facts.Named():
                self._names[self.person(fact.person)] = fact.name
            case facts.Born():
                self._born[self.person(fact.person)] = fact.date
            case facts.Cover():
                self._covers[self.person(fact.person)] = numbers[0]
            case facts.Hidden():
                self._hidden.add(self.person(fact.person))
            case facts.Missed():
                self.missed.update(numbers)
            case facts.Favourite():
                self.favourites[fact.photo.sha256] = fact.photo

    # ---- contradictions ----------------------------------------------------------------------------------------------

    def _conflict(self, edit: str, fact: Fact, numbers: Sequence[int]) -> Conflict | None:
        match fact:
            case facts.Is():
                found = self._against_is(fact, numbers)
            case facts.IsNot():
                found = self._against_is_not(fact, numbers)
            case facts.Same():
                found = self._against_same(fact)
            case facts.Different():
                found = self._against_different(fact, edit)
            case _:
                return None
        if found is None:
            return None
        against, before = found
        text = f"{self.sentence(fact)}: that contradicts what was said before, {self.sentence(against)}"
        return Conflict(fact, edit, against, before, f"{text} (edit {before}): take that back first")

    def _against_is(self, fact: facts.Is, numbers: Sequence[int]) -> tuple[Fact, str] | None:
        who = self.person(fact.person)
        said = [(*self._is[face], facts.Is, face) for face in numbers if face in self._is]
        said = [each for each in said if self.person(each[0]) != who]
        denied = [(*each, facts.IsNot, face) for face in numbers for each in self._is_not.get(face, ())]
        return self._first([*said, *(each for each in denied if self.person(each[0]) == who)])

    def _against_is_not(self, fact: facts.IsNot, numbers: Sequence[int]) -> tuple[Fact, str] | None:
        who = self.person(fact.person)
        said = [(*self._is[face], facts.Is, face) for face in numbers if face in self._is]
        return self._first([each for each in said if self.person(each[0]) == who])

    def _first(self, found: Sequence[tuple[str, str, type[facts.Is | facts.IsNot], int]]) -> tuple[Fact, str] | None:
        """Of what was said of faces (who, by which edit, how, which face): one fact, with all its faces."""
        if not found:
            return None
        same = [each for each in found if each[:3] == found[0][:3]]
        person, edit, kind, _ = found[0]
        return kind(person, tuple(ref for each in same if (ref := self.faces[each[3]]) is not None)), edit

    def _against_same(self, fact: facts.Same) -> tuple[Fact, str] | None:
        both = {self.person(fact.person), self.person(fact.other)}
        if len(both) == 1:
            return None
        for pair, edit in self._different.items():
            if set(map(self.person, pair)) == both:
                return facts.Different(*sorted(pair)), edit
        denied = [
            (person, edit, facts.IsNot, face)
            for face, people in self._is_not.items()
            if face in self._is and self.person(self._is[face][0]) in both
            for person, edit in people
            if {self.person(self._is[face][0]), self.person(person)} == both
        ]
        return self._first(denied)

    def _against_different(self, fact: facts.Different, edit: str) -> tuple[Fact, str] | None:
        if self.person(fact.person) != self.person(fact.other):
            return None
        for other in (fact.other, fact.person):
            if other in self._kept:
                person, before = self._kept[other]
                return facts.Same(person, other), before
        return facts.Same(fact.person, fact.other), edit  # of one person that they are two

    # ---- in words ----------------------------------------------------------------------------------------------------

    def sentence(self, fact: Fact) -> str:
        """What a fact says, in English, with the names that people have now."""

        def name(person: str) -> str:
            who = self.person(person)
            named = self._names.get(who) or next((n for p, n in self._names.items() if self.person(p) == who), "")
            return named or f"person {who}"

        def some(faces: Sequence[FaceRef]) -> str:
            return "a face is" if len(faces) == 1 else f"{len(faces):,} faces are"

        match fact:
            case facts.Is():
                return f"{some(fact.faces)} {name(fact.person)}"
            case facts.IsNot():
                return f"{some(fact.faces)} not {name(fact.person)}"
            case facts.Shows():
                return f"a group of {len(fact.faces):,} faces is {name(fact.person)}"
            case facts.Same():
                return f"{name(fact.person)} and {name(fact.other)} are one person"
            case facts.Different():
                return f"{name(fact.person)} and {name(fact.other)} are two people"
            case facts.Named():
                return (
                    f"person {fact.person} is called {fact.name}" if fact.name else f"{name(fact.person)} has no name"
                )
            case facts.Hidden():
                return f"{name(fact.person)} is hidden"
            case facts.Cover():
                return f"a face stands for {name(fact.person)}"
            case facts.Born():
                return f"{name(fact.person)} was born {fact.date or 'nobody knows when'}"
            case facts.Missed():
                return f"a face that was missed in {fact.face.photo.name or 'a photo'}"
            case facts.Favourite():
                return f"{fact.photo.name or 'a photo'} is a favourite"
            case facts.TakeBack():
                return f"edit {fact.edit} is taken back" + (
                    f" of {some(fact.faces)[:-3].strip()}" if fact.faces else ""
                )


def _without(fact: Fact, numbers: Sequence[int], gone: Set[int]) -> tuple[Fact | None, Sequence[int]]:
    """What is left of a fact without these faces, and the numbers of its faces; None: nothing."""
    if gone.isdisjoint(numbers):
        return fact, numbers
    kept = [number for number in numbers if number not in gone]
    match fact:
        case facts.Is() | facts.IsNot() | facts.Shows() if kept:
            left = tuple(face for face, number in zip(fact.faces, numbers, strict=True) if number not in gone)
            return replace(fact, faces=left), kept
    return None, ()
