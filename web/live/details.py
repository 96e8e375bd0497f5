"""What the tables of a library say of one photo: read when its page is opened, a few rows of a few files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from muster.errors import MusterError
from muster.storage import layout, tables
from muster.web.album import Photo
from muster.web.live.columns import LiveSource, read_part

IMAGE_COLUMNS = ["image_id", "format", "latitude", "longitude"]
TAG_COLUMNS = ["title", "description", "keywords", "albums", "people", "rating", "latitude", "longitude"]
OBJECT_COLUMNS = ["image_id", "label", "score", "box_xyxy"]
SURE = 0.5  # score from which on an object is marked
SCENES = {"day": "by day", "night": "at night"}


@dataclass(frozen=True, slots=True)
class Thing:
    """`box`: [x0, y0, x1, y1] in full-size upright pixels."""

    label: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a task did not manage with this photo."""

    task: str
    kind: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Tags:
    """What its tags, sidecars and Takeout say of a photo. `people`: names without a place in it. `rating`: -1 to 5."""

    title: str = ""
    description: str = ""
    keywords: Sequence[str] = ()
    albums: Sequence[str] = ()
    people: Sequence[str] = ()
    rating: int | None = None
    position: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Details:
    """`size`: of the file, such as "3.4 MB"; "": not known. `position`: degrees, latitude and longitude. `scene`:
    "by day", "at night" or "": not known."""

    size: str
    format: str
    position: tuple[float, float] | None
    things: Sequence[Thing]
    scene: str
    troubles: Sequence[Trouble]
    tags: Tags


def details_of(source: LiveSource, photo: Photo) -> Details | None:
    """None where the library does not have the photo any more."""
    try:
        image = _row(source, layout.rows("images", source.fingerprints["images"], photo.shard), IMAGE_COLUMNS, photo)
        found = _row(source, layout.manifest_shard(photo.shard), ["image_id", "size"], photo)
    except MusterError:  # a scan or `forget` has put other shards in their place
        return None
    if image is None or found is None:
        return None
    known = tables.descriptions(source.library)
    by_task = {task: [name for name, what in known.items() if what["task"] == task] for task in ("objects", "scenes")}
    latest = {task: _most(source, names) for task, names in by_task.items()}
    tags, used = _tags(source, photo), {*source.fingerprints.values(), *filter(None, latest.values())}
    return Details(
        size=_size(found["size"]),
        format=image["format"] or "",
        position=_position(image) or tags.position,
        things=list(_things(source, latest["objects"], photo)),
        scene=_scene(source, latest["scenes"], photo),
        troubles=list(_troubles(source, sorted(used), photo)),
        tags=tags,
    )


def _tags(source: LiveSource, photo: Photo) -> Tags:
    name = layout.TAGS
    if not source.library.has(name):
        return Tags()
    row = pc.index(read_part(source.library, name, ["image_id"])["image_id"], photo.image_id).as_py()
    if row < 0:
        return Tags()
    [found] = read_part(source.library, name, TAG_COLUMNS).slice(row, 1).to_pylist()
    texts: dict[str, Any] = {each: found[each] or "" for each in ("title", "description")}
    lists: dict[str, Any] = {each: found[each] or () for each in ("keywords", "albums", "people")}
    return Tags(**texts, **lists, rating=found["rating"], position=_position(found))


def _position(row: Mapping[str, Any]) -> tuple[float, float] | None:
    latitude, longitude = row["latitude"], row["longitude"]
    return None if latitude is None or longitude is None else (latitude, longitude)


def _size(number: int | None) -> str:
    if number is None:
        return ""
    return f"{number / 1e6:.1f} MB" if number >= 1e6 else f"{max(1, round(number / 1e3)):,} kB"


def _most(source: LiveSource, fingerprints: Sequence[str]) -> str:
    """That under which most shards are; "" where there is none."""
    return max(sorted(fingerprints), key=lambda name: len(tables.committed(source.library, name)), default="")


def _things(source: LiveSource, fingerprint: str, photo: Photo) -> Iterator[Thing]:
    """The surest first."""
    rows = _rows(source, "objects", fingerprint, OBJECT_COLUMNS, photo)
    for row in sorted(rows, key=lambda row: -row["score"]):
        if row["score"] >= SURE:
            yield Thing(row["label"], row["score"], tuple(row["box_xyxy"]))


def _scene(source: LiveSource, fingerprint: str, photo: Photo) -> str:
    rows = _rows(source, "scenes", fingerprint, ["image_id", "label"], photo)
    return next((SCENES.get(row["label"], row["label"]) for row in rows if row["label"]), "")


def _troubles(source: LiveSource, fingerprints: Sequence[str], photo: Photo) -> Iterator[Trouble]:
    for fingerprint in fingerprints:
        for row in _rows(source, "errors", fingerprint, ["image_id", "task", "error_kind", "error"], photo):
            yield Trouble(row["task"], row["error_kind"] or "error", row["error"] or "")


def _rows(
    source: LiveSource, table: str, fingerprint: str, columns: Sequence[str], photo: Photo
) -> list[dict[str, Any]]:
    """Of this photo; none where its shard has no such table."""
    name = layout.rows(table, fingerprint, photo.shard)
    library = source.library
    if not fingerprint or not library.has(layout.commit(fingerprint, photo.shard)) or not library.has(name):
        return []
    part = read_part(library, name, columns)
    return part.filter(pc.equal(part["image_id"], photo.image_id)).to_pylist()


def _row(source: LiveSource, name: str, columns: Sequence[str], photo: Photo) -> dict[str, Any] | None:
    part = read_part(source.library, name, columns)
    row = pc.index(part["image_id"], photo.image_id).as_py()
    return None if row < 0 else part.slice(row, 1).to_pylist()[0]
