"""Labels against the truth: photos take the same path as a user's, and every class of the model is judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from muster.arrays import F32, Bools
from muster.errors import InputError
from muster.pipeline.evaluate.common import scanned, short_names, some
from muster.pipeline.run import OnProgress, run
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.storage import manifest, tables
from muster.storage.exchange.coco import read_coco
from muster.storage.library import LibraryFiles
from muster.storage.photos.names import labels_of, names_of
from muster.storage.uris import folder_of
from muster.tasks.labels import Labels
from muster.tasks.metrics.labels import judge_one, judge_several
from muster.tasks.models import coco_labels

EVERYTHING: Mapping[str, Any] = {"min_score": 0.0, "most": 100_000}


@dataclass(frozen=True)
class Truth:
    """What photos show. `of`: image_id → their classes; photos that nothing is known of are not in it. `several`:
    whether any number may be on one; else it is exactly one. `where`: the parameter that says it."""

    of: Mapping[str, Sequence[str]]
    several: bool
    where: str

    @property
    def classes(self) -> list[str]:
        return sorted({name for names in self.of.values() for name in names})


def evaluate(
    images: str, label: str | None, annotations: Path | None, config: RunConfig, on_progress: OnProgress
) -> dict[str, Any]:
    """Scan and run `images` into a library that is thrown away, and judge the labels. In one that is kept everything
    would be on every photo from then on.

    `annotations`: a COCO file that says what is on photos; else `label`, the column that does, or the folder that each
    lies in. Judged is what photos show of the classes that the model knows; where a photo shows one class, and the
    model does not know it, the photo is left out. `unknown_classes`: these. `unlabelled`: photos that nothing is said
    of. `errors`: photos that could not be read; they count as wrong. Raises InputError where the model knows none.
    """
    choice = replace(config.choice("labels"), options=EVERYTHING)
    with scanned(images, "") as library:
        found = manifest.read_manifest(library)
        truth = of_file(annotations, found) if annotations is not None else of_rows(found, label)
        known = _known(choice, truth, config)
        summary = run(replace(config, library=library.uri, choices=(choice,)), on_progress)
        judged = {i: names for i, names in truth.of.items() if truth.several or names[0] in known}
        chances = _chances(library, choice, list(judged), len(known))
    rows = [[known[name] for name in names if name in known] for names in judged.values()]
    facts = _several(chances, rows, known, truth) if truth.several else _one(chances, rows, list(known))
    return {
        "model": choice.description["model"],
        **facts,
        "images": len(judged),
        "unlabelled": found.num_rows - len(truth.of),
        "unknown_classes": sorted(set(truth.classes) - known.keys()),
        "errors": summary.errors,
    }


def _one(chances: F32, rows: Sequence[Sequence[int]], classes: list[str]) -> dict[str, Any]:
    return judge_one(chances, np.array([numbers[0] for numbers in rows], np.int64), classes)


def _several(chances: F32, rows: Sequence[Sequence[int]], known: Mapping[str, int], truth: Truth) -> dict[str, Any]:
    """Of the classes that the truth speaks of alone: of the others it is not known where they are."""
    there: Bools = np.zeros(chances.shape, bool)
    for row, numbers in enumerate(rows):
        there[row, numbers] = True
    asked = [name for name in known if name in truth.classes]
    numbers = [known[name] for name in asked]
    return judge_several(chances[:, numbers], there[:, numbers], asked)


def of_file(path: Path, images: pa.Table) -> Truth:
    """By a COCO file of boxes."""
    on = read_coco(path, coco_labels.SPELLINGS).labels()
    ids = images["image_id"].to_pylist()
    of = {i: on[name] for i, name in zip(ids, short_names(images), strict=True) if name in on}
    if not of:
        raise InputError(f"`annotations` {path}: none of its photos is among `images`")
    return Truth(of, True, f"`annotations` {path}")


def of_rows(images: pa.Table, label: str | None) -> Truth:
    """By a column of the manifest, of names or of lists of them; by folders where None."""
    ids = images["image_id"].to_pylist()
    if label is None:
        folders = map(folder_of, images["uri"].to_pylist())
        of = {i: [name] for i, name in zip(ids, folders, strict=True) if name}
        if not of:
            raise InputError(
                "`images` lie in no folder that says what they show: name the column that does with `label`"
            )
        return Truth(of, False, "`images`")
    where = f"`label` {label}"
    if label not in images.column_names:
        raise InputError(f"{where}: no such column; known: {', '.join(images.column_names)}")
    column = images[label]
    if not pa.types.is_list(column.type) and not pa.types.is_large_list(column.type):
        return Truth({i: [name] for i, name in zip(ids, names_of(where, column), strict=True) if name}, False, where)
    rows = zip(ids, column.to_pylist(), strict=True)
    return Truth({i: labels_of(where, row) for i, row in rows if row is not None}, True, where)


def _known(choice: TaskChoice, truth: Truth, config: RunConfig) -> dict[str, int]:
    """Class → its number, of all that the model knows; InputError where there is none of them in the truth."""
    task = choice.load(torch.device("cpu"), config.machine.weights_dir)
    assert isinstance(task, Labels)
    known = {name: number for number, name in enumerate(task.categories)}
    if not known.keys() & set(truth.classes):
        raise InputError(
            f"{truth.where}: the model knows none of the classes {some(truth.classes)}; it knows {some(known)}"
        )
    return known


def _chances(library: LibraryFiles, choice: TaskChoice, image_ids: Sequence[str], classes: int) -> F32:
    """(N, C): what is said of each image; of one that could not be read, nothing."""
    row_of = pa.array(image_ids, pa.string())
    found: F32 = np.zeros((len(image_ids), classes), np.float32)
    for shard, _ in manifest.shards(library):  # one by one: there are as many rows as photos and classes together
        rows = tables.require(library, "labels", choice.fingerprint, ["image_id", "label_id", "score"], [shard])
        at = pc.index_in(rows["image_id"], value_set=row_of)
        kept = pc.is_valid(at)
        photos, labels, scores = (column.filter(kept).to_numpy() for column in (at, rows["label_id"], rows["score"]))
        found[photos, labels] = scores
    return found
