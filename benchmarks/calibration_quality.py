"""Does `muster calibrate` keep what it promises? On people whom the gallery has never seen, over random splits.

    python benchmarks/calibration_quality.py --images lfw.parquet --label person --model faces=published [-l LIBRARY]

In each split a random half of the photos of everybody with two or more is enrolled; people with one photo are
strangers. For each FPIR: what is predicted, with its interval, and what strangers and known people really meet. The
same of the lower threshold, below which answers are UNKNOWN, for shares of known people that may be missed.
`--same A=B` (repeatable): two names of one person in the labels; strangers who are A count as nobody.
`inside`: how many predictions have the truth in their interval; `kept`: in how many no more strangers were named than
was asked for, and `found` in how many no more known people were missed,
`refused` in how many that was not promised. The last line is one JSON object.
`--groups`: half of all people, at random, become a group whose faces are more alike; a quarter are enrolled, by half of
their photos, all others are strangers. Per split and FPIR: shares of strangers, and of known people who are not named,
of the others and of that group, by one threshold for all and by a threshold for each; `kept`: in how many splits
neither group's strangers are named more often than was asked for.
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
from muster.tasks.people.calibrate import Searches, doubt, gallery_searches, outside_searches, person_weights, point
from muster.tasks.people.graph import Strangers
from muster.tasks.people.groups import Grouping, thresholds
from muster.tasks.people.search import normalised, templates

FPIRS = (0.1, 0.03, 0.01)
MISSES = (0.1, 0.05)
GROUP_FPIRS = (0.1, 0.05, 0.03)  # that so many people of each group support
TOWARDS = 0.4  # of a face's length: two faces of the group have about .14 of cosine more


def rank_of(person: Any, random: np.random.Generator) -> Any:
    """Of each photo among those of its person, at random."""
    order, count = random.permutation(len(person)), np.bincount(person)
    rank = np.empty(len(person), np.int64)
    by_person = order[np.argsort(person[order], kind="stable")]
    rank[by_person] = np.arange(len(person)) - np.repeat(np.cumsum(count) - count, count)
    return rank


def searched(vectors: Any, person: Any, cohort: Strangers | None, enrolled: Any) -> tuple[Searches, Searches, Any]:
    """The searches of a calibration, those of all photos that are not enrolled, and who is."""
    people, owner = np.unique(person[enrolled], return_inverse=True)
    gallery = templates(vectors[enrolled], owner, len(people), cohort)
    strange = ~np.isin(person, people)
    mated = ~strange & ~enrolled
    own = np.searchsorted(people, person[mated])
    outside = outside_searches(vectors[mated], own, vectors[strange], person[strange], gallery)
    return gallery_searches(vectors[enrolled], owner, gallery), outside, people


def one_split(vectors: Any, person: Any, cohort: Strangers | None, seed: int) -> list[dict[str, Any]]:
    rank, count = rank_of(person, np.random.default_rng(seed)), np.bincount(person)
    enrolled = (count[person] > 1) & (rank < np.maximum(count // 2, 1)[person])
    searches, outside, people = searched(vectors, person, cohort, enrolled)
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


def of_groups(vectors: Any, person: Any, cohort: Strangers | None, seed: int) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    rank, count = rank_of(person, random), np.bincount(person)
    alike, chosen = random.random((2, len(count))) < [[1 / 2], [1 / 4]]
    direction = normalised(random.normal(size=(1, vectors.shape[1])))
    moved = np.where(alike[person][:, None], normalised(vectors + TOWARDS * direction), vectors)
    searches, outside, people = searched(
        moved, person, cohort, chosen[person] & (rank < np.maximum(count // 2, 1)[person])
    )
    group = alike[people].astype(np.int64)  # of those who are enrolled
    known, mated = group[outside.mated_person], group[searches.mated_person]
    grouping = Grouping(
        ("others", "alike"), group[searches.nonmated_person], group[searches.nonmated_best], mated, mated
    )
    stranger, weight = alike[outside.nonmated_person], person_weights(outside.nonmated_person)
    rows = []
    for fpir in GROUP_FPIRS:
        one = np.full(2, point(searches, fpir).threshold)
        row: dict[str, Any] = {"split": seed, "asked": fpir, "people": np.bincount(group).tolist()}
        for rule, limit in (("one", one), ("each", thresholds(searches, grouping, fpir)[1])):
            named = outside.nonmated >= limit[group[outside.nonmated_best]]
            missed = outside.mated < limit[known]
            row[f"{rule}_fpir"] = [
                round(float(np.average(named[stranger == g], weights=weight[stranger == g])), 4) for g in (0, 1)
            ]
            row[f"{rule}_fnir"] = [
                round(float(np.average(missed[known == g], weights=outside.mated_weight[known == g])), 4)
                for g in (0, 1)
            ]
            row[f"{rule}_kept"] = max(row[f"{rule}_fpir"]) <= fpir
        rows.append(row)
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
    parser.add_argument("--groups", action="store_true", help="one group's faces are made more alike")
    args = parser.parse_args()
    weights = Path(os.environ.get("MUSTER_WEIGHTS", data / "weights"))
    choices = choose(["faces"], models=parse_models([args.model]))
    config = RunConfig(library=args.library, choices=choices, machine=Machine(weights_dir=weights))
    faces = labelled(args.images, config, lambda _: None, lambda rows: check_label(rows, args.label))
    names = np.array(faces.images[args.label].to_pylist())[faces.owner]
    keep = ~np.isin(names, [pair.partition("=")[0] for pair in args.same])
    person = np.unique(names[keep], return_inverse=True)[1]
    given = faces.faces.embeddings[faces.rows][keep], person, faces.faces.strangers
    rows = [row for s in range(args.splits) for row in (of_groups if args.groups else one_split)(*given, s)]
    for row in rows:
        print(json.dumps(row), file=sys.stderr)
    if args.groups:
        kept = {
            f"{rule} at {fpir:g}": sum(row[f"{rule}_kept"] for row in rows if row["asked"] == fpir)
            for rule in ("one", "each")
            for fpir in GROUP_FPIRS
        }
        print(json.dumps({"splits": args.splits, "kept": kept, "rows": rows}))
        return
    counts = {name: sum(row.get(name, False) for row in rows) for name in ("inside", "kept", "found")}
    counts["refused"] = sum("refused" in row for row in rows)
    print(json.dumps({"checks": args.splits * len(FPIRS), **counts, "splits": rows}))


if __name__ == "__main__":
    main()
