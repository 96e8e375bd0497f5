"""The nearest of many embeddings: exact up to `EXACT_UP_TO` of them, approximate beyond and then re-ranked exactly.

Similarity is the cosine: the inner product of L2-normalised embeddings. A large index keeps *lists*, made of all
embeddings that there were (storage/index/inverted_file.py), and a key of each. What came later is compared one by one,
what is gone is passed over. When that is more than `STALE_SHARE`, the lists are made anew. The embeddings themselves
are where they came from, in the library's tables, and given each time. docs/scale.md has the measurements behind this.

`index/<fingerprint>/<what>`: a SHA-256, then a NumPy archive of `FORMAT`'s arrays. It is replaced in one step. A file
that is not as it was written is made again: nothing is lost.
"""

import hashlib
import io
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from muster.arrays import F32, I64, Bools
from muster.errors import DecryptionError, InputError
from muster.storage.index import inverted_file
from muster.storage.index.inverted_file import DEPTHS, Lists, Spread, Sure, all_alike, best
from muster.storage.library import LibraryFiles

EXACT_UP_TO = 100_000
STALE_SHARE = 0.02  # of the rows in the lists
BLOCK = 10_000  # queries, or rows, at once: bounds the memory
SEED = 0
FORMAT = {"table", "keys", "notes"}


Keys = np.ndarray[Any, np.dtype[np.uint64]]
Note = Callable[[F32], F32]


@dataclass(frozen=True)
class Held:
    """What is kept of the rows that the lists were made of: `keys` (B,) and `notes` (B,), see `current`."""

    lists: Lists
    keys: Keys
    notes: F32


