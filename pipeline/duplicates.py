"""Photos that are in a library more than once: the same picture, and the same moment. Nothing is ever deleted.

The same picture: files of the same bytes, and photos whose perceptual hashes are near, whose previews correlate, and
whose times do not contradict each other. The same moment: photos of one camera taken within seconds, that show one
scene. Of copies of a picture, only the best stands for it in a moment.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import F32, I64, Bools
from muster.pipeline.findings.sources import sources_of
from muster.storage import duplicates, manifest, tables
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.photos import video
from muster.tasks.photos import best, crops, groups, hashes, likeness, times

BITS = 8  # of 64: up to this distance photos are compared. Resized, recompressed and converted copies: 8 at most
ALIKE = 0.97  # correlation from which on they are one picture. Such copies: .994 and more; brighter ones .96
CROPPED, MAY_BE_CROPPED = 0.98, 0.75  # the same once edges are cut off; and as they are, from where on that is tried
BITS_ALONE = 4  # where there are no previews to compare, the distance up to which they are one picture
SCENE = 0.8  # correlation of moved previews from which on photos taken within seconds show one scene
BITS_SCENE = 16  # the same, where there are no previews
UPRIGHT_BY = 0.005  # a copy counts as turned where it correlates better than upright by this
TURNS = tuple(range(1, 9))  # EXIF orientations
COLUMNS = ["width", "height", "format", "taken_at", "latitude", "camera", "sha256", "phash"]
READERS = 2  # shards that are read and decoded at once


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What was found. `photos`: compared. `pictures`: groups of the same picture; `copies`: photos in them beside the
    best, `exact` of which are the same file, and `bytes` their size. `moments`: groups of the same moment, with `shots`
    photos. `unseen`: photos that only the hashes were compared of, because they have no preview.

    `table`: a row for each photo of each group, as it is in the library, and its `uri`.
    """

    photos: int
    pictures: int
    copies: int
    exact: int
    bytes: int
    moments: int
    shots: int
    unseen: int
    table: pa.Table


class _Photos(NamedTuple):
    """Distinct files (N,), in the order of their SHA-256. `images`: of each, the rows of `facts` that are that file;
    `row`: the first of them, by image_id."""

    facts: pa.Table
    images: list[list[int]]
    row: I64
    phash: hashes.U64
    taken: times.Times
    camera: I64


def find_duplicates(library: LibraryFiles) -> Duplicates:
    """Look for both kinds, and write them to `duplicates/duplicates.parquet`. The caller holds the lock.

    Raises NotYetError where no photo was looked at yet.
    """
    photos = _photos(library)
    ids = photos.facts["image_id"].take(pa.array(photos.row))
    greys = _Greys(library, ids)
    pictures = _pictures(photos, greys)
    standing = np.ones(len(photos.row), np.bool_)
    for group in pictures:
        standing[group.members] = False
        standing[group.best] = True
    moments = _moments(library, photos, greys, standing)
    rows = [*_rows(photos, duplicates.PICTURE, pictures), *_rows(photos, duplicates.MOMENT, moments)]
    table = pa.Table.from_pylist(rows, duplicates.SCHEMA)
    duplicates.write(library, table)
    uris = photos.facts["uri"].take(pc.index_in(table["image_id"], photos.facts["image_id"].combine_chunks()))
    copies = [row for row in rows if row["kind"] == duplicates.PICTURE and not row["best"]]
    return Duplicates(
        photos=photos.facts.num_rows,
        pictures=len(pictures),
        copies=len(copies),
        exact=sum(row["exact"] for row in copies),
        bytes=sum(row["size"] or 0 for row in copies),
        moments=len(moments),
        shots=sum(len(group.members) for group in moments),
        unseen=greys.unseen,
        table=table.append_column("uri", uris),
    )


# ---- what is known of photos -----------------------------------------------------------------------------------------


