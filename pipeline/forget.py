"""People and images leave the library: out of every table, index, cluster, page and the gallery, with a receipt."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
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
    known = gallery.read(library)
    persons = set(known.people if known else []) | set(gallery.read_roster(library).values())
    images = manifest.read_manifest(library).select(["image_id", "uri"]).to_pylist()
    by_name = {row["image_id"]: row["image_id"] for row in images} | {row["uri"]: row["image_id"] for row in images}
    people_ids, image_ids = [], []
    for name in names:
        as_path = local_uri(str(Path(name).expanduser().absolute()))
        if name in persons:
            people_ids.append(name)
        elif image := by_name.get(name) or by_name.get(as_path):
            image_ids.append(image)
        else:
            raise InputError(f"{name} is neither a person_id of the gallery nor an image of library {library.uri}")
    return _forget(library, people_ids, image_ids, reason)


def forget_people(library: Library, names: Sequence[str], reason: str) -> Receipt:
    """Forget these people. The caller holds library.lock()."""
    finish(library)
    return _forget(library, names, [], reason)


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


def _forget(library: Library, people_ids: Sequence[str], image_ids: Sequence[str], reason: str) -> Receipt:
    known = gallery.read(library)
    roster = gallery.read_roster(library)
    uris = {
        row["image_id"]: row["uri"] for row in manifest.read_manifest(library).select(["image_id", "uri"]).to_pylist()
    }
    theirs = {uri for uri, person in roster.items() if person in set(people_ids)}
    images = sorted(set(image_ids) | {image for image, uri in uris.items() if uri in theirs})
    gone = _faces_of(known, people_ids, images)
    pending = {
        "receipt": uuid.uuid4().hex,
        "reason": reason,
        "people": sorted(people_ids),
        "pseudonyms": sorted(set(gone["pseudonym"].to_pylist())) if gone is not None else [],
        "images": images,
        "originals": sorted(theirs | {uris[image] for image in images}),
        "embeddings": _digests(library, gone, images),
    }
    library.write(PENDING, dump_json(pending))
    return _carry_out(library, pending)


def _faces_of(known: gallery.Gallery | None, people_ids: Collection[str], images: Collection[str]) -> pa.Table | None:
    if known is None:
        return None
    by_person = pc.is_in(known.faces["person_id"], pa.array(sorted(people_ids), pa.string()))
    by_image = pc.is_in(known.faces["image_id"], pa.array(sorted(images), pa.string()))
    return known.faces.filter(pc.or_(by_person, by_image))


def _digests(library: Library, gone: pa.Table | None, images: Sequence[str]) -> list[str]:
    """Digests of all embeddings that are to go: the search afterwards is for them, and keeps none."""
    found = left_over.digests(gone["embedding"]) if gone is not None and gone.num_rows else set()
    wanted = pa.array(images, pa.string())
    for name, what in tables.descriptions(library).items():
        if what.get("task") == "faces":
            rows = tables.read(library, "faces", name, ["image_id", "embedding"], people.shards(library, name))
            if rows is not None:
                found |= left_over.digests(rows.filter(pc.is_in(rows["image_id"], value_set=wanted))["embedding"])
    return sorted(found)


def _carry_out(library: Library, pending: dict[str, Any]) -> Receipt:
    """Every step may be repeated. The gallery first: from then on nobody is recognised who is to be forgotten."""
    people_ids, images = set(pending["people"]), set(pending["images"])
    known = gallery.read(library)
    if known is not None:
        gone = _faces_of(known, people_ids, images)
        if gone is not None and gone.num_rows:
            left = known.faces.filter(pc.invert(pc.is_in(known.faces["face_id"], gone["face_id"].combine_chunks())))
            gallery.write(library, gallery.Gallery(left, known.fingerprint, known.model, known.calibration))
    roster = gallery.read_roster(library)
    originals = set(pending["originals"])
    if any(person in people_ids or uri in originals for uri, person in roster.items()):
        gallery.write_roster(
            library,
            lambda person: False,
            {u: p for u, p in roster.items() if p not in people_ids and u not in originals},
        )
    manifest.forget(library, sorted(images))
    tables.remove_temporary(library)
    parts.remove_all(library)
    _remove_pages(library)
    ids = [*people_ids, *images, *(() if not images else pending["originals"])]
    receipt = Receipt(
        receipt=f"{RECEIPTS}/{pending['receipt']}.json",
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        reason=pending["reason"],
        people=pending["people"],
        images=pending["images"],
        originals=pending["originals"],
        faces=len(pending["embeddings"]),
        found_afterwards=left_over.search(library, ids, set(pending["embeddings"]), skip=(RECEIPTS, PENDING)),
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
