"""`muster copy`: the photos of one person, as files in a folder."""

import hashlib
import os
from collections.abc import Callable, Mapping
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import Any

from muster.errors import ImageError, MusterError
from muster.pipeline import forget
from muster.pipeline.people.pages import source_of
from muster.pipeline.people.whom import find
from muster.storage import manifest, tables
from muster.storage.exchange.formats import check_out
from muster.storage.exchange.photo import NAMELESS, name_of, parts_of, public_uri
from muster.storage.library import LibraryFiles
from muster.storage.new_files import new_folder
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.photos.reader import Reader
from muster.storage.uris import local_path, split_inside
from muster.web.album import load_album

SUFFIXES = {"jpeg": ".jpg", "tiff": ".tif"}


def copy_photos(library: LibraryFiles, person: str, out: Path, hard_links: bool, model: str | None) -> dict[str, Any]:
    """Write the originals of a person's photos into the new folder `out`, one of exact copies; what was written.

    `person`: as `find` takes it. `left_out`: photos that are gone, or other files than when they were looked at.
    InputError before anything is written, MusterError where nothing can be.
    """
    out = Path(os.path.expanduser(out))
    check_out(out, library, folder=True)
    forget.settled(library)
    found = find(load_album(source_of(library, model)).everybody, person, library.uri)
    digests = {photo.image_id: photo.sha256 for photo in found.photos}
    rows = manifest.read_manifest(library)
    named = manifest.named(library, rows)
    wanted = [
        (row, uri, source)
        for row, (uri, source) in zip(rows.to_pylist(), named, strict=True)
        if row["image_id"] in digests
    ]
    suffixes = _suffixes(library)
    reader, left_out, linked = Reader(uri for _, uri, _ in wanted), [], 0
    with new_folder(out) as folder:
        for row, uri, source in wanted:
            try:
                data = reader.read(uri, source)
                if digests[row["image_id"]] not in (row["image_id"], hashlib.sha256(data).hexdigest()):
                    raise ImageError("changed", f"{uri} is another file than when it was looked at")
                name = _name(row, uri, suffixes.get(row["image_id"], ""))
                linked += _write(folder, name, row, uri, data, hard_links)
            except ImageError as error:
                left_out.append({"uri": public_uri(uri), "error": str(error)})
        if len(left_out) == len(wanted):
            raise MusterError(f"none of the {len(wanted)} photos of {found.title} can be read: {left_out[0]['error']}")
    return {
        "out": str(out),
        "person": found.cluster_id,
        "number": found.number,
        "name": found.name,
        "photos": len(wanted) - len(left_out),
        "linked": linked,
        "left_out": left_out,
        "library": public_uri(library.uri),
    }


def _suffixes(library: LibraryFiles) -> Mapping[str, str]:
    """image_id → the ending of files of its format."""
    shards = manifest.committed(library, IMAGES_FINGERPRINT)
    rows = tables.require(library, "images", IMAGES_FINGERPRINT, ["image_id", "format"], shards)
    formats = zip(rows["image_id"].to_pylist(), rows["format"].to_pylist(), strict=True)
    return {image: SUFFIXES.get(form, f".{form}") for image, form in formats if form}


def _name(row: Mapping[str, Any], uri: str, suffix: str) -> str:
    """A file's own name; of one inside another file what its column `file` says, or its
    key and that file's."""
    if known := parts_of(str(row.get("file") or "")):
        name = known[-1]
    elif (inside := split_inside(uri)) and inside.kind != "member":
        name = f"{PurePosixPath(name_of(inside.container)[-1]).stem}-{inside.key}{suffix}"
    else:
        name = name_of(uri)[-1]
    return name if PurePosixPath(name).suffix else f"{name}{suffix}"


def _write(folder: Path, name: str, row: Mapping[str, Any], uri: str, data: bytes, hard_links: bool) -> bool:
    """Whether it is a link, as rows of Parquet files and what is in a bucket cannot be."""
    path = None if split_inside(uri) else local_path(uri)
    if hard_links and path is not None:
        there = os.path.realpath(path)
        try:
            _place(folder, name, row["image_id"], lambda new: os.link(there, new))
        except OSError as error:
            raise ImageError("unreadable", f"{uri} cannot be linked: {error.strerror}") from error
        return True

    def write(new: Path) -> None:
        with open(new, "xb") as file:
            file.write(data)

    new = _place(folder, name, row["image_id"], write)
    if path is not None:
        status = os.stat(path)
        os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif row["modified"] is not None:
        os.utime(new, (row["modified"].timestamp(),) * 2)
    return False


def _place(folder: Path, name: str, image_id: str, make: Callable[[Path], None]) -> Path:
    """Have the file made under its name, or that with a number where it is taken, or where neither can be its id."""
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    try:
        for each in chain([name], (f"{stem}-{number}{suffix}" for number in count(2))):
            try:
                make(folder / each)
                return folder / each
            except FileExistsError:
                continue
    except OSError as error:
        if error.errno not in NAMELESS:
            raise
    make(folder / f"{image_id}{suffix[:10]}")
    return folder / f"{image_id}{suffix[:10]}"
