"""Annotations as files that other programs read: COCO JSON, CSV, YOLO's and labelme's folders.

Photos come one after another and are written as they come; only COCO's annotations wait, on disk, until the images are
written. What is written appears whole or not at all.
"""

import csv
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, takewhile
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from muster.errors import InputError
from muster.storage.library import Library
from muster.storage.new_files import cell, check_new, new_folder, new_text
from muster.storage.uris import local_path, split_inline

Box = tuple[float, float, float, float]  # x0, y0, x1, y1
Outline = Sequence[tuple[float, float]]  # x, y of each corner, closed
Name = tuple[str, ...]  # folders, and the name of a file


@dataclass(frozen=True, slots=True)
class Thing:
    """What a task found in a photo; all coordinates in pixels of the full-size upright image.

    `rle`: of masks, COCO's compressed form, {"size": [height, width], "counts": str}. `outlines`: of masks, where they
    were asked for. `landmarks`: of faces, five points.
    """

    task: str
    label: str
    score: float | None
    box: Box
    rle: Mapping[str, Any] | None = None
    outlines: Sequence[Outline] = ()
    landmarks: Outline = ()
    face_id: str | None = None


@dataclass(frozen=True, slots=True)
class Photo:
    """`name`: the path that stands for it in exports, relative, with forward slashes. `width`, `height`: full size.

    `uri`, `source`: as muster.storage.photos.reader.Reader takes them.
    """

    image_id: str
    uri: str
    name: str
    width: int
    height: int
    things: Sequence[Thing] = ()
    sha256: str | None = None  # of the file when it was looked at
    source: str = ""


@dataclass(frozen=True)
class Format:
    """`mask`: which form of masks it takes, "rle" or "outlines". `folder`: whether `--out` is one.

    `write(photos, out, categories, info)`: categories are name → COCO's id, in the order of YOLO's class numbers.
    """

    write: Callable[[Iterable[Photo], Path, Mapping[str, int], Mapping[str, Any]], None]
    mask: str
    folder: bool


# ---- names -----------------------------------------------------------------------------------------------------------


def name_of(uri: str) -> Name:
    """`/a/1.jpg` → ("a", "1.jpg"); `s3://bucket/b%20c.jpg?region=x` → ("bucket", "b c.jpg").

    An image inside a Parquet file: the name of that file, then the row.
    """
    if (inline := split_inline(uri)) is not None:
        return (*name_of(inline[0]), str(inline[1]))
    if "://" in uri:
        uri = unquote(uri.partition("://")[2].partition("?")[0].rpartition("@")[2])
    return parts_of(uri)


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


# ---- files -----------------------------------------------------------------------------------------------------------


def check_out(out: Path, library: Library, folder: bool) -> None:
    """InputError where nothing new can be written there.

    Nor into the library, where `muster forget` would not know what is to go.
    """
    check_new(out, folder)
    if library.holds(out):
        raise InputError(f"`out` {out} lies in the library {library.uri}: give a place outside of it")


def _create(folder: Path, name: str, suffix: str) -> IO[str]:
    """The file of a photo, in the sub-folder that its name has: `a/1.jpg` → `a/1.txt`.

    Where a photo of the same stem was first (`a/1.png`), its whole name is kept: `a/1.png.txt`, then `a/1.png-2.txt`.
    """
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for stem in chain([path.stem, path.name], (f"{path.name}-{i}" for i in count(2))):
        try:
            return open(path.parent / f"{stem}{suffix}", "x", encoding="utf-8")
        except FileExistsError:
            continue
    raise AssertionError("count() does not end")


# ---- formats ---------------------------------------------------------------------------------------------------------


def write_coco(photos: Iterable[Photo], out: Path, categories: Mapping[str, int], info: Mapping[str, Any]) -> None:
    """One JSON file of images, categories and annotations, both numbered from 1."""
    with new_text(out) as file, tempfile.TemporaryFile("w+", dir=out.absolute().parent) as annotations:
        rows = [{"id": i, "name": name} for name, i in categories.items()]
        file.write(f'{{"info": {json.dumps(info)},\n"categories": {json.dumps(rows)},\n"images": [')
        number = count(1)
        for image, photo in enumerate(photos, 1):
            _write_row(file, image, _coco_image(image, photo))
            for thing in photo.things:
                each = next(number)
                _write_row(annotations, each, _coco_annotation(each, image, categories[thing.label], thing))
        file.write('\n],\n"annotations": [')
        annotations.seek(0)
        shutil.copyfileobj(annotations, file)
        file.write("\n]}\n")


def _write_row(file: IO[str], number: int, row: Mapping[str, Any]) -> None:
    file.write((",\n" if number > 1 else "\n") + json.dumps(row))


def _coco_image(number: int, photo: Photo) -> dict[str, Any]:
    size = {"width": photo.width, "height": photo.height}
    return {"id": number, "file_name": photo.name, **size, "muster_id": photo.image_id}


def _coco_annotation(number: int, image: int, category: int, thing: Thing) -> dict[str, Any]:
    x0, y0, x1, y1 = thing.box
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": _area(thing) if thing.rle else (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        **({"segmentation": thing.rle} if thing.rle else {}),
        "score": thing.score,
        "task": thing.task,
    }


