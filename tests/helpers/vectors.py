"""Embeddings of photos as the task `features` would have them, of any numbers."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from muster.arrays import F32
from muster.pipeline.work.choice import TaskChoice
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles
from muster.tasks.features import schema


def embeddings_of(library: LibraryFiles, of: Callable[[str], F32 | None], model: str = "own", width: int = 4) -> str:
    """Commit `of(name)` for each photo, by the name of its file. The fingerprint."""
    name = tables.describe(library, TaskChoice(name="features", model=model).description)
    for shard, _ in manifest.shards(library):
        rows = []
        for row in manifest.read_shard(library, shard).to_pylist():
            vector = of(row["uri"].rpartition("/")[2])
            if vector is not None:
                padded = np.zeros(width, np.float32)
                padded[: len(vector)] = vector
                rows.append({"image_id": row["image_id"], "embedding": padded})
        tables.write_shard(library, name, shard, {"features": pa.Table.from_pylist(rows, schema(width))})
    return name
