"""Clustered libraries of real files, made without a network."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from helpers.findings import commit, face
from muster.pipeline.work.choice import TaskChoice
from muster.storage import clusters, manifest, tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import IMAGES, IMAGES_DESCRIPTION
from muster.storage.photos.reader import Reader

FACES = TaskChoice(name="faces")
ANN, BOB = "ab12" * 3, "ab99" * 3


def made(folder: Path, who: Mapping[str, str | None], *sources: Path) -> LibraryFiles:
    """A clustered library of these photos with a face in each; `who`: the end of a URI → whose it is."""
    library = open_library(folder, create=True)
    manifest.scan(library, [str(source) for source in sources])
    seen, reader = tables.describe(library, IMAGES_DESCRIPTION), Reader()
    for shard, _ in manifest.shards(library):
        rows = [
            {"image_id": row["image_id"], "status": "ok", "width": 400, "height": 300, "format": "jpeg", "phash": 5}
            | {"sha256": hashlib.sha256(reader.read(row["uri"])).hexdigest()}
            for row in manifest.read_shard(library, shard).to_pylist()
        ]
        tables.write_shard(library, seen, shard, {"images": pa.Table.from_pylist(rows, IMAGES)})
    commit(library, FACES.description, lambda i: [{**face(i), "quality": 0.9}])
    images = manifest.read_manifest(library).to_pylist()
    ids = {i["image_id"]: next((p for end, p in who.items() if i["uri"].endswith(end)), ANN) for i in images}
    rows = [{"face_id": f"{i}-0", "image_id": i, "cluster_id": person} for i, person in ids.items()]
    clusters.write(library, FACES.fingerprint, pa.Table.from_pylist(rows), "graph")
    return library
