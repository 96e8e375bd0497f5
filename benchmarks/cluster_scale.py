"""Who is who among a million faces: `muster cluster` by its graph, from embeddings in memory to labels.

    python benchmarks/cluster_scale.py [--faces 1000000]

Faces are generated: people as in index_scale.py, a person's faces around one point, with cosines of .75 to .92 to it,
so about .56 to .85 with one another. How many a person has follows a power law, from 1 to 2,000; four in a hundred
faces are alone. Each is in a photo of its own.

- seconds: index (built, or none where all are compared), search for the 50 nearest, and cluster.
- peak_mib: the most memory of the process beyond the embeddings.
- pairwise_f, bcubed_f: against whose faces they are.

The last line is one JSON object.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.index_scale import People, memory, say, timed
from muster.pipeline.people.grouping import NEIGHBOURS
from muster.storage.index import vectors
from muster.tasks.metrics.people import bcubed_f1, pairwise_f1
from muster.tasks.people.graph import cluster_graph

LARGEST = 2000


def make(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (count, 128), and the person of each (count,), in no order."""
    random = np.random.default_rng(seed)
    sizes = np.minimum(1 / (1 - random.random(count)) ** 1.1, LARGEST).astype(np.int64)  # Pareto
    sizes = sizes[: int(np.searchsorted(np.cumsum(sizes), count)) + 1]
    people = random.permutation(np.repeat(np.arange(len(sizes)), sizes)[:count])
    world = People(seed)
    centres, faces = world.faces(len(sizes)), np.empty((count, 128), np.float32)
    for start in range(0, count, 100_000):
        part = slice(start, start + 100_000)
        faces[part] = world.views(centres[people[part]], 0.75, 0.92)
    return faces, people


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=1_000_000)
    count = parser.parse_args().faces
    faces, people = make(count, 0)
    sizes = np.bincount(people)
    say(f"{count} faces of {len(sizes)} people, {np.count_nonzero(sizes == 1)} of them with one")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again
    before = memory("VmRSS")
    seconds: dict[str, float] = {}
    seconds["index"], built = timed(lambda: vectors.build(faces))
    seconds["search"], (similarities, rows) = timed(lambda: built.search(faces, NEIGHBOURS + 1))
    say(f"index and search: {seconds}, {memory('VmHWM') - before:.0f} MiB")
    photos, quality = np.arange(count), np.ones(count, np.float32)
    seconds["cluster"], labels = timed(lambda: cluster_graph(faces, rows, similarities, photos, quality))
    peak = memory("VmHWM") - before
    result: dict[str, Any] = {"faces": count, "seconds": {name: round(each, 1) for name, each in seconds.items()}}
    result["peak_mib"] = round(peak)
    alone = np.where(labels < 0, np.arange(count) + labels.max() + 1, labels)
    result["people"], result["found"] = len(sizes), int(labels.max() + 1)
    result["pairwise_f"] = round(pairwise_f1(alone, people).f1, 4)
    result["bcubed_f"] = round(bcubed_f1(alone, people).f1, 4)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
