"""The index at a million faces: speed and recall beside exact search, building, loading, adding and removing.

    python benchmarks/index_scale.py [--rows 1000000] [--probes 5000] [--rounds 3] [--peers sq8,pq,hnsw]

Faces are generated, 128 numbers each, L2-normalised, one per person. A person is one of 128 random directions (share .2
of the variance) and a direction of their own; variances fall by exp(-i / 60) along random axes. These numbers were
chosen so that 4,857 of them are like the embeddings of as many people in LFW by our own network: docs/scale.md compares
the two. Probes: 9 in 10 are other views of somebody enrolled, with a cosine of .6 to .8; 1 in 10 are of strangers.

- recall_at_1: probes for which the search returns the row that exact search returns; of views and of strangers alone.
- ratio_to_flat: probes/s over those of faiss.IndexFlatIP, all probes in one batch, on the same threads. Both take turns
  `--rounds` times, medians are compared.
- load_seconds: a new process that has the faces, as every command that searches has, opens the index, after import; its
  file lies in the page cache. load_cold_seconds: the kernel was told to drop it before (posix_fadvise).
- update_seconds: the same with 1,000 other people added and 1,000 removed.
- fixed_depths: recall and speed where every probe looks at such a share of the lists, not at more where it doubts.
- build_peak_mib: the most memory that building took beyond what was there before, which is the vectors.
- `--peers`: the same probes on other indexes of FAISS, each re-ranked exactly where its codes are not exact.

The last line is one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from muster.storage import layout
from muster.storage.index import inverted_file, vectors
from muster.storage.index.inverted_file import DEPTHS
from muster.storage.library import LibraryFiles, open_library

WIDTH = 128
GROUPS = 128
GROUP_SHARE = 0.2
DECAY = 60.0
STRANGERS = 0.1
NAME = layout.index("synthetic", "faces")
UPDATE = 1000


class People:
    """A population to draw faces from."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        axes = np.linalg.qr(self.random.standard_normal((WIDTH, WIDTH)))[0]
        self.axes = (np.exp(-np.arange(WIDTH) / (2 * DECAY))[:, None] * axes).astype(np.float32)
        self.groups = self._directions(GROUPS)

    def faces(self, count: int) -> np.ndarray:
        """One face each of `count` new people, (count, 128)."""
        faces = np.empty((count, WIDTH), np.float32)
        for start in range(0, count, 100_000):
            part = faces[start : start + 100_000]
            groups = self.groups[self.random.integers(0, GROUPS, len(part))]
            part[:] = unit(GROUP_SHARE**0.5 * groups + (1 - GROUP_SHARE) ** 0.5 * self._directions(len(part)))
        return faces

    def views(self, faces: np.ndarray, low: float = 0.6, high: float = 0.8) -> np.ndarray:
        """Another face of each of these people, of cosine `low` to `high` with the first."""
        noise = self._directions(len(faces))
        noise = unit(noise - (noise * faces).sum(1, keepdims=True) * faces)
        cosine = self.random.uniform(low, high, (len(faces), 1)).astype(np.float32)
        return cosine * faces + np.sqrt(1 - cosine**2) * noise

    def _directions(self, count: int) -> np.ndarray:
        return unit(self.random.standard_normal((count, WIDTH), np.float32) @ self.axes)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def memory(field: str) -> float:
    """MiB of this process: VmRSS now, VmHWM at most, RssAnon without mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def recall(found: np.ndarray, truth: np.ndarray, views: int) -> dict[str, float]:
    """Of all probes, of the first `views`, which show somebody enrolled, and of the rest."""
    same = found == truth
    parts = {"recall_at_1": same, "recall_views": same[:views], "recall_strangers": same[views:]}
    return {name: round(float(part.mean()), 4) for name, part in parts.items()}


def compare(it: vectors.VectorIndex, flat: Any, probes: np.ndarray, views: int, rounds: int) -> dict[str, Any]:
    """Recall and speed beside exact search."""
    seconds: dict[str, list[float]] = {"flat": [], "ours": []}
    for _ in range(rounds):
        taken, (_, exact) = timed(lambda: flat.search(probes, 1))
        seconds["flat"].append(taken)
        taken, (_, rows) = timed(lambda: it.search(probes, 1))
        seconds["ours"].append(taken)
        say(f"flat {len(probes) / seconds['flat'][-1]:.0f}, index {len(probes) / seconds['ours'][-1]:.0f} probes/s")
    per_second = {name: len(probes) / statistics.median(taken) for name, taken in seconds.items()}
    fixed = {}
    for depth in DEPTHS if it.lists else ():
        taken, (_, at_depth) = timed(partial(it.search, probes, 1, depths=[depth]))
        fixed[depth] = recall(at_depth[:, 0], exact[:, 0], views) | {"probes_per_second": round(len(probes) / taken)}
        say(f"every probe looks at {depth} of the lists: {fixed[depth]}")
    return recall(rows[:, 0], exact[:, 0], views) | {
        "ratio_to_flat": round(per_second["ours"] / per_second["flat"], 2),
        "flat_per_second": round(per_second["flat"]),
        "probes_per_second": round(per_second["ours"]),
        "fixed_depths": fixed,
    }


def build_and_save(library: LibraryFiles, faces: np.ndarray) -> tuple[vectors.VectorIndex, dict[str, Any]]:
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again
    before = memory("VmRSS")
    build_seconds, it = timed(lambda: vectors.current(library, NAME, faces))
    peak = memory("VmHWM") - before
    say(f"built in {build_seconds:.1f} s")
    file = Path(library.path) / NAME
    return it, {
        "build_seconds": round(build_seconds, 1),
        "build_peak_mib": round(peak),
        "file_mib": round(file.stat().st_size / 2**20, 1),
    }


def use(folder: str, number: int) -> dict[str, float]:
    """In a process of its own, the one of that number: open the index, then with other people."""
    library = open_library(f"{folder}/library")
    faces = np.load(f"{folder}/faces.npy")
    before = memory("RssAnon")
    load_seconds, it = timed(lambda: vectors.current(library, NAME, faces))
    loaded_mib = memory("RssAnon") - before
    new = People(number).faces(UPDATE)
    gone = faces[number * UPDATE : (number + 1) * UPDATE]
    after = np.concatenate([new, np.delete(faces, slice(number * UPDATE, (number + 1) * UPDATE), 0)])
    update_seconds, it = timed(lambda: vectors.current(library, NAME, after))
    similarities, rows = it.search(np.concatenate([new, gone]), 1)
    if rows[:UPDATE, 0].tolist() != list(range(UPDATE)) or (similarities[UPDATE:] > 0.999).any():
        sys.exit("who was added is not found, or who was removed is")
    return {"load_seconds": load_seconds, "loaded_mib": loaded_mib, "update_seconds": update_seconds}


def alone(folder: str, number: int, cold: bool) -> dict[str, float]:
    """`use` in a process of its own, with the file of the index in the page cache or not."""
    if cold:
        with (Path(folder) / "library" / NAME).open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    command = [sys.executable, __file__, "--use", folder, "--number", str(number)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    say(done.stdout.strip())
    result: dict[str, float] = json.loads(done.stdout)
    return result


def measure_peer(kind: str, faces: np.ndarray, probes: np.ndarray, flat: Any, views: int) -> None:
    """Prints a line for each depth of another kind of index."""
    flat_seconds, (_, exact) = timed(lambda: flat.search(probes, 1))
    lists = 2 ** round(np.log2(inverted_file.LISTS * np.sqrt(len(faces))))
    spec = {"sq8": f"IVF{lists},SQ8", "pq": f"IVF{lists},PQ32", "hnsw": "HNSW32,Flat"}[kind]
    made = faiss.index_factory(WIDTH, spec, faiss.METRIC_INNER_PRODUCT)
    seconds, _ = timed(lambda: (made.train(faces[: 64 * lists]), made.add(faces)))
    size = len(faiss.serialize_index(made)) / 2**20
    print(f"{spec}: built in {seconds:.1f} s, {size:.0f} MiB without vectors for re-ranking")
    setting, values = (
        ("efSearch", (64, 256, 512)) if kind == "hnsw" else ("nprobe", (lists // 64, lists // 16, lists // 8))
    )
    for value in values:
        faiss.ParameterSpace().set_index_parameter(made, setting, value)

        def search(candidates: int = 50 if kind == "pq" else 10) -> np.ndarray:
            rows = made.search(probes, candidates)[1]
            return inverted_file.best(inverted_file.similarities(probes, faces, rows), rows, 1)[1][:, 0]

        seconds, rows = timed(search)
        speed = f"{len(probes) / seconds:.0f} probes/s, {flat_seconds / seconds:.2f} times flat"
        print(f"{spec}, {setting} {value}: {speed}, {recall(rows, exact[:, 0], views)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--probes", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peers", default="", help="of sq8, pq and hnsw, separated by commas; takes minutes each")
    parser.add_argument("--folder", help="where to put the library; a temporary one by default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--use", help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.use:
        print(json.dumps(use(args.use, args.number)))
        return
    faiss.omp_set_num_threads(args.threads)
    people = People(args.seed)
    faces = people.faces(args.rows)
    views = round(args.probes * (1 - STRANGERS))
    shown = faces[people.random.choice(args.rows, views, replace=views > args.rows)]
    probes = np.concatenate([people.views(shown), people.faces(args.probes - views)])
    say(f"{args.rows} faces, {args.probes} probes")
    flat = faiss.IndexFlatIP(WIDTH)
    flat.add(faces)
    for kind in filter(None, args.peers.split(",")):
        measure_peer(kind, faces, probes, flat, views)
    result = {"rows": args.rows, "probes": args.probes, "threads": args.threads, "rounds": args.rounds}
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        library = open_library(Path(folder) / "library", create=True)
        it, facts = build_and_save(library, faces)
        result |= compare(it, flat, probes, views, args.rounds) | facts
        np.save(f"{folder}/faces.npy", faces)
        cold = alone(folder, 0, cold=True)
        runs = [alone(folder, number, cold=False) for number in range(1, args.rounds + 1)]
    result |= {name: round(statistics.median(run[name] for run in runs), 3) for name in cold}
    print(json.dumps(result | {"load_cold_seconds": round(cold["load_seconds"], 3)}))


if __name__ == "__main__":
    main()
