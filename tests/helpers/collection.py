"""Collections to make pages of."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from muster.pipeline.people.pages import label_table
from muster.storage import tables
from muster.storage.library import open_library
from muster.web.people import PagesSource

IMAGES = pa.schema(
    {
        **dict.fromkeys(("image_id", "status", "error_kind", "error", "camera", "sha256"), pa.string()),
        "width": pa.int32(),
        "height": pa.int32(),
        "taken_at": pa.timestamp("us"),
        "format": pa.string(),
        "latitude": pa.float64(),
        "longitude": pa.float64(),
        "phash": pa.int64(),
    }
)


FACES = pa.schema(
    {
        **dict.fromkeys(("image_id", "face_id"), pa.string()),
        "box_xyxy": pa.list_(pa.float32(), 4),
        "quality": pa.float32(),
        "embedding": pa.list_(pa.float32(), 8),
        "thumbnail": pa.binary(),
    }
)


PREVIEWS = pa.schema([("image_id", pa.string()), ("width", pa.int32()), ("height", pa.int32()), ("jpeg", pa.binary())])


ERRORS = pa.schema([(n, pa.string()) for n in ("image_id", "task", "error_kind", "error")])


LABELS = pa.schema(
    [("image_id", pa.string()), ("label", pa.string()), ("score", pa.float32()), ("source", pa.string())]
)


CLUSTERS = pa.schema([(n, pa.string()) for n in ("face_id", "image_id", "cluster_id")])


FINGERPRINTS = {"images": "1" * 16, "faces": "2" * 16, "previews": "3" * 16}


RED = (220, 0, 0)


@dataclass
class Collection:
    """Photos put together by a test, then written as a library's tables."""

    images: list[dict] = field(default_factory=list)
    faces: list[dict] = field(default_factory=list)
    previews: list[dict] = field(default_factory=list)
    errors: list[dict] = field(default_factory=list)
    clusters: list[dict] = field(default_factory=list)
    objects: list[dict] = field(default_factory=list)
    scenes: list[dict] = field(default_factory=list)
    uris: dict[str, str] = field(default_factory=dict)
    jpegs: dict[tuple, bytes] = field(default_factory=dict)

    def photo(self, uri, clusters: Sequence[str | None] = (), size=(1200, 800), preview=True, shows=(), **facts) -> str:
        """A grey photo with one red square per face; `clusters`: which cluster each is in, from left to right.

        `shows`: labels of objects, and "day" or "night".
        """
        image_id = f"{len(self.images):032x}"
        self.uris[image_id] = str(uri)
        facts = {"taken_at": None, "camera": None, "sha256": image_id, **facts}
        self.images.append({"image_id": image_id, "status": "ok", "width": size[0], "height": size[1], **facts})
        boxes = [[100.0 + 250 * n, 150.0, 300.0 + 250 * n, 350.0] for n in range(len(clusters))]
        for label in shows:
            table = self.scenes if label in ("day", "night") else self.objects
            table.append({"image_id": image_id, "label": label, "score": 1.0, "source": "both"})
        if preview:
            scale = min(1, 512 / max(size))
            jpeg = self._drawn((round(size[0] * scale), round(size[1] * scale)), boxes, scale)
            self.previews.append({"image_id": image_id, "width": 0, "height": 0, "jpeg": jpeg})
        for box, cluster in zip(boxes, clusters, strict=True):
            face = {"face_id": f"{len(self.faces):040x}", "image_id": image_id}
            quality, seen = 1 - len(self.faces) * 1e-5, {"thumbnail": self._drawn((160, 160), [], 1)}
            seen["embedding"] = looks(cluster or face["face_id"])
            self.faces.append({**face, "box_xyxy": box, "quality": quality, **seen})
            self.clusters.append({**face, "cluster_id": cluster})
        return image_id

    def broken(self, uri: str, kind: str, message: str) -> str:
        image_id = f"{len(self.images):032x}"
        self.uris[image_id] = uri
        self.images.append({"image_id": image_id, "status": "error", "error_kind": kind, "error": message})
        return image_id

    def _drawn(self, size: tuple[int, int], boxes, scale: float) -> bytes:
        key = (size, str(boxes))
        if key not in self.jpegs:
            picture = Image.new("RGB", size, (128, 128, 128))
            for box in boxes:
                ImageDraw.Draw(picture).rectangle([v * scale for v in box], fill=RED)
            sink = io.BytesIO()
            picture.save(sink, "JPEG", quality=95)
            self.jpegs[key] = sink.getvalue()
        return self.jpegs[key]

    def source(self, folder: Path, shard_size: int = 1000) -> PagesSource:
        library = open_library(folder, create=True)
        shards = []
        labelled = {name: mark * 16 for name, mark in {"objects": "4", "scenes": "5"}.items() if getattr(self, name)}
        for start in range(0, len(self.images), shard_size):
            shards.append(f"{start:08d}")
            ids = {image["image_id"] for image in self.images[start : start + shard_size]}
            for name, schema in (("images", IMAGES), ("faces", FACES), ("previews", PREVIEWS)):
                parts = {name: _table(getattr(self, name), schema, ids)}
                if name == "faces" and self.errors:
                    parts["errors"] = _table(self.errors, ERRORS, ids)
                tables.write_shard(library, FINGERPRINTS[name], shards[-1], parts)
            for name, fingerprint in labelled.items():
                tables.write_shard(library, fingerprint, shards[-1], {name: _table(getattr(self, name), LABELS, ids)})
        clusters = pa.Table.from_pylist(self.clusters, CLUSTERS)
        labels = [label_table(fingerprint, {"task": name}) for name, fingerprint in labelled.items()]
        every = [replace(table, least_scores=None) for table in labels]  # all rows count
        return PagesSource(library, shards, FINGERPRINTS, clusters, self.uris, every)


def looks(who: str) -> list[float]:
    """What the embedding of somebody is."""
    vector = np.random.default_rng(list(who.encode())).normal(size=8)
    return (vector / np.linalg.norm(vector)).tolist()


def _table(rows: list[dict], schema: pa.Schema, ids: set[str]) -> pa.Table:
    return pa.Table.from_pylist([row for row in rows if row["image_id"] in ids], schema)
