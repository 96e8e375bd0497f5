"""Photos that are there more than once, as the pages show them: groups of copies, and of shots of one moment."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from muster.storage import duplicates
from muster.web import words
from muster.web.album import Photo

GROUPS_PER_PAGE = 50
SHOWN = 48  # of a group: blank pictures, and frames of a video without times, may be thousands
PAGES = {"picture": ("duplicates.html", "duplicates-{}.html"), "moment": ("moments.html", "moments-{}.html")}
TURNED = {
    2: "mirrored",
    3: "upside down",
    4: "upside down and mirrored",
    5: "on its side and mirrored",
    6: "turned to the right",
    7: "on its side and mirrored",
    8: "turned to the left",
}
UNITS = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))


@dataclass(frozen=True)
class Copy:
    """A photo of a group. `facts`: how it is said what it is, such as "4,000 × 3,000"; `differences`: from the best."""

    photo: Photo
    facts: Sequence[str]
    differences: Sequence[str]


@dataclass(frozen=True)
class Group:
    """`copies`: the first `SHOWN` of `size`, the best before all; `reason`: why it is."""

    number: int
    reason: str
    copies: Sequence[Copy]
    size: int


class Groups:
    """The table of duplicates, of photos that are there, cut into groups. Those of a page become `Group`s."""

    def __init__(self, rows: pa.Table, images: pa.Array) -> None:
        """`rows`: of `muster.storage.duplicates`, group after group; `images`: the image_ids of what is shown."""
        rows = duplicates.of(rows, images).combine_chunks()
        begins = np.flatnonzero(rows["best"].to_numpy()) if rows.num_rows else np.empty(0, np.int64)
        ends = [*begins[1:].tolist(), rows.num_rows]
        self._rows = rows
        self._places: dict[str, list[tuple[int, int]]] = {kind: [] for kind in duplicates.KINDS}
        for begin, end in zip(begins.tolist(), ends, strict=True) if len(begins) else ():
            self._places[rows["kind"][begin].as_py()].append((begin, end))

    def count(self, kind: str) -> int:
        return len(self._places[kind])

    def images(self) -> list[str]:
        """The image_ids of all that is shown."""
        names, places = self._rows["image_id"].to_pylist(), [each for found in self._places.values() for each in found]
        return sorted({name for begin, end in places for name in names[begin : min(end, begin + SHOWN)]})

    def page(self, kind: str, part: slice, photo: Callable[[str], Photo | None]) -> list[Group]:
        """Some of the groups of a kind. `photo`: by its image_id, None where it is not there any more."""
        rows = (self._rows.slice(begin, end - begin).to_pylist() for begin, end in self._places[kind][part])
        return [group for each in rows if (group := _group(each, photo)) is not None]


def _group(rows: Sequence[Mapping[str, Any]], photo: Callable[[str], Photo | None]) -> Group | None:
    found = [(row, shown) for row in rows[:SHOWN] if (shown := photo(row["image_id"])) is not None]
    if len(found) < 2 or not found[0][0]["best"]:
        return None
    best, kind = found[0], rows[0]["kind"]
    copies = [
        Copy(shown, list(_facts(row, shown)), list(_differences(kind, best, (row, shown)))) for row, shown in found
    ]
    return Group(rows[0]["group"], rows[0]["reason"] or "", copies, len(rows))


def _facts(row: Mapping[str, Any], photo: Photo) -> Iterator[str]:
    yield f"{photo.width:,} × {photo.height:,}"
    yield " ".join([(row["format"] or "").upper(), *([of_bytes(row["size"])] if row["size"] else [])])
    yield words.day(photo.taken_at) + f":{photo.taken_at:%S}" if photo.taken_at else "no date"
    if photo.camera:
        yield photo.camera


def of_bytes(size: int) -> str:
    """`of_bytes(2_400_000)` → "2.3 MB"."""
    return next((f"{size / unit:.1f} {name}" for unit, name in UNITS if size >= unit), f"{size} bytes")


Shown = tuple[Mapping[str, Any], Photo]


def _differences(kind: str, best: Shown, other: Shown) -> Iterator[str]:
    """In what a copy is not as the best; of a moment, in time alone."""
    (mine, original), (theirs, photo) = best, other
    if photo is original:
        return
    if kind == "moment":
        if original.taken_at and photo.taken_at:
            seconds = (photo.taken_at - original.taken_at).total_seconds()
            yield f"{abs(seconds):g} s {'later' if seconds > 0 else 'before'}" if seconds else "in the same second"
        return
    if theirs["exact"]:
        yield "exact copy"
        return
    if theirs["orientation"] in TURNED:
        yield TURNED[theirs["orientation"]]
    ratio = (photo.width * photo.height) / (original.width * original.height)
    if not 0.98 < ratio < 1.02:
        yield "smaller" if ratio < 1 else "larger"
    if theirs["format"] != mine["format"]:
        yield "other format"
    elif theirs["size"] and mine["size"] and theirs["size"] < 0.9 * mine["size"] and 0.98 < ratio < 1.02:
        yield "more compressed"
    if original.taken_at and not photo.taken_at:
        yield "no date"
    if original.camera and not photo.camera:
        yield "no camera"