def _area(thing: Thing) -> int | None:
    if thing.rle is None:
        return None
    from pycocotools import mask

    return int(mask.area(thing.rle))


COLUMNS = (
    *("image_id", "uri", "file_name", "width", "height", "task", "label", "score", "x0", "y0", "x1", "y1"),
    *("area", "rle", "face_id"),
)


def write_csv(photos: Iterable[Photo], out: Path, categories: Mapping[str, int], info: Mapping[str, Any]) -> None:
    """One row per thing. `area`, `rle`: of masks; `face_id`: of faces. Formulas are disarmed, see `cell`."""
    with new_text(out) as file:
        writer = csv.writer(file)  # lines end in CR LF (RFC 4180); then a lone CR in a name is quoted too
        writer.writerow(COLUMNS)
        for photo in photos:
            image = (photo.image_id, public_uri(photo.uri), photo.name, photo.width, photo.height)
            for thing in photo.things:
                counts = thing.rle and thing.rle["counts"]
                found = (thing.task, thing.label, thing.score, *thing.box, _area(thing), counts, thing.face_id)
                row = dict(zip(COLUMNS, (*image, *found), strict=True))
                # COCO's letters, such as `=`, make no call and no address; changed they would be no mask.
                writer.writerow([value if name == "rle" else cell(value) for name, value in row.items()])


def write_yolo(photos: Iterable[Photo], out: Path, categories: Mapping[str, int], info: Mapping[str, Any]) -> None:
    """`labels/<name>.txt`, a line per box, or per part of a mask; empty where nothing was found. And `data.yaml`.

    Its images are those of `images.txt`, and not whatever the user puts into `images`: readers take an image without
    labels for one that shows nothing, and give `1.png` the labels of `1.jpg`.
    """
    numbers = {name: i for i, name in enumerate(categories)}
    with new_folder(out) as folder:
        lines = [f"  {i}: {json.dumps(name)}\n" for name, i in numbers.items()]
        # Without `path`: Ultralytics takes "." for where it was started, and nothing for the folder of this file.
        with open(folder / "data.yaml", "x", encoding="utf-8") as data:
            data.writelines(["train: images.txt\nval: images.txt\nnames:\n", *lines])
        (folder / "labels").mkdir()
        with open(folder / "images.txt", "x", encoding="utf-8", errors="backslashreplace") as images:
            for photo in photos:
                with _create(folder / "labels", photo.name, ".txt") as file:
                    file.writelines(_yolo_lines(photo, numbers))
                image = f"images/{photo.name}.jpg" if split_inline(photo.uri) else f"images/{photo.name}"
                if Path(file.name) == folder / _yolo_label(image) and "\n" not in image:
                    images.write(f"./{image}\n")


def _yolo_label(image: str) -> str:
    """Where YOLO's readers look for an image's labels: `images/a/1.jpg` → `labels/a/1.txt`."""
    before, _, after = f"/{image}".rpartition("/images/")
    return f"{before}/labels/{after.rpartition('.')[0]}.txt"[1:]


def _yolo_lines(photo: Photo, numbers: Mapping[str, int]) -> Iterator[str]:
    width, height = photo.width, photo.height
    for thing in photo.things:
        if thing.task == "masks":
            rows = [[v for x, y in outline for v in (x / width, y / height)] for outline in thing.outlines]
        else:
            x0, y0, x1, y1 = thing.box
            rows = [[(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height]]
        for row in rows:
            yield " ".join([str(numbers[thing.label]), *(f"{value:.6f}" for value in row)]) + "\n"


def write_labelme(photos: Iterable[Photo], out: Path, categories: Mapping[str, int], info: Mapping[str, Any]) -> None:
    """`<name>.json` per photo."""
    with new_folder(out) as folder:
        for photo in photos:
            with _create(folder, photo.name, ".json") as file:
                json.dump(_labelme(photo), file)


def _labelme(photo: Photo) -> dict[str, Any]:
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": [shape for number, thing in enumerate(photo.things, 1) for shape in _shapes(number, thing)],
        "imagePath": photo.name if split_inline(photo.uri) else local_path(photo.uri) or photo.name,
        "imageData": None,
        "imageHeight": photo.height,
        "imageWidth": photo.width,
    }


def _shapes(number: int, thing: Thing) -> Iterator[dict[str, Any]]:
    """The parts of one mask have one `group_id`."""
    x0, y0, x1, y1 = thing.box
    polygons = thing.task == "masks"
    for points in thing.outlines if polygons else [[(x0, y0), (x1, y1)]]:
        yield {
            "label": thing.label,
            "points": points,
            "group_id": number if len(thing.outlines) > 1 else None,
            "description": "",
            "shape_type": "polygon" if polygons else "rectangle",
            "flags": {},
            "score": thing.score,  # labelme keeps what it does not know
        }


FORMATS: Mapping[str, Format] = {
    "coco": Format(write_coco, "rle", folder=False),
    "csv": Format(write_csv, "rle", folder=False),
    "yolo": Format(write_yolo, "outlines", folder=True),
    "labelme": Format(write_labelme, "outlines", folder=True),
}
