"""Where the faces and photos that a ledger speaks of are in a library now."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import F32, I64
from muster.storage.people.boxes import SAME_FACE, matched_pairs
from muster.storage.people.facts import FaceRef, PhotoRef
from muster.storage.texts import image_name

PHASH_BITS = 4  # a program that writes into a JPEG changes none; one that saves it anew a few


@dataclass(frozen=True)
class Photos:
    """Of a library. `table`: image_id, sha256, phash, width, height and uri of the photos that could be read."""

    table: pa.Table

    def of(self, refs: Iterable[PhotoRef]) -> dict[PhotoRef, list[str]]:
        """The image_ids of these photos and their copies; no key where a photo is not here."""
        found: dict[PhotoRef, list[str]] = {}
        for ref in dict.fromkeys(refs):
            if here := self._by_content.get(ref.sha256) or self._written_into(ref):
                found[ref] = here
        return found

    @cached_property
    def _by_content(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for image_id, sha256 in zip(*(self.table[name].to_pylist() for name in ("image_id", "sha256")), strict=True):
            found.setdefault(sha256, []).append(image_id)
        return found

    @cached_property
    def _by_looks(self) -> dict[tuple[str, int, int], list[tuple[int, str, str]]]:
        """Name of the file, width and height → phash, SHA-256 and image_id."""
        found: dict[tuple[str, int, int], list[tuple[int, str, str]]] = {}
        names = ("uri", "width", "height", "phash", "sha256", "image_id")
        for uri, width, height, phash, *ids in zip(*(self.table[name].to_pylist() for name in names), strict=True):
            if phash is not None:
                found.setdefault((image_name(uri), width, height), []).append((phash, *ids))
        return found

    def _written_into(self, ref: PhotoRef) -> list[str]:
        """The photo that has another content by now, and the name, size and looks of this one: a program wrote tags
        into it. Nothing where several contents would do."""
        if ref.phash is None:
            return []
        same = [
            (sha256, image_id)
            for phash, sha256, image_id in self._by_looks.get((ref.name, *ref.size), ())
            if ((phash ^ ref.phash) % 2**64).bit_count() <= PHASH_BITS
        ]
        return [image_id for _, image_id in same] if len({sha256 for sha256, _ in same}) == 1 else []

    def refs(self, image_ids: Iterable[str]) -> dict[str, PhotoRef]:
        """How a ledger names these photos; no key where one is not here."""
        wanted = pa.array(list(set(image_ids)), pa.string())
        here = self.table.filter(pc.is_in(self.table["image_id"], value_set=wanted))
        return {row["image_id"]: _ref(row) for row in here.to_pylist()}

    def ref(self, image_id: str) -> PhotoRef:
        """How a ledger names a photo of the library. LookupError where it is none."""
        return self.refs([image_id])[image_id]


def _ref(row: Mapping[str, Any]) -> PhotoRef:
    size = int(row["width"]), int(row["height"])
    return PhotoRef(row["sha256"], size, row["phash"], image_name(row["uri"]))


@dataclass(frozen=True)
class Placed:
    """`rows`: for each face sought, its rows among the faces of the library: several where there are copies of the
    photo. `first`: (N,) the first of them, -1 where there is none. `without`: for each, the image_ids of photos in
    which no face of the library is at that place."""

    rows: list[list[int]]
    without: list[list[str]]
    first: I64


class Places:
    """Finds the faces of a ledger among those of a library; after an edit, only those that it spoke of.

    `image_ids` (N,) and `boxes` (N, 4), full-size upright pixels: of the faces of the library, in its order.
    """

    def __init__(self, photos: Photos, image_ids: pa.ChunkedArray | pa.Array, boxes: F32) -> None:
        self.photos, self.boxes, self._image_ids = photos, boxes, image_ids
        self._forget()

    def _forget(self) -> None:
        self._sought: list[FaceRef | None] = []
        self._found: list[dict[str, int]] = []  # of each face: image_id → row, -1 where there is none
        self._in: dict[str, set[int]] = defaultdict(set)  # image_id → faces that are sought there
        self._placed = Placed([], [], np.empty(0, np.int64))

    def of(self, refs: Sequence[FaceRef | None]) -> Placed:
        """In each photo, one to one, those that overlap most first. Of None: nothing."""
        if len(refs) < len(self._sought):  # of another ledger, with numbers of its own
            self._forget()
        more = len(refs) - len(self._sought)
        before = [*self._sought, *repeat(None, more)]
        self._found += ({} for _ in range(more))
        self._sought = list(refs)
        if changed := [n for n, (old, new) in enumerate(zip(before, refs, strict=True)) if old is not new]:
            touched = dict.fromkeys(self._moved(changed))
            self._match(list(touched))
            self._note(more, {n for image_id in touched for n in self._in[image_id]}.union(changed))
        elif more:
            self._note(more, ())
        return self._placed

    def _moved(self, changed: Sequence[int]) -> Iterator[str]:
        """Seek these where they are now; the photos in which something else is sought than before."""
        where = self.photos.of(ref.photo for n in changed if (ref := self._sought[n]) is not None)
        for n in changed:
            ref = self._sought[n]
            for image_id in self._found[n]:
                self._in[image_id].discard(n)
                yield image_id
            self._found[n] = dict.fromkeys(where.get(ref.photo, ()) if ref is not None else (), -1)
            for image_id in self._found[n]:
                self._in[image_id].add(n)
                yield image_id

    def _match(self, image_ids: Sequence[str]) -> None:
        """Find what is sought in these photos."""
        sought = [(image_id, n) for image_id in image_ids for n in sorted(self._in[image_id])]
        here = rows_in(self._image_ids, image_ids)
        wide = [(i, row) for i, (image_id, _) in enumerate(sought) for row in here.get(image_id, ())]
        boxes = [ref.box for _, n in sought if (ref := self._sought[n]) is not None]
        for image_id, n in sought:
            self._found[n][image_id] = -1
        if wide:
            pairs = np.array(wide, np.int64)
            numbers, rows = matched_pairs(np.array(boxes), self.boxes, (pairs[:, 0], pairs[:, 1]), SAME_FACE)
            for i, row in zip(numbers.tolist(), rows.tolist(), strict=True):
                image_id, n = sought[i]
                self._found[n][image_id] = row

    def _note(self, more: int, changed: Iterable[int]) -> None:
        """Another `Placed`, in which there are `more`, and these are elsewhere: whoever has the last one keeps it."""
        last = self._placed
        rows, without = [*last.rows, *([] for _ in range(more))], [*last.without, *([] for _ in range(more))]
        first = np.append(last.first, np.full(more, -1))
        for n in changed:
            rows[n] = [row for row in self._found[n].values() if row >= 0]
            without[n] = [image_id for image_id, row in self._found[n].items() if row < 0]
            first[n] = rows[n][0] if rows[n] else -1
        self._placed = Placed(rows, without, first)


def place(refs: Sequence[FaceRef | None], photos: Photos, image_ids: pa.ChunkedArray | pa.Array, boxes: F32) -> Placed:
    """Once: see `Places`."""
    return Places(photos, image_ids, boxes).of(refs)


def rows_in(image_ids: pa.ChunkedArray | pa.Array, wanted: Sequence[str]) -> dict[str, list[int]]:
    """The rows of each of the `wanted` photos."""
    rows: I64 = np.flatnonzero(
        pc.is_in(image_ids, value_set=pa.array(wanted, pa.string())).to_numpy(zero_copy_only=False)
    )
    found: dict[str, list[int]] = {}
    for row, image_id in zip(rows.tolist(), image_ids.take(pa.array(rows)).to_pylist(), strict=True):
        found.setdefault(image_id, []).append(row)
    return found
