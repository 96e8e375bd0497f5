"""A FAISS index over the faces of one model, with the map from its rows to faces.

`LIBRARY/index/<fingerprint>/`: `index.faiss`, which FAISS alone can open too; `faces.parquet`, the face_id and image_id
of each row; and `index.json`, written last, which says what the other two must be. Similarity is the cosine: the inner
product of L2-normalised embeddings.
"""

import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.errors import InputError, MusterError
from storage.library import Library, dump_json
from storage.tables import to_parquet

Floats = np.ndarray[Any, np.dtype[np.float32]]
Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class FaceIndex:
    """`faces`: face_id and image_id of each row. `fingerprint`: of the faces table whose embeddings these are."""

    fingerprint: str
    faces: pa.Table
    index: Any

    def search(self, queries: Floats, k: int, fingerprint: str) -> tuple[Floats, Rows]:
        """The `k` nearest faces of each query (N, D), best first: similarities and rows, both (N, k), -1 for none.

        `fingerprint`: of the model that made the queries; InputError where it is not the index's own.
        """
        if fingerprint != self.fingerprint:
            raise InputError(_other_model(self.fingerprint, fingerprint))
        similarities, rows = self.index.search(np.ascontiguousarray(queries, np.float32), k)
        return similarities, rows


def build(faces: pa.Table, embeddings: Floats, fingerprint: str) -> FaceIndex:
    """An exact index over `embeddings` (N, D), the rows of `faces`."""
    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(np.ascontiguousarray(embeddings, np.float32))
    return FaceIndex(fingerprint, faces.select(["face_id", "image_id"]), index)


def save(library: Library, index: FaceIndex) -> None:
    """Put the index into the library, in place of an earlier one of the same model."""
    folder = f"index/{index.fingerprint}"
    parts = {"index.faiss": faiss.serialize_index(index.index).tobytes(), "faces.parquet": to_parquet(index.faces)}
    for name, data in parts.items():
        library.write(f"{folder}/{name}", data)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
    library.write(f"{folder}/index.json", dump_json({"fingerprint": index.fingerprint, "sha256": digests}))


def load(library: Library, fingerprint: str) -> FaceIndex | None:
    """The saved index of this model; None where there is none, or a save was interrupted: build it again.

    Raises InputError where the index in that place was made by another model.
    """
    folder = f"index/{fingerprint}"
    try:
        facts = json.loads(library.read(f"{folder}/index.json"))
        parts = {name: library.read(f"{folder}/{name}") for name in facts["sha256"]}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        raise MusterError(f"{library.at(folder)}/index.json is damaged: delete {library.at(folder)}") from error
    if facts["fingerprint"] != fingerprint:
        raise InputError(_other_model(facts["fingerprint"], fingerprint))
    if any(hashlib.sha256(parts[name]).hexdigest() != digest for name, digest in facts["sha256"].items()):
        return None
    index = faiss.deserialize_index(np.frombuffer(parts["index.faiss"], np.uint8))
    return FaceIndex(fingerprint, pq.read_table(io.BytesIO(parts["faces.parquet"])), index)


def current(library: Library, faces: pa.Table, embeddings: Floats, fingerprint: str) -> FaceIndex:
    """The index over exactly these faces: the saved one, or a new one, saved."""
    saved = load(library, fingerprint)
    if saved is not None and saved.faces["face_id"].equals(faces["face_id"]):
        return saved
    index = build(faces, embeddings, fingerprint)
    save(library, index)
    return index


def _other_model(own: str, other: str) -> str:
    return f"this index holds faces of model {own}, not of {other}: embeddings of two models cannot be compared"
