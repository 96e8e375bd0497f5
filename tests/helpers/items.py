"""Made-up items and pairs for siamese recipes, and designs of small networks for them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from muster.tasks.models.encoders import Plan
from muster.training.inputs import Inputs
from muster.training.loop import Settings
from muster.training.siamese import Design

SETTINGS = Settings(steps=6, batch=12, learning_rate=3e-3, average=0.5, report_every=1)
CUBES = Design(
    name="cubes", plan=Plan("volume", (8, 8, 8), (4, 6), (2, 2, 2), dimensions=8), loss="triplet", settings=SETTINGS
)
WORDS = Design(
    name="words",
    plan=Plan("text", (6,), (8, 8), (1,), dimensions=8, buckets=64),
    loss="contrastive",
    settings=SETTINGS,
)


def volumes(path: Path, people: int = 12, each: int = 5, **columns: list) -> str:
    """Blocks of a height that is the person's own; every fifth is forged."""
    random, rows = np.random.default_rng(0), []
    for person in range(people):
        for _ in range(each):
            cube = random.integers(0, 40, (8, 8, 8), dtype=np.uint8)
            cube[: 1 + person % 7] += np.uint8(200)
            rows.append(cube.tobytes())
    known = {"volume": rows, "shape": [[8, 8, 8]] * len(rows), "who": [f"p{i // each}" for i in range(len(rows))]}
    pq.write_table(pa.table(known | columns), path)
    return str(path)


def pairs(path: Path, count: int = 40, **columns: list) -> str:
    one = [f"word{i // 2} of the {i // 2}" for i in range(count)]
    other = [f"the {i // 2} is word{i // 2}" if i % 2 else f"something {i} else" for i in range(count)]
    known = {"question1": one, "question2": other, "is_duplicate": [i % 2 for i in range(count)]}
    pq.write_table(pa.table(known | columns), path)
    return str(path)


def given(source: str, label: str | None = "who", **others: object) -> Inputs:
    return Inputs(images=[source], out=Path("out"), label=label, **others)  # type: ignore[arg-type]