def _photos(library: LibraryFiles) -> _Photos:
    """All but moments of videos: those that follow each other show one picture, and none is a file of its own."""
    shards = manifest.committed(library, IMAGES_FINGERPRINT)
    images = tables.require(library, "images", IMAGES_FINGERPRINT, ["image_id", "status", *COLUMNS], shards)
    images = images.filter(pc.equal(images["status"], "ok"))
    files = manifest.read_manifest(library).select(["image_id", "uri", "size", "modified"])
    files = files.filter(pc.invert(pc.match_substring_regex(files["uri"], rf"#{video.KIND}=[\d.]+$")))
    facts = images.join(files, "image_id", join_type="inner").sort_by("image_id").combine_chunks()
    digests = pc.coalesce(facts["sha256"], facts["image_id"]).to_numpy(zero_copy_only=False)
    _, first, content = np.unique(digests, return_index=True, return_inverse=True)
    return _Photos(
        facts=facts,
        images=[part.tolist() for part in np.split(np.argsort(content, kind="stable"), _ends(content))],
        row=first.astype(np.int64),
        phash=facts["phash"].fill_null(0).to_numpy()[first].view(np.uint64),
        taken=facts["taken_at"].to_numpy()[first].astype("M8[us]"),
        camera=_codes(facts["camera"])[first],
    )


def _ends(content: I64) -> I64:
    return np.asarray(np.cumsum(np.bincount(content))[:-1])


def _codes(texts: pa.ChunkedArray) -> I64:
    """Equal numbers for equal texts; -1: none."""
    codes = texts.combine_chunks().dictionary_encode().indices.fill_null(-1)
    return codes.to_numpy().astype(np.int64)


class _Greys:
    """Small grey pictures of the previews of photos, read when they are asked for, shard by shard, and kept."""

    def __init__(self, library: LibraryFiles, ids: pa.ChunkedArray) -> None:
        """`ids`: the image_id of each photo (N,)."""
        self._library, self._ids = library, ids
        sources = sources_of(library, "previews", dict(manifest.shards(library)))
        self._fingerprint = sources[0].fingerprint if sources else None
        self._place = np.full(len(ids), -1, np.int64)
        self._asked = np.zeros(len(ids), np.bool_)
        self._held = np.empty((0, likeness.SIDE, likeness.SIDE), np.uint8)

    @property
    def unseen(self) -> int:
        """How many were asked for that have no preview."""
        return int((self._asked & (self._place < 0)).sum())

    def seen(self, photos: I64) -> Bools:
        """Which of these have a preview."""
        wanted = np.unique(photos)
        wanted = wanted[~self._asked[wanted]]
        found = dict(self.each(wanted, likeness.grey)) if len(wanted) else {}
        self._place[list(found)] = len(self._held) + np.arange(len(found))
        self._held = np.concatenate([self._held, *(grey[None] for grey in found.values())])
        self._asked[wanted] = True
        return self._place[photos] >= 0

    def of(self, photos: I64) -> likeness.Greys:
        """(P, 32, 32) of photos that were `seen`."""
        return self._held[self._place[photos]]

    def each(self, photos: I64, measure: Callable[[bytes], Any]) -> Iterator[tuple[int, Any]]:
        """What is measured of the preview of each photo that has one."""
        if self._fingerprint is None or not len(photos):
            return
        wanted = dict(zip(self._ids.take(pa.array(photos)).to_pylist(), photos.tolist(), strict=True))
        shards = manifest.committed(self._library, self._fingerprint)

        def of_shard(shard: str) -> list[tuple[int, Any]]:
            rows = tables.require(self._library, "previews", self._fingerprint or "", ["image_id", "jpeg"], [shard])
            rows = rows.filter(pc.is_in(rows["image_id"], value_set=pa.array(wanted)))
            pairs = zip(rows["image_id"].to_pylist(), rows["jpeg"], strict=True)
            return [(wanted[name], measure(jpeg.as_py())) for name, jpeg in pairs]

        with ThreadPoolExecutor(READERS) as pool:
            for part in pool.map(of_shard, shards):
                yield from part


# ---- groups ----------------------------------------------------------------------------------------------------------


class _Group(NamedTuple):
    """Places of photos among the distinct files, and why `best` is. `turns`, `alike`: of each member, see SCHEMA in
    muster.storage.duplicates."""

    members: Sequence[int]
    best: int
    image: int
    reason: str
    turns: Sequence[int]
    alike: Sequence[float | None]


