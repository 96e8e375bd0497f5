"""Objects against COCO annotations: they take the same path as a user's, and pycocotools compares."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from muster.errors import InputError
from muster.pipeline.evaluate.common import scanned, short_names, some
from muster.pipeline.run import OnProgress, run
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.storage import manifest, tables
from muster.storage.exchange.coco import CocoFile, read_coco
from muster.storage.library import LibraryFiles
from muster.tasks.metrics.coco import judge, xywh
from muster.tasks.models import coco_labels

TAIL = 0.01  # least score of what is judged: average precision is an area under all recalls


def evaluate(
    images: str, annotations: Path, config: RunConfig, on_progress: OnProgress, task: str = "objects"
) -> dict[str, Any]:
    """Scan and run `images` into a library (config.library, or one thrown away where it is ""), and judge the boxes.

    `task`: any whose rows have labels, scores and boxes.

    Judged are the photos that the file names; all of them must be there, because the average precision of a part is
    another figure. Judged are the categories that the model knows; `unknown_categories`: the others of the file.
    `unannotated`: photos that the file does not name. `errors`: photos that could not be read, judged as empty.
    `boxes`: annotated things, without crowds; precision and recall ignore crowds too. None where there is nothing to
    find. Raises InputError where file and photos do not fit.
    """
    labels = read_coco(annotations, coco_labels.SPELLINGS)
    choice = _whole(config.choice(task))
    known = _known(choice, labels)
    with scanned(images, config.library) as library:
        photos = _photos(manifest.read_manifest(library), labels)
        summary = run(replace(config, library=library.uri, choices=(choice,)), on_progress)
        rows = _boxes(library, choice)
    found = [
        {"image_id": photos[image], "category_id": known[label], "score": score, "bbox": xywh(box)}
        for image, label, score, box in rows
        if image in photos and label in known
    ]
    return {
        **judge(list(labels.images.values()), labels.annotations, known, found),
        "unannotated": summary.images - len(photos),
        "unknown_categories": sorted(labels.categories.keys() - known.keys()),
        "errors": summary.errors,
    }


def _whole(choice: TaskChoice) -> TaskChoice:
    """The task with all that it finds, however unsure. InputError where it says no label, score or box."""
    says = choice.task.findings
    if not (says.label and says.score and says.box):
        raise InputError(f"`task` {choice.name}: its rows have no label, score and box to be judged by")
    takes_score = "min_score" in choice.task.options
    return replace(choice, options={"min_score": TAIL}) if takes_score else choice


def _photos(images: pa.Table, labels: CocoFile) -> dict[str, int]:
    """image_id → id in the file, of the photos that it names; InputError where any of these is not there once."""
    names = short_names(images)
    counts = Counter(name for name in names if name in labels.images)
    missing = [name for name in labels.images if name not in counts]
    if missing:
        example = next(iter(names), "none")
        raise InputError(
            f"`images` lacks {len(missing)} of the {len(labels.images)} photos that {labels.path} names, such as"
            f" {missing[0]} (it has {example}): give all of them, or a file that names fewer"
        )
    if twice := [name for name, count in counts.items() if count > 1]:
        raise InputError(f"`images` has {counts[twice[0]]} photos of the name {twice[0]}, and {labels.path} means one")
    ids = images["image_id"].to_pylist()
    return {i: labels.images[name] for i, name in zip(ids, names, strict=True) if name in labels.images}


def _known(choice: TaskChoice, labels: CocoFile) -> dict[str, int]:
    """Category name → id, of those that the model finds; InputError where it finds none of them."""
    classes = choice.task.classes
    known = {name: i for name, i in labels.categories.items() if name in classes}
    if not known:
        raise InputError(
            f"`annotations` {labels.path}: the model knows none of its categories {some(labels.categories)};"
            f" it knows {some(classes)}"
        )
    return known


def _boxes(library: LibraryFiles, choice: TaskChoice) -> Iterator[tuple[Any, ...]]:
    """Image, label, score and box of each row."""
    says = choice.task.findings
    columns = ["image_id", *(name for name in (says.label, says.score, says.box) if name)]
    shards = [shard for shard, _ in manifest.shards(library)]
    rows = tables.require(library, choice.name, choice.fingerprint, columns, shards)
    return zip(*(rows[name].to_pylist() for name in columns), strict=True)


def find_labels(images: str) -> Path:
    """`instances.json` in the folder of the images or beside it; InputError where neither is there."""
    places = [Path(images) / "instances.json", Path(images).parent / "instances.json"]
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"`images` {images}: no instances.json in it or beside it; name the COCO file with `annotations`")
