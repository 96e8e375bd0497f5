"""How right the filters of the people pages ("with a boat") are, on COCO photos that did not choose their scores.

    python benchmarks/filters.py [--choose]

What counts is the photo: a filter is right about it where COCO's labels have the class anywhere in it, crowds included.
The photos are coco128 (train2017) and the 228 of coco_photos that have labels (159 of train2017, 69 of val2017);
FastestDet was trained on train2017, so these are also counted by themselves. `person` is no filter.

A class's score is the least one from LEAST to MOST at which its precision is at least TARGET with a certainty of
1 - DOUBT. Few classes have ten finds, so each is judged together with all: the prior of its precision is Beta of mean
p, that of all classes' finds with such a score, and of weight PRIOR, in finds. A class that nothing was found of
has the score that the prior alone asks for. One that needs more than that and has no right find there is no filter, nor
is one that reaches TARGET nowhere.

`before`: every find that is stored. `halves`: scores chosen on one half of the photos (by a hash of the file's name),
measured on the other, and the other way round. `tenths`: chosen on nine tenths each time, which is closer to what
ships: that is chosen on all of them. `val2017`: chosen on train2017. `classes`: [right, finds] before and after (by
halves), how many photos show the class, and its score when chosen on all.

--choose also prints the scores chosen on all photos, as tasks/models/filter_scores.py has them.
The last line is one JSON object.
"""

import argparse
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from scipy.special import betainc

