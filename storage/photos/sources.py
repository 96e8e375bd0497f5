"""The images that a source holds: files of folders, globs and buckets, or the rows of Parquet files."""

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from operator import attrgetter

import pyarrow as pa
from pyarrow.fs import FileType

from muster.distribution import DISTRIBUTION
from muster.errors import InputError, MissingError
from muster.storage.files import open_regular
from muster.storage.http.addresses import private_addresses
from muster.storage.library import LibraryFiles
from muster.storage.photos import parquet_rows, video
from muster.storage.photos.containers import Items
from muster.storage.photos.first_bytes import (
    HEAD,
    IMAGE_SUFFIXES,
    LANCE,
    NO_PHOTOS,
    PARQUET_SUFFIXES,
    RAW,
    RAW_SUFFIXES,
    SUFFIXES,
    is_photo,
    refusal,
    stem_of,
    suffix_of,
)
from muster.storage.photos.kinds import of_suffix
from muster.storage.photos.left_out import CACHES, said, without_pairs
from muster.storage.photos.listing import File, Place, head_of, list_files, locate
from muster.storage.photos.live import CLIPS, hangs_on, stems
from muster.storage.photos.promotion import unite
from muster.storage.photos.rows import SCHEMA, rows_of
from muster.storage.photos.wishes import PLAIN, Wishes
from muster.storage.retry import retried
from muster.storage.uris import local_path

AT_ONCE = 8  # archives that are listed
PARQUET = PARQUET_SUFFIXES[0]
_UNFINISHED = re.compile(r"/_[^/=]*/")  # in Spark's folders _temporary, and others of such names, lies what is no data
_MADE = re.compile(r"/cache-[0-9a-f]+(?:_\d+_of_\d+)?\.arrow$")  # by `datasets`, of what lies beside it
_MANAGED = re.compile(r"/_delta_log/|/metadata/[^/]*\.metadata\.json")


@dataclass
class Found:
    """What one source holds.

    `source`: its name in tables. `rows`: SCHEMA and user columns; the first `files` of them are files, of which nothing
    is said. `from_parquet`: whether Parquet files gave them.
    `folder`: URI of the folder that was searched, if any; `unreadable`: URIs of folders in it that could not be;
    `outside`: links that lead out of it and were not followed.
    `left_out`: as in listing.Listing. `skipped`: suffix → number of files that are no images. `large_groups`: as in
    manifest.ScanResult. `groups`: Parquet file with images → rows of each of its row groups, where these are heavy.
    """

    source: str
    folder: str | None = None
    rows: pa.Table = field(default_factory=SCHEMA.empty_table)
    files: int = 0
    from_parquet: bool = False
    unreadable: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    large_groups: dict[str, int] = field(default_factory=dict)
    groups: dict[str, list[int]] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)  # why rows of Parquet files name nothing that is read → rows
    allow_private: bool = False  # whether its images may lie on web servers at private addresses


def find_images(source: str, library: LibraryFiles | None, wishes: Wishes = PLAIN) -> Found:
    """The images of one source: a folder, glob, image file or Parquet file, at a local path or a pyarrow.fs URI.

    A single photo counts whatever its suffix. Folders and globs give their image files and videos; where they have no
    images, the rows of their Parquet files; and only where they have none of these either, what is in their archives.
    `library`: whose own files are left out; None where there is none yet. Raises InputError where there is nothing to
    find (MissingError: in a folder), or as locate() and list_files() do.
    """
    with private_addresses(wishes.allow_private):
        return _find_images(source, library, wishes)


def _find_images(source: str, library: LibraryFiles | None, wishes: Wishes) -> Found:
    place = locate(source)
    listing = list_files(place, library, wishes.follow_links, wishes.exclude)
    found = Found(
        place.source,
        folder=None if place.file else place.uri,
        unreadable=listing.unreadable,
        outside=listing.outside,
        left_out=listing.left_out,
        allow_private=wishes.allow_private,
    )
    kinds: dict[str, list[File]] = {"image": [], "beside": [], "archive": [], "parquet": []}
    archives = {stem_of(file.uri) for file in listing.files if _is_archive(file)}
    for file in listing.files:
        suffix = suffix_of(file.uri)
        if suffix in PARQUET_SUFFIXES and not re.search(_UNFINISHED, file.uri[len(place.uri.partition("?")[0]) :]):
            # img2dataset writes 00000.parquet beside 00000.tar, with what is in the tar, too
            kinds["archive" if stem_of(file.uri) in archives else "parquet"].append(file)
        elif not place.file and re.search(_MADE, file.uri):
            found.left_out[CACHES] += 1
        elif container := of_suffix(suffix):
            kinds["beside" if container.beside_photos else "archive"].append(file)
        elif suffix in IMAGE_SUFFIXES or (_is_photo(source, place, suffix) if place.file else _looks_so(file, suffix)):
            kinds["image"].append(file)
        else:
            found.skipped[suffix] += 1
    if kinds["image"]:
        photos = rows_of(without_pairs(kinds["image"], attrgetter("uri"), found.left_out))
        _take_in(found, kinds["beside"], wishes, photos)
        _skip(found, kinds["archive"] + kinds["parquet"])
    elif kinds["parquet"]:
        found.from_parquet = True
        _refuse_managed(place, listing.files)
        listed = parquet_rows.read(kinds["parquet"], place.uri, library, wishes.column)
        found.rows, found.large_groups, found.unread = listed.rows, listed.large_groups, listed.unread
        found.groups = listed.groups
        found.skipped.update(listed.skipped)
        _skip(found, kinds["archive"] + kinds["beside"])
    else:
        _take_in(found, [*kinds["beside"], *filter(_is_archive, kinds["archive"])], wishes)
        _skip(found, [file for file in kinds["archive"] if not _is_archive(file)])
    if not found.rows.num_rows:
        kind = InputError if found.folder is None else MissingError
        raise kind(_nothing_found(source, found))
    return found