def _pictures(photos: _Photos, greys: _Greys) -> list[_Group]:
    pairs = hashes.near(photos.phash, BITS)
    possible = times.may_be_one(photos.taken[pairs.first], photos.taken[pairs.second])
    pairs = pairs.part(possible)
    one, alike = _same_picture(pairs, greys)
    one &= times.of_one_time(pairs.first, pairs.second, np.where(one, alike, -1), photos.taken)
    labels = groups.stars(pairs.first[one], pairs.second[one], len(photos.row))
    several = [[place] for place in np.flatnonzero(labels < 0).tolist() if len(photos.images[place]) > 1]
    found = _with_best(photos, greys, [*_members(labels), *several])
    return sorted(found, key=lambda group: (-_count(photos, group), group.best))


def _count(photos: _Photos, group: _Group) -> int:
    return sum(len(photos.images[place]) for place in group.members)


def _members(labels: I64) -> list[list[int]]:
    found = defaultdict(list)
    for place in np.flatnonzero(labels >= 0).tolist():
        found[int(labels[place])].append(place)
    return list(found.values())


def _same_picture(pairs: hashes.Near, greys: _Greys) -> tuple[Bools, F32]:
    """Of pairs (P,): whether they are the same picture, and how alike they are."""
    seen = greys.seen(pairs.first) & greys.seen(pairs.second)
    alike: F32 = np.asarray(1 - pairs.distance / 64, np.float32)
    for turn in np.unique(pairs.orientation).tolist():
        rows = np.flatnonzero(seen & (pairs.orientation == turn))
        for part in np.array_split(rows, len(rows) // likeness.BLOCK + 1):
            first = likeness.upright(greys.of(pairs.first[part]), turn)
            alike[part] = likeness.likeness(first, greys.of(pairs.second[part]))
    one: Bools = np.where(seen, alike >= ALIKE, pairs.distance <= BITS_ALONE)
    cut = np.flatnonzero(seen & ~one & (alike >= MAY_BE_CROPPED) & (pairs.orientation == 1))
    alike[cut] = np.maximum(alike[cut], _cropped(pairs.part(cut), greys))
    one[cut] = alike[cut] >= CROPPED
    return one, alike


def _cropped(pairs: hashes.Near, greys: _Greys) -> list[float]:
    """How alike these are once one of each has lost its edges; 4 ms a pair, and few are tried."""
    fine = dict(greys.each(np.unique(np.concatenate([pairs.first, pairs.second])), _fine))
    rows = zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)
    return [crops.cropped_likeness(fine[one], fine[other]) for one, other in rows]


def _fine(jpeg: bytes) -> likeness.Greys:
    return likeness.grey(jpeg, crops.FINE)


def _with_best(photos: _Photos, greys: _Greys, found: Sequence[Sequence[int]]) -> list[_Group]:
    """`found`: the members of each group."""
    rows = [row for members in found for place in members for row in photos.images[place]]
    copies = dict(zip(rows, map(_copy, photos.facts.take(pa.array(rows, pa.int64())).to_pylist()), strict=True))
    chosen = []
    for members in found:
        place_of = {row: place for place in members for row in photos.images[place]}
        best_copy, reason = best.best([copies[row] for row in place_of])
        image = next(row for row in place_of if copies[row] is best_copy)
        chosen.append((place_of[image], image, reason))
    sizes = [len(members) for members in found]
    best_of = np.repeat(np.array([place for place, _, _ in chosen], np.int64), sizes)
    turns, alike = _compared(photos, greys, best_of, np.array([m for members in found for m in members], np.int64))
    ends = np.cumsum(sizes)
    return [
        _Group(members, *each, turns[end - size : end], alike[end - size : end])
        for members, each, size, end in zip(found, chosen, sizes, ends, strict=True)
    ]


def _copy(facts: Mapping[str, Any]) -> best.Copy:
    return best.Copy(
        image_id=facts["image_id"],
        uri=facts["uri"],
        pixels=facts["width"] * facts["height"],
        format=facts["format"],
        facts=sum(facts[name] is not None for name in ("taken_at", "camera", "latitude")),
        size=facts["size"],
        modified=facts["modified"],
    )