from muster.pipeline.run import run
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.machine import Machine
from muster.storage import manifest, tables
from muster.storage.exchange.coco import read_coco
from muster.storage.library import open_library
from muster.tasks.models import coco_labels, filter_scores

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
COCO_PHOTOS = DATA / "coco_photos/photos.parquet"
CLASSES = tuple(name for name in coco_labels.NAMES if name != "person")
TARGET, DOUBT, PRIOR = 0.8, 0.2, 8
LEAST, MOST = 0.65, 0.85  # what is stored; the last that more than 100 finds reach
STEPS = np.round(np.arange(LEAST, MOST + 0.005, 0.01), 2)
Floats = np.ndarray[Any, np.dtype[np.float64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


class Judged(NamedTuple):
    """N photos, C classes. `scores` (N, C): of each class's best find, 0 where there is none. `true` (N, C): whether
    the photo shows it. `train` (N,): of train2017. `place` (N,): a number in 0..1 that its name alone decides."""

    scores: Floats
    true: Bools
    train: Bools
    place: Floats

    def part(self, rows: Bools) -> "Judged":
        return Judged(*(column[rows] for column in self))


# ---- the rule --------------------------------------------------------------------------------------------------------


def choose(judged: Judged) -> Floats:
    """The least score of each class, (C,); infinite where it is no filter."""
    found = np.array([judged.scores >= step for step in STEPS])  # (steps, N, C)
    finds, right = found.sum(1), (found & judged.true).sum(1)  # (steps, C)
    together = (right.sum(1) / np.maximum(finds.sum(1), 1))[:, None]  # (steps, 1)
    enough = STEPS[_sure(together, 0, 0).argmax(0)]  # (1,): the score that the prior alone asks for
    good = _sure(together, finds, right) & ((STEPS[:, None] <= enough) | (right > 0))
    return np.where(good.any(0), STEPS[good.argmax(0)], np.inf)


def _sure(together: Floats, finds: Any, right: Any) -> Bools:
    """Whether the chance of a precision below TARGET is at most DOUBT, by these finds and what all classes' are."""
    a, b = right + PRIOR * together, finds - right + PRIOR * (1 - together)
    return betainc(np.maximum(a, 1e-9), np.maximum(b, 1e-9), TARGET) <= DOUBT


def counts(judged: Judged, least: Floats) -> tuple[Floats, Floats]:
    """Of each class, (C,): how many photos its filter shows, and about how many of these it is right."""
    shown = judged.scores >= least
    return shown.sum(0), (shown & judged.true).sum(0)


def kept_out(judged: Judged, parts: int) -> tuple[Floats, Floats]:
    """`counts` of every photo with the scores that the other parts chose."""
    part = (judged.place * parts).astype(int)
    each = [counts(judged.part(part == i), choose(judged.part(part != i))) for i in range(parts)]
    shown, right = zip(*each, strict=True)
    return sum(shown), sum(right)


# ---- the photos ------------------------------------------------------------------------------------------------------


def collect(folder: Path) -> Path:
    """The photos with labels, as files in `folder`."""
    shutil.copytree(DATA / "coco128/images", folder)
    for row in pq.read_table(COCO_PHOTOS, columns=["file_name", "image", "has_boxes"]).to_pylist():
        if row["has_boxes"]:
            (folder / row["file_name"]).write_bytes(row["image"])
    return folder


def truth() -> dict[str, set[str]]:
    """File name → the classes in the photo."""
    shown: dict[str, set[str]] = {}
    for file in (DATA / "coco128/instances.json", DATA / "coco_photos/instances.json"):
        labels = read_coco(file, coco_labels.SPELLINGS)
        names = {number: name for name, number in labels.categories.items()}
        shown |= {photo: {names[a["category_id"]] for a in each} for photo, each in labels.of_photos().items()}
    return shown


def detect(photos: Path, library_folder: Path) -> dict[str, dict[str, float]]:
    """File name → class → score of the best find; through `muster scan` and `run`, with what is stored by default."""
    library = open_library(library_folder, create=True)
    manifest.scan(library, [str(photos)])
    objects, machine = TaskChoice(name="objects"), Machine(device="cpu", workers=1, weights_dir=DATA / "weights")
    config = RunConfig(library=str(library_folder), choices=(objects,), machine=machine)
    run(config, lambda progress: None)
    images = manifest.read_manifest(library)
    names = {i: Path(uri).name for i, uri in zip(*(images[c].to_pylist() for c in ("image_id", "uri")), strict=True)}
    best: dict[str, dict[str, float]] = {name: {} for name in names.values()}
    shards = [shard for shard, _ in manifest.shards(library)]
    rows = tables.require(library, "objects", objects.fingerprint, shards=shards)
    for row in rows.select(["image_id", "label", "score"]).to_pylist():
        found = best[names[row["image_id"]]]
        found[row["label"]] = max(row["score"], found.get(row["label"], 0))
    return best


def judge() -> Judged:
    with tempfile.TemporaryDirectory(prefix="muster-") as folder:
        best = detect(collect(Path(folder) / "photos"), Path(folder) / "library")
    sources = pq.read_table(COCO_PHOTOS, columns=["file_name", "source"]).to_pylist()
    val = {row["file_name"] for row in sources if "val2017" in row["source"]}
    shown, photos = truth(), sorted(best)
    return Judged(
        np.array([[best[photo].get(name, 0) for name in CLASSES] for photo in photos]),
        np.array([[name in shown[photo] for name in CLASSES] for photo in photos]),
        np.array([photo not in val for photo in photos]),
        np.array([int(hashlib.sha256(photo.encode()).hexdigest()[:8], 16) / 2**32 for photo in photos]),
    )


# ---- figures ---------------------------------------------------------------------------------------------------------


def figures(shown: Floats, right: Floats, judged: Judged) -> dict[str, Any]:
    """`classes_of_4`: those with at least four finds, and how many of them have a precision of TARGET."""
    often = shown >= 4
    return {
        "finds": int(shown.sum()),
        "precision": round(float(right.sum() / shown.sum()), 3),
        "recall": round(float(right.sum() / judged.true.sum()), 3),
        "classes_of_4": [int((right[often] >= TARGET * shown[often]).sum()), int(often.sum())],
    }


def per_class(before: tuple[Floats, Floats], after: tuple[Floats, Floats], least: Floats, judged: Judged) -> Any:
    return {
        name: {
            "photos": int(judged.true[:, i].sum()),
            "before": [int(before[1][i]), int(before[0][i])],
            "after": [int(after[1][i]), int(after[0][i])],
            "score": float(least[i]) if np.isfinite(least[i]) else None,
        }
        for i, name in enumerate(CLASSES)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--choose", action="store_true")
    arguments = parser.parse_args()
    judged = judge()
    stored, least = np.full(len(CLASSES), LEAST), choose(judged)
    chosen = {name: float(score) for name, score in zip(CLASSES, least, strict=True) if np.isfinite(score)}
    before, halves = counts(judged, stored), kept_out(judged, 2)
    if arguments.choose:
        print(chosen)
    unseen = judged.part(~judged.train)
    by_all = choose(judged.part(judged.train))  # what train2017 chooses, for the photos that the network has not seen
    result = {
        "photos": len(judged.place),
        "before": figures(*before, judged),
        "halves": figures(*halves, judged),
        "tenths": figures(*kept_out(judged, 10), judged),
        "val2017": {
            "photos": len(unseen.place),
            "before": figures(*counts(unseen, stored), unseen),
            "after": figures(*counts(unseen, by_all), unseen),
        },
        "filters": len(chosen),
        "shipped": chosen == filter_scores.MEASURED["fastestdet"],
        "classes": per_class(before, halves, least, judged),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
