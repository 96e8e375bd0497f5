"""What was said of photos and people that are forgotten leaves the ledger: the one thing that writes an edit anew.

What is left of an edit becomes its next revision, `<edit>.<n>.json`, and then the file before goes: whoever holds the
ledger in memory notices by a listing. Every step may be repeated.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass, replace

from muster.errors import DecryptionError
from muster.storage import layout
from muster.storage.library import LibraryFiles
from muster.storage.people import facts
from muster.storage.people.facts import FaceRef, Fact
from muster.storage.people.ledger import Edit, Ledger, revision_of, sealed


@dataclass(frozen=True)
class Forgotten:
    """`photos`: SHA-256 of their contents. `people`: ids. `names`: theirs, that nobody else has."""

    photos: Set[str] = frozenset()
    people: Set[str] = frozenset()
    names: Set[str] = frozenset()


def forget(library: LibraryFiles, gone: Forgotten) -> int:
    """Take these out of every edit; how many it changed. The caller holds the lock. MusterError where a newer Muster
    wrote an edit, of which it cannot be known what is in it."""
    if not library.names(layout.FACTS):
        return 0
    ledger = Ledger(library)
    ledger.check()
    changed = 0
    for edit in ledger.edits.values():
        left = tuple(fact for each in edit.facts if (fact := _without(each, gone)) is not None)
        if left != edit.facts:
            _replace(library, edit, left)
            changed += 1
    _remove_old(library)
    _remove_damaged(library, ledger, gone)
    return changed


def _without(fact: Fact, gone: Forgotten) -> Fact | None:
    """What is left of a fact; None: nothing."""
    if not gone.people.isdisjoint(facts.people_of(fact)):
        return None
    if isinstance(fact, facts.Named) and fact.name in gone.names:
        return None
    if gone.photos.isdisjoint(photo.sha256 for photo in facts.photos_of(fact)):
        return fact
    match fact:
        case facts.Is() | facts.IsNot() | facts.Shows() | facts.TakeBack():
            kept = _kept(fact.faces, gone)
            return replace(fact, faces=kept) if kept else None
    return None


def _kept(faces: Iterable[FaceRef], gone: Forgotten) -> tuple[FaceRef, ...]:
    return tuple(face for face in faces if face.photo.sha256 not in gone.photos)


def _replace(library: LibraryFiles, edit: Edit, left: tuple[Fact, ...]) -> None:
    before = [name for name in library.names(layout.FACTS) if name.startswith(f"{edit.edit_id}.")]
    if left:
        number = 1 + max(map(revision_of, before))
        library.write(layout.fact(f"{edit.edit_id}.{number}"), sealed(replace(edit, facts=left)))
    for name in before:
        library.remove(f"{layout.FACTS}/{name}")


def _remove_old(library: LibraryFiles) -> None:
    """Revisions that count no more, of a deletion that was cut off."""
    counts = set(Ledger.files(library).values())
    for name in library.names(layout.FACTS):
        if name.endswith(".json") and name not in counts:
            library.remove(f"{layout.FACTS}/{name}")


def _remove_damaged(library: LibraryFiles, ledger: Ledger, gone: Forgotten) -> None:
    """Files that are not believed, in which something of it stands all the same."""
    sought = [text.encode() for text in (*gone.photos, *gone.people, *gone.names)]
    for problem in ledger.problems.values():
        try:
            data = library.read_any(problem.file)
        except (FileNotFoundError, DecryptionError):  # the search of all files will say so
            continue
        if any(text in data for text in sought):
            library.remove(problem.file)


def names_of(ledger: Ledger, people: Set[str]) -> set[str]:
    """Every name that any edit gave one of these people, also one that was taken back."""
    said = (fact for edit in ledger.edits.values() for fact in edit.facts)
    return {fact.name for fact in said if isinstance(fact, facts.Named) and fact.name and fact.person in people}


def spoken_of(ledger: Ledger) -> dict[str, set[str]]:
    """Everybody whom any edit names, also one that was taken back → SHA-256 of the photos that it names with them."""
    found: dict[str, set[str]] = {}
    for fact in (fact for edit in ledger.edits.values() for fact in edit.facts):
        for person in facts.people_of(fact):
            found.setdefault(person, set()).update(photo.sha256 for photo in facts.photos_of(fact))
    return found
