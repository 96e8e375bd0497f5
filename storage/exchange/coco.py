"""COCO files, read and written: which photos there are, and what is in each, as boxes, masks and outlines; captions."""

import json
import math
import re
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any

from muster.errors import InputError
from muster.storage.exchange.photo import AnnotatedPhoto, Finding, LeftOut, Photos, public_uri
from muster.storage.files import read_regular
from muster.storage.new_files import new_text
from muster.storage.texts import decoded, file_name

Annotation = dict[str, Any]  # image_id, category_id, bbox [x, y, width, height], area, iscrowd, segmentation or None


@dataclass(frozen=True)
class CocoFile:
    """`images`: file name without folder, in NFC → id; `categories`: name → id. Every annotation is of one of each."""

    path: Path
    images: Mapping[str, int]
    categories: Mapping[str, int]
    annotations: Sequence[Annotation]

    def of_photos(self) -> dict[str, list[Annotation]]:
        """File name → its annotations."""
        names = {number: name for name, number in self.images.items()}
        found: dict[str, list[Annotation]] = {name: [] for name in self.images}
        for each in self.annotations:
            found[names[each["image_id"]]].append(each)
        return found

    def labels(self) -> dict[str, tuple[str, ...]]:
        """File name → the categories on it, each once; crowds too are there."""
        names = {number: name for name, number in self.categories.items()}
        return {
            photo: tuple(sorted({names[each["category_id"]] for each in annotations}))
            for photo, annotations in self.of_photos().items()
        }


def read_coco(path: Path, spellings: Mapping[str, str]) -> CocoFile:
    """A COCO file; InputError where it is none, or does not fit together. `spellings`: other names of categories."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = json.loads(decoded(read_regular(path))[0])
        images = [(file_name(image["file_name"]), int(image["id"])) for image in content["images"]]
        categories = {spellings.get(c["name"], c["name"]): int(c["id"]) for c in content["categories"]}
        boxes = [_annotation(number, annotation) for number, annotation in enumerate(content["annotations"], 1)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not COCO JSON of boxes: {_why(error)}") from None
    names, ids = dict(images), {i for _, i in images}
    if len(names) < len(images):
        twice = Counter(name for name, _ in images).most_common(1)[0][0]
        raise InputError(f"{path}: names {twice} twice; photos are told apart by name, without folder")
    if len(ids) < len(images):
        raise InputError(f"{path}: two of its images have one id")
    for box in boxes:
        if box["image_id"] not in ids:
            raise InputError(f"{path}: a box is of image id {box['image_id']}, and no image has that id")
        if box["category_id"] not in categories.values():
            raise InputError(f"{path}: a box is of category id {box['category_id']}, and there is none")
    return CocoFile(path, names, categories, boxes)


@dataclass(frozen=True)
class Captions:
    """`by_name`: file name without folder, in NFC → captions. `by_number`: where a file names no images, id → captions:
    COCO's photos are called by theirs, 000000000139.jpg or COCO_val2014_000000000139.jpg."""

    by_name: Mapping[str, Sequence[str]]
    by_number: Mapping[int, Sequence[str]]

    def of(self, name: str) -> Sequence[str]:
        """What is said of a photo, nothing where it is not known."""
        number = re.search(r"(?<![0-9])([0-9]{1,18})(?:\.\w+)?$", name)
        return self.by_name.get(name) or (self.by_number.get(int(number[1]), ()) if number else ())


def read_captions(path: Path) -> Captions:
    """Of a COCO file; InputError where it has none, or does not fit together."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = json.loads(decoded(read_regular(path))[0])
        names = {int(image["id"]): file_name(image["file_name"]) for image in content.get("images", ())}
        said: dict[int, list[str]] = defaultdict(list)
        for each in content["annotations"]:
            said[int(each["image_id"])].append(each["caption"].strip())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: not COCO JSON of captions: {_why(error)}") from None
    if strange := [number for number in said if names and number not in names]:
        raise InputError(f"{path}: a caption is of image id {strange[0]}, and no image has that id")
    return Captions({names[number]: texts for number, texts in said.items() if names}, {} if names else said)


def _why(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def _annotation(number: int, annotation: Mapping[str, Any]) -> Annotation:
    """Numbered from 1: pycocotools takes a find that matches number 0 for one that matches nothing."""
    x, y, width, height = map(float, annotation["bbox"])
    if not all(map(math.isfinite, (x, y, width, height))) or min(width, height) < 0:
        raise ValueError(f"a box of {annotation['bbox']}")
    return {
        "id": number,
        "image_id": int(annotation["image_id"]),
        "category_id": int(annotation["category_id"]),
        "bbox": [x, y, width, height],
        "area": annotation.get("area") or width * height,
        "iscrowd": int(annotation.get("iscrowd") or 0),
        "segmentation": annotation.get("segmentation"),
    }


# ---- writing ---------------------------------------------------------------------------------------------------------


def write_coco(photos: Photos, out: Path, categories: Mapping[str, int], info: Mapping[str, Any]) -> list[LeftOut]:
    """One JSON file of images, categories and annotations, both numbered from 1.

    Annotations wait, on disk, until the images are written.
    """
    with new_text(out) as file, tempfile.TemporaryFile("w+", dir=out.absolute().parent) as annotations:
        rows = [{"id": i, "name": name} for name, i in categories.items()]
        file.write(f'{{"info": {json.dumps(info)},\n"categories": {json.dumps(rows)},\n"images": [')
        number = count(1)
        for image, photo in enumerate(photos, 1):
            _write_row(file, image, _coco_image(image, photo))
            for finding in photo.findings:
                each = next(number)
                _write_row(annotations, each, _coco_annotation(each, image, categories[finding.label], finding))
        file.write('\n],\n"annotations": [')
        annotations.seek(0)
        shutil.copyfileobj(annotations, file)
        file.write("\n]}\n")
    return []


def _write_row(file: IO[str], number: int, row: Mapping[str, Any]) -> None:
    file.write((",\n" if number > 1 else "\n") + json.dumps(row))


def _coco_image(number: int, photo: AnnotatedPhoto) -> dict[str, Any]:
    size = {"width": photo.width, "height": photo.height}
    return {"id": number, "file_name": photo.name, **size, "muster_id": photo.image_id, "uri": public_uri(photo.uri)}


def _coco_annotation(number: int, image: int, category: int, finding: Finding) -> dict[str, Any]:
    x0, y0, x1, y1 = finding.box
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": finding.area if finding.rle else (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        **({"segmentation": finding.rle} if finding.rle else {}),
        "score": finding.score,
        "task": finding.task,
        **finding.who,
    }
