"""The nearest of many embeddings: exact up to `EXACT_UP_TO` of them, approximate beyond and then re-ranked exactly.

Similarity is the cosine: the inner product of L2-normalised embeddings. A large index has a *base*, built as a whole
(storage/index/inverted_file.py). Rows that are added later lie beside it and are compared one by one; rows that are
removed are struck from its lists. When there are many of both, `stale` says so, and `rebuilt` makes one base of all.
docs/scale.md has the measurements behind this.

Saved as a snapshot (storage/index/snapshot.py) in `FOLDER/<fingerprint>/`: `ids` and `vectors` of the rows beside the
base, and of the base `base-ids`, `base-vectors`, `base-lists` and `base-removed`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.errors import DamagedError, InputError
from muster.storage.index import inverted_file
from muster.storage.index import snapshot as index_files
from muster.storage.index.inverted_file import Lists, Spread, best
from muster.storage.index.snapshot import Part, Snapshot
from muster.storage.library import Library

EXACT_UP_TO = 100_000
STALE_SHARE = 0.02  # of the base
BLOCK = 10_000  # queries at once: bounds the memory for candidates

Floats = np.ndarray[Any, np.dtype[np.float32]]
Rows = np.ndarray[Any, np.dtype[np.int64]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Ids: TypeAlias = pa.Table | pa.ChunkedArray | pa.Array | Sequence[str]


@dataclass
class Base:
    """`ids` (N,) and `vectors` (N, D): of all rows, also of those `removed` (M,). `stored`: where it was saved."""

    ids: pa.Array
    vectors: Floats
    lists: Lists
    removed: Rows
    stored: Snapshot | None = None


@dataclass
class VectorIndex:
    """Embeddings of one model, each with an id that others may share. Made by `build` or `load`.

    `fingerprint`: of the faces table whose embeddings these are. `recent_ids` (N,), `recent` (N, D): what is compared
    one by one, which is everything where there is no base. A *row* counts those of the base first.
    """

    fingerprint: str
    recent_ids: pa.Array
    recent: Floats
    base: Base | None = None

    def __len__(self) -> int:
        return len(self.recent) + (len(self.base.ids) - len(self.base.removed) if self.base else 0)

    @property
    def ids(self) -> pa.ChunkedArray:
        """The id of each row, also of rows that were removed from the base."""
        return pa.chunked_array(([self.base.ids] if self.base else []) + [self.recent_ids], pa.string())

    @property
    def why(self) -> str:
        """How it searches and why so, for a log."""
        if self.base is None:
            return f"exact: {len(self)} embeddings, and up to {EXACT_UP_TO} all are compared"
        lists = self.base.lists
        return (
            f"approximate, then exact: {len(self)} embeddings are more than {EXACT_UP_TO}, so {lists.depths[0]} of"
            f" {lists.table.nlist} lists are searched, {lists.depths[-1]} where that leaves doubt, and the best of them"
            f" compared; {len(self.recent)} recent ones are all compared"
        )

    @property
    def stale(self) -> bool:
        """Whether searches have become slower than those of `rebuilt`."""
        if self.base is None:
            return len(self) > EXACT_UP_TO
        return len(self.recent) + len(self.base.removed) > STALE_SHARE * len(self.base.ids)

    def search(self, queries: Floats, k: int, fingerprint: str) -> tuple[Floats, Rows]:
        """The `k` nearest of each query (N, D), best first: similarities and rows, both (N, k), row -1 for none.

        `fingerprint`: of the model that made the queries; InputError where it is not the index's own.
        """
        if fingerprint != self.fingerprint:
            raise InputError(_other_model(self.fingerprint, fingerprint))
        queries = self._checked(queries)
        if self.base is None:
            return faiss.knn(queries, self.recent, k, metric=faiss.METRIC_INNER_PRODUCT)
        blocks = [queries[start : start + BLOCK] for start in range(0, max(1, len(queries)), BLOCK)]
        found = [self._search_both(self.base, block, k) for block in blocks]
        similarities, rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return similarities, rows

    def _search_both(self, base: Base, queries: Floats, k: int) -> tuple[Floats, Rows]:
        similarities, rows = base.lists.search(queries, base.vectors, k)
        if not len(self.recent):
            return similarities, rows
        near, near_rows = faiss.knn(queries, self.recent, k, metric=faiss.METRIC_INNER_PRODUCT)
        near_rows = np.where(near_rows < 0, -1, near_rows + len(base.ids))
        return best(np.concatenate([similarities, near], axis=1), np.concatenate([rows, near_rows], axis=1), k)

    def add(self, ids: Ids, vectors: Floats) -> None:
        """Further rows: `vectors` (N, D), L2-normalised, and their ids (N,)."""
        vectors, ids = self._checked(vectors), _array(ids)
        _check_lengths(ids, vectors)
        self.recent_ids = pa.concat_arrays([self.recent_ids, ids])
        self.recent = np.concatenate([self.recent, vectors])

    def remove(self, ids: Ids) -> int:
        """Take out every row with one of these ids; how many these were.

        No search finds them again, and `save` leaves none of their embeddings in an exact index. In the files of a
        base they stay until it is `rebuilt`.
        """
        before, gone = len(self), _array(ids)
        keep = pc.invert(pc.is_in(self.recent_ids, value_set=gone))
        self.recent, self.recent_ids = self.recent[keep.to_numpy(zero_copy_only=False)], self.recent_ids.filter(keep)
        if self.base is not None:
            rows = np.flatnonzero(pc.is_in(self.base.ids, value_set=gone).to_numpy(zero_copy_only=False))
            self.base.lists.remove(rows)
            self.base.removed = np.union1d(self.base.removed, rows)
        return before - len(self)

    def rebuilt(self) -> "VectorIndex":
        """A new index of the rows that are in this one, without any that were removed."""
        if self.base is None:
            return build(self.recent_ids, self.recent, self.fingerprint)
        keep = np.delete(np.arange(len(self.base.ids)), self.base.removed)
        ids = pa.concat_arrays([self.base.ids.take(keep), self.recent_ids])
        return build(ids, np.concatenate([self.base.vectors[keep], self.recent]), self.fingerprint)

    def _checked(self, vectors: Floats) -> Floats:
        """As float32; InputError for another width."""
        vectors = _floats(vectors)
        if vectors.shape[1] != self.recent.shape[1]:
            raise InputError(f"embeddings of {vectors.shape[1]} numbers in an index of {self.recent.shape[1]}")
        return vectors


def build(ids: Ids, vectors: Floats, fingerprint: str, spread: Spread = map) -> VectorIndex:
    """An index over `vectors` (N, D), L2-normalised, with an id for each: N strings, or a table with `face_id`.

    `vectors` may be mapped from a file that is larger than memory. `spread`: see `index_lists.build_lists`.
    """
    ids, vectors = _array(ids), _floats(vectors)
    _check_lengths(ids, vectors)
    if len(vectors) <= EXACT_UP_TO:
        return VectorIndex(fingerprint, ids, vectors)
    base = Base(ids, vectors, inverted_file.build_lists(vectors, spread), np.empty(0, np.int64))
    return VectorIndex(fingerprint, ids[:0], vectors[:0], base)


def save(library: Library, index: VectorIndex, folder: str = "index") -> None:
    """Put the index into the library, in place of an earlier one of the same model. The caller holds library.lock().

    All that lies beside the base is written, and the base itself where it is not there yet.
    """
    place, base = f"{folder}/{index.fingerprint}", index.base
    facts: dict[str, Any] = {"fingerprint": index.fingerprint, "width": index.recent.shape[1], "why": index.why}
    new: dict[str, Any] = {"ids": _dump_ids(index.recent_ids), "vectors": index.recent}
    kept: dict[str, Part] = {}
    if base is not None:
        facts["depths"] = base.lists.depths
        new["base-removed"] = base.removed
        kept = _kept(library, place, base)
        if not kept:
            new |= {"base-ids": _dump_ids(base.ids), "base-vectors": base.vectors, "base-lists": base.lists.dump()}
    snapshot = index_files.write(library, place, facts, new, kept)
    if base is not None:
        base.stored = snapshot


def _kept(library: Library, place: str, base: Base) -> dict[str, Part]:
    """The files of this base that lie in `place` already; all or none."""
    if base.stored is None or not base.stored.lies_in(library, place):
        return {}
    return {n: p for n, p in base.stored.parts.items() if n.startswith("base-") and n != "base-removed"}


def load(library: Library, fingerprint: str, folder: str = "index") -> VectorIndex | None:
    """The saved index of this model; None where there is none.

    The vectors of a base are mapped into memory where the library is local, and their SHA-256 is not compared: `verify`
    does that. Everything else is. Raises InputError where the index in that place was made by another model, and
    DamagedError where it is not as it was saved.
    """
    return index_files.load(library, f"{folder}/{fingerprint}", lambda snapshot: _read(snapshot, fingerprint))


def _read(snapshot: Snapshot, fingerprint: str) -> VectorIndex:
    facts = snapshot.facts
    if facts["fingerprint"] != fingerprint:
        raise InputError(_other_model(facts["fingerprint"], fingerprint))
    recent = _vectors(snapshot.read("vectors"), facts["width"])
    base = None
    if "depths" in facts:
        try:
            lists = inverted_file.parse(snapshot.read("base-lists"), facts["depths"])
        except RuntimeError as error:
            raise snapshot.damaged(f"this FAISS cannot read it: {error}") from None
        removed = snapshot.read("base-removed").view(np.int64)
        lists.remove(removed)
        vectors = _vectors(snapshot.mapped("base-vectors"), facts["width"])
        base = Base(_parse_ids(snapshot.read("base-ids")), vectors, lists, removed, snapshot)
    return VectorIndex(fingerprint, _parse_ids(snapshot.read("ids")), recent, base)


def verify(library: Library, fingerprint: str, folder: str = "index") -> None:
    """Compare the SHA-256 of every file of the saved index; DamagedError where one is not as it was saved."""
    index_files.load(library, f"{folder}/{fingerprint}", lambda snapshot: [snapshot.read(n) for n in snapshot.parts])


def current(
    library: Library, faces: pa.Table, embeddings: Floats, fingerprint: str, spread: Spread = map
) -> VectorIndex:
    """The index over exactly these faces, row by row: the saved one, or a new one, saved. `spread`: see `build`."""
    try:
        saved = load(library, fingerprint)
    except DamagedError:  # nothing is lost: it is made of the faces
        saved = None
    if saved is not None and len(saved) == len(faces) and saved.ids.equals(faces["face_id"]):
        return saved
    index = build(faces, embeddings, fingerprint, spread)
    save(library, index)
    return index


def _array(ids: Ids) -> pa.Array:
    if isinstance(ids, pa.Table):
        ids = ids["face_id"]
    if isinstance(ids, pa.ChunkedArray):
        ids = ids.combine_chunks()
    return ids.cast(pa.string()) if isinstance(ids, pa.Array) else pa.array(ids, pa.string())


def _dump_ids(ids: pa.Array) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    table = pa.table({"id": ids})
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


def _parse_ids(data: Bytes) -> pa.Array:
    return _array(pa.ipc.open_stream(pa.py_buffer(data)).read_all()["id"])


def _vectors(data: Bytes, width: int) -> Floats:
    return data.view(np.float32).reshape(-1, width)


def _floats(vectors: Floats) -> Floats:
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or not np.isfinite(vectors.sum(axis=1)).all():
        raise InputError("embeddings must be rows of finite numbers")
    return vectors


def _check_lengths(ids: pa.Array, vectors: Floats) -> None:
    if len(ids) != len(vectors):
        raise InputError(f"{len(ids)} ids for {len(vectors)} embeddings")


def _other_model(own: str, other: str) -> str:
    return f"this index holds faces of model {own}, not of {other}: embeddings of two models cannot be compared"
