"""Does `muster calibrate` keep what it promises? On people whom the gallery has never seen, over random splits.

    python benchmarks/calibration_quality.py --images lfw.parquet --label person --model faces=published [-l LIBRARY]

In each split a random half of the photos of everybody with two or more is enrolled; people with one photo are
strangers. For each FPIR: what is predicted, with its interval, and what strangers and known people really meet. The
same of the lower threshold, below which answers are UNKNOWN, for shares of known people that may be missed.
`--same A=B` (repeatable): two names of one person in the labels; strangers who are A count as nobody.
`inside`: how many predictions have the truth in their interval; `kept`: in how many no more strangers were named than
was asked for, and `found` in how many no more known people were missed,
`refused` in how many that was not promised. The last line is one JSON object.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from muster.errors import TaskError
from muster.pipeline.cli.parse import parse_models
from muster.pipeline.evaluate.faces import check_label, labelled
from muster.pipeline.work.choice import choose
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.machine import Machine
from muster.tasks.people.calibrate import doubt, gallery_searches, outside_searches, point
from muster.tasks.people.graph import Strangers
from muster.tasks.people.search import templates

FPIRS = (0.1, 0.03, 0.01)
MISSES = (0.1, 0.05)


def one_split(vectors: Any, person: Any, cohort: Strangers | None, seed: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    order = random.permutation(len(person))
    count = np.bincount(person)
    rank = np.empty(len(person), np.int64)  # of a photo among those of its person, at random
    by_person = order[np.argsort(person[order], kind="stable")]
    rank[by_person] = np.arange(len(person)) - np.repeat(np.cumsum(count) - count, count)
    several = count[person] > 1
    enrolled = several & (rank < np.maximum(count // 2, 1)[person])
    people, owner = np.unique(person[enrolled], return_inverse=True)
    gallery = templates(vectors[enrolled], owner, len(people), cohort)
    searches = gallery_searches(vectors[enrolled], owner, gallery)
    mated = several & ~enrolled
    own = np.searchsorted(people, person[mated])
    outside = outside_searches(vectors[mated], own, vectors[~several], person[~several], gallery)
    strangers, known, weight = outside.nonmated, outside.mated, outside.mated_weight / len(people)
    rows = []
    for fpir in FPIRS:
        each = point(searches, fpir)
        real = float((strangers >= each.threshold).mean())
        rows.append(
            {"split": seed, "asked": fpir, "predicted": round(each.fpir, 4), "real": round(real, 4)}
            | {"interval": [round(bound, 4) for bound in each.fpir_interval]}
            | {"inside": each.fpir_interval[0] <= real <= each.fpir_interval[1], "kept": real <= fpir}
            | {
                "fnir_predicted": round(each.fnir or 0, 4),
                "fnir_real": round(float(((known < each.threshold) * weight).sum()), 4),
            }
        )
    named_from = point(searches, FPIRS[-1]).threshold
    for miss in MISSES:
        try:
            lower = doubt(searches, named_from, miss)
        except TaskError as error:
            rows.append({"split": seed, "may_be_missed": miss, "refused": str(error)})
            continue
        missed = float(((outside.shown(named_from) < lower.threshold) * weight).sum())
        unsure = float(((strangers >= lower.threshold) & (strangers < named_from)).mean())
        rows.append(
            {"split": seed, "may_be_missed": miss, "predicted": round(lower.missed or 0, 4), "real": round(missed, 4)}
            | {"found": missed <= miss, "strangers_unsure": round(unsure, 4)}
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
    parser.add_argument("--images", default=str(data / "lfw/lfw.parquet"))
    parser.add_argument("--label", default="person")
    parser.add_argument("--model", default="faces=published")
    parser.add_argument("-l", "--library", default="", help="keeps the work")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--same", action="append", default=[], metavar="A=B")
    args = parser.parse_args()
    weights = Path(os.environ.get("MUSTER_WEIGHTS", data / "weights"))
    choices = choose(["faces"], models=parse_models([args.model]))
    config = RunConfig(library=args.library, choices=choices, machine=Machine(weights_dir=weights))
    faces = labelled(args.images, config, lambda _: None, lambda rows: check_label(rows, args.label))
    names = np.array(faces.images[args.label].to_pylist())[faces.owner]
    keep = ~np.isin(names, [pair.partition("=")[0] for pair in args.same])
    person = np.unique(names[keep], return_inverse=True)[1]
    given = faces.faces.embeddings[faces.rows][keep], person, faces.faces.strangers
    rows = [row for s in range(args.splits) for row in one_split(*given, s)]
    for row in rows:
        print(json.dumps(row), file=sys.stderr)
    counts = {name: sum(row.get(name, False) for row in rows) for name in ("inside", "kept", "found")}
    counts["refused"] = sum("refused" in row for row in rows)
    print(json.dumps({"checks": args.splits * len(FPIRS), **counts, "splits": rows}))


if __name__ == "__main__":
    main()
