"""People and images leave the library: out of every table, index, cluster, page and the gallery, with a receipt."""

import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import people
from storage import audit, gallery, left_over, manifest, parts, tables
from storage.errors import InputError
from storage.library import Library, dump_json
from storage.uris import local_uri
from web.site import MARKER, Site

PENDING = "gallery/_forgetting.json"  # there while somebody is being forgotten, and after a kill
RECEIPTS = "receipts"
PAGES = "people"  # where `muster people` writes if not told otherwise


@dataclass(frozen=True)
class Receipt:
    """What was forgotten, and what a search of every file of the library found of it afterwards: nothing."""

    receipt: str
    at: str
    reason: str
    people: list[str]
    images: list[str]
    originals: list[str]
    faces: int
    found_afterwards: list[str]


def forget(library: Library, names: Sequence[str], reason: str) -> Receipt:
    """Forget people by person_id, and images by path, URI or image_id. The caller holds library.lock().

    Raises InputError where a name is neither, before anything is changed.
    """
    finish(library)
    known, roster = gallery.read(library), gallery.read_roster(library)
    persons = set(known.people if known else []) | set(roster.values())
    images = manifest.read_manifest(library)
    ids = set(images["image_id"].to_pylist())
    uris = set(images["uri"].to_pylist()) | set(roster) | set(known.faces["uri"].to_pylist() if known else [])
    wanted = _Wanted(set(), set(), set())
    for name in names:
        path = local_uri(os.path.abspath(os.path.expanduser(name)))
        if name in persons:
            wanted.people.add(name)
        elif name in ids:
            wanted.images.add(name)
        elif name in uris or path in uris:
            wanted.uris.add(name if name in uris else path)
        else:
            raise InputError(f"{name} is neither a person_id of the gallery nor an image of library {library.uri}")
    return _forget(library, wanted, reason)


def forget_people(library: Library, names: Sequence[str], reason: str) -> Receipt:
    """Forget these people. The caller holds library.lock()."""
    finish(library)
    return _forget(library, _Wanted(set(names), set(), set()), reason)


def left(library: Library, known: gallery.Gallery) -> gallery.Gallery:
    """The gallery without those who are being forgotten, where a kill came between."""
    if not library.has(PENDING):
        return known
    return _without(known, tables.read_json(library, PENDING))


def expired(library: Library, today: date) -> list[str]:
    """Who is enrolled, though their consent has ended."""
    known = gallery.read(library)
    if known is None:
        return []
    rows = known.faces.filter(pc.less(known.faces["valid_until"], pa.scalar(today)))
    return sorted(set(rows["person_id"].to_pylist()))


def finish(library: Library) -> Receipt | None:
    """Go on with what a kill interrupted; None where nothing was. The caller holds library.lock()."""
    if not library.has(PENDING):
        return None
    return _carry_out(library, tables.read_json(library, PENDING))


@dataclass(frozen=True)
class _Wanted:
    """Who and what is to go: person_ids, image_ids, URIs."""

    people: set[str]
    images: set[str]
    uris: set[str]


def _forget(library: Library, wanted: _Wanted, reason: str) -> Receipt:
    known = gallery.read(library)
    theirs = {uri for uri, person in gallery.read_roster(library).items() if person in wanted.people}
    rows = manifest.read_manifest(library)
    person = rows["person_id"].to_pylist() if "person_id" in rows.column_names else [None] * rows.num_rows
    images, uris = set(wanted.images), wanted.uris | theirs
    enrolled = known.faces.to_pylist() if known else []
    for row in enrolled:  # also where the roster says by now that a photo is somebody else's
        if row["person_id"] in wanted.people:
            images.add(row["image_id"])
            uris.add(row["uri"])
    for image, uri, owner in zip(rows["image_id"].to_pylist(), rows["uri"].to_pylist(), person, strict=True):
        if image in images or uri in uris or owner in wanted.people:
            images.add(image)
            uris.add(uri)
    pending = {
        "receipt": uuid.uuid4().hex,
        "reason": reason,
        "people": sorted(wanted.people),
        "pseudonyms": [],
        "images": sorted(images),
        "originals": sorted(uris),
        "embeddings": [],
    }
    gone = known.faces.filter(_going(known, pending)) if known else gallery.SCHEMA.empty_table()
    pending["pseudonyms"] = sorted(set(gone["pseudonym"].to_pylist()))
    pending["embeddings"] = _digests(library, gone, sorted(images))
    library.write(PENDING, dump_json(pending))
    return _carry_out(library, pending)


def _going(known: gallery.Gallery, pending: Mapping[str, Any]) -> pa.ChunkedArray:
    """Which faces of the gallery are to go."""
    columns = {"person_id": "people", "image_id": "images", "uri": "originals"}
    masks = [pc.is_in(known.faces[c], pa.array(pending[name], pa.string())) for c, name in columns.items()]
    return pc.or_(masks[0], pc.or_(masks[1], masks[2]))


def _without(known: gallery.Gallery, pending: Mapping[str, Any]) -> gallery.Gallery:
    return replace(known, faces=known.faces.filter(pc.invert(_going(known, pending))))


def _digests(library: Library, gone: pa.Table, images: Sequence[str]) -> list[str]:
    """Digests of all embeddings that are to go: the search afterwards is for them, and keeps none."""
    found = left_over.digests(gone["embedding"])
    wanted = pa.array(images, pa.string())
    for name, what in tables.descriptions(library).items():
        if what.get("task") == "faces":
            rows = tables.read(library, "faces", name, ["image_id", "embedding"], people.shards(library, name))
            if rows is not None:
                found |= left_over.digests(rows.filter(pc.is_in(rows["image_id"], value_set=wanted))["embedding"])
    return sorted(found)


def _carry_out(library: Library, pending: dict[str, Any]) -> Receipt:
    """Every step may be repeated. The gallery first: from then on nobody is recognised who is to be forgotten."""
    people_ids, images, originals = (set(pending[name]) for name in ("people", "images", "originals"))
    known = gallery.read(library)
    if known is not None and pc.any(_going(known, pending)).as_py():
        gallery.write(library, _without(known, pending), "gallery", {"people": []})
    roster = gallery.read_roster(library)
    if not originals.isdisjoint(roster) or not people_ids.isdisjoint(roster.values()):
        gallery.write_roster(library, lambda uri, person: person not in people_ids and uri not in originals)
    manifest.forget(library, sorted(images))
    library.remove_temporary()
    parts.remove_all(library)
    _remove_pages(library)
    sought = left_over.Sought(people_ids, images | originals, set(pending["embeddings"]))
    receipt = Receipt(
        receipt=f"{RECEIPTS}/{pending['receipt']}.json",
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        reason=pending["reason"],
        people=pending["people"],
        images=pending["images"],
        originals=pending["originals"],
        faces=len(pending["embeddings"]),
        found_afterwards=left_over.search(library, sought, skip=(RECEIPTS, PENDING)),
    )
    if not library.has(receipt.receipt):
        facts = {"people": pending["pseudonyms"], "images": len(images), "receipt": receipt.receipt}
        audit.append(library, "forget", facts)
        library.write(receipt.receipt, dump_json(receipt.__dict__))
    library.remove(PENDING)
    return receipt


def _remove_pages(library: Library) -> None:
    """The people pages in the library show copies of photos: they go as a whole, and are soon written again."""
    if library.local is not None and (library.local / PAGES / MARKER).is_file():
        Site(library.local / PAGES, {}).finish(set())
