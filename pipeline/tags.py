"""What other programs wrote of a library's photos, read into its table `tags`: only what is new or changed is read."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES, IMAGES_FINGERPRINT
from muster.storage.tags import reading, table, takeout, tree
from muster.storage.tags.beside import writer_of
from muster.storage.tags.regions import Picture
from muster.storage.tags.sidecars import Listing, Sidecars, of_folder, stamp

THREADS = 8  # that list folders and read files: they wait more than they compute


@dataclass(frozen=True)
class TagsSummary:
    """`photos`: local ones, also in zip archives. `read`: of these, now. `elsewhere`: in buckets, and in other files
    than zips, whose tags are not read. `tagged`: photos with tags. `regions`, `named`: in them, and those with a name.
    `people`: names, of regions and without. `keywords`, `albums`: different ones. `dated`, `placed`: photos with a
    date, or place, of tags. `remarks`: what was odd → in how many photos. `unlisted`: folders that could not be listed,
    and why."""

    photos: int
    read: int
    elsewhere: int
    tagged: int
    regions: int
    named: int
    people: int
    keywords: int
    albums: int
    dated: int
    placed: int
    remarks: Mapping[str, int] = field(default_factory=dict)
    unlisted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Photo:
    image_id: str
    path: str
    stamp: str
    sidecars: Sidecars


def read_tags(library: LibraryFiles) -> TagsSummary:
    """Bring the table up to date with the files of the library's photos. The caller holds the lock, see forget.locked.

    Photos of which neither the file nor a sidecar has changed since are not read again.
    """
    rows = manifest.read_manifest(library)
    local = _local(rows)
    with ThreadPoolExecutor(THREADS) as pool:
        listings = dict(zip(local, pool.map(lambda folder: _listed(folder, local[folder]), local), strict=True))
        photos = [photo for folder in local for photo in _photos(folder, local[folder], listings[folder])]
        before, known = _stamps(library), _rows(library)
        fresh = [photo for photo in photos if before.get(photo.image_id) != photo.stamp]
        pictures, own = _pictures(library) if fresh else {}, writer_of(library)
        said = dict(zip((p.image_id for p in fresh), pool.map(lambda p: _read(p, pictures, own), fresh), strict=True))
        titles = dict(zip(listings, pool.map(_album, listings.values()), strict=True))
    kept = {p.image_id: said[p.image_id] if p.image_id in said else known.get(p.image_id) for p in photos}
    albums = _albums(library, photos, titles)
    found = pa.Table.from_pylist(list(_with_albums(kept, albums)), table.SCHEMA)
    stamps = pa.Table.from_pylist([{"image_id": p.image_id, "stamp": p.stamp} for p in photos], table.READ)
    if not (found.equals(table.read(library)) and stamps.equals(table.read_stamps(library))):
        table.write(library, found, stamps)
    unlisted = {folder: listing.unread for folder, listing in listings.items() if listing.unread}
    return _summary(found, len(photos), len(fresh), rows.num_rows - len(photos), unlisted)


def _local(rows: pa.Table) -> dict[str, dict[str, list[tuple[str, object, object]]]]:
    """Folder, which may be one of a zip archive → name → image_id, size and time of each image that is that file."""
    found: dict[str, dict[str, list[tuple[str, object, object]]]] = defaultdict(lambda: defaultdict(list))
    columns = (rows[name].to_pylist() for name in ("image_id", "uri", "size", "modified"))
    for image_id, uri, size, modified in zip(*columns, strict=True):
        if (path := tree.path_of(uri)) is not None:
            folder, name = os.path.split(path)
            found[folder][name].append((image_id, size, modified))
    return found


def _listed(folder: str, photos: Mapping[str, object]) -> Listing:
    return of_folder(folder, list(photos))


def _photos(
    folder: str, photos: Mapping[str, Sequence[tuple[str, object, object]]], listing: Listing
) -> Iterator[_Photo]:
    for name, images in photos.items():
        path, sidecars = os.path.join(folder, name), listing.photos[name]
        for image_id, *known in images:
            yield _Photo(image_id, path, stamp(reading.VERSION, (path, *known), sidecars), sidecars)


def _stamps(library: LibraryFiles) -> dict[str, str]:
    rows = table.read_stamps(library)
    return dict(zip(rows["image_id"].to_pylist(), rows["stamp"].to_pylist(), strict=True))


def _rows(library: LibraryFiles) -> dict[str, dict[str, Any]]:
    return {row["image_id"]: row for row in table.read(library).to_pylist()}


def _pictures(library: LibraryFiles) -> dict[str, Picture]:
    """image_id → its size and orientation, of those that a run has decoded."""
    rows = _images(library, ["image_id", "width", "height", "orientation"])
    known = rows.filter(pc.greater(pc.fill_null(rows["width"], 0), 0))
    return {row["image_id"]: Picture(row["width"], row["height"], row["orientation"] or 1) for row in known.to_pylist()}


def _images(library: LibraryFiles, columns: list[str]) -> pa.Table:
    shards = manifest.committed(library, IMAGES_FINGERPRINT)
    rows = tables.read(library, "images", IMAGES_FINGERPRINT, columns, shards)
    return IMAGES.empty_table().select(columns) if rows is None else rows


def _read(photo: _Photo, pictures: Mapping[str, Picture], own: str) -> dict[str, Any] | None:
    """Regions that this library wrote say nothing: a name that is taken back would come back by them."""
    picture = pictures.get(photo.image_id)
    return reading.read_tags(photo.path, photo.sidecars, None if picture is None else lambda: picture, own)


# ---- albums ----------------------------------------------------------------------------------------------------------


def _album(listing: Listing) -> str | None:
    """What a folder is called that is an album of Takeout's."""
    for path in listing.albums:
        try:
            with tree.opened(path, follow=False) as file:
                title = takeout.album_title(file.read(takeout.MOST + 1))
        except (OSError, ValueError):
            continue
        if title is not None:
            return title
    return None


