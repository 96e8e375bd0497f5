"""`muster evaluate masks`: semantic masks against label images, whose grey or palette values are classes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from muster.arrays import I64
from muster.errors import InputError
from muster.pipeline.evaluate.common import scanned, short_names
from muster.pipeline.run import OnProgress, run
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.storage import manifest, tables
from muster.storage.exchange.label_images import read_label_image
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.texts import files_in
from muster.tasks.geometry import rle
from muster.tasks.masks import form_of
from muster.tasks.metrics.pixels import VOID, SegmentScores, confusion, segment_scores
from muster.tasks.models import zoo
from muster.tasks.models.zoo.masks import Semantic


@dataclass(frozen=True)
class MasksSummary:
    """`confusion`: pixels, a row for each class of the truth. `errors`: images of which there are no masks."""

    model: str
    classes: tuple[str, ...]
    images: int
    errors: int
    scores: SegmentScores
    confusion: I64

    def as_json(self) -> dict[str, Any]:
        """Figures to five places; None for the IoU of a class that neither truth nor prediction has."""
        names = ("miou", "global_accuracy", "class_average")
        return {
            **{name: _figure(getattr(self.scores, name)) for name in names},
            "per_class": dict(zip(self.classes, map(_figure, self.scores.iou), strict=True)),
            "confusion": self.confusion.tolist(),
            "images": self.images,
            "errors": self.errors,
            "classes": list(self.classes),
            "model": self.model,
        }


def _figure(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 5)


def evaluate(images: str, labels: Path, config: RunConfig, on_progress: OnProgress) -> dict[str, Any]:
    """Scan and run `images` into a library (config.library, or one thrown away where it is ""), and compare.

    `labels`: a folder that holds, for each image, a PNG with its stem. Where the configuration names no model of
    `masks`, it is the one that the labels' values fit most closely. Raises InputError where labels and images do not
    fit.
    """
    if not labels.is_dir():
        raise InputError(f"`labels` {labels}: no such folder")
    with scanned(images, config.library) as library:
        files = label_files(manifest.read_manifest(library), labels)
        choice = config.choice("masks")
        choice = replace(choice, model=pick_model(found_values(files.values()), choice.model), options={})
        run(replace(config, library=library.uri, choices=(choice,)), on_progress)
        return compare(library, choice, files).as_json()


def label_files(images: pa.Table, folder: Path) -> dict[str, Path]:
    """image_id → its label image; InputError where one is missing, or two images have one name."""
    stems, there = [PurePosixPath(name).stem for name in short_names(images)], files_in(folder)
    for stem, count in Counter(stems).items():
        if count > 1:
            raise InputError(f"`images`: {count} are named {stem}, but {folder / stem}.png can label one only")
    named = [there.get(f"{stem}.png", folder / f"{stem}.png") for stem in stems]
    files = dict(zip(images["image_id"].to_pylist(), named, strict=True))
    missing = [file for file in files.values() if not file.is_file()]
    if missing:
        raise InputError(f"`labels` {folder}: {len(missing)} of {len(files)} images have none; first {missing[0]}")
    return files


def found_values(files: Iterable[Path]) -> set[int]:
    """Every value in these label images."""
    return {value for file in files for value in np.unique(read_label_image(file)).tolist()}


def pick_model(values: set[int], model: str | None) -> str:
    """The model given, or the one that knows all these values and fewest others, the default one among equals.

    InputError where none does, or the model given has instances, whose pixels are not labelled by class.
    """
    known = {name: form for name in zoo.MODELS["masks"] if isinstance(form := _form(name), Semantic)}
    if model is not None:
        if model not in known:
            raise InputError(f"`model` masks={model} finds instances; compared are: {', '.join(known)}")
        _check_values(values, known[model], model)
        return model
    fitting = [name for name, form in known.items() if values <= form.labels.keys()]
    if not fitting:
        raise InputError(f"`labels`: no model of masks has classes for the values {_list(values)}; name one by `model`")
    return min(fitting, key=lambda name: (len(known[name].labels), name != zoo.DEFAULTS["masks"]))


def _form(model: str) -> Any:
    return form_of(zoo.roles("masks", model)["segmenter"])


def _check_values(values: set[int], form: Semantic, model: str) -> None:
    if strange := values - form.labels.keys():
        raise InputError(f"`labels`: masks={model} has no class for the values {_list(strange)}")


def _list(values: set[int]) -> str:
    numbers = [str(value) for value in sorted(values)]
    return ", ".join(numbers[:12]) + (f" and {len(numbers) - 12} more" if len(numbers) > 12 else "")


def compare(library: LibraryFiles, choice: TaskChoice, files: Mapping[str, Path]) -> MasksSummary:
    """The committed masks of a library, as `choice` made them, against label images, by image_id."""
    model = choice.model or zoo.DEFAULTS["masks"]
    form: Semantic = _form(model)
    seen, made = IMAGES_FINGERPRINT, choice.fingerprint
    shards = manifest.committed(library, made)
    sizes = tables.require(library, "images", seen, ["image_id", "width", "height"], shards)
    rows = tables.require(library, "masks", made, ["image_id", "label_id", "height", "width", "rle"], shards)
    failed = tables.failures(library, [c for f in (seen, made) for c in tables.commits(library, f, shards)])
    masks: dict[str, list[dict[str, Any]]] = {}
    for row in rows.to_pylist():
        masks.setdefault(row["image_id"], []).append(row)
    matrix = np.zeros((len(form.classes), len(form.classes)), np.int64)
    for image in sizes.to_pylist():
        if image["image_id"] not in failed:
            truth = truth_of(files[image["image_id"]], image["width"], image["height"], form)
            found = painted(masks.get(image["image_id"], []), image["height"], image["width"], form)
            matrix += confusion(truth, found, len(form.classes))
    return MasksSummary(
        model=model,
        classes=form.classes,
        images=len(files),
        errors=len(failed),
        scores=segment_scores(matrix),
        confusion=matrix,
    )


def truth_of(file: Path, width: int, height: int, form: Semantic) -> I64:
    """The class of each pixel of a label image, (height, width), VOID where it is not to be compared."""
    labels = read_label_image(file)
    if labels.shape != (height, width):
        size = f"{labels.shape[1]}×{labels.shape[0]}"
        raise InputError(f"`labels` {file}: {size} pixels, but its image has {width}×{height}")
    table = np.full(256, VOID)
    for value, label in form.labels.items():
        table[value] = VOID if label is None else label
    return table[labels]


def painted(rows: list[dict[str, Any]], height: int, width: int, form: Semantic) -> I64:
    """The class of each pixel, (height, width), from an image's rows; the background's where there is no mask."""
    found = np.full((height, width), form.background or 0)
    for row in rows:
        mask = rle.resized({"size": [row["height"], row["width"]], "counts": row["rle"]}, height, width)
        found[rle.decode(mask) == 1] = row["label_id"]
    return found
