"""Four tasks in one `muster run`, against a run for each of them and against a plain loop for each, on phone photos.

    python benchmarks/one_pass.py [--images N] [--rounds N] [--weights-dir DIR]

Faces, objects, masks and scenes by their default models, on the phone photos of the test data, repeated as files of
their own until there are N. `--rounds` times in turn, so that a machine that changes speed changes all:

- one_pass: `muster run --tasks faces,objects,masks,scenes`, one worker per core.
- separate: `muster run --tasks TASK` for each task, one after another, each into a library of its own.
- loops: for each task a program as one writes it for this task alone: one process, torch on all cores, every photo
  decoded in full by Pillow, the task called on batches of 8, its rows written.
- tuned_loops: the same with what Muster has: decoding at the size that the task needs, ahead in a thread per core.

All begin with the same scan. Seconds are of the whole commands: starting (Python, torch, Ray, weights) is in them, as a
user waits for it too, and shown apart; `without_startup` are the ratios without it.
Photos are decoded at the size that the largest task of a run needs, so the pixels of a smaller task differ a little
between the ways, and so do its scores and boxes: `agree` is the share of rows of one_pass for which the other way has
one on the same photo with the same label and a box that overlaps it by 0.8 or more (intersection over union); or the
other way round, where that is less.
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
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
CORES = len(os.sched_getaffinity(0))
TASKS = ("faces", "objects", "masks", "scenes")
BATCH = 8  # photos of 12 megapixels, 36 MB each as pixels
SAME = 0.8


@dataclass(frozen=True)
class Took:
    """`seconds`: of the whole; `startup`: of these, before the first photo and after the last. `rows`: task → rows."""

    seconds: float
    startup: float
    rows: dict[str, pa.Table]


# ---- muster ----------------------------------------------------------------------------------------------------------


def one_pass(photos: Path, weights: Path) -> Took:
    return run(photos, weights, TASKS)


def separate(photos: Path, weights: Path) -> Took:
    return together(run(photos, weights, (task,)) for task in TASKS)


def run(photos: Path, weights: Path, tasks: Sequence[str]) -> Took:
    """`muster run` in a fresh library."""
    with tempfile.TemporaryDirectory() as folder:
        _muster("scan", str(photos), "-l", folder)
        begun = time.perf_counter()
        options = ["--device", "cpu", "--weights-dir", str(weights)]
        facts = _muster("run", "-l", folder, "--tasks", ",".join(tasks), *options)
        seconds = time.perf_counter() - begun
        if facts["errors"]:
            sys.exit(f"errors in {tasks}: {facts}")
        return Took(seconds, seconds - facts["seconds"], {task: read(folder, task) for task in tasks})


def read(folder: str, task: str) -> pa.Table:
    """A table of a library, with the photo's file name as its image_id."""
    from muster.storage import manifest, tables
    from muster.storage.library import open_library

    library = open_library(folder)
    images = manifest.read_manifest(library)
    names = {i: Path(uri).name for i, uri in zip(*(images[c].to_pylist() for c in ("image_id", "uri")), strict=True)}
    [fingerprint] = [name for name, each in tables.descriptions(library).items() if each["task"] == task]
    rows = tables.require(library, task, fingerprint)
    return rows.set_column(0, "image_id", pa.array([names[i] for i in rows["image_id"].to_pylist()]))


def _muster(*arguments: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(printed([sys.executable, "-m", "muster", *arguments, "--json"]))
    return facts


# ---- loops -----------------------------------------------------------------------------------------------------------


def loops(photos: Path, weights: Path, way: str = "loop") -> Took:
    return together(in_process(way, task, photos, weights) for task in TASKS)


def tuned_loops(photos: Path, weights: Path) -> Took:
    return loops(photos, weights, "tuned_loop")


def in_process(way: str, task: str, photos: Path, weights: Path) -> Took:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "rows.parquet")
        begun = time.perf_counter()
        command = [sys.executable, "-W", "ignore", __file__, "--way", way, "--task", task, "--photos", str(photos)]
        inside = float(printed([*command, "--out", str(out), "--weights-dir", str(weights)]))
        seconds = time.perf_counter() - begun
        return Took(seconds, seconds - inside, {task: pq.read_table(out)})


def loop(name: str, photos: Path, out: Path, weights: Path, tuned: bool) -> float:
    """All photos through one task, rows to a file; seconds since the task was loaded."""
    import torch

    from muster.pipeline.work.choice import TaskChoice

    torch.set_num_threads(CORES)
    task = TaskChoice(name=name).load(torch.device("cpu"), weights)
    begun = time.perf_counter()
    paths = sorted(photos.iterdir())
    decoded = decoded_ahead(paths, task.max_side) if tuned else map(decoded_in_full, paths)
    found = []
    while batch := list(islice(decoded, BATCH)):
        found.append(task(batch))
    pq.write_table(pa.concat_tables(found), out)
    return time.perf_counter() - begun


