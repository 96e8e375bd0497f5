"""What edits say: from what a user sees (people and faces of a view) to facts, by which a ledger remembers it.

Each function returns the facts of one edit, for `Ledger.record`. A cluster that no edit has spoken of becomes a person
by the first one: a fact `Shows` goes before, with its faces.
"""

import secrets
from collections.abc import Callable, Sequence, Set
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from muster.errors import InputError
from muster.storage.people import facts
from muster.storage.people.facts import FaceRef, Fact, checked_date, checked_name
from muster.storage.people.known import Conflict, Known
from muster.storage.people.ledger import Edit, Ledger
from muster.storage.people.view import People

MOST = 200  # faces by which a cluster is found again


def new_person() -> str:
    """A person_id of nobody."""
    return secrets.token_hex(6)


def refs(people: People, face_ids: Sequence[str]) -> tuple[FaceRef, ...]:
    """How a ledger names these faces, each once though its photo has copies. InputError where one is none."""
    wanted = people.faces.select(["face_id", "image_id", "box_xyxy"])
    rows = wanted.filter(pc.is_in(wanted["face_id"], value_set=pa.array(face_ids, pa.string()))).to_pylist()
    found = {row["face_id"]: row for row in rows}
    if gone := [face for face in face_ids if face not in found]:
        raise InputError(f"{gone[0]} is no face of this library, or not any more")
    named = [found[face] for face in face_ids]
    photos = people.photos.refs([row["image_id"] for row in named])
    faces = [FaceRef(photos[row["image_id"]], tuple(row["box_xyxy"])) for row in named if row["image_id"] in photos]
    return tuple({(face.photo.sha256, face.box): face for face in faces}.values())


def shows(people: People, person: str) -> facts.Shows:
    """That the cluster which is shown as `person` is that person: its most certain faces, at most MOST."""
    rows = people.faces.filter(pc.equal(people.faces["person_id"], person))
    if not rows.num_rows:
        raise InputError(f"there is no person {person} here")
    best = rows.sort_by([("certainty", "descending"), ("face_id", "ascending")]).slice(0, 2 * MOST)  # copies go
    return facts.Shows(person, refs(people, best["face_id"].to_pylist())[:MOST])


def introduced(people: People, *persons: str) -> list[Fact]:
    """What goes before an edit that speaks of these people: `shows` of those of whom none has spoken yet."""
    fresh = [
        person for person in dict.fromkeys(persons) if person not in people.people or not people.people[person].said
    ]
    return [shows(people, person) for person in fresh]


def named(people: People, person: str, name: str) -> list[Fact]:
    """That `person` is called so; "": has no name any more."""
    return [*introduced(people, person), facts.Named(person, checked_name(name))]


def merged(people: People, person: str, other: str) -> list[Fact]:
    """That both are one person, who goes by the id of the one of whom users spoke first, or else of `person`, and by
    the name of `person`, or else of `other`."""
    if person == other:
        raise InputError("a person cannot be merged with themselves: name two people")
    ids, known = [person, other], list(people.people)
    if people.people[person].said or people.people[other].said:
        ids.sort(key=lambda each: (not people.people[each].said, known.index(each)))
    said = [*introduced(people, *ids), facts.Same(*ids)]
    called = people.people[person]
    if called.name and ids[0] != person and people.people[other].name:
        said.append(facts.Named(ids[0], called.name))
    return said


def different(people: People, person: str, other: str) -> list[Fact]:
    """That these are two people."""
    if person == other:
        raise InputError("one person cannot be two: say which faces are somebody else's")
    return [*introduced(people, person, other), facts.Different(person, other)]


def moved(people: People, face_ids: Sequence[str], person: str) -> list[Fact]:
    """That these faces are `person`: somebody in the view, or a `new_person()`. Whose they were keeps the others."""
    rows = people.faces.filter(pc.is_in(people.faces["face_id"], value_set=pa.array(face_ids, pa.string())))
    before = [each for each in rows["person_id"].unique().to_pylist() if each is not None]
    here = [person] if person in people.people else []
    return [*introduced(people, *here, *before), facts.Is(person, refs(people, face_ids))]


def barred(people: People, face_ids: Sequence[str], person: str) -> list[Fact]:
    """That none of these faces is `person`."""
    return [*introduced(people, person), facts.IsNot(person, refs(people, face_ids))]


def hidden(people: People, persons: Sequence[str]) -> list[Fact]:
    """That pages do not show these people."""
    return [*introduced(people, *persons), *map(facts.Hidden, persons)]


