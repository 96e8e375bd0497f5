"""How much a second photo of each enrolled person helps, and a fourth: what `tasks/people/second_photo.py` says.

    python benchmarks/second_photo.py [--images LFW.parquet] [--label person] [--models own,published] [-l FOLDER]

People kept out of the trainings of our own networks (muster.training.data.examples.PEOPLE_HELD_OUT), by
`muster.pipeline.evaluate.doubt`: those with more than four photos are enrolled with one, two or four of them and looked
for with the rest; the others are strangers. Which photos are enrolled is drawn `DRAWS` times; the figures are means.
FOLDER keeps a library for each model. The last line is one JSON object: a list for each model;
`tasks/people/second_photo.py` has what is found where 10 % of strangers are named or left to a human.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).parents[1]))

from muster.pipeline.evaluate.doubt import doubt
from muster.pipeline.evaluate.faces import Labelled, check_label, labelled
from muster.pipeline.work.choice import choose
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.machine import Machine
from muster.training.data.examples import PEOPLE_HELD_OUT, held_out

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
WEIGHTS = Path(os.environ.get("MUSTER_WEIGHTS", DATA / "weights"))
DRAWS = 50


def kept_out(data: Labelled, label: str) -> Labelled:
    """The same without the labels of people whom our own networks learn from."""
    names = data.images[label].to_pylist()
    column = pa.array([name if name is not None and held_out(str(name), PEOPLE_HELD_OUT) else None for name in names])
    return replace(data, images=data.images.set_column(data.images.column_names.index(label), label, column))


def measured(data: Labelled, label: str) -> list[dict[str, Any]]:
    """The rows of `doubt`, their shares the means of all draws; `missed`: neither named nor shown."""
    draws = [doubt(data, label, seed) for seed in range(DRAWS)]
    means = [
        {name: np.mean([rows[i][name] for rows in draws]) for name, value in row.items() if isinstance(value, float)}
        for i, row in enumerate(draws[0])
    ]
    for mean in means:
        mean["missed"] = 1 - mean["named"] - mean["unsure_shown"]
    return [
        row | {name: round(float(value), 4) for name, value in mean.items()}
        for row, mean in zip(draws[0], means, strict=True)
    ]


def of_each_model(description: str | None) -> Iterator[tuple[str, Labelled, str]]:
    """Each model that the command line names: its name, what it found in the labelled photos, and their label."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default=str(DATA / "lfw/lfw.parquet"))
    parser.add_argument("--label", default="person")
    parser.add_argument("--models", default="own,published")
    parser.add_argument("-l", "--library", type=Path, help="folder that keeps the work")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for model in args.models.split(","):
            library = str((args.library or Path(name)) / model)
            choices, machine = choose(["faces"], models={"faces": model}), Machine(weights_dir=WEIGHTS)
            config = RunConfig(library=library, choices=choices, machine=machine)
            yield (
                model,
                labelled(args.images, config, lambda _: None, lambda rows: check_label(rows, args.label)),
                args.label,
            )


def main() -> None:
    results = {model: measured(kept_out(data, label), label) for model, data, label in of_each_model(__doc__)}
    print(json.dumps(results))


if __name__ == "__main__":
    main()
