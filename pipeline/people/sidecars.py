"""`muster tags --out`, `--beside` and `--csv`: people's names, for other programs. Photos are never written to."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from muster.errors import InputError, MusterError
from muster.pipeline import forget
from muster.pipeline.people.named_faces import Photo, photos_with_people
from muster.storage.disk import Folder
from muster.storage.exchange.photo import name_of, public_uri
from muster.storage.files import FULL
from muster.storage.library import LibraryFiles
from muster.storage.new_files import check_local, check_replaced
from muster.storage.tags import beside, people_csv
from muster.storage.tags.elements import SidecarError
from muster.storage.tags.write import Merged, merged, without
from muster.storage.uris import local_path, split_inside

FOLDERS = 100  # whose listings are kept: photos come nearly folder by folder


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A photo whose sidecar stays as it is, and why; or that has none."""

    uri: str
    error: str


@dataclass(frozen=True, slots=True)
class OtherName:
    """A face that another program's region in a sidecar calls `theirs`, and this library `ours`: it stays theirs."""

    uri: str
    theirs: str
    ours: str


@dataclass
class NamesWritten:
    """`photos`: with somebody in them who has a name and is not hidden; `faces`: of them. Sidecars: `new`, `changed`,
    `unchanged` and `removed`. Of the faces, `there`: others had written the same; `renamed`: their name gave way;
    `outside`: of the image."""

    out: str | None
    csv: str | None
    photos: int = 0
    faces: int = 0
    people: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    removed: int = 0
    there: int = 0
    renamed: int = 0
    outside: int = 0
    other_names: list[OtherName] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def write_names(
    library: LibraryFiles, out: Path | None, next_to_photos: bool, csv: Path | None, model: str | None
) -> NamesWritten:
    """Write sidecars into the folder `out`, below the whole path of each photo, or next to the photos; and a CSV.

    What other programs wrote into a sidecar stays. Where `out` has no sidecar of a photo, it begins as the one beside
    the photo. InputError before anything is written.
    """
    if (out is not None) == next_to_photos and not (csv and out is None):
        raise InputError("give `out`, a folder for sidecars, or say `beside`, and not both; or give `csv` alone")
    out, csv = (None if place is None else check_local(place, name) for place, name in ((out, "out"), (csv, "csv")))
    _check(library, out, csv)
    forget.settled(library)
    photos = photos_with_people(library, model)
    some = [photo for photo in photos if photo.people]
    result = NamesWritten(None if out is None else str(out), None if csv is None else str(csv), len(some))
    result.faces = sum(len(photo.people) for photo in some)
    result.people = len({each.person.person_id for photo in some for each in photo.people})
    if csv is not None:
        people_csv.write_people(_rows(some), csv)
    if out is not None:
        out.mkdir(exist_ok=True)
    if out is not None or next_to_photos:
        _Sidecars(out, beside.writer_of(library), result).write(photos)
    return result


def _check(library: LibraryFiles, out: Path | None, csv: Path | None) -> None:
    if csv is not None:
        library.check_outside(csv)
        check_replaced(csv)
    if out is not None:
        library.check_outside(out)
        if os.path.lexists(out) and (out.is_symlink() or not out.is_dir()):
            raise InputError(f"`out` {out} is there already, and no folder: give a folder, or a new name")
        if not out.absolute().parent.is_dir():
            raise InputError(f"`out` {out}: no folder {out.absolute().parent} to make it in")


def _rows(photos: Sequence[Photo]) -> Iterator[tuple[object, ...]]:
    for photo in photos:
        image = (photo.image_id, public_uri(photo.uri), name_of(photo.uri)[-1], photo.frame.width, photo.frame.height)
        for each in photo.people:
            yield (*image, each.person.person_id, each.person.name, *each.face.box_xyxy)


class _Sidecars:
    """Brings the sidecar of one photo after another to what it is to be."""

    def __init__(self, out: Path | None, writer: str, result: NamesWritten) -> None:
        self._out = None if out is None else Folder(str(out.absolute()))
        self._writer, self._result = writer, result
        self._names = lru_cache(FOLDERS)(_names)

    def write(self, photos: Sequence[Photo]) -> None:
        for photo in photos:
            try:
                self._one(photo)
            except (SidecarError, MusterError) as error:
                self._leave_out(photo, str(error))
            except OSError as error:
                if error.errno in FULL:
                    raise
                place = self._out.root if self._out else os.path.dirname(photo.uri)
                self._leave_out(photo, f"{place} cannot be written: {error.strerror or error}")

    def _leave_out(self, photo: Photo, why: str) -> None:
        self._result.left_out.append(LeftOut(public_uri(photo.uri), why))

    def _one(self, photo: Photo) -> None:
        path = None if split_inside(photo.uri) else local_path(photo.uri)
        if path is None and (self._out is None or split_inside(photo.uri)):
            if photo.people:
                self._leave_out(photo, "in a Parquet file or bucket there is no place beside it")
            return
        name = self._name(photo, path)
        next_to_it = None if path is None else Folder(os.path.dirname(path))
        folder, where = (self._out, "/".join((*name_of(photo.uri)[:-1], name))) if self._out else (next_to_it, name)
        assert folder is not None  # a photo without a path has `out`
        there = beside.read(folder, where)
        if not photo.people and (there is None or without(there.data, self._writer) == there.data):
            return
        if path is not None:
            _check_same(photo, path)
        start = there or (None if next_to_it is None else beside.read(next_to_it, name))
        found = merged(
            None if start is None else start.data, [each.face for each in photo.people], photo.frame, self._writer
        )
        changed = (there is not None or found.written + found.renamed > 0) and beside.put(
            folder, where, there, found.data
        )
        self._count(photo, found, there, changed)

    def _name(self, photo: Photo, path: str | None) -> str:
        if path is None:
            return name_of(photo.uri)[-1] + beside.SUFFIX
        folder, name = os.path.split(path)
        return self._names(folder).sidecar_of(name)

    def _count(self, photo: Photo, found: Merged, there: beside.Sidecar | None, changed: bool) -> None:
        result = self._result
        if not changed:
            result.unchanged += there is not None
        elif found.data is None:
            result.removed += 1
        elif there is None:
            result.new += 1
        else:
            result.changed += 1
        result.there += found.there
        result.renamed += found.renamed
        result.outside += found.outside
        result.other_names += [OtherName(public_uri(photo.uri), *names) for names in found.otherwise]


def _names(folder: str) -> beside.Names:
    try:
        return beside.Names(os.listdir(folder))
    except OSError:
        return beside.Names(())


def _check_same(photo: Photo, path: str) -> None:
    """SidecarError where the photo is not the one that was looked at, or its folder is not where the scan looked."""
    source = local_path(photo.source)
    if source and os.path.isdir(source):
        place, inside = os.path.realpath(os.path.dirname(path)), os.path.realpath(source)
        if os.path.commonpath([place, inside]) != inside:
            raise SidecarError(f"a link leads to it, out of {source}")
    try:
        status = os.stat(path)
    except OSError as error:
        raise SidecarError(f"the photo cannot be found: {error.strerror}") from None
    if photo.size is not None and (photo.size, photo.modified) != (status.st_size, status.st_mtime_ns // 1000):
        raise SidecarError("the photo was changed since it was scanned: scan, run and cluster again")