def cover(people: People, person: str, face_id: str) -> list[Fact]:
    """That this face stands for `person`."""
    [face] = refs(people, [face_id])
    return [*introduced(people, person), facts.Cover(person, face)]


def born(people: People, person: str, date: str) -> list[Fact]:
    """When `person` was born: 1990, 1990-05 or 1990-05-31; "": not known."""
    return [*introduced(people, person), facts.Born(person, checked_date(date))]


# ---- taking back -----------------------------------------------------------------------------------------------------


def undone(ledger: Ledger, edit: str) -> list[Fact]:
    """That an edit counts no more. Of one that takes back: what was taken back counts again."""
    return [facts.TakeBack(edit), *_shown_still(ledger, {edit})]


def _shown_still(ledger: Ledger, gone: Set[str], said: Sequence[Fact] = ()) -> list[Fact]:
    """By which clusters people are known, where that stands in edits that go alone, and others, or `said`, still speak
    of these people: what they say would be lost with the next model."""
    going = [ledger.edits[each] for each in gone if each in ledger.edits and not _undoes(ledger.edits[each])]
    if not going:
        return []
    edits = {each.edit_id: each.facts for each in ledger.edits.values()}
    then = Known.of({**edits, "~": [facts.TakeBack(each) for each in gone]})  # what these took back counts again
    left = [*chain.from_iterable(each for name, each in edits.items() if then.counts(name)), *said]
    spoken = {person for fact in left for person in facts.people_of(fact)}
    spoken -= {fact.person for fact in left if isinstance(fact, facts.Shows)}
    return [fact for edit in going for fact in edit.facts if isinstance(fact, facts.Shows) and fact.person in spoken]


def shown_again(ledger: Ledger, person: str) -> list[Fact]:
    """That pages show `person` again: every edit that hid them is taken back, and what else it said is said anew."""
    return _unsaid(ledger, lambda fact: isinstance(fact, facts.Hidden) and ledger.known.person(fact.person) == person)


def no_favourite(ledger: Ledger, sha256: str) -> list[Fact]:
    """That a photo is no favourite any more."""
    return _unsaid(ledger, lambda fact: isinstance(fact, facts.Favourite) and fact.photo.sha256 == sha256)


def _unsaid(ledger: Ledger, meant: Callable[[Fact], bool]) -> list[Fact]:
    found: list[Fact] = []
    for edit in ledger.edits.values():
        if ledger.known.counts(edit.edit_id) and any(map(meant, edit.facts)):
            others = [fact for fact in edit.facts if not meant(fact) and not isinstance(fact, facts.TakeBack)]
            found += [facts.TakeBack(edit.edit_id), *others]
    return found


def to_undo(ledger: Ledger) -> Edit | None:
    """The last edit that counts, and is not itself an undo or a redo."""
    return next((e for e in reversed(ledger.edits.values()) if ledger.known.counts(e.edit_id) and not _undoes(e)), None)


def to_redo(ledger: Ledger) -> Edit | None:
    """The last undo, to be undone itself: none where something was said since."""
    said = to_undo(ledger)
    for edit in reversed(ledger.edits.values()):
        if said is not None and edit.edit_id < said.edit_id:
            return None
        if ledger.known.counts(edit.edit_id) and _undoes(edit) and not any(_undoes(ledger.edits[t]) for t in _of(edit)):
            return edit
    return None


def _undoes(edit: Edit) -> bool:
    said = [fact for fact in edit.facts if not isinstance(fact, facts.Shows)]
    return bool(said) and all(isinstance(fact, facts.TakeBack) and not fact.faces for fact in said)


def _of(edit: Edit) -> list[str]:
    return [fact.edit for fact in edit.facts if isinstance(fact, facts.TakeBack)]


def in_spite(ledger: Ledger, said: Sequence[Fact]) -> list[Fact]:
    """These facts, with what they contradict taken back first: of faces, as far as these are meant."""
    before: list[Fact] = []
    while conflicts := ledger.conflicts([*before, *said]):
        fresh = [fact for fact in map(_against, conflicts) if fact not in before]
        if not fresh:  # they contradict each other
            break
        before += dict.fromkeys(fresh)
    whole = {fact.edit for fact in before if isinstance(fact, facts.TakeBack) and not fact.faces}
    return [*before, *_shown_still(ledger, whole, said), *said]


def _against(conflict: Conflict) -> facts.TakeBack:
    return facts.TakeBack(conflict.edit, facts.faces_of(conflict.against))