def _is_archive(file: File) -> bool:
    kind = of_suffix(suffix_of(file.uri))
    return kind is not None and not kind.beside_photos


def _skip(found: Found, files: Sequence[File]) -> None:
    found.skipped.update(PARQUET if _is_parquet(file) else suffix_of(file.uri) for file in files)


def _is_parquet(file: File) -> bool:
    return suffix_of(file.uri) in PARQUET_SUFFIXES


def _take_in(found: Found, files: Sequence[File], wishes: Wishes, rows: pa.Table | None = None) -> None:
    """What is in these files, beside `rows`. The user's columns become texts where those of two files differ."""
    parts = {found.source: rows} if rows is not None and rows.num_rows else {}
    stills = stems(rows["uri"].to_pylist()) if rows is not None and files else frozenset()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        listed = pool.map(lambda file: _listed(file, wishes, stills), files)
        for file, items in zip(files, listed, strict=True):
            parts[file.uri] = items.rows
            found.left_out.update(items.left_out)
            found.skipped.update(items.skipped)
    found.files = 0 if rows is None else rows.num_rows
    found.rows = unite(parts, texts=True) if parts else found.rows


def _listed(file: File, wishes: Wishes, stills: frozenset[str]) -> Items:
    if hangs_on(file.uri, stills):
        return Items(SCHEMA.empty_table(), Counter({CLIPS: 1}))
    container = of_suffix(suffix_of(file.uri))
    assert container is not None  # of files that were sorted out by their suffixes
    try:
        with private_addresses(wishes.allow_private):  # in this thread, too
            return container.list(file, wishes)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {file.uri}: {getattr(error, 'strerror', None) or error}") from None


def _refuse_managed(place: Place, files: Sequence[File]) -> None:
    """InputError for a folder whose Parquet files are not all that they seem."""
    if place.file:
        return
    root = place.path.rstrip("/")
    while "=" in root.rpartition("/")[2]:  # a partition of it
        root = root.rpartition("/")[0]
    logs = [f"{root}/_delta_log", f"{root}/.hoodie"]  # which a glob leaves out, and as hidden the listing
    there = retried(f"look at {root}", lambda: place.fs.get_file_info(logs))
    if any(re.search(_MANAGED, f.uri) for f in files) or any(info.type == FileType.Directory for info in there):
        raise InputError(
            f"{place.source} is a table of Delta Lake, Iceberg or Hudi: rows that were deleted are still in its files,"
            " and only its log tells which. Write its present rows to a Parquet file of their own, and scan that"
        )


def _looks_so(file: File, suffix: str) -> bool:
    """Whether a file of a folder, whose suffix says nothing (Google cuts names off), begins as a photo. In buckets
    that would be a request for each: there suffixes decide."""
    path = local_path(file.uri)
    if path is None or suffix in NO_PHOTOS or suffix.endswith("~"):  # an editor's copy of what it changed
        return False
    if not file.size:  # of the system's own files, which claim to be empty, some would be waited for without an end
        return False
    try:
        with open_regular(path) as opened:
            return is_photo(opened.read(HEAD))
    except OSError:
        return False


def _is_photo(source: str, place: Place, suffix: str) -> bool:
    """The same of a file that is named by itself. InputError, with what it is, where it is none."""
    if suffix == LANCE:
        raise InputError(f"{source} is a data set of Lance: pip install '{DISTRIBUTION}[lance]' to read it")
    try:
        head = head_of(place)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {source}: {getattr(error, 'strerror', None) or error}") from None
    if is_photo(head) and not (suffix in RAW_SUFFIXES and not RAW.read):
        return True
    raise InputError(f"{source} is {_video(suffix) or refusal(head, suffix)}")


def _video(suffix: str) -> str | None:
    missing = video.missing([suffix])
    return f"a video: {missing}" if missing else None


def _nothing_found(source: str, found: Found) -> str:
    if found.from_parquet:
        return f"no images in {source}: it has no row with a uri or an image"
    others = ", ".join(said(found.left_out, found.skipped))
    return (
        f"no images in {source}"
        + (f"; left out: {others}" if others else "")
        + (f"; folders that cannot be read: {len(found.unreadable)}" if found.unreadable else "")
        + (f"; links that lead out of it: {len(found.outside)} (`follow_links` takes them in)" if found.outside else "")
        + (f". {missing[0].upper()}{missing[1:]}" if (missing := video.missing(found.skipped)) else "")
        + f". Files ending in {SUFFIXES} count, and any photo or folder named by itself"
    )
