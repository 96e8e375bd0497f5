"""What of the ledger goes with people and photos that are forgotten, and whom a name on the pages means."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from muster.errors import InputError
from muster.storage import layout, manifest, tables
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.people.claims import Claim, claimed_id
from muster.storage.people.facts import photos_of
from muster.storage.people.forgotten import Forgotten, names_of, spoken_of
from muster.storage.people.ledger import Ledger
from muster.storage.people.view import People
from muster.storage.texts import normal
from muster.storage.who import people_of

NOWHERE = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Shown:
    """Who is in a library now, by the faces of every model. `images`: person → the photos that show them."""

    ledger: Ledger
    views: Collection[People]
    images: Mapping[str, set[str]]


def shown(library: LibraryFiles) -> Shown:
    """MusterError where a newer Muster has said what this one cannot read."""
    ledger = Ledger(library)
    ledger.check()
    found, images = [], defaultdict[str, set[str]](set)
    for fingerprint, what in tables.descriptions(library).items():
        if what["task"] == "faces" and (now := people_of(library, fingerprint, ledger)) is not None:
            found.append(now)
            for image, person in zip(*(now.faces[c].to_pylist() for c in ("image_id", "person_id")), strict=True):
                if person is not None:
                    images[person].add(image)
    return Shown(ledger, found, images)


def meant(library: LibraryFiles, name: str) -> set[str]:
    """Whom a name or an id on the pages means, as it is written; nobody: empty. InputError where it means several
    people."""
    wanted = normal(" ".join(name.split()))
    now = shown(library)
    people = {each.person_id: each.name for view in now.views for each in view.people.values()}
    people |= {each.person_id: each.name for each in now.ledger.known.people.values() if each.name}
    if wanted in people:
        return {wanted}
    same = {person for person, own in people.items() if own and own == wanted}
    if len(same) > 1:
        raise InputError(f"{name} may be any of {', '.join(sorted(same))}: name one of these ids")
    return same


def images_of(library: LibraryFiles, people: Collection[str]) -> set[str]:
    """The photos that show one of these people."""
    now = shown(library)
    return set[str]().union(*(now.images.get(person, ()) for person in people))


def going(
    library: LibraryFiles, people: Collection[str], images: Collection[str], enrolled: Mapping[str, str]
) -> Forgotten:
    """What goes from the ledger with these people and images: whoever has no photo left loses their name.

    `people`: ids on the pages. `enrolled`: person_id → name of those who go from the gallery: they are the people of
    that name on the pages too.
    """
    if not people and not library.names(layout.FACTS):
        return Forgotten()
    now = shown(library)
    contents = _contents(library, now, images)
    known, spoken = now.ledger.known, spoken_of(now.ledger)
    gone = {known.person(person) for person in people} | _enrolled(now, enrolled)
    for person, photos in spoken.items():
        here = now.images.get(known.person(person), set())
        if not here - set(images) if here else photos and photos <= contents:  # else others of the ledger's may stay
            gone.add(known.person(person))
    ids = gone | {person for person in spoken if known.person(person) in gone}
    staying = {each.name for each in known.people.values() if each.person_id not in gone}
    names = (names_of(now.ledger, ids) | _names(now, gone)) - staying
    return Forgotten(frozenset(contents), frozenset(ids), frozenset(names))


def _names(now: Shown, people: Collection[str]) -> set[str]:
    """What the pages call them."""
    found = (view.people[person].name for view in now.views for person in people if person in view.people)
    return {name for name in found if name}


def _enrolled(now: Shown, enrolled: Mapping[str, str]) -> set[str]:
    known, found = now.ledger.known, set[str]()
    for person, name in enrolled.items():
        found.add(known.person(claimed_id(Claim("", NOWHERE, name, "gallery", person))))
        found |= {each.person_id for each in known.people.values() if each.name.casefold() == name.casefold()}
    return found


def _contents(library: LibraryFiles, now: Shown, images: Collection[str]) -> set[str]:
    """SHA-256 of these images, also those that a ledger knows them by from before tags were written into them."""
    shards = manifest.committed(library, IMAGES_FINGERPRINT)
    rows = tables.read(library, "images", IMAGES_FINGERPRINT, ["image_id", "sha256"], shards)
    pairs = [] if rows is None else zip(rows["image_id"].to_pylist(), rows["sha256"].to_pylist(), strict=True)
    of = {image: sha256 for image, sha256 in pairs if sha256 is not None}
    found = {sha256 for image, sha256 in of.items() if image in images}
    named = {photo for edit in now.ledger.edits.values() for fact in edit.facts for photo in photos_of(fact)}
    for view in [*now.views][:1]:
        here = view.photos.of(named)
        found |= {photo.sha256 for photo, ids in here.items() if ids and set(ids) <= set(images)}
    return found - {sha256 for image, sha256 in of.items() if image not in images}  # a copy that stays
