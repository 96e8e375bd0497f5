"""The images that a source holds: files of folders, globs and buckets, or the rows of Parquet files."""

import os
from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

from muster.errors import InputError, MissingError
from muster.storage.library import LibraryFiles
from muster.storage.photos import parquet_rows
from muster.storage.photos.listing import File, list_files, locate
from muster.storage.photos.parquet_rows import SCHEMA, rows_of

_SUFFIXES = ".jpg .jpeg .jpe .jfif .mpo .png .webp .heic .heif .hif .avif .tif .tiff .bmp .gif"
IMAGE_SUFFIXES = frozenset(_SUFFIXES.split())
PARQUET = ".parquet"


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
    for file in list_files(place, library, found.unreadable, found.outside, follow_links):
        suffix = _suffix(file.uri)
        if suffix == PARQUET:
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
        listed = parquet_rows.read(kinds["parquet"], library)
        found.rows, found.large_groups = listed.rows, listed.large_groups
        found.skipped.update(listed.skipped)
    if not found.rows.num_rows:
        kind = InputError if found.folder is None else MissingError
        raise kind(_nothing_found(source, found))
    return found


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