@dataclass(frozen=True)
class VectorIndex:
    """Over `vectors` (N, D), with `notes` (N,). `lists` hold `place`, see Lists.search; `beside` (M,): the other rows.

    Without `lists` all are compared.
    """

    vectors: F32
    notes: F32
    lists: Lists | None
    place: I64
    beside: I64
    recent: F32  # vectors[beside]

    @property
    def stale(self) -> bool:
        """Whether lists made anew are worth their making."""
        held = len(self.place) - 1
        return bool(len(self.beside) + np.count_nonzero(self.place[:-1] < 0) > STALE_SHARE * held)

    def search(self, queries: F32, k: int, sure: Sure = all_alike, depths: Sequence[float] = DEPTHS) -> tuple[F32, I64]:
        """The `k` nearest of each query (N, D), best first: similarities and rows, both (N, k), row -1 for none.

        `sure` says of the similarities found (N, k) which queries need no deeper search; `depths`: see Lists.search.
        InputError for another width.
        """
        queries = self._fitting(queries)
        if self.lists is None:
            return faiss.knn(queries, self.vectors, k, metric=faiss.METRIC_INNER_PRODUCT)
        blocks = [queries[start : start + BLOCK] for start in range(0, max(1, len(queries)), BLOCK)]
        found = [self._search(self.lists, block, k, sure, depths) for block in blocks]
        similarities, rows = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return similarities, rows

    def search_among(self, queries: F32, k: int, among: Bools) -> tuple[F32, I64]:
        """As `search`, of the rows `among` (N,) alone, which are all compared. Nothing is copied: to copy half of a
        million rows of 512 numbers takes three times as long as to compare them. For few queries FAISS takes one
        thread, so each thread has a part of the rows."""
        queries = self._fitting(queries)
        parts = min(faiss.omp_get_max_threads(), 1 + len(among) // EXACT_UP_TO)
        size = max(1, -(-len(among) // parts))
        with ThreadPoolExecutor(parts) as pool:
            starts = range(0, max(1, len(among)), size)
            found = list(pool.map(lambda start: self._among(queries, k, among[start : start + size], start), starts))
        similarities, rows = (np.concatenate(each, axis=1) for each in zip(*found, strict=True))
        return best(similarities, rows, k)

    def _among(self, queries: F32, k: int, among: Bools, start: int) -> tuple[F32, I64]:
        """Of some rows that begin at `start`."""
        vectors, bits = self.vectors[start : start + len(among)], np.packbits(among, bitorder="little")
        similarities, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        x, y, found, places = (faiss.swig_ptr(each) for each in (queries, vectors, similarities, rows))
        chosen = faiss.IDSelectorBitmap(len(bits), faiss.swig_ptr(bits))
        faiss.knn_inner_product(x, y, queries.shape[1], len(queries), len(among), k, found, places, chosen)
        return similarities, np.where(rows < 0, -1, rows + start)

    def _fitting(self, queries: F32) -> F32:
        queries = _floats(queries)
        if queries.shape[1] != self.vectors.shape[1]:
            raise InputError(f"embeddings of {queries.shape[1]} numbers in an index of {self.vectors.shape[1]}")
        return queries

    def _search(self, lists: Lists, queries: F32, k: int, sure: Sure, depths: Sequence[float]) -> tuple[F32, I64]:
        similarities, rows = lists.search(queries, self.vectors, self.place, k, depths, sure)
        if not len(self.recent):
            return similarities, rows
        near, near_rows = faiss.knn(queries, self.recent, k, metric=faiss.METRIC_INNER_PRODUCT)
        near_rows = np.where(near_rows < 0, -1, self.beside[near_rows])
        return best(np.concatenate([similarities, near], axis=1), np.concatenate([rows, near_rows], axis=1), k)


def exact(vectors: F32) -> VectorIndex:
    """An index over `vectors` (N, D), L2-normalised, that compares them all."""
    none = np.empty(0, np.int64)
    return VectorIndex(
        vectors=_floats(vectors), notes=np.empty(0, np.float32), lists=None, place=none, beside=none, recent=vectors[:0]
    )


def build(vectors: F32, spread: Spread = map, note: Note | None = None) -> VectorIndex:
    """A new index over `vectors` (N, D), L2-normalised, that nothing keeps. Parameters: see `current`."""
    vectors = _floats(vectors)
    return exact(vectors) if len(vectors) <= EXACT_UP_TO else _over(_hold(vectors, spread, note), vectors, note)


def current(
    library: LibraryFiles, name: str, vectors: F32, spread: Spread = map, note: Note | None = None
) -> VectorIndex:
    """The index over exactly these vectors (N, D), L2-normalised, by what is saved under `name`, which is made or made
    anew where it must be. The caller holds library.lock().

    `name`: see `layout.index`. `spread`: see `inverted_file.build_lists`. `note`: finds a number for each vector, (N,),
    which takes long: those of the rows in the lists are saved with them.
    """
    vectors = _floats(vectors)
    _remove_older(library, name)
    if len(vectors) <= EXACT_UP_TO:
        library.remove(name)
        return exact(vectors)
    held = load(library, name)
    index = None if held is None else _over(held, vectors, note)
    if index is None or index.stale:
        held = _hold(vectors, spread, note)
        save(library, name, held)
        index = _over(held, vectors, note)
    return index


def unsaved(library: LibraryFiles, name: str, vectors: F32, note: Note | None = None) -> VectorIndex:
    """As `current`, of more than `EXACT_UP_TO`, where another holds the library: nothing is written."""
    vectors = _floats(vectors)
    return _over(load(library, name) or _hold(vectors, map, note), vectors, note)


def _hold(vectors: F32, spread: Spread, note: Note | None) -> Held:
    return Held(inverted_file.build_lists(vectors, spread), _keys(vectors), _notes(vectors, note))


def _over(held: Held, vectors: F32, note: Note | None) -> VectorIndex:
    """The index over `vectors` by lists that were made of others, most of them the same."""
    place = _find(held.keys, _keys(vectors))
    there = place >= 0
    known = np.zeros(len(vectors), bool)
    known[place[there]] = True
    beside = np.flatnonzero(~known)
    notes = np.empty(len(vectors) if note is not None else 0, np.float32)
    if note is not None:
        notes[place[there]], notes[beside] = held.notes[there], note(vectors[beside])
    return VectorIndex(
        vectors=vectors,
        notes=notes,
        lists=held.lists,
        place=np.append(place, -1),
        beside=beside,
        recent=vectors[beside],
    )


def _notes(vectors: F32, note: Note | None) -> F32:
    return np.empty(0, np.float32) if note is None else note(vectors)


# ---- keys ------------------------------------------------------------------------------------------------------------


def _keys(vectors: F32) -> Keys:
    """(N,): a number for each row that is the same as long as its bits are; of equal rows each has another.

    By multilinear hashing (Carter and Wegman, Universal classes of hash functions, 1979): rows that differ share one
    by chance, at most 1 in 2^33 and mostly 1 in 2^64. Then a search may miss one of them.
    """
    random = np.random.default_rng(SEED).integers(0, 2**64, vectors.shape[1], np.uint64) | np.uint64(1)
    blocks = (vectors[start : start + BLOCK].view(np.uint32) for start in range(0, len(vectors), BLOCK))
    keys = np.concatenate([np.empty(0, np.uint64), *(block.astype(np.uint64) @ random for block in blocks)])
    order = np.argsort(keys)
    new = np.diff(keys[order], prepend=~keys[order[:1]]) != 0
    first = np.flatnonzero(new)
    keys[order] += (np.arange(len(keys)) - np.repeat(first, np.diff(first, append=len(keys)))).astype(np.uint64)
    return keys


def _find(keys: Keys, given: Keys) -> I64:
    """(B,): the place among `given` (N,) of each of `keys` (B,), -1 for none."""
    order, asked = np.argsort(given), np.argsort(keys)  # looked up at random they would take three times as long
    rows = np.empty(len(keys), np.int64)
    rows[asked] = order[np.searchsorted(given[order], keys[asked]).clip(max=len(given) - 1)]
    return np.where(given[rows] == keys, rows, -1)


# ---- files -----------------------------------------------------------------------------------------------------------


def save(library: LibraryFiles, name: str, held: Held) -> None:
    sink = io.BytesIO()
    np.savez(sink, table=held.lists.dump(), keys=held.keys, notes=held.notes)
    data = sink.getbuffer()
    library.write(name, hashlib.sha256(data).digest() + data)


def load(library: LibraryFiles, name: str) -> Held | None:
    """What was saved under this name; None where there is nothing, or it is damaged, or of another version's kind.

    No parser sees it before its SHA-256 has been compared: FAISS may crash on other bytes than it wrote.
    """
    try:
        data = library.read(name)
        if hashlib.sha256(memoryview(data)[32:]).digest() != data[:32]:
            return None
        with np.load(io.BytesIO(memoryview(data)[32:]), allow_pickle=False) as parts:
            if set(parts) != FORMAT:
                return None
            return Held(inverted_file.parse(parts["table"]), parts["keys"], parts["notes"])
    except (FileNotFoundError, DecryptionError, ValueError, zipfile.BadZipFile):
        return None
    except RuntimeError:  # written by a later FAISS
        return None


def _remove_older(library: LibraryFiles, name: str) -> None:
    """What Muster kept here before 0.2: nothing reads it, and it holds embeddings."""
    folder = name.rpartition("/")[0]
    if library.has(f"{folder}/index.json"):
        library.remove_folder(folder)


def _floats(vectors: F32) -> F32:
    vectors = np.ascontiguousarray(vectors, np.float32)
    if vectors.ndim != 2 or not np.isfinite(vectors.sum(axis=1)).all():
        raise InputError("embeddings must be rows of finite numbers")
    return vectors
