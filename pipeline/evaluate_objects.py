"""Objects against COCO annotations: they take the same path as a user's, and pycocotools compares."""

import contextlib
import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.config import RunConfig
from pipeline.run import OnProgress, run
from pipeline.worker import describe
from storage import manifest, tables
from storage.errors import InputError
from storage.library import Library, open_library
from tasks.models import coco
from tasks.objects import Objects

TAIL = 0.01  # least score of what is judged: average precision is an area under all recalls
SURE = 0.5  # score of what precision and recall count
STATS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")  # the first of pycocotools' summary, in its order

Box = dict[str, Any]  # of COCO JSON: image_id, category_id, bbox [x, y, width, height]; and area, iscrowd or score


@dataclass(frozen=True)
class Labels:
    """What a COCO file says. `images`: file name without folder → id; `categories`: name, as Muster spells it → id."""

    path: Path
    images: Mapping[str, int]
    categories: Mapping[str, int]
    boxes: Sequence[Box]


def evaluate(images: str, annotations: Path, config: RunConfig, on_progress: OnProgress) -> dict[str, Any]:
    """Scan and run `images` into a library (config.library, or one thrown away where it is ""), and judge the objects.

    Judged are the photos that the file names; all of them must be there, because the average precision of a part is
    another figure. Judged are the categories that the model knows; `unknown_categories`: the others of the file.
    `unannotated`: photos that the file does not name. `errors`: photos that could not be read, judged as empty.
    `boxes`: annotated things, without crowds; precision and recall ignore crowds too. None where there is nothing to
    find. Raises InputError where file and photos do not fit.
    """
    labels = read_labels(annotations)
    config = replace(config, tasks=("objects",), classes={}, min_score=TAIL)
    if config.library:
        return _evaluate(images, labels, config, on_progress)
    with tempfile.TemporaryDirectory(prefix="muster-") as folder:
        return _evaluate(images, labels, replace(config, library=f"{folder}/library"), on_progress)


def _evaluate(source: str, labels: Labels, config: RunConfig, on_progress: OnProgress) -> dict[str, Any]:
    known = _known(config, labels)
    library = open_library(config.library, create=True)
    with library.lock():
        manifest.scan(library, [source])
    photos = _photos(manifest.read_manifest(library), labels)
    summary = run(config, on_progress)
    found = [
        {"image_id": photos[row["image_id"]], "category_id": known[row["label"]], "score": row["score"]}
        | {"bbox": _xywh(row["box_xyxy"])}
        for row in _objects(library, config).to_pylist()
        if row["image_id"] in photos and row["label"] in known
    ]
    return {
        **judge(labels, known, found),
        "unannotated": summary.images - len(photos),
        "unknown_categories": sorted(labels.categories.keys() - known.keys()),
        "errors": summary.errors,
    }


def _photos(images: pa.Table, labels: Labels) -> dict[str, int]:
    """image_id → id in the file, of the photos that it names; InputError where any of these is not there once."""
    names = [
        PurePosixPath(name or "").name
        for name in images["file" if "file" in images.column_names else "uri"].to_pylist()
    ]
    counts = Counter(name for name in names if name in labels.images)
    missing = [name for name in labels.images if name not in counts]
    if missing:
        example = next(iter(names), "none")
        raise InputError(
            f"--images lacks {len(missing)} of the {len(labels.images)} photos that {labels.path} names, such as"
            f" {missing[0]} (it has {example}): give all of them, or a file that names fewer"
        )
    if twice := [name for name, count in counts.items() if count > 1]:
        raise InputError(f"--images has {counts[twice[0]]} photos of the name {twice[0]}, and {labels.path} means one")
    ids = images["image_id"].to_pylist()
    return {i: labels.images[name] for i, name in zip(ids, names, strict=True) if name in labels.images}


def _known(config: RunConfig, labels: Labels) -> dict[str, int]:
    """Category name → id, of those that the model finds; InputError where it finds none of them."""
    classes = Objects(config.models.get("objects")).family.classes
    known = {name: i for name, i in labels.categories.items() if name in classes}
    if not known:
        raise InputError(
            f"--annotations {labels.path}: the model knows none of its categories {_some(labels.categories)};"
            f" it knows {_some(classes)}"
        )
    return known


def _some(given: Iterable[str]) -> str:
    names = list(given)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _objects(library: Library, config: RunConfig) -> pa.Table:
    fingerprint = tables.fingerprint(describe("objects", config.models.get("objects"), config.options("objects")))
    shards = [shard for shard, _ in manifest.shards(library)]
    return tables.require(library, "objects", fingerprint, ["image_id", "label", "score", "box_xyxy"], shards)


