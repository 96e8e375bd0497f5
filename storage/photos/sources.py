"""The images that a source holds: files of folders, globs and buckets, or the rows of Parquet files."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from pyarrow.fs import FileType

from muster.errors import InputError, MissingError
from muster.storage.library import LibraryFiles
from muster.storage.photos import parquet_rows
from muster.storage.photos.listing import File, Place, list_files, locate
from muster.storage.photos.parquet_rows import SCHEMA, rows_of
from muster.storage.retry import retried

_SUFFIXES = ".jpg .jpeg .jpe .jfif .mpo .png .webp .heic .heif .hif .avif .tif .tiff .bmp .gif"
IMAGE_SUFFIXES = frozenset(_SUFFIXES.split())
PARQUET = ".parquet"
PARQUET_SUFFIXES = (PARQUET, ".parq", ".pq")
_UNFINISHED = re.compile(r"/_[^/=]*/")  # in Spark's folders _temporary, and others of such names, lies what is no data
_MANAGED = re.compile(r"/_delta_log/|/metadata/[^/]*\.metadata\.json")


@dataclass
class Found:
    """What one source holds.

    `source`: its name in tables. `rows`: SCHEMA and user columns. `from_parquet`: whether Parquet files gave them.
    `folder`: URI of the folder that was searched, if any; `unreadable`: URIs of folders in it that could not be;
    `outside`: links that lead out of it and were not followed.
    `skipped`: suffix → number of files that are no images. `large_groups`: as in manifest.ScanResult.
    """

    source: str
    folder: str | None = None
    rows: pa.Table = field(default_factory=SCHEMA.empty_table)
    from_parquet: bool = False
    unreadable: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    large_groups: dict[str, int] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)  # why rows of Parquet files name nothing that is read → rows


def find_images(source: str, library: LibraryFiles | None, follow_links: bool = False) -> Found:
    """The images of one source: a folder, glob, image file or Parquet file, at a local path or a pyarrow.fs URI.

    A single file counts whatever its suffix. Folders and globs give their image files; only where they have none, the
    rows of their Parquet files. `library`: whose own files are left out; None where there is none yet. `follow_links`:
    also those that lead out of the folder. Raises InputError where there is nothing to find (MissingError: in a
    folder), or as locate() and list_files() do.
    """
    place = locate(source)
    found = Found(place.source, folder=None if place.file else place.uri)
    kinds: dict[str, list[File]] = {"image": [], "parquet": []}
    files = list_files(place, library, found.unreadable, found.outside, follow_links)
    for file in files:
        suffix = _suffix(file.uri)
        if suffix in PARQUET_SUFFIXES and not re.search(_UNFINISHED, file.uri[len(place.uri.partition("?")[0]) :]):
            kinds["parquet"].append(file)
        elif place.file or suffix in IMAGE_SUFFIXES:
            kinds["image"].append(file)
        else:
            found.skipped[suffix] += 1
    if kinds["image"]:
        found.rows = rows_of(kinds["image"])
        found.skipped.update([PARQUET] * len(kinds["parquet"]))
    elif kinds["parquet"]:
        found.from_parquet = True
        _refuse_managed(place, files)
        listed = parquet_rows.read(kinds["parquet"], place.uri, library)
        found.rows, found.large_groups, found.unread = listed.rows, listed.large_groups, listed.unread
        found.skipped.update(listed.skipped)
    if not found.rows.num_rows:
        kind = InputError if found.folder is None else MissingError
        raise kind(_nothing_found(source, found))
    return found


def _refuse_managed(place: Place, files: Sequence[File]) -> None:
    """InputError for a folder whose Parquet files are not all that they seem."""
    if place.file:
        return
    log = f"{place.path}/_delta_log"  # which a glob may have left out
    known = any(re.search(_MANAGED, file.uri) for file in files)
    if known or retried(f"look at {log}", lambda: place.fs.get_file_info(log)).type == FileType.Directory:
        raise InputError(
            f"{place.source} is a table of Delta Lake or Iceberg: rows that were deleted are still in its files, and"
            " only its log tells which. Write its present rows to a Parquet file of their own, and scan that"
        )


def _suffix(uri: str) -> str:
    return os.path.splitext(uri.partition("?")[0] if "://" in uri else uri)[1].lower()


def _nothing_found(source: str, found: Found) -> str:
    if found.from_parquet:
        return f"no images in {source}: it has no row with a uri or an image"
    others = ", ".join(f"{number} {suffix or 'without suffix'}" for suffix, number in found.skipped.most_common(8))
    return (
        f"no images in {source}"
        + (f"; skipped files: {others}" if others else "")
        + (f"; folders that cannot be read: {len(found.unreadable)}" if found.unreadable else "")
        + (f"; links that lead out of it: {len(found.outside)} (`follow_links` takes them in)" if found.outside else "")
        + f". Files ending in {_SUFFIXES} count, and any file named by itself"
    )
