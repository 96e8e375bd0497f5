"""A photo and what tasks found in it, as the formats of this folder write it, and its name there."""

import errno
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, takewhile
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from muster.storage.uris import local_path, split_inside

Box = tuple[float, float, float, float]  # x0, y0, x1, y1
Outline = Sequence[tuple[float, float]]  # x, y of each corner, closed
Name = tuple[str, ...]  # folders, and the name of a file

# What is wrong with one name: too long, no text for this disk, or a folder of the name of a file; not a full disk.
NAMELESS = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EEXIST, errno.ENOTDIR)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a task found in a photo; all coordinates in pixels of the full-size upright image.

    `whole`: it is said of the whole photo; `box` is then that. `rle`: of masks, COCO's compressed form, {"size":
    [height, width], "counts": str}. `outlines`: of masks, where they were asked for. `landmarks`: of faces, five
    points. `face_id`: what a task names its rows by, as `faces` does. `person` (an id), `person_name`, `certainty`:
    of a face of somebody, see muster.storage.people.view.
    """

    task: str
    label: str
    score: float | None
    box: Box
    rle: Mapping[str, Any] | None = None
    outlines: Sequence[Outline] = ()
    landmarks: Outline = ()
    face_id: str | None = None
    person: str | None = None
    certainty: float | None = None
    whole: bool = False
    person_name: str | None = None

    @property
    def who(self) -> dict[str, Any]:
        """Of a face, whose it is."""
        if self.face_id is None:
            return {}
        about = {"person": self.person, "person_name": self.person_name, "certainty": self.certainty}
        return {"face_id": self.face_id, **about}

    @property
    def area(self) -> int | None:
        """Pixels of its mask, if it has one."""
        if self.rle is None:
            return None
        from pycocotools import mask

        return int(mask.area(self.rle))


@dataclass(frozen=True, slots=True)
class AnnotatedPhoto:
    """`name`: the path that stands for it in exports, relative, with forward slashes. `width`, `height`: full size.

    `uri`, `source`: as muster.storage.photos.reader.Reader takes them. `user`: the columns of the user.
    """

    image_id: str
    uri: str
    name: str
    width: int
    height: int
    findings: Sequence[Finding] = ()
    sha256: str | None = None  # of the file when it was looked at
    source: str = ""
    user: Mapping[str, Any] = field(default_factory=dict)


Photos = Iterable[AnnotatedPhoto]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A photo that has no file in an export, and why."""

    photo: AnnotatedPhoto
    error: str


# ---- names -----------------------------------------------------------------------------------------------------------


def name_of(uri: str) -> Name:
    """`/a/1.jpg` → ("a", "1.jpg"); `s3://bucket/b%20c.jpg?region=x` → ("bucket", "b c.jpg").

    An image inside another file: the name of that file, then its row, time or own name. A name on this disk that is not
    UTF-8 stays what it is, as Python spells it, so that it still leads there.
    """
    if (inside := split_inside(uri)) is not None:
        return (*name_of(inside.container), *parts_of(unquote(inside.key.partition("&at=")[0])))
    if (path := local_path(uri)) is not None:
        return parts_of(path)
    return parts_of(unquote(uri.partition("://")[2].partition("?")[0].rpartition("@")[2]))


def parts_of(path: str) -> Name:
    """The parts of a path, without those that lead out of a folder."""
    return tuple(part.replace("\0", "_") for part in path.split("/") if part not in ("", ".", ".."))


def common_folder(names: Iterable[Name]) -> Name:
    """The folders that all names begin with; () where there is no name."""
    rest = iter(names)
    common = next(rest, ())[:-1]
    for name in rest:
        same = takewhile(lambda pair: pair[0] == pair[1], zip(common, name[:-1], strict=False))
        common = tuple(folder for folder, _ in same)
    return common


def public_uri(uri: str) -> str:
    """Without user name and password."""
    return uri if uri.startswith("file://") else re.sub(r"^(\w+://)[^/@]*@", r"\1", uri)


def file_of(folder: Path, photo: AnnotatedPhoto, suffix: str) -> IO[str] | LeftOut:
    """The file of a photo, in the sub-folder that its name has: `a/1.jpg` → `a/1.txt`.

    Where a photo of the same stem was first (`a/1.png`), its whole name is kept: `a/1.png.txt`, then `a/1.png-2.txt`. A
    name that the disk does not take costs this file alone: by another name no reader would find it.
    """
    path = folder / photo.name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stem in chain([path.stem, path.name], (f"{path.name}-{i}" for i in count(2))):
            try:
                return open(path.parent / f"{stem}{suffix}", "x", encoding="utf-8")
            except FileExistsError:
                continue
    except OSError as error:
        if error.errno not in NAMELESS:
            raise
        return LeftOut(photo, f"no file of its name can be written: {error.strerror}")
    raise AssertionError("count() does not end")