def _xywh(box: Sequence[float]) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def find_labels(images: str) -> Path:
    """`instances.json` in the folder of the images or beside it; InputError where neither is there."""
    places = [Path(images) / "instances.json", Path(images).parent / "instances.json"]
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"--images {images}: no instances.json in it or beside it; name the COCO file with --annotations")


def read_labels(path: Path) -> Labels:
    """A COCO file of boxes; InputError where it is none, or does not fit together."""
    if not path.is_file():
        raise InputError(f"--annotations {path}: no such file")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        images = [(PurePosixPath(image["file_name"]).name, int(image["id"])) for image in content["images"]]
        categories = {coco.SPELLINGS.get(c["name"], c["name"]): int(c["id"]) for c in content["categories"]}
        boxes = [_box(number, annotation) for number, annotation in enumerate(content["annotations"], 1)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--annotations {path}: not COCO JSON of boxes: {_why(error)}") from None
    names, ids = dict(images), {i for _, i in images}
    if len(names) < len(images):
        twice = Counter(name for name, _ in images).most_common(1)[0][0]
        raise InputError(f"--annotations {path}: names {twice} twice; photos are told apart by name, without folder")
    for box in boxes:
        if box["image_id"] not in ids:
            raise InputError(f"--annotations {path}: a box is of image id {box['image_id']}, and no image has that id")
        if box["category_id"] not in categories.values():
            raise InputError(f"--annotations {path}: a box is of category id {box['category_id']}, and there is none")
    return Labels(path, names, categories, boxes)


def _why(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def _box(number: int, annotation: Mapping[str, Any]) -> Box:
    """Numbered from 1: pycocotools takes a find that matches number 0 for one that matches nothing."""
    x, y, width, height = map(float, annotation["bbox"])
    return {
        "id": number,
        "image_id": int(annotation["image_id"]),
        "category_id": int(annotation["category_id"]),
        "bbox": [x, y, width, height],
        "area": annotation.get("area") or width * height,
        "iscrowd": int(annotation.get("iscrowd") or 0),
    }


def judge(labels: Labels, known: Mapping[str, int], found: Sequence[Box]) -> dict[str, Any]:
    """COCO's figures of these finds, over the categories `known` (name → id)."""
    counted = [box for box in labels.boxes if box["category_id"] in known.values() and not box["iscrowd"]]
    judged = _compare(labels, known, found)
    right, wrong = _counts(judged)
    precision = judged.eval["precision"][..., 0, -1]  # (overlaps, recalls, categories), of any size
    per_class = {
        name: {
            "ap": _mean(precision[:, :, i]),
            "ap50": _mean(precision[0, :, i]),
            "boxes": sum(box["category_id"] == known[name] for box in counted),
        }
        for i, name in enumerate(known)
    }
    return {
        **{
            name: None if value < 0 else round(float(value), 5)
            for name, value in zip(STATS, judged.stats, strict=False)
        },
        "images": len(labels.images),
        "boxes": len(counted),
        f"precision_at_{SURE}": _ratio(right, right + wrong),
        f"recall_at_{SURE}": _ratio(right, len(counted)),
        "per_class": per_class,
    }


def _compare(labels: Labels, known: Mapping[str, int], found: Sequence[Box]) -> Any:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints how long each step took
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i} for i in labels.images.values()],
            "categories": [{"id": i} for i in labels.categories.values()],
            "annotations": labels.boxes,
        }
        truth.createIndex()
        judged = COCOeval(truth, truth.loadRes(list(found)) if found else COCO(), "bbox")
        judged.params.catIds = list(known.values())
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    return judged


def _counts(judged: Any) -> tuple[int, int]:
    """How many finds of at least SURE match a thing at an overlap of 0.5, best first, each once, and how many none."""
    right = wrong = 0
    for each in judged.evalImgs:  # of an image, a category and a range of areas
        if each is not None and each["aRng"] == judged.params.areaRng[0]:
            counted = (np.array(each["dtScores"]) >= SURE) & (each["dtIgnore"][0] == 0)
            matched = each["dtMatches"][0] > 0
            right += int((counted & matched).sum())
            wrong += int((counted & ~matched).sum())
    return right, wrong


def _mean(precision: Any) -> float | None:
    """pycocotools writes -1 where there is nothing to find."""
    there = precision[precision > -1]
    return round(float(there.mean()), 5) if there.size else None


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 5) if whole else None
