"""Identification in a gallery of a million people: speed and answers beside the matrix product.

    python benchmarks/identify_scale.py [--people 1000000] [--probes 5000] [--strangers 0.5] [--rounds 3]

People are generated as `benchmarks/index_scale.py` has it, like those of LFW by our own network. Probes of enrolled
people are as like their templates as LFW's are: `ALIKE` has the quantiles of the cosines between 3,734 photos and the
means of the first half of each person's photos (`muster evaluate identify`), every person counting once. A third of
them are less like their template than .6, and a million others are about as like as that. Further probes, a share of
`--strangers`, show nobody who is enrolled.

- ratio_to_flat: probes/s of `search.nearest` by the index, as `muster identify` asks it, over those with all
  templates, as it is below 100,000 people: the matrix product, and the scores. The latter is measured on some of the
  probes, in the blocks that all would go through.
- ratio_to_product: over those of faiss.IndexFlatIP, which multiplies all probes as one batch with all templates, and
  finds the most similar one without a score.
  All on the same threads. They take turns `--rounds` times; the ratios are medians of those of each turn.
- recall_at_1: probes whose most similar template is the one that IndexFlatIP finds; of enrolled people and strangers.
- same_decisions: probes that are given the same name, or none, as by exact scores, at the threshold where 1 % of the
  strangers are named. named: enrolled people who are given their name, by either. The exact scores are of the 50 most
  similar templates that IndexFlatIP finds; those of some are compared with `search.nearest` without an index.
- update_seconds: from the templates of 1,000 people more to an index that finds them; load_seconds: of the same people.

The last line is one JSON object.
"""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.index_scale import People, say, timed
from muster.pipeline.people.faces import strangers_of
from muster.storage import layout
from muster.storage.index import vectors
from muster.storage.index.inverted_file import THOROUGH
from muster.storage.library import LibraryFiles, open_library
from muster.tasks.people.calibrate import threshold_at
from muster.tasks.people.search import SEARCHED, Templates, nearest, stand_out

NAME = layout.index("synthetic", "templates")
SHARES = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
ALIKE = (-0.039, 0.207, 0.269, 0.359, 0.425, 0.52, 0.571, 0.621, 0.66, 0.698, 0.734, 0.768, 0.815, 0.846, 0.896, 0.956)
FPIR = 0.01
UPDATE = 1000
EXACT_PROBES = 100  # that are compared with all templates by `search.nearest`


def views(people: People, faces: np.ndarray) -> np.ndarray:
    """Another face of each of these people (N, 128), as like the first as LFW's photos are like templates."""
    cosine = np.interp(people.random.uniform(size=len(faces)), SHARES, ALIKE).astype(np.float32)
    return np.concatenate([people.views(f[None], c, c) for f, c in zip(faces, cosine, strict=True)])


def build_and_update(
    library: LibraryFiles, everybody: np.ndarray, count: int, note: vectors.Note
) -> tuple[vectors.VectorIndex, dict[str, float]]:
    """The index over `count` of the people, and the seconds of its making, its loading, and of adding the others."""
    facts = {}
    with library.lock():
        for name, faces in (("build", everybody[:count]), ("load", everybody[:count]), ("update", everybody)):
            taken, index = timed(partial(vectors.current, library, NAME, faces, note=note))
            say(f"{name}: {taken:.2f} s")
            facts[f"{name}_seconds"] = round(taken, 2)
        if (index.search(everybody[count:], 1)[1][:, 0] != np.arange(count, len(everybody))).any():
            sys.exit("who was added is not found")
        return vectors.current(library, NAME, everybody[:count], note=note), facts


