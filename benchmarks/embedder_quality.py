"""The embedders on people that ours never saw: `muster evaluate verify` and `cluster` with each model, one table.

    python benchmarks/embedder_quality.py [--images LFW.parquet] [--label person] [--models own,published]

The people kept out are those that `muster.training.data.examples` keeps out of every training; the detector that is
shipped is older, and its training had 197 of the 869, with 296 photos. Their photos go into a Parquet file of their
own, with as many pairs of one person as of two in each of 8 folds (muster.training.measures.choose_pairs), at most 6 of
one person. Both models run over the same photos with their own detectors. The last line is one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[1]))

from muster.training.data.examples import PEOPLE_HELD_OUT, held_out
from muster.training.measures import choose_pairs

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
COLUMNS = ("accuracy", "std", "tar_at_far_1e-2", "tar_at_far_1e-3", "undetected", "pairwise_f1", "bcubed_f1")


def write_split(images: Path, label: str, folder: Path) -> dict[str, Any]:
    """`folder`/images.parquet and pairs.txt of the people kept out; how many people, photos and pairs."""
    table = pq.read_table(images)
    people = table[label].to_pylist()
    table = table.filter(pa.array([held_out(str(name), PEOPLE_HELD_OUT) for name in people]))
    people = [str(name) for name in table[label].to_pylist()]
    counts: dict[str, int] = defaultdict(int)
    names = []
    for person in people:  # as the layout of pairs wants them: NAME_0001.jpg
        counts[person] += 1
        names.append(f"{person.replace(' ', '_')}_{counts[person]:04d}.jpg")
    columns = {name: table[name] for name in table.column_names if name != "file"}
    pq.write_table(pa.table(columns | {"file": pa.array(names)}), folder / "images.parquet", row_group_size=512)
    a, b, same, folds = choose_pairs(people)
    size = len(same) // (2 * len(np.unique(folds)))
    lines = [f"{len(np.unique(folds))}\t{size}"]
    for one, other, is_same in zip(a, b, same, strict=True):
        first, second = (names[row].removesuffix(".jpg").rpartition("_")[::2] for row in (one, other))
        parts = [*first, second[1]] if is_same else [*first, *second]
        lines.append("\t".join(parts))
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")
    return {"people": len(set(people)), "photos": len(people), "pairs": len(same)}


def evaluate(folder: Path, label: str, model: str) -> dict[str, Any]:
    """Both evaluations of one model over the same library."""
    command = [sys.executable, "-m", "muster", "evaluate"]
    common = ["--images", str(folder / "images.parquet"), "--model", f"faces={model}", "--json"]
    common += ["-l", str(folder / model), "--weights-dir", str(DATA / "weights")]
    facts: dict[str, Any] = {}
    for what in (["verify", "--pairs", str(folder / "pairs.txt")], ["cluster", "--label", label]):
        done = subprocess.run([*command, *what, *common], check=True, stdout=subprocess.PIPE, text=True)
        facts |= json.loads(done.stdout.splitlines()[-1])
    return {name: facts[name] for name in COLUMNS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=DATA / "lfw/lfw.parquet")
    parser.add_argument("--label", default="person")
    parser.add_argument("--models", default="own,published")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        split = write_split(args.images, args.label, folder)
        results = {model: evaluate(folder, args.label, model) for model in args.models.split(",")}
    print(f"| model | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|", sep="\n")
    for model, facts in results.items():
        print(f"| {model} | {' | '.join(str(facts[name]) for name in COLUMNS)} |")
    print(json.dumps({**split, **results}))


if __name__ == "__main__":
    main()
