"""Photos to be searched, without a library and in one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from helpers.collection import CLUSTERS, FINGERPRINTS
from helpers.collection import FACES as FACE_ROWS
from muster.storage import clusters, manifest, tables
from muster.storage.index.vectors import exact
from muster.storage.library import open_library
from muster.storage.outcomes import IMAGES, IMAGES_FINGERPRINT
from muster.storage.search import columns, index
from muster.storage.search.alike import Alike, Texts
from muster.storage.search.index import Index
from muster.storage.search.labels import labelled
from muster.web.live.columns import LiveSource

NAMED = pa.schema([(name, pa.string()) for name in ("image_id", "uri", "source")])
FACES = pa.schema([(name, pa.string()) for name in ("image_id", "person_id")])
LABELS = pa.schema([(name, pa.string()) for name in ("image_id", "label")])


def an_index(*photos: Mapping[str, Any], names: Mapping[str, str] | None = None) -> Index:
    """`photos`: `uri`, columns of `images`, `people` (person_ids), `objects` and `scenes` (labels), `favourite`; an
    image_id is its place, as "0". `names`: person_id → name; where None, person_ids are names."""
    rows = [{"status": "ok", **photo, "image_id": str(number)} for number, photo in enumerate(photos)]
    named = pa.Table.from_pylist(
        [{"source": "/photos", "uri": f"/photos/{r['image_id']}.jpg", **r} for r in rows], NAMED
    )
    found = columns.of(pa.Table.from_pylist(rows, IMAGES).select(columns.READ), named)
    paths, where = columns.paths(found), index.where(found)
    faces = _pairs(rows, "people", "person_id", FACES)
    people = sorted({person for row in rows for person in row.get("people", ())})
    marked = {name: _pairs(rows, f"{name}s", "label", LABELS) for name in ("object", "scene")}
    fields = {
        "person": (index.person_field(found, faces, names or {person: person for person in people}),),
        "place": (index.place_field(where),),
        **{name: (labelled(name, table["image_id"], table["label"], found),) for name, table in marked.items()},
        "camera": (index.camera_field(found),),
        "folder": (index.folder_field(paths),),
    }
    nothing = np.zeros(len(found), bool)
    made = Index(found, paths, where, fields, nothing, nothing)
    return made.with_people(fields["person"][0], [row["image_id"] for row in rows if row.get("favourite")])


def described_by(index: Index, vectors: np.ndarray[Any, Any], texts: Texts | None) -> Alike:
    """As if the photos of an index had these embeddings, scaled to unit vectors, and `texts` were of their network."""
    alike = Alike(None, "", index.columns, texts)  # type: ignore[arg-type]
    rows = np.arange(len(index.columns))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    alike.__dict__["_held"] = (exact(unit), rows, rows)
    return alike


def _pairs(rows: Sequence[Mapping[str, Any]], many: str, one: str, schema: pa.Schema) -> pa.Table:
    pairs = [{"image_id": row["image_id"], one: each} for row in rows for each in row.get(many, ())]
    return pa.Table.from_pylist(pairs, schema)


def live_source(folder: Path, photos: Mapping[str, Mapping[str, Any]]) -> LiveSource:
    """A library that was scanned, with these photos: file name → columns of `images`, and `people`, ids of clusters."""
    for name in photos:
        (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "photos" / name).write_text(name)
    library = open_library(folder / "library", create=True)
    manifest.scan(library, [str(folder / "photos")])
    found = []
    for shard, _ in manifest.shards(library):
        images, faces = [], []
        for row in manifest.read_shard(library, shard).to_pylist():
            facts = photos[str(Path(row["uri"]).relative_to(folder / "photos"))]
            image_id = row["image_id"]
            size = {"width": 400, "height": 300, "sha256": image_id * 2}
            images.append({"image_id": image_id, "status": "ok", **size, **facts})
            for number, person in enumerate(facts.get("people", ())):
                face = {"image_id": image_id, "face_id": f"{image_id}-{number}", "quality": 0.9}
                faces.append({**face, "box_xyxy": [100.0 * number, 10, 100 * number + 80, 90], "thumbnail": b""})
                found.append({"face_id": face["face_id"], "image_id": image_id, "cluster_id": person})
        rows = {"images": pa.Table.from_pylist(images, IMAGES)}
        tables.write_shard(library, IMAGES_FINGERPRINT, shard, rows)
        tables.write_shard(library, FINGERPRINTS["faces"], shard, {"faces": pa.Table.from_pylist(faces, FACE_ROWS)})
    clusters.write(library, FINGERPRINTS["faces"], pa.Table.from_pylist(found, CLUSTERS), "made")
    prints = {**FINGERPRINTS, "images": IMAGES_FINGERPRINT}
    return LiveSource(library, prints, lambda faces: [], lambda: None)
