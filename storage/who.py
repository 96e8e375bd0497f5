"""Who is who in a library now: its tables, ledger, gallery and tags, read for `muster.storage.people.view`."""

from collections.abc import Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from muster.storage import clusters, manifest, tables
from muster.storage.gallery import gallery
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES as OUTCOMES
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.people.claims import Claim
from muster.storage.people.ledger import Ledger
from muster.storage.people.view import People, view
from muster.storage.tags.claims import claims

IMAGE_COLUMNS = ["image_id", "sha256", "phash", "width", "height"]
FACE_COLUMNS = ["face_id", "image_id", "box_xyxy"]


def people_of(library: LibraryFiles, fingerprint: str, ledger: Ledger | None = None) -> People | None:
    """By the faces under this fingerprint; None where there are none. `ledger`: read already.

    Where nothing is clustered yet, people are those of whom somebody has spoken.
    """
    faces = tables.read(library, "faces", fingerprint, FACE_COLUMNS, manifest.committed(library, fingerprint))
    if faces is None:
        return None
    try:
        found = clusters.read(library, fingerprint)
    except FileNotFoundError:
        found = None
    known = (ledger or Ledger(library)).known
    return view(found, faces, readable_images(library), known, claims_of(library, faces))


def readable_images(library: LibraryFiles) -> pa.Table:
    """IMAGE_COLUMNS and uri of the photos that could be read, as `muster.storage.people.placed.Photos` takes them."""
    rows = manifest.read_manifest(library).select(["image_id", "uri"])
    shards = manifest.committed(library, IMAGES_FINGERPRINT)
    images = tables.read(library, "images", IMAGES_FINGERPRINT, [*IMAGE_COLUMNS, "status"], shards)
    if images is None:
        images = OUTCOMES.empty_table().select([*IMAGE_COLUMNS, "status"])
    ok = images.filter(pc.equal(images["status"], "ok")).drop(["status"])
    place = pc.index_in(ok["image_id"], value_set=rows["image_id"])
    return ok.append_column("uri", rows["uri"].take(place)).filter(pc.is_valid(place))


def claims_of(library: LibraryFiles, faces: pa.Table) -> Sequence[Claim]:
    """What the gallery and tags say of the faces of this library: the gallery knows them by photo and box. Nothing of
    those whose consent has ended."""
    said = claims(library)
    known = gallery.read(library)
    if known is None:
        return said
    ended = pc.fill_null(pc.less(known.faces["valid_until"], pa.scalar(date.today())), False)
    rows = known.faces.filter(pc.invert(ended)).select(["face_id", "image_id", "name", "person_id"])
    place = pc.index_in(rows["face_id"], value_set=faces["face_id"])
    boxes = faces["box_xyxy"].take(place).to_pylist()
    enrolled = [
        Claim(row["image_id"], tuple(box), row["name"] or row["person_id"], "gallery", row["person_id"])
        for row, box in zip(rows.to_pylist(), boxes, strict=True)
        if box is not None
    ]
    return [*enrolled, *said]