def speeds(probes: np.ndarray, gallery: Templates, flat: Any, enrolled: int, rounds: int) -> dict[str, float]:
    """In probes/s: medians of turns."""
    some = probes[:: max(1, len(probes) // EXACT_PROBES)]
    ways: dict[str, tuple[int, Callable[[], Any]]] = {
        "product": (len(probes), lambda: flat.search(probes, 1)),
        "probes": (len(probes), lambda: nearest(probes, gallery)),
        "enrolled": (enrolled, lambda: nearest(probes[:enrolled], gallery)),
        "strangers": (len(probes) - enrolled, lambda: nearest(probes[enrolled:], gallery)),
        "all": (len(some), lambda: nearest(some, replace(gallery, near=None))),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (number, way) in ways.items():
            found[name].append(number / timed(way)[0])
        say("probes/s: " + ", ".join(f"{name} {each[-1]:.0f}" for name, each in found.items()))
    over = {"flat": "all", "product": "product"}
    ratios = {
        f"ratio_to_{name}": round(statistics.median(np.divide(found["probes"], found[way])), 2)
        for name, way in over.items()
    }
    return ratios | {f"{name}_per_second": round(statistics.median(each)) for name, each in found.items()}


def answers(probes: np.ndarray, gallery: Templates, flat: Any, own: np.ndarray) -> dict[str, float]:
    """How alike searches by the index and exact ones are. The first probes are of the people `own`."""
    cosines, found = flat.search(probes, 50)
    exact_rows, exact_scores = nearest(probes, replace(gallery, near=lambda *_: (cosines, found)))
    some = slice(None, None, max(1, len(probes) // EXACT_PROBES))
    truth = nearest(probes[some], replace(gallery, near=None))
    if np.abs(truth[1][:, 0] - exact_scores[some, 0]).max() > 1e-5:
        sys.exit("scores of the 50 most similar templates are not those of all")
    best = gallery.near(probes, SEARCHED, stand_out)[1][:, 0] if gallery.near else found[:, 0]
    rows, scores = nearest(probes, gallery)
    count, strangers = len(own), exact_scores[len(own) :, 0]
    threshold = threshold_at(strangers, np.ones(len(strangers)), FPIR)
    exact = np.where(exact_scores[:, 0] >= threshold, exact_rows[:, 0], -1)
    named = np.where(scores[:, 0] >= threshold, rows[:, 0], -1)
    shares = {
        "recall_at_1": best == found[:, 0],
        "recall_enrolled": best[:count] == found[:count, 0],
        "recall_strangers": best[count:] == found[count:, 0],
        "same_decisions": named == exact,
        "named": named[:count] == own,
        "named_exactly": exact[:count] == own,
        "strangers_named": named[count:] >= 0,
    }
    facts = {name: round(float(share.mean()), 4) for name, share in shares.items()}
    facts["scores_within"] = round(float(np.quantile(np.abs(scores[:, 0] - exact_scores[:, 0]), 0.99)), 4)
    return facts | {"threshold": round(threshold, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--probes", type=int, default=5_000)
    parser.add_argument("--strangers", type=float, default=0.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    faiss.omp_set_num_threads(args.threads)
    people = People(args.seed)
    everybody = people.faces(args.people + UPDATE)
    faces, strangers = everybody[: args.people], strangers_of("own")
    enrolled = round(args.probes * (1 - args.strangers))
    own = people.random.choice(args.people, enrolled, replace=False)
    probes = np.concatenate([views(people, faces[own]), people.faces(args.probes - enrolled)])
    facts: dict[str, Any] = {"people": args.people, "probes": args.probes, "strangers": args.strangers}
    with tempfile.TemporaryDirectory() as folder:
        library = open_library(f"{folder}/library", create=True)
        index, seconds = build_and_update(library, everybody, args.people, strangers.crowding)
    gallery = Templates(faces, strangers, partial(index.search, depths=THOROUGH), index.notes)
    flat = faiss.IndexFlatIP(faces.shape[1])
    flat.add(faces)
    facts |= seconds | speeds(probes, gallery, flat, enrolled, args.rounds) | answers(probes, gallery, flat, own)
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
