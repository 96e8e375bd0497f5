"""`muster name`, and what scripts say of people: the same facts as the pages make."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from muster.errors import InputError
from muster.pipeline import forget
from muster.pipeline.people.pages import source_of
from muster.pipeline.people.whom import find
from muster.storage.library import LibraryFiles
from muster.storage.people import edits
from muster.storage.people.facts import Fact, checked_name
from muster.storage.people.ledger import Ledger
from muster.storage.people.view import People
from muster.web.album import Album, Person, load_album

SCHEMA = pa.schema(
    [
        pa.field("person_id", pa.string(), nullable=False),
        pa.field("number", pa.int32(), nullable=False),
        ("name", pa.string()),
        pa.field("photos", pa.int32(), nullable=False),
        pa.field("faces", pa.int32(), nullable=False),
        pa.field("hidden", pa.bool_(), nullable=False),
        ("born", pa.string()),
        ("origin", pa.string()),
    ]
)


@dataclass(frozen=True)
class _Shown:
    """A library as a user sees it."""

    library: LibraryFiles
    album: Album
    people: People

    def find(self, person: str) -> Person:
        return find(self.album.everybody, person, self.library.uri)

    def say(self, said: Sequence[Fact]) -> dict[str, Any]:
        ledger = Ledger(self.library)
        edit = ledger.record(said)
        return {"edit": edit.edit_id, "said": ledger.known.sentence(edit.facts[-1])}


def _shown(library: LibraryFiles, model: str | None) -> _Shown:
    forget.settled(library)
    source = source_of(library, model)
    assert source.people is not None
    return _Shown(library, load_album(source), source.people)


def everybody(library: LibraryFiles, model: str | None) -> pa.Table:
    """Who is in a clustered library, as SCHEMA has it, in the order of the pages; hidden people too. `name`, `born`,
    `origin` (of the name): null where there is none."""
    shown = _shown(library, model)
    rows = []
    for person in shown.album.everybody:
        about = shown.people.people[person.cluster_id]
        rows.append(
            {
                "person_id": person.cluster_id,
                "number": person.number,
                "photos": len(person.photos),
                "faces": len(person.faces),
                "hidden": about.hidden,
                **{name: getattr(about, name) or None for name in ("name", "born", "origin")},
            }
        )
    return pa.Table.from_pylist(rows, SCHEMA)


def name(library: LibraryFiles, person: str, called: str, merge: bool, model: str | None) -> dict[str, Any]:
    """Say what a person is called; "": nothing. `merge`: whoever is called so already is the same person.

    Takes no lock: an edit is a file of its own. InputError where somebody else is called so.
    """
    shown, called = _shown(library, model), checked_name(called)
    who = shown.find(person)
    same = [p for p in shown.album.everybody if called and p.name.casefold() == called.casefold() and p != who]
    if same and not merge:
        raise InputError(
            f"Person {same[0].number} ({same[0].cluster_id}) is called {same[0].name}: if they are one person, say"
            " `merge`; else give another name"
        )
    if len(same) > 1:
        raise InputError(f"{len(same)} people are called {called}: merge these first")
    if same:
        return _merged(shown, same[0], who)
    done = shown.say(edits.named(shown.people, who.cluster_id, called))
    return done | {"person": who.cluster_id, "number": who.number, "name": called}


def merge(library: LibraryFiles, person: str, other: str, model: str | None) -> dict[str, Any]:
    """Say that two people are one."""
    shown = _shown(library, model)
    return _merged(shown, shown.find(person), shown.find(other))


def _merged(shown: _Shown, person: Person, other: Person) -> dict[str, Any]:
    said = edits.merged(shown.people, person.cluster_id, other.cluster_id)
    done = shown.say(said)
    return done | {
        "person": Ledger(shown.library).known.person(person.cluster_id),
        "name": person.name or other.name,
    }


def undo(library: LibraryFiles) -> dict[str, Any]:
    """Take back the last edit that counts, whoever made it. InputError where there is none."""
    forget.settled(library)
    ledger = Ledger(library)
    last = edits.to_undo(ledger)
    if last is None:
        raise InputError(f"nothing was said of people in library {library.uri} that could be taken back")
    said = ledger.known.sentence(last.facts[-1])
    return {"edit": ledger.record(edits.undone(ledger, last.edit_id)).edit_id, "undone": last.edit_id, "said": said}
