"""Where the faces and photos that a ledger speaks of are in a library now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import F32, I64
from muster.storage.people.boxes import SAME_FACE, matched
from muster.storage.people.facts import Box, FaceRef, PhotoRef
from muster.storage.texts import image_name

PHASH_BITS = 4  # a program that writes into a JPEG changes none; one that saves it anew a few


@dataclass(frozen=True)
class Photos:
    """Of a library. `table`: image_id, sha256, phash, width, height and uri of the photos that could be read."""

    table: pa.Table

    def of(self, refs: Sequence[PhotoRef]) -> dict[PhotoRef, list[str]]:
        """The image_ids of these photos and their copies; no key where a photo is not here."""
        wanted = pa.array(list({ref.sha256 for ref in refs}), pa.string())
        here = self.table.select(["image_id", "sha256"]).filter(pc.is_in(self.table["sha256"], value_set=wanted))
        by_content: dict[str, list[str]] = {}
        for image_id, sha256 in zip(*(column.to_pylist() for column in here.columns), strict=True):
            by_content.setdefault(sha256, []).append(image_id)
        found = {ref: by_content[ref.sha256] for ref in refs if ref.sha256 in by_content}
        missing = list(dict.fromkeys(ref for ref in refs if ref not in found and ref.phash is not None))
        return found | self._written_into(missing)

    def _written_into(self, refs: Sequence[PhotoRef]) -> dict[PhotoRef, list[str]]:
        """Photos of another content by now, of the name, size and looks of one of these: a program wrote tags into it.
        Only where there is one such photo."""
        found: dict[PhotoRef, list[str]] = {}
        for ref in refs:
            same = pc.and_(pc.equal(self.table["width"], ref.size[0]), pc.equal(self.table["height"], ref.size[1]))
            rows = self.table.filter(same)
            names = [image_name(uri) for uri in rows["uri"].to_pylist()]
            hashes = rows["phash"].to_pylist()
            ids = [
                image_id
                for image_id, name, phash in zip(rows["image_id"].to_pylist(), names, hashes, strict=True)
                if name == ref.name
                and phash is not None
                and ((phash ^ (ref.phash or 0)) % 2**64).bit_count() <= PHASH_BITS
            ]
            if len(ids) == 1:
                found[ref] = ids
        return found

    def refs(self, image_ids: Sequence[str]) -> dict[str, PhotoRef]:
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
    photo. `without`: for each, the image_ids of photos in which no face of the library is at that place."""

    rows: list[list[int]]
    without: list[list[str]]


def place(refs: Sequence[FaceRef], photos: Photos, image_ids: pa.ChunkedArray | pa.Array, boxes: F32) -> Placed:
    """`image_ids` (N,) and `boxes` (N, 4), full-size upright pixels: of the faces of the library, in its order.

    In each photo, one to one, those that overlap most first.
    """
    images = photos.of([ref.photo for ref in refs])
    sought: dict[str, list[int]] = {}
    for number, ref in enumerate(refs):
        for image_id in images.get(ref.photo, ()):
            sought.setdefault(image_id, []).append(number)
    here = rows_in(image_ids, list(sought))
    placed = Placed([[] for _ in refs], [[] for _ in refs])
    for image_id, numbers in sought.items():
        rows = here.get(image_id, [])
        theirs: Sequence[Box] = [refs[number].box for number in numbers]
        pairs = matched(theirs, boxes[rows].tolist(), SAME_FACE)
        for i, number in enumerate(numbers):
            if i in pairs:
                placed.rows[number].append(rows[pairs[i]])
            else:
                placed.without[number].append(image_id)
    return placed


def rows_in(image_ids: pa.ChunkedArray | pa.Array, wanted: Sequence[str]) -> dict[str, list[int]]:
    """The rows of each of the `wanted` photos."""
    rows: I64 = np.flatnonzero(
        pc.is_in(image_ids, value_set=pa.array(wanted, pa.string())).to_numpy(zero_copy_only=False)
    )
    found: dict[str, list[int]] = {}
    for row, image_id in zip(rows.tolist(), image_ids.take(pa.array(rows)).to_pylist(), strict=True):
        found.setdefault(image_id, []).append(row)
    return found