def _albums(library: LibraryFiles, photos: Sequence[_Photo], titles: Mapping[str, str | None]) -> dict[str, list[str]]:
    """image_id → the albums that it, or an exact copy of it, is in: Takeout has a copy of a photo in each."""
    own = {p.image_id: title for p in photos if (title := titles[os.path.dirname(p.path)]) is not None}
    if not own:
        return {}
    images = _images(library, ["image_id", "sha256"])
    content = dict(zip(images["image_id"].to_pylist(), images["sha256"].to_pylist(), strict=True))
    of_content: dict[str, set[str]] = defaultdict(set)
    for image_id, title in own.items():
        of_content[content.get(image_id) or image_id].add(title)
    return {p.image_id: sorted(of_content.get(content.get(p.image_id) or p.image_id, ())) for p in photos}


def _with_albums(
    kept: Mapping[str, dict[str, Any] | None], albums: Mapping[str, list[str]]
) -> Iterator[dict[str, Any]]:
    """The rows of photos of which something is said, in the order of their ids."""
    for image_id in sorted(kept):
        row, mine = kept[image_id], albums.get(image_id, [])
        if row is not None and (mine or row["files"]):
            yield {**row, "image_id": image_id, "albums": mine}
        elif row is None and mine:
            yield {**_EMPTY, "image_id": image_id, "albums": mine}


_EMPTY: Mapping[str, Any] = {
    **{field.name: [] for field in table.SCHEMA if pa.types.is_list(field.type)},
    "favourite": False,
}


def _summary(rows: pa.Table, photos: int, read: int, elsewhere: int, unlisted: Mapping[str, str]) -> TagsSummary:
    said = rows.to_pylist()
    names = [region["name"] for row in said for region in row["regions"] if region["name"]]
    everybody = {*names, *(name for row in said for name in row["people"])}
    return TagsSummary(
        photos=photos,
        read=read,
        elsewhere=elsewhere,
        tagged=rows.num_rows,
        regions=sum(len(row["regions"]) for row in said),
        named=len(names),
        people=len({name.casefold() for name in everybody}),
        keywords=len({word.casefold() for row in said for word in row["keywords"]}),
        albums=len({title for row in said for title in row["albums"]}),
        dated=rows.num_rows - rows["taken_at"].null_count,
        placed=rows.num_rows - rows["latitude"].null_count,
        remarks=dict(Counter(remark for row in said for remark in row["remarks"]).most_common()),
        unlisted=unlisted,
    )
