"""The manifest: one row per image found, in shards, which are the unit of work, of retry and of commit.

`LIBRARY/manifest/shard-<id>.parquet`; the id stands for the image_ids within and ends with their number. A scan changes
as few shards as it can, because a shard that stays keeps its tables without another look at them.

An image_id is given when a photo is first seen, and stays for as long as that is the same (storage/same_photos.py),
whatever its name, time and source: those are written into the shard that it is in, and no table is touched.

A scan may die between any two steps: new rows are written before old ones go, and every step can be repeated. While it
writes, `manifest/_scanning` lists what is to be dropped; where a scan left that file behind, repair() finishes the
dropping, and the next scan the rest. Until then an image may stand in two shards; read_manifest() shows it once. Two
images may have one name, where files had changed places.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import I64, Bools
from muster.errors import DecryptionError, InputError, MissingError, MusterError
from muster.storage import clusters, duplicates, index, layout, shared_shards, tables
from muster.storage.layout import SCANNING
from muster.storage.library import LibraryFiles, dump_json
from muster.storage.photos.aliases import other_names
from muster.storage.photos.kinds import is_in_order
from muster.storage.photos.left_out import total
from muster.storage.photos.listing import covers
from muster.storage.photos.promotion import unite
from muster.storage.photos.sources import Found, find_images
from muster.storage.photos.wishes import PLAIN, Wishes
from muster.storage.same_photos import Known, find, of_roster, same_photos
from muster.storage.tags import table as tags
from muster.storage.uris import allowing_private, exists, is_http, local_path, local_uri, refusal, split_inside

SCHEMA = pa.schema(
    {
        "image_id": pa.string(),  # 32 hex digits, given when the photo is first seen
        "uri": pa.string(),  # see storage/uris.py
        "size": pa.int64(),  # bytes; null where not known
        "modified": pa.timestamp("us", "UTC"),  # null where not known
        "source": pa.string(),  # the source that found it
    }
)
SHARDS_WANTED = 32  # of one scan, so that a small album still spreads over workers
SHARD_ROWS = (8, 256)  # at least, so that a shard is worth its files; at most, so that a retry is cheap
HOW_TO_DROP = "To drop its photos from the library, scan a folder above it that still holds photos."


@dataclass(frozen=True)
class ScanResult:
    """What a scan found, in images: `found` = `new` + `changed` + `unchanged`.

    `changed`: a known uri with other content. `moved`: of the unchanged, those with another uri or time than before.
    `gone`: dropped from the manifest. `duplicates`: rows dropped because another one of this scan is their file.
    `missing`: of what was found, names of local files that are not there. `left_out`: kind (recycle bins, thumbnails,
    …) → number of files and folders, as muster.storage.photos.left_out has them. `skipped`: suffix → number of files
    that are no images. `shards`: of the whole manifest, afterwards. `unreadable`: folders that could not be listed;
    what is known of them stays. `large_groups`: Parquet file with images → rows of its largest row group, where that
    makes reading slow. `links_out`: folder → links that lead out of it and were left out. `unread`: reason → rows of
    Parquet files that name nothing that is read here, such as http://; they are images with an error.
    """

    found: int
    new: int
    changed: int
    unchanged: int
    moved: int
    gone: int
    duplicates: int
    missing: int
    left_out: dict[str, int]
    skipped: dict[str, int]
    shards: int
    unreadable: list[str]
    large_groups: dict[str, int]
    links_out: dict[str, int]
    unread: dict[str, int]


def scan(
    library: LibraryFiles,
    sources: Sequence[str],
    wishes: Wishes = PLAIN,
    verify: bool = False,
) -> ScanResult:
    """Bring the manifest up to date with what `sources` hold; other images stay. The caller holds library.lock().

    `verify`: files are read to find those that changed, and kept their size and time.
    Raises InputError or MusterError, before anything is written, where a source cannot be used.
    """
    return take_in(library, found_in(library, sources, wishes), verify)


def found_in(library: LibraryFiles | None, sources: Sequence[str], wishes: Wishes = PLAIN) -> list[Found]:
    """What `sources` hold, as `find_images` has it. `library`: None where it is yet to be made."""
    if not sources:
        raise InputError("nothing to scan: name at least one folder, file, glob or Parquet file")
    try:
        found = [find_images(source, library, wishes) for source in sources]
    except MissingError as error:
        hint = f". {HOW_TO_DROP}" if library and _knows_some(library, sources) else ""
        raise MissingError(f"{error}{hint}") from None
    for place in found:
        if library and place.from_parquet and place.source != library.uri_of(layout.ROSTER):
            _check_files(library, place)
    return found


def _missing(found: pa.Table) -> int:
    rows = found["uri"].filter(pc.is_null(found["modified"])).to_pylist()
    return sum(local_path(uri) is not None and split_inside(uri) is None for uri in rows)


def _check_files(library: LibraryFiles, place: Found) -> None:
    """A Parquet file may be here while the disk is not mounted whose files it names.

    Raises MissingError where none of them is there, and some were when they were scanned before.
    """
    if not place.rows["modified"].null_count:
        return
    uris = [uri for uri in place.rows["uri"].to_pylist() if local_path(uri) is not None and split_inside(uri) is None]
    named = pc.is_in(place.rows["uri"], value_set=pa.array(uris, pa.string()))
    if not uris or pc.any(pc.and_(named, pc.is_valid(place.rows["modified"]))).as_py():
        return
    stored = read_manifest(library)
    seen = pc.and_(pc.is_in(stored["uri"], value_set=pa.array(uris, pa.string())), pc.is_valid(stored["modified"]))
    if pc.any(seen).as_py():
        raise MissingError(
            f"no file that {place.source} names is there any more, such as {uris[0]}: is a disk not mounted? To drop"
            f" its photos from the library, `forget` {place.source}"
        )


def _knows_some(library: LibraryFiles, sources: Sequence[str]) -> bool:
    """Whether images of these are in the manifest."""
    uris = read_manifest(library)["uri"].to_pylist()
    return any(any(map(covers(source), uris)) for source in sources)


def take_in(library: LibraryFiles, each: Sequence[Found], verify: bool = False) -> ScanResult:
    """What `scan` does with what its sources hold. The caller holds library.lock()."""
    places = list({place.source: place for place in each}.values())
    found, told, duplicates = _merge(places)
    repair(library)
    with _writing(library):
        library.remove_temporary()
        shared_shards.remove_all(library)
        old, stored = _stored(library)
        renamed, folders = _first_names(stored, found)
        first = _first_of_each(renamed["uri"])
        found, told = renamed.filter(pa.array(first)), told[first]
        searched = [named for place in places for named in (place, *_under_other_names(place, folders))]
        plan = _plan(library, old, stored, found, told, searched, verify)
        library.write(SCANNING, dump_json(plan.dropped))
        _write_all(library, _moved(old, plan))
        _write_all(library, _cut(plan.fresh, {file: rows for place in places for file, rows in place.groups.items()}))
        _drop(library, old, plan)
        library.remove(SCANNING)
    new = plan.fresh.num_rows - plan.changed
    return ScanResult(
        found=found.num_rows,
        new=new,
        changed=plan.changed,
        unchanged=found.num_rows - plan.fresh.num_rows,
        moved=plan.moved,
        gone=len(plan.dropped["gone"]),
        duplicates=duplicates + int((~first).sum()),
        missing=_missing(found),
        left_out=total(place.left_out for place in places),
        skipped=total(place.skipped for place in places),
        shards=len(shards(library)),
        unreadable=sorted({folder for place in places for folder in place.unreadable}),
        large_groups={file: rows for place in places for file, rows in place.large_groups.items()},
        links_out={place.source: len(place.outside) for place in places if place.outside},
        unread=total(place.unread for place in places),
    )


def interrupted(library: LibraryFiles) -> bool:
    """Whether a scan was killed or is running, so that an image may be in two shards. Looks at one file."""
    return library.has(SCANNING)


def repair(library: LibraryFiles) -> bool:
    """Drop what a killed scan was going to drop; False if none was killed, which takes one look at a file.

    What it was going to add waits for the next scan. May be interrupted and repeated. The caller holds library.lock().
    Raises MusterError where the library cannot be written.
    """
    if not interrupted(library):
        return False
    with _writing(library):
        dropped = tables.read_json(library, SCANNING, gone=list, changed=list)
        old, stored = _stored(library)
        _drop(library, old, _dropping(stored, dropped))
        library.remove(SCANNING)
    return True


def forget(library: LibraryFiles, image_ids: Sequence[str]) -> None:
    """Drop these images, with every row of theirs in every table. The caller holds library.lock().

    May be interrupted and repeated. A later scan that still finds their files takes them for new.
    """
    repair(library)
    with _writing(library):
        library.write(SCANNING, dump_json({"gone": sorted(image_ids), "changed": []}))
    repair(library)


def forget_faces(library: LibraryFiles) -> None:
    """Take the faces of images that are no longer here out of what was made of several shards together, and their tags.

    Clusters lose their rows. Indexes hold embeddings, and go: they are made again when they are next needed.
    """
    index.drop(library)
    images = read_manifest(library)["image_id"]
    clusters.forget(library, images)
    tags.forget(library, images)
    duplicates.forget(library, images)


def shards(library: LibraryFiles) -> list[tuple[str, int]]:
    """Id and number of rows of every shard, in order of id. One listing, no file is opened."""
    matches = (re.fullmatch(r"shard-([0-9a-f]+-(\d+))\.parquet", name) for name in library.names(layout.MANIFEST))
    return [(match[1], int(match[2])) for match in matches if match]


def committed(library: LibraryFiles, fingerprint: str) -> list[str]:
    """Those shards that are done under this fingerprint, in order of id."""
    done = set(tables.committed(library, fingerprint))
    return [shard for shard, _ in shards(library) if shard in done]


def read_shard(library: LibraryFiles, shard: str) -> pa.Table:
    """The rows of one shard: SCHEMA and user columns. Raises MusterError where it is missing or damaged."""
    try:
        rows = tables.from_parquet(library.read(layout.manifest_shard(shard)))
        if rows.select(SCHEMA.names).schema.types != SCHEMA.types or shard_id(rows) != shard:
            raise pa.ArrowInvalid("not as Muster wrote it")
        return rows
    except (FileNotFoundError, KeyError, TypeError, OSError, pa.ArrowException, DecryptionError) as error:
        file = library.at(layout.manifest_shard(shard))
        raise MusterError(f"{file} is missing or damaged ({error}): delete it and run `scan` again") from None


def read_manifest(library: LibraryFiles) -> pa.Table:
    """All images: SCHEMA and the user columns of all sources, in order of shards. Empty where nothing was scanned."""
    rows = _read_shards(library, [shard for shard, _ in shards(library)])
    return rows.filter(pa.array(_first_of_each(rows["image_id"])))


def named(library: LibraryFiles, rows: pa.Table) -> list[tuple[str, str]]:
    """URI and source of each row, as muster.storage.photos.reader.Reader takes them.

    What stands in the library's own roster was looked at when the user's was read (storage/gallery/roster.py): it is
    its own source.
    """
    own, pairs = library.uri_of(layout.ROSTER), zip(rows["uri"].to_pylist(), rows["source"].to_pylist(), strict=True)
    return [(uri, uri if source == own else source) for uri, source in pairs]


def image_id(uri: str, size: int | None, modified: int | None) -> str:
    """The id of an image that is seen for the first time: where it is and what it is. `modified`: microseconds since
    1970, UTC."""
    return hashlib.blake2b(f"{uri}\0{size}\0{modified}".encode(), digest_size=16).hexdigest()


# ---- files -----------------------------------------------------------------------------------------------------------


@contextmanager
def _writing(library: LibraryFiles) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MusterError(
            f"cannot write to library {library.uri}: {error}. Run the same command again afterwards"
        ) from error


def shard_id(rows: pa.Table) -> str:
    """Of a shard of these rows: it stands for their image_ids, and ends with their number."""
    ids = "".join(sorted(rows["image_id"].to_pylist()))
    return f"{hashlib.blake2b(ids.encode(), digest_size=8).hexdigest()}-{rows.num_rows}"


def _write(library: LibraryFiles, rows: pa.Table) -> None:
    library.write(layout.manifest_shard(shard_id(rows)), tables.to_parquet(rows))


def _write_all(library: LibraryFiles, tables: Iterable[pa.Table]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(partial(_write, library), tables))


def _read_shards(library: LibraryFiles, ids: Sequence[str]) -> pa.Table:
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda shard: read_shard(library, shard), ids))
    return unite({"the manifest": SCHEMA.empty_table(), **dict(zip(ids, parts, strict=True))}, texts=True)


def _stored(library: LibraryFiles) -> tuple[list[tuple[str, int]], pa.Table]:
    """All shards and their rows, in order of shards."""
    old = shards(library)
    return old, _read_shards(library, [shard for shard, _ in old])


def _replace(library: LibraryFiles, old: str, new: str, keep: Sequence[str]) -> None:
    tables.replace_shard(library, old, new, keep)
    library.remove(layout.manifest_shard(old))


# ---- what a scan changes ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """`stored`: the manifest before. `rows`: what its rows become, of which `keep` stay. `fresh`: rows to add.

    `dropped`: the image_ids of all others, those whose file is "gone" and those that "changed" into fresh ones.
    `changed`: number of these fresh ones; `moved`: of rows with another uri, size or time than before.
    """

    stored: pa.Table
    rows: pa.Table
    keep: Bools
    fresh: pa.Table
    dropped: dict[str, list[str]]
    changed: int = 0
    moved: int = 0


def _merge(places: Sequence[Found]) -> tuple[pa.Table, Bools, int]:
    """What all sources hold, one row per uri; of which rows something is said, as of those from Parquet; how many rows
    were dropped.

    A row from Parquet goes before a mere file, because it knows more; then the source named first.
    """
    places = sorted(places, key=lambda place: not place.from_parquet)
    rows = unite({place.source: _in_order(place) for place in places})
    told = np.concatenate([np.arange(place.rows.num_rows) >= place.files for place in places])
    first = _first_of_each(rows["uri"])
    return rows.filter(pa.array(first)), told[first], int((~first).sum())


def _in_order(place: Found) -> pa.Table:
    """The rows of a source with `source` and an `image_id` that is still to be given, columns in order of SCHEMA."""
    rows = place.rows.add_column(0, "image_id", pa.nulls(place.rows.num_rows, pa.string()))
    if place.allow_private:
        allowed = allowing_private(place.source)
        sources = [allowed if is_http(uri) else place.source for uri in rows["uri"].to_pylist()]
    else:
        sources = [place.source] * rows.num_rows
    return rows.add_column(4, "source", pa.array(sources, pa.string()))


def _first_names(stored: pa.Table, found: pa.Table) -> tuple[pa.Table, dict[str, str]]:
    """What was found, under the first name of each file; and other names of folders → their first.

    A roster's photos keep the names that it has for them: by these its people are found.
    """
    others = (rows.select(SCHEMA.names).filter(pa.array(~of_roster(rows))) for rows in (stored, found))
    names, folders = other_names(*others)
    if names:
        uris = pa.array([names.get(uri, uri) for uri in found["uri"].to_pylist()], pa.string())
        found = found.set_column(found.schema.get_field_index("uri"), "uri", uris)
    return found, folders


def _under_other_names(place: Found, folders: Mapping[str, str]) -> Iterator[Found]:
    """A folder that was searched, under each name that it, or one in it, had before."""
    home = local_path(place.folder) if place.folder else None
    if home is None:
        return
    for other, first in folders.items():
        here = max(other, home, key=len)  # the two are one, or one lies in the other
        if all(f"{here}/".startswith(f"{above.rstrip('/')}/") for above in (other, home)):
            name = first + here[len(other) :]
            unreadable, outside = (_renamed(uris, here, name) for uris in (place.unreadable, place.outside))
            yield replace(place, folder=local_uri(name), unreadable=unreadable, outside=outside)


def _renamed(uris: Iterable[str], folder: str, name: str) -> list[str]:
    """Those that are this local folder or lie in it, where that has another name."""
    inside = re.compile(re.escape(folder.rstrip("/")) + r"(/.*)?", re.DOTALL)
    found = (inside.fullmatch(local_path(uri) or "") for uri in uris)
    return [local_uri(name + (match[1] or "")) for match in found if match]


def _plan(
    library: LibraryFiles,
    old: Sequence[tuple[str, int]],
    stored: pa.Table,
    found: pa.Table,
    of_users: Bools,
    places: Sequence[Found],
    verify: bool,
) -> _Plan:
    at = find(stored["uri"], found["uri"])  # stored row → found row of its uri
    gone, unseen = _lost(stored, at < 0, places, library.uri_of(layout.ROSTER))
    photo, untouched = same_photos(Known(library, old, stored, gone, unseen), found, verify)
    place = np.full(stored.num_rows, -1)  # stored row → found row that is its photo
    place[photo[photo >= 0]] = np.flatnonzero(photo >= 0)
    moved, told = (place >= 0) & ~untouched[place], (place >= 0) & of_users[place]
    changed = (place < 0) & (at >= 0) & (photo[at] < 0)
    gone = (place < 0) & (gone | (at >= 0)) & ~changed

    # A row with columns of the user (`of_users`), as from Parquet, replaces the stored one, and these too. A mere file
    # leaves them alone.
    both = unite({"the library": stored, "the sources": _named(stored, found, photo)})
    here, there = np.arange(stored.num_rows), stored.num_rows + place
    rows = _take(both, np.where(moved | told, there, here), np.where(told, there, here))
    new = np.flatnonzero(photo < 0)
    before = find(found["uri"], _where(stored["uri"], changed))[new]  # retouched, it is of the same person
    users, files = stored.num_rows + new, (before >= 0) & ~of_users[new]
    users[files] = np.flatnonzero(changed)[before[files]]
    return _Plan(
        stored=both.slice(0, stored.num_rows),
        rows=rows,
        keep=~gone & ~changed,
        fresh=_take(both, stored.num_rows + new, users),
        dropped={name: _ids(stored, mask) for name, mask in (("gone", gone), ("changed", changed))},
        changed=int((before >= 0).sum()),
        moved=int(moved.sum()),
    )


def _named(stored: pa.Table, found: pa.Table, photo: I64) -> pa.Table:
    """What was found, with the image_id of its photo. A new one gets one of its own: another photo may have been seen
    under this very name, with this size and time."""
    ids = stored["image_id"].take(pa.array(photo, mask=photo < 0)).to_pylist()
    new = np.flatnonzero(photo < 0)
    taken = set(stored["image_id"].to_pylist()) if len(new) else set()
    some = found.take(pa.array(new))
    columns = (some["uri"].to_pylist(), some["size"].to_pylist(), some["modified"].cast("int64").to_pylist())
    for row, uri, size, modified in zip(new.tolist(), *columns, strict=True):
        ids[row] = image_id(uri, size, modified)
        while ids[row] in taken:
            ids[row] = image_id(ids[row], size, modified)
    return found.set_column(0, "image_id", pa.array(ids, pa.string()))


def _dropping(stored: pa.Table, dropped: dict[str, list[str]]) -> _Plan:
    """Of an interrupted scan's plan, what can be done without its sources.

    A changed image stays until its new row is there: the next scan copies the user columns from it. A shard that stands
    beside its own remainder already becomes that remainder again.
    """
    gone, changed = (
        _mask(pc.is_in(stored["image_id"], pa.array(dropped[n], pa.string()))) for n in ("gone", "changed")
    )
    renewed = _mask(pc.is_in(stored["uri"], stored["uri"].filter(pa.array(~changed)).combine_chunks()))
    return _Plan(
        stored=stored, rows=stored, keep=~gone & ~(changed & renewed), fresh=stored.slice(0, 0), dropped=dropped
    )


def _ids(rows: pa.Table, mask: Bools) -> list[str]:
    ids: list[str] = rows["image_id"].filter(pa.array(mask)).to_pylist()
    return ids


def _lost(stored: pa.Table, missing: Bools, places: Sequence[Found], roster: str) -> tuple[Bools, Bools]:
    """Which of the stored rows that no source holds are to be dropped, and which were not looked for.

    Dropped are those that one of these sources found earlier; and those in a folder that was searched, whoever found
    them, if they were seen once and no file is there now. What lies in folders that could not be listed stays, and so
    does what was found by links that are not followed any more: neither one nor the other.
    """
    uris, seen = stored["uri"], pc.is_valid(stored["modified"]).to_numpy()
    names = {name for place in places for name in (place.source, allowing_private(place.source))}
    ours = _mask(pc.is_in(stored["source"], value_set=pa.array(names, pa.string())))
    if any(place.source == roster for place in places):  # also where the library was, before it was moved
        ours |= of_roster(stored)
    for folder in {place.folder for place in places if place.folder}:
        for row in np.flatnonzero(missing & ~ours & seen & _below(uris, folder)):
            uri, source = uris[int(row)].as_py(), stored["source"][int(row)].as_py()
            ours[row] = refusal(uri, source) is None and not exists(uri)
    hidden = np.zeros(stored.num_rows, bool)
    for folder in {folder for place in places for folder in place.unreadable + place.outside}:
        hidden |= _below(uris, folder) | _mask(pc.equal(uris, folder))
    return missing & ours & ~hidden, missing & ~ours & ~hidden


def _below(uris: pa.ChunkedArray, folder: str) -> Bools:
    prefix = folder.partition("?")[0] if "://" in folder else folder
    return _mask(pc.starts_with(uris, prefix.rstrip("/") + "/"))


def _cut(rows: pa.Table, groups: Mapping[str, Sequence[int]]) -> Iterator[pa.Table]:
    """Rows in order of uri, as shards. None has images of two Parquet files, so that a worker reads from one.

    `groups`: as in Found. A row group is read from its start for each shard in it, so shards are made of whole ones, as
    far as these are not larger than a shard may be.
    """
    size = min(max(-(-rows.num_rows // SHARDS_WANTED), SHARD_ROWS[0]), SHARD_ROWS[1])
    order = sorted((_place(uri), row) for row, uri in enumerate(rows["uri"].to_pylist()))
    for parquet, items in groupby(order, key=lambda item: item[0].parquet):
        ends = np.cumsum(groups.get(parquet, ()))
        by_group = groupby(items, key=lambda item: int(np.searchsorted(ends, item[0].place, "right")))
        found = [[row for _, row in group] for _, group in by_group]
        for numbers in _joined(found, size) if len(ends) else _pieces(found[0], size):
            yield rows.take(numbers)


class _Place(NamedTuple):
    """By which images are put into shards. `parquet`: the file with rows that it lies in, if it does; moments of videos
    lie together: a shard of them is read by one thread, and others by several."""

    parquet: str
    container: str
    place: float
    uri: str


def _place(uri: str) -> _Place:
    inside = split_inside(uri)
    if inside is None:
        return _Place("", "", 0, uri)
    together = inside.container if inside.kind == "row" else "in order" if is_in_order(inside.container) else ""
    return _Place(together, inside.container, inside.place, uri)


def _joined(groups: Iterable[list[int]], size: int) -> Iterator[list[int]]:
    """Groups put together up to `size`; those that are larger than any shard are cut, evenly."""
    shard: list[int] = []
    for group in groups:
        if shard and len(shard) + len(group) > size:
            yield shard
            shard = []
        shard += group
        if len(shard) > SHARD_ROWS[1]:
            yield from _pieces(shard, -(-len(shard) // -(-len(shard) // size)))
            shard = []
    if shard:
        yield shard


def _pieces(shard: list[int], size: int) -> Iterator[list[int]]:
    return (shard[start : start + size] for start in range(0, len(shard), size))


def _slices(old: Sequence[tuple[str, int]]) -> Iterator[tuple[str, slice]]:
    """Of each shard its rows, among those of all."""
    start = 0
    for shard, number in old:
        yield shard, slice(start, start + number)
        start += number


def _moved(old: Sequence[tuple[str, int]], plan: _Plan) -> Iterator[pa.Table]:
    """The shards in which a row has become another. They keep their ids, and so their tables."""
    for _, part in _slices(old):
        rows = plan.rows[part]
        if not rows.equals(plan.stored[part]):
            yield rows


def _drop(library: LibraryFiles, old: Sequence[tuple[str, int]], plan: _Plan) -> None:
    """Take what is not kept out of the stored shards, and let go of every face that went with its image."""
    for shard, part in _slices(old):
        if not plan.keep[part].all():
            _shrink(library, shard, plan.rows[part].filter(pa.array(plan.keep[part])))
    if any(plan.dropped.values()):
        forget_faces(library)


def _shrink(library: LibraryFiles, shard: str, rows: pa.Table) -> None:
    """Leave these of a shard's rows. What was computed for their images stays."""
    if rows.num_rows:
        _write(library, rows)
    if (new := shard_id(rows)) != shard:
        _replace(library, shard, new, rows["image_id"].to_pylist())


def _first_of_each(values: pa.ChunkedArray) -> Bools:
    """Which rows have a value that no earlier row has."""
    return find(values, values) == np.arange(len(values))


def _where(values: pa.ChunkedArray, mask: Bools) -> pa.ChunkedArray:
    return values.filter(pa.array(mask))


def _mask(values: pa.ChunkedArray) -> Bools:
    mask: Bools = np.array(values.to_numpy(), bool)
    return mask


def _take(rows: pa.Table, fixed: I64, users: I64) -> pa.Table:
    """Rows whose SCHEMA columns come from the rows numbered `fixed`, and whose user columns from those in `users`."""
    return pa.table({name: rows[name].take(fixed if name in SCHEMA.names else users) for name in rows.schema.names})
