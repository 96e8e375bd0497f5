"""Accuracy on labelled photos: what `muster evaluate` does.

Each function scans and runs `images` (a Parquet file or any other source) into `library`, or into one that is thrown
away, and compares what was found with the labels; `pairs` needs no library, and `search` takes one as it is. Raises
InputError where labels and images do not fit.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from muster.chosen import AnyTask, choice_of
from muster.library import several, silent
from muster.pipeline.evaluate import faces
from muster.pipeline.evaluate import identify as searches
from muster.pipeline.evaluate import labels as whole_photos
from muster.pipeline.evaluate import masks as label_images
from muster.pipeline.evaluate import objects as boxes
from muster.pipeline.evaluate import pairs as claims
from muster.pipeline.evaluate import search as by_words
from muster.pipeline.run import OnProgress
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.machine import Machine
from muster.storage.library import open_library
from muster.storage.new_files import check_local


def verify(
    images: str | Path,
    pairs: str | Path,
    *,
    library: str | Path = "",
    task: AnyTask = "faces",
    machine: Machine | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Is this the same person? Accuracy over labelled pairs, fold by fold. `pairs`: a file as LFW's View 2 has it."""
    data = _faces(images, lambda rows: faces.check_pairs(rows, str(pairs)), library, task, machine, on_progress)
    return faces.verify(data, str(pairs)).as_json()


def cluster(
    images: str | Path,
    label: str,
    *,
    k: int | None = None,
    library: str | Path = "",
    task: AnyTask = "faces",
    machine: Machine | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Are the clusters the people? `graph` and `kmeans` (with `k` people) against the column `label`."""
    data = _faces(images, lambda rows: faces.check_label(rows, label), library, task, machine, on_progress)
    results = faces.cluster(data, label, [("graph", None), ("kmeans", k)])
    return {**results, "undetected": data.undetected}


def identify(
    images: str | Path,
    label: str,
    *,
    library: str | Path = "",
    task: AnyTask = "faces",
    machine: Machine | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Who is this, or nobody known? Half of the photos of each person are enrolled; who has one photo is a stranger."""

    def check(rows: pa.Table) -> None:
        faces.check_label(rows, label)
        searches.split(rows, label)

    return searches.identify(_faces(images, check, library, task, machine, on_progress), label)


def objects(
    images: str | Path,
    annotations: str | Path | None = None,
    *,
    library: str | Path = "",
    task: AnyTask = "objects",
    machine: Machine | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Are the objects found? COCO's average precision, and precision and recall at a score of 0.5.

    `annotations`: COCO JSON of boxes; instances.json in the images' folder or beside it where None. `task`: any whose
    rows have labels, scores and boxes.
    """
    file = boxes.find_labels(str(images)) if annotations is None else Path(annotations)
    config = _config(library, task, machine)
    return boxes.evaluate(str(images), file, config, on_progress or silent, config.choices[0].name)


def labels(
    images: str | Path,
    *,
    label: str | None = None,
    annotations: str | Path | None = None,
    task: AnyTask = "labels",
    machine: Machine | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Do the labels say what photos show? Of photos that show one class each, `top1` and `top5`; where they show any
    number, `map`; of both the calibration error, and figures by class.

    `label`: the column that says it, of texts or of lists of them; the folder each lies in where None. `annotations`: a
    COCO file that does, in its place.
    """
    file, config = None if annotations is None else Path(annotations), _config("", task, machine)
    return whole_photos.evaluate(str(images), label, file, config, on_progress or silent)


def masks(
    images: str | Path,
    labels: str | Path,
    *,
    library: str | Path = "",
    task: AnyTask = "masks",
    machine: Machine | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Which pixels are what? Mean IoU over the label images in the folder `labels`, by the model that knows their
    values unless `task` names one."""
    return label_images.evaluate(str(images), Path(labels), _config(library, task, machine), on_progress or silent)


def search(library: str | Path, captions: str | Path, *, machine: Machine | None = None) -> dict[str, Any]:
    """Do words find the photos that they describe? Of each caption in a COCO file the rank of its photo among all that
    have captions, and of each photo that of the best of its captions among all.

    `library`: with features by a model of pictures and words, which are taken as they are. Raises NotYetError where it
    has none.
    """
    return by_words.evaluate(open_library(library), Path(captions), machine or Machine())


def pairs(
    model: str | Path,
    images: str | Path | Iterable[str | Path],
    label: str | None = None,
    *,
    out: str | Path | None = None,
    on_skipped: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Are these two of one? Error rates of a siamese network, of every kind of claims that tables of items allow.

    `model`: NAME.safetensors, as the training of the recipe NAME wrote it. `images`: Parquet files of items that it has
    not learnt from; `label`: their column that says who an item is of, None for pairs of texts. Rows that a column
    `split` names for training are left out. `out`: a PNG to draw their DET curves into.
    """
    picture = None if out is None else check_local(out)
    return claims.evaluate(Path(model), list(several(images)), label, on_skipped or silent, picture)


def _faces(
    images: str | Path,
    check: faces.Check,
    library: str | Path,
    task: AnyTask,
    machine: Machine | None,
    on_progress: OnProgress | None,
) -> faces.Labelled:
    return faces.labelled(str(images), _config(library, task, machine), on_progress or silent, check)


def _config(library: str | Path, task: AnyTask, machine: Machine | None) -> RunConfig:
    return RunConfig(library=str(library), choices=(choice_of(task),), machine=machine or Machine())