def decoded_in_full(path: Path) -> Any:
    from PIL import Image as PillowImage
    from PIL import ImageOps

    from muster.storage.photos.exif import facts, read_exif
    from muster.tasks.base import Image

    photo = PillowImage.open(path)
    taken_at, latitude, longitude, _ = facts(read_exif(photo))
    upright = ImageOps.exif_transpose(photo).convert("RGB")
    return Image(path.name, np.asarray(upright), 1.0, upright.size, taken_at, latitude, longitude)


def decoded_ahead(paths: Sequence[Path], max_side: int) -> Iterator[Any]:
    from muster.pipeline.work.worker import ahead
    from muster.storage.photos import decode as images
    from muster.tasks.base import Image

    def decode(path: Path) -> Image:
        photo = images.decode(path.read_bytes(), max_side)
        place = (photo.taken_at, photo.latitude, photo.longitude)
        return Image(path.name, photo.pixels, photo.scale, photo.size, *place)

    with ThreadPoolExecutor(CORES) as pool:
        yield from ahead(pool, decode, paths, limit=2 * BATCH)


# ---- all together ----------------------------------------------------------------------------------------------------

WAYS = {"one_pass": one_pass, "separate": separate, "loops": loops, "tuned_loops": tuned_loops}


def together(parts: Iterable[Took]) -> Took:
    parts = list(parts)
    rows = {task: table for part in parts for task, table in part.rows.items()}
    return Took(sum(part.seconds for part in parts), sum(part.startup for part in parts), rows)


def printed(command: list[str]) -> str:
    """The last line that a command prints. Ends with what it said where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stderr}")
    return done.stdout.splitlines()[-1]


def repeated(originals: Sequence[Path], images: int, folder: Path) -> None:
    """So many photos as files of their own: behind the end of each stands its number, which changes no pixel."""
    for number in range(images):
        original = originals[number % len(originals)]
        (folder / f"{number:04d}-{original.name}").write_bytes(original.read_bytes() + b"%d" % number)


def agree(ours: pa.Table, theirs: pa.Table) -> float:
    """The share of our rows that have a row like them; of theirs that have one among ours, where that is less."""
    sides = [finds(table) for table in (ours, theirs)]
    shares = []
    for one, other in (sides, sides[::-1]):
        same = [any(overlap(box, against) >= SAME for against in other.get(what, ())) for what, box in pairs(one)]
        shares.append(sum(same) / len(same) if same else 1.0)
    return min(shares)


def finds(table: pa.Table) -> dict[tuple[str, Any], list[Any]]:
    """(photo, label) → boxes; a task without boxes has one for the whole photo."""
    found: dict[tuple[str, Any], list[Any]] = {}
    for row in table.to_pylist():
        found.setdefault((row["image_id"], row.get("label")), []).append(row.get("box_xyxy") or [0, 0, 1, 1])
    return found


def pairs(found: dict[tuple[str, Any], list[Any]]) -> Iterator[tuple[tuple[str, Any], Any]]:
    return ((what, box) for what, boxes in found.items() for box in boxes)


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes [x0, y0, x1, y1]."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def summary(rounds: Sequence[dict[str, Took]], images: int) -> dict[str, Any]:
    def median(way: str) -> float:
        return statistics.median(each[way].seconds for each in rounds)

    def working(way: str) -> float:
        return statistics.median(each[way].seconds - each[way].startup for each in rounds)

    others = [way for way in WAYS if way != "one_pass"]
    names = {"separate": "ratio_to_separate_runs"}
    first = rounds[0]
    return {
        **{names.get(way, f"ratio_to_{way}"): round(median(way) / median("one_pass"), 3) for way in others},
        "without_startup": {way: round(working(way) / working("one_pass"), 3) for way in others},
        "images": images,
        "cores": CORES,
        "images_per_second": {way: round(images / median(way), 2) for way in WAYS},
        "seconds": {way: [round(each[way].seconds, 1) for each in rounds] for way in WAYS},
        "startup_seconds": {way: round(statistics.median(e[way].startup for e in rounds), 1) for way in WAYS},
        "rows": {way: {task: first[way].rows[task].num_rows for task in TASKS} for way in WAYS},
        "agree": {
            way: {task: round(agree(first["one_pass"].rows[task], first[way].rows[task]), 4) for task in TASKS}
            for way in others
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--weights-dir", type=Path, default=DATA / "weights")
    parser.add_argument("--way", choices=("loop", "tuned_loop"), help="one way and task alone, in this process")
    parser.add_argument("--task", choices=TASKS, help="with --way")
    parser.add_argument("--photos", type=Path, help="with --way: folder")
    parser.add_argument("--out", type=Path, help="with --way: file for the rows")
    args = parser.parse_args()
    if args.way:
        print(loop(args.task, args.photos, args.out, args.weights_dir, args.way == "tuned_loop"))
        return
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        repeated(sorted((DATA / "photos/phone").glob("*.jpg")), args.images, Path(folder))
        for number in range(args.rounds):
            rounds.append({way: measure(Path(folder), args.weights_dir) for way, measure in WAYS.items()})
            told = ", ".join(f"{way} {took.seconds:.1f} s" for way, took in rounds[-1].items())
            print(f"round {number + 1}: {told}", file=sys.stderr)
    print(json.dumps(summary(rounds, args.images)))


if __name__ == "__main__":
    main()
