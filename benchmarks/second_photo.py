"""How much a second photo of each enrolled person helps, and a fourth: what `tasks/second_photo.py` says.

    python benchmarks/second_photo.py [--images LFW.parquet] [--label person] [--models own,published] [-l FOLDER]

People kept out of the trainings of our own networks (training.crops.HELD_OUT), by `pipeline.evaluate_doubt`: those with
more than four photos are enrolled with one, two or four of them and looked for with the rest; the others are strangers.
Which photos are enrolled is drawn `DRAWS` times; the figures are means. FOLDER keeps a library for each model. The last
line is one JSON object: a list for each model, as it stands in `tasks/second_photo.py`.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))

from pipeline.config import RunConfig, parse_models
from pipeline.evaluate import Labelled, check_label, labelled
from pipeline.evaluate_doubt import RULES, doubt
from training.crops import HELD_OUT
from training.data import held_out

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
WEIGHTS = Path(os.environ.get("MUSTER_WEIGHTS", DATA / "weights"))
DRAWS = 50


def kept_out(data: Labelled, label: str) -> Labelled:
    """The same without the labels of people whom our own networks learn from."""
    names = data.images[label].to_pylist()
    column = pa.array([name if name is not None and held_out(str(name), HELD_OUT) else None for name in names])
    return replace(data, images=data.images.set_column(data.images.column_names.index(label), label, column))


def measured(data: Labelled, label: str) -> list[dict[str, Any]]:
    draws = [[row for row in doubt(data, label, seed) if row["lower"] == RULES[1]] for seed in range(DRAWS)]
    return [
        {"photos": row["photos"], "people": row["people"], "strangers": row["strangers"]}
        | {
            "named": round(float(np.mean([rows[i]["named"] for rows in draws])), 4),
            "missed": round(float(np.mean([1 - rows[i]["named"] - rows[i]["unsure_shown"] for rows in draws])), 4),
        }
        for i, row in enumerate(draws[0])
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default=str(DATA / "lfw/lfw.parquet"))
    parser.add_argument("--label", default="person")
    parser.add_argument("--models", default="own,published")
    parser.add_argument("-l", "--library", type=Path, help="folder that keeps the work")
    args = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as name:
        for model in args.models.split(","):
            library = str((args.library or Path(name)) / model)
            config = RunConfig(library, ("faces",), parse_models([f"faces={model}"]), weights_dir=WEIGHTS)
            data = labelled(args.images, config, lambda _: None, lambda rows: check_label(rows, args.label))
            results[model] = measured(kept_out(data, args.label), args.label)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
