"""What became of each image: the tables `images`, which every run makes, and `errors`, which every task may have.

`images` has a row for each image of a shard that was looked at, `errors` one for each that a task has no rows for.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from muster.storage import tables

IMAGES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),
        ("error_kind", pa.string()),
        ("error", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("format", pa.string()),
        ("orientation", pa.int8()),
        ("taken_at", pa.timestamp("us")),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("camera", pa.string()),
        ("sha256", pa.string()),
        ("phash", pa.int64()),
    ]
)
ERRORS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        ("task", pa.string()),
        ("error_kind", pa.string()),
        ("error", pa.string()),
    ]
)
IMAGES_DESCRIPTION: Mapping[str, Any] = {"task": "images", "version": 1, "model": None, "parameters": {}, "weights": {}}
IMAGES_FINGERPRINT = tables.fingerprint(IMAGES_DESCRIPTION)
