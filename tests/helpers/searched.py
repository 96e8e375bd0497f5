"""Photos to be searched, without a library."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from muster.storage.outcomes import IMAGES
from muster.storage.search import columns, index
from muster.storage.search.index import Index
from muster.storage.search.labels import labelled

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


def _pairs(rows: Sequence[Mapping[str, Any]], many: str, one: str, schema: pa.Schema) -> pa.Table:
    pairs = [{"image_id": row["image_id"], one: each} for row in rows for each in row.get(many, ())]
    return pa.Table.from_pylist(pairs, schema)
