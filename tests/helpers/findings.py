"""Libraries with rows written by hand."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from muster.pipeline.work.choice import TaskChoice
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import ERRORS, IMAGES, IMAGES_DESCRIPTION
from muster.tasks.answers import Answers
from muster.tasks.faces import Faces
from muster.tasks.geometry import rle
from muster.tasks.masks import Masks
from muster.tasks.objects import Objects
from muster.tasks.scenes import Scenes

SCHEMAS = {task.name: task.schema for task in (Answers, Faces, Masks, Objects, Scenes)}


def scanned(folder: Path, *sources: Path) -> LibraryFiles:
    library = open_library(folder, create=True)
    manifest.scan(library, [str(source) for source in sources])
    shards = manifest.shards(library)
    seen = tables.describe(library, IMAGES_DESCRIPTION)
    for shard, _ in shards:
        ids = manifest.read_shard(library, shard)["image_id"].to_pylist()
        rows = [{"image_id": i, "status": "ok", "width": 400, "height": 300} for i in ids]
        tables.write_shard(library, seen, shard, {"images": pa.Table.from_pylist(rows, IMAGES)})
    return library


def commit(
    library: LibraryFiles,
    description: Mapping[str, Any],
    rows: Callable[[str], list[dict[str, Any]]] = lambda image_id: [],
    fails: Callable[[str], bool] = lambda image_id: False,
    shards: slice = slice(None),
) -> str:
    """Commit a task's rows for the manifest's shards: `rows(image_id)`, or an error where `fails`. The fingerprint."""
    name, task = tables.describe(library, description), description["task"]
    for shard, _ in manifest.shards(library)[shards]:
        ids = manifest.read_shard(library, shard)["image_id"].to_pylist()
        found = [{"image_id": i, **row} for i in ids if not fails(i) for row in rows(i)]
        errors = [{"image_id": i, "task": task, "error_kind": "task", "error": "x"} for i in ids if fails(i)]
        written = {task: pa.Table.from_pylist(found, SCHEMAS[task])}
        failed = {"errors": pa.Table.from_pylist(errors, ERRORS)} if errors else {}
        tables.write_shard(library, name, shard, {**written, **failed})
    return name


def dog(score: float = 0.9) -> dict[str, Any]:
    return {"label": "dog", "label_id": 16, "score": score, "box_xyxy": [10, 20, 110.5, 220]}


def sky(height: int = 150, width: int = 200) -> dict[str, Any]:
    """The upper third of an image of 400×300, and a square in it that is none."""
    pixels = np.zeros((height, width), bool)
    pixels[: height // 3] = True
    pixels[2:6, 2:6] = False
    coded = rle.encode(pixels)
    size = {"height": height, "width": width, "area": rle.area(coded), "rle": coded["counts"]}
    return {"label": "sky", "label_id": 0, "score": 0.75, "box_xyxy": [0, 0, 400, 100], **size}


def face(image_id: str) -> dict[str, Any]:
    points = [[120.0, 80.0], [160, 80], [140, 100], [125, 120], [155, 120]]
    return {"face_id": f"{image_id}-0", "score": 0.8, "box_xyxy": [100, 50, 180, 150], "landmarks": points}


STREETS = TaskChoice(name="masks", model="streets").description
