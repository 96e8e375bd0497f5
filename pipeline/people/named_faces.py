"""Which people with names are where in the photos of a library: what is written for other programs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from muster.pipeline.people.faces import faces_fingerprint, read_faces
from muster.pipeline.people.who import people_now, readable_images
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.people.facts import Box, Named
from muster.storage.people.ledger import Ledger
from muster.storage.people.placed import Photos, place
from muster.storage.people.view import USER, Claim, People, Person, boxes_of, claimed_id, rows_said
from muster.storage.tags import table as tags
from muster.storage.tags.mwg import Frame
from muster.storage.tags.write import NamedFace

NOWHERE: Box = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Somebody:
    """A named person's face. `face`: as it is written; it has the box."""

    person: Person
    face: NamedFace


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that could be read. `size`, `modified` (microseconds since 1970): of the file when it was scanned."""

    image_id: str
    uri: str
    source: str
    size: int | None
    modified: int | None
    frame: Frame
    people: Sequence[Somebody]


def photos_with_people(library: LibraryFiles, model: str | None) -> list[Photo]:
    """All photos that could be read, also those with nobody in them. Hidden people are left out."""
    ledger = Ledger(library)
    people = people_now(library, model, ledger)
    certain = _certain(library, model, ledger)
    by_photo = _by_photo(people, certain, _former_names(library, ledger))
    rows = manifest.read_manifest(library)
    shards = manifest.committed(library, IMAGES_FINGERPRINT)
    images = tables.require(
        library, "images", IMAGES_FINGERPRINT, ["image_id", "status", "width", "height", "orientation"], shards
    )
    ok = images.filter(pc.equal(images["status"], "ok"))
    frames = {row["image_id"]: Frame(row["width"], row["height"], row["orientation"] or 1) for row in ok.to_pylist()}
    return [
        Photo(image_id, uri, source, size, modified, frames[image_id], by_photo.get(image_id, ()))
        for image_id, size, modified, (uri, source) in zip(
            rows["image_id"].to_pylist(),
            rows["size"].to_pylist(),
            rows["modified"].cast(pa.int64()).to_pylist(),
            manifest.named(library, rows),
            strict=True,
        )
        if image_id in frames
    ]


def _certain(library: LibraryFiles, model: str | None, ledger: Ledger) -> set[str]:
    """face_ids of which a user has said by itself who they are."""
    if not ledger.known.is_:
        return set()
    faces = read_faces(library, faces_fingerprint(library, model), ["face_id", "image_id", "box_xyxy"])
    photos = Photos(readable_images(library))
    placed = place(ledger.known.faces, photos, faces["image_id"], boxes_of(faces))
    rows, _ = rows_said(ledger.known, placed)
    return set(faces["face_id"].take(pa.array(list(rows), pa.int64())).to_pylist())


def _former_names(library: LibraryFiles, ledger: Ledger) -> dict[str, set[str]]:
    """Person → names that a user gave them at any time, and the one that tags had for them."""
    names = defaultdict(set)
    regions = pc.list_flatten(tags.read(library)["regions"])
    for name in pc.unique(pc.struct_field(regions, "name").drop_null()).to_pylist():
        names[ledger.known.person(claimed_id(Claim("", NOWHERE, name, "xmp")))].add(name)
    for edit in ledger.edits.values():
        for fact in edit.facts:
            if isinstance(fact, Named):
                names[ledger.known.person(fact.person)].add(fact.name)
    return names


def _by_photo(people: People, certain: set[str], former: Mapping[str, set[str]]) -> dict[str, list[Somebody]]:
    found: dict[str, list[Somebody]] = defaultdict(list)
    shown = {key: each for key, each in people.people.items() if each.name.strip() and not each.hidden}
    faces = people.faces.filter(pc.is_in(people.faces["person_id"], value_set=pa.array(list(shown), pa.string())))
    for row in faces.select(["face_id", "image_id", "box_xyxy", "person_id", "origin"]).to_pylist():
        person = shown[row["person_id"]]
        said = row["face_id"] in certain or row["origin"] == USER
        face = NamedFace(person.name, tuple(row["box_xyxy"]), said, frozenset(former.get(person.person_id, ())))
        found[row["image_id"]].append(Somebody(person, face))
    return found
