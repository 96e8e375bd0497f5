"""Faces of a library, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from muster.arrays import F32, I64, matrix
from muster.errors import NotYetError
from muster.pipeline.usual import usual_model
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.weights import load_weights
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.tasks.models import zoo
from muster.tasks.people import graph


@dataclass(frozen=True)
class Faces:
    """Faces of one model. `table`: face_id, image_id, quality; `embeddings`: (N, D), its rows. `strangers`: those that
    come with the model."""

    fingerprint: str
    table: pa.Table
    embeddings: F32
    strangers: graph.Strangers | None = None

    def part(self, rows: I64) -> "Faces":
        return replace(self, table=self.table.take(rows), embeddings=self.embeddings[rows])

    @property
    def photos(self) -> I64:
        """(N,): faces of one photo have one number."""
        return self.table["image_id"].combine_chunks().dictionary_encode().indices.to_numpy().astype(np.int64)

    @property
    def quality(self) -> F32:
        return self.table["quality"].to_numpy()


def load_faces(library: LibraryFiles, model: str | None) -> Faces:
    """Every face of the manifest's images, by this model (None: the library's); InputError says what there is where
    there are none of it."""
    model = model or usual_model(library, "faces")
    fingerprint = faces_fingerprint(library, model)
    table = read_faces(library, fingerprint, ["face_id", "image_id", "quality", "embedding"])
    return Faces(fingerprint, table.drop(["embedding"]), matrix(table["embedding"]), strangers_of(model))


def strangers_of(model: str | None) -> graph.Strangers:
    """Those that come with the quality of this model of faces."""
    entry = zoo.ENTRIES[zoo.roles("faces", model or zoo.DEFAULTS["faces"])["quality"]]
    state = load_weights(entry, None)
    return graph.Strangers(state["strangers"].numpy(), float(state["usual"]))


def read_faces(library: LibraryFiles, fingerprint: str, columns: Sequence[str]) -> pa.Table:
    table = tables.read(library, "faces", fingerprint, columns, manifest.committed(library, fingerprint))
    if table is None:
        raise NotYetError(f"library {library.uri} has no faces for its images yet", "run", library.uri)
    return table


def embeddings_at(library: LibraryFiles, fingerprint: str, rows: I64) -> F32:
    """(M, D) of these rows (M,) of `read_faces`, where all together may be more than this machine has memory for."""
    shards = sorted(manifest.committed(library, fingerprint))
    counts = [tables.rows_in([commit], "faces") for commit in tables.commits(library, fingerprint, shards)]
    starts = np.append(0, np.cumsum(counts))
    order = np.argsort(rows, kind="stable")
    found = []
    for shard, start, end in zip(shards, starts, starts[1:], strict=False):
        here = rows[order][slice(*np.searchsorted(rows[order], [start, end]))]
        if len(here):
            table = tables.require(library, "faces", fingerprint, ["embedding"], [shard])
            found.append(matrix(table["embedding"])[here - start])
    embeddings = np.empty((len(rows), found[0].shape[1] if found else 0), np.float32)
    embeddings[order] = np.concatenate([*found, embeddings[:0]])
    return embeddings


def faces_fingerprint(library: LibraryFiles, model: str | None) -> str:
    """Under which the faces of this model (None: the library's) stand; InputError says what there is where there are
    none of it."""
    model = model or usual_model(library, "faces")
    return tables.resolve(library, "faces", TaskChoice(name="faces", model=model).fingerprint)


def rows_of_distinct_files(library: LibraryFiles, faces: pa.Table) -> tuple[I64, I64]:
    """Rows (M,) of the faces of distinct files, and for each face its place (N,) among these.

    A copy of a file shows nobody a second time: its faces go with those of the copy with the smallest image_id.
    """
    shards = manifest.committed(library, IMAGES_FINGERPRINT)
    images = tables.read(library, "images", IMAGES_FINGERPRINT, ["image_id", "sha256"], shards)
    content = dict(zip(*(images[name].to_pylist() for name in ("image_id", "sha256")), strict=True)) if images else {}
    face_ids, image_ids = (faces[name].to_pylist() for name in ("face_id", "image_id"))
    keys = [  # the file's content, and the face's number in it
        (content.get(image) or image) + face.removeprefix(image)
        for face, image in zip(face_ids, image_ids, strict=True)
    ]
    first: dict[str, int] = {}
    for row in sorted(range(len(keys)), key=face_ids.__getitem__):
        first.setdefault(keys[row], row)
    rows = np.array(sorted(first.values()), np.int64)
    return rows, np.searchsorted(rows, [first[key] for key in keys]).astype(np.int64)