def _compared(photos: _Photos, greys: _Greys, ones: I64, others: I64) -> tuple[Sequence[int], Sequence[float | None]]:
    """How each of the others is turned against the one (P,), and how alike they are then: None, and turned as the
    hashes have it, where one has no preview."""
    theirs = photos.phash[others]
    bits = np.array([np.bitwise_count(hashes.turned(photos.phash[ones], turn) ^ theirs) for turn in TURNS])
    turns, alike = np.array(TURNS)[bits.argmin(0)], np.full(len(others), np.nan)
    rows = np.flatnonzero(greys.seen(ones) & greys.seen(others) & (ones != others))
    for part in np.array_split(rows, len(rows) // likeness.BLOCK + 1):
        mine, copies = greys.of(ones[part]), greys.of(others[part])
        found = np.array([likeness.likeness(likeness.upright(mine, turn), copies) for turn in TURNS])
        surest = (found - UPRIGHT_BY * (np.array(TURNS) > 1)[:, None]).argmax(0)
        turns[part], alike[part] = np.array(TURNS)[surest], found[surest, np.arange(len(part))]
    turns[ones == others], alike[ones == others] = 1, 1.0
    return turns.tolist(), [None if np.isnan(each) else float(each) for each in alike]


def _moments(library: LibraryFiles, photos: _Photos, greys: _Greys, standing: Bools) -> list[_Group]:
    """`standing`: which photos stand for a picture."""
    places = np.flatnonzero(standing)
    first, second = (places[side] for side in times.seconds_apart(photos.taken[places], photos.camera[places]))
    seen = greys.seen(first) & greys.seen(second)
    one: Bools = ~seen & (np.bitwise_count(photos.phash[first] ^ photos.phash[second]) <= BITS_SCENE)
    for part in np.array_split(np.flatnonzero(seen), seen.sum() // likeness.BLOCK + 1):
        one[part] = likeness.scene_likeness(greys.of(first[part]), greys.of(second[part])) >= SCENE
    found = _members(groups.chains(first[one], second[one], len(photos.row)))
    together = np.array([place for members in found for place in members], np.int64)
    sharp = dict(greys.each(together, likeness.sharpness))
    faces = _faces(library, {photos.facts["image_id"][row].as_py() for row in photos.row[together].tolist()})
    shown = [_best_shot(photos, sorted(members, key=lambda m: photos.taken[m]), sharp, faces) for members in found]
    return sorted(shown, key=lambda group: (photos.taken[group.members[0]], group.best))


def _best_shot(
    photos: _Photos, members: Sequence[int], sharp: Mapping[int, float], faces: Mapping[str, float]
) -> _Group:
    names = {photos.facts["image_id"][photos.row[place]].as_py(): place for place in members}
    shots = [
        best.Shot(
            image_id=name,
            uri=photos.facts["uri"][photos.row[place]].as_py(),
            faces=faces.get(name, 0.0),
            sharpness=sharp.get(place, 0.0),
        )
        for name, place in names.items()
    ]
    chosen, reason = best.best_shot(shots)
    place = names[chosen.image_id]
    return _Group(members, place, int(photos.row[place]), reason, [1] * len(members), [None] * len(members))


def _faces(library: LibraryFiles, images: set[str]) -> dict[str, float]:
    """image_id → the sum of the qualities of its faces, by the model that the library is used with."""
    sources = sources_of(library, "faces", dict(manifest.shards(library)))
    found: dict[str, float] = defaultdict(float)
    if sources and images:
        name = sources[0].fingerprint
        shards = manifest.committed(library, name)
        rows = tables.require(library, "faces", name, ["image_id", "quality"], shards)
        rows = rows.filter(pc.is_in(rows["image_id"], value_set=pa.array(sorted(images))))
        for image, quality in zip(rows["image_id"].to_pylist(), rows["quality"].to_pylist(), strict=True):
            found[image] += quality
    return found


def _rows(photos: _Photos, kind: str, found: Iterable[_Group]) -> Iterator[dict[str, Any]]:
    """Rows as SCHEMA; the best of a group first. Of a picture, all files that are the same."""
    names = ("image_id", "format", "size")
    columns = [photos.facts[name].to_pylist() for name in names]
    for number, group in enumerate(found, 1):
        rows = []
        for place, turn, alike in zip(group.members, group.turns, group.alike, strict=True):
            images = photos.images[place] if kind == duplicates.PICTURE else [int(photos.row[place])]
            for image in images:
                is_best = image == group.image
                row = {name: column[image] for name, column in zip(names, columns, strict=True)}
                row |= {"kind": kind, "group": number, "best": is_best, "reason": group.reason if is_best else None}
                rows.append(row | {"exact": place == group.best, "orientation": turn, "likeness": alike})
        yield from sorted(rows, key=lambda row: not row["best"])
