"""What excites units, through two workers, beside one pass in one process: the same patches, in what time and memory.

Of each network: photos of LFW run through Muster's workers (killed once, and resumed), the nine best of each unit put
together from the shards, and compared with a brute-force pass that holds every unit's value in every photo and sorts
them. Time: the task beside a plain forward pass of the same photos, in one process on one thread, in turn, the median
of three; of decoded photos (`time_ratio`), and from the bytes of the files (`time_ratio_from_files`). Memory: the most
that a worker's process had after a quarter of some photos, and after all of them, put together.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import muster
from muster.pipeline.run import pending
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.dispatch import Order
from muster.pipeline.work.worker import ShardWorker, image_of
from muster.storage import manifest, tables
from muster.storage.library import open_library
from muster.storage.photos import decode
from muster.tasks.base import Image, shrink
from muster.tasks.models.fuse import for_inference
from muster.tasks.units import BEST, Units

AT_ONCE = 32  # as workers do
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--models", default="squeezenet,daynight,streets")
    parser.add_argument("--photos", type=int, default=0, help="of LFW; all where 0")
    parser.add_argument("--held", type=int, default=3000, help="photos for which memory is looked at")
    parser.add_argument("--timed", type=int, default=256, help="photos of the timing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for model in args.models.split(","):
        with tempfile.TemporaryDirectory() as folder:
            found[model] = measured(model, args, Path(folder))
            print(model, json.dumps(found[model]), file=sys.stderr)
    worst = max(each["time_ratio"] for each in found.values())
    equal = all(each["patches_equal"] for each in found.values())
    print(json.dumps({"networks": found, "patches_equal": equal, "worst_time_ratio": worst}))


def measured(model: str, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    lfw = pq.ParquetFile(args.data / "lfw/lfw.parquet")
    rows = pq.read_table(args.data / "lfw/lfw.parquet").slice(0, args.photos or lfw.metadata.num_rows)
    pq.write_table(rows, folder / "lfw.parquet", row_group_size=256)
    place = folder / "library"
    library = muster.scan(folder / "lfw.parquet", library=place)
    opened = muster.open(place)
    killed = killed_run(place, model, args.data / "weights")
    began = time.monotonic()
    machine = muster.Machine(device="cpu", workers=2, weights_dir=args.data / "weights")
    summary = opened.run([muster.task("units", model=model)], machine=machine)
    ours = opened.units()
    merged = time.monotonic() - began - summary.seconds - summary.startup_seconds
    task = TaskChoice(name="units", model=model).load(CPU, args.data / "weights")
    assert isinstance(task, Units)
    began = time.monotonic()
    wanted = brute_force(task, place)
    brute = time.monotonic() - began
    return {
        "photos": library.found,
        "units": int(task.watched.starts[-1]),
        "layers": len(task.watched.layers),
        "shards_done_before_the_kill": killed,
        "images_per_second_2_workers_after_it": summary.images_per_second,
        "merge_seconds": round(merged, 2),
        "brute_force_seconds": round(brute, 1),
        **compared(ours, wanted),
        **timed(task, place, args.timed),
        "table_megabytes": round(sum(f.stat().st_size for f in (place / "units").rglob("*.parquet")) / 1e6, 1),
        **memory(place, model, args.data / "weights", args.held),
    }


def killed_run(place: Path, model: str, weights: Path) -> int:
    """Begin a run as a command, and kill it, with its workers, once it has committed a few shards."""
    command = [sys.executable, "-m", "muster", "run", "-l", str(place), "--tasks", "units", "--model", f"units={model}"]
    options = ["--workers", "2", "--device", "cpu", "--weights-dir", str(weights)]
    process = subprocess.Popen(
        [*command, *options], start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    fingerprint = TaskChoice(name="units", model=model).fingerprint
    while process.poll() is None and committed(place, fingerprint) < 2:
        time.sleep(0.05)
    before = committed(place, fingerprint)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    time.sleep(3)  # until what is left of its workers has seen that nobody is there
    return before


def committed(place: Path, fingerprint: str) -> int:
    folder = place / "_commits" / fingerprint
    return len(list(folder.glob("*.json"))) if folder.is_dir() else 0


# ---- one pass in one process -----------------------------------------------------------------------------------------


def photos(place: Path, most: int = 0) -> Iterator[Image]:
    """All of a library's, decoded as its workers decode them."""
    library, count = open_library(place), 0
    for shard, _ in manifest.shards(library):
        table = manifest.read_shard(library, shard)
        source = pq.read_table(table["uri"][0].as_py().rpartition("#row=")[0], columns=["image"])["image"]
        for image_id, uri in zip(table["image_id"].to_pylist(), table["uri"].to_pylist(), strict=True):
            data = source[int(uri.rpartition("=")[2])].as_py()
            yield image_of(image_id, decode.decode(data, 1024))
            count += 1
            if count == most:
                return


def brute_force(task: Units, place: Path) -> dict[tuple[str, int], list[tuple[str, float, tuple[float, ...]]]]:
    """Unit → its nine best: image, value, box. Every unit's value in every photo is kept, one photo at a time."""
    values, rows, columns, images, views = [], [], [], [], []
    for image in photos(place):
        view = task.view(shrink(image, task.max_side).pixels)
        peaks = task.watched.peaks(view.input, view.inside)
        values.append(peaks.values[0])
        rows.append(peaks.rows[0].astype(np.int16))
        columns.append(peaks.columns[0].astype(np.int16))
        images.append((image.sha256, image.image_id, image.size))
        views.append((view.shape, view.corner, view.whole))
    table, found = np.stack(values), {}
    by_name = np.array(sorted(range(len(images)), key=lambda i: images[i][:2]))
    for number, layer in enumerate(task.watched.layers):
        for unit in range(layer.units):
            at = int(task.watched.starts[number]) + unit
            best, seen = [], set()
            for i in by_name[np.argsort(-table[by_name, at], kind="stable")]:
                if len(best) == BEST or (layer.rectified and not table[i, at] > 0):
                    break
                if images[i][0] in seen:
                    continue
                seen.add(images[i][0])
                shape, corner, whole = views[i]
                place_of = (np.array([each]) for each in (at, rows[i][at], columns[i][at]))
                box = task.watched.boxes(shape[:2], shape[2:], *place_of)[0]
                scale = np.array(images[i][2]) / whole
                full = (box + np.tile(corner, 2)) * np.tile(scale, 2)
                best.append((images[i][1], float(table[i, at]), tuple(full.astype(np.float32).tolist())))
            if best:
                found[layer.name, unit] = best
    return found


def compared(ours: pa.Table, wanted: dict[Any, Any]) -> dict[str, Any]:
    mine: dict[Any, list[Any]] = {}
    for row in ours.to_pylist():
        found = row["image_id"], row["value"], tuple(row["box_xyxy"])
        mine.setdefault((row["layer"], row["unit"]), []).append(found)
    same = sum(
        [(i, b) for i, _, b in mine.get(unit, ())] == [(i, b) for i, _, b in best] for unit, best in wanted.items()
    )
    pairs = [(a[1], b[1]) for unit, best in wanted.items() for a, b in zip(mine.get(unit, ()), best, strict=False)]
    apart = max((abs(a - b) / max(1e-6, abs(b)) for a, b in pairs), default=0.0)
    return {
        "patches_equal": same == len(wanted) == len(mine),
        "units_that_fire": len(wanted),
        "units_equal": same,
        "patches": ours.num_rows,
        "values_apart_at_most": apart,
    }


# ---- time and memory -------------------------------------------------------------------------------------------------


def timed(task: Units, place: Path, count: int) -> dict[str, Any]:
    """Milliseconds of processor time for the same photos: the task, and a plain pass of its network."""
    images = list(photos(place, count))
    plain = for_inference(task.network, CPU, torch.float32)
    batches = [images[i : i + AT_ONCE] for i in range(0, len(images), AT_ONCE)]

    def forward() -> None:
        for batch in batches:
            views = [task.view(shrink(image, task.max_side).pixels) for image in batch]
            with torch.inference_mode():
                for i in range(0, len(views), 8):
                    inputs = torch.cat([view.input for view in views[i : i + 8]])
                    plain(inputs.contiguous(memory_format=torch.channels_last))

    def units() -> None:
        kept = task.schema.empty_table()
        for batch in batches:
            kept = task.reduced(pa.concat_tables([kept, task(batch)]))

    seconds: dict[str, list[float]] = {"forward": [], "units": []}
    for turn in range(4):
        for name, what in (("forward", forward), ("units", units)):
            began = time.process_time()
            what()
            if turn:
                seconds[name].append(time.process_time() - began)
    began = time.process_time()
    decoded = len(list(photos(place, count)))
    files_ms = 1000 * (time.process_time() - began) / decoded
    forward_ms, units_ms = (1000 * statistics.median(seconds[name]) / decoded for name in ("forward", "units"))
    return {
        "reading_ms_per_photo": round(files_ms, 3),
        "forward_ms_per_photo": round(forward_ms, 3),
        "units_ms_per_photo": round(units_ms, 3),
        "time_ratio": round(units_ms / forward_ms, 3),
        "time_ratio_from_files": round((files_ms + units_ms) / (files_ms + forward_ms), 3),
    }


def memory(place: Path, model: str, weights: Path, most: int) -> dict[str, Any]:
    """Of a process that does shards one after the other: its greatest resident megabytes after a quarter, and all."""
    code = f"from benchmarks.units import resident; resident({str(place)!r}, {model!r}, {str(weights)!r}, {most})"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    quarter, whole = json.loads(out.splitlines()[-1])
    return {"megabytes_after_a_quarter": quarter, "megabytes_after_all": whole}


def resident(place: str, model: str, weights: str, most: int) -> None:
    """Do all shards anew in a copy, and print the greatest resident memory after a quarter and after all."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "library"
        shutil.copytree(place, copy, ignore=shutil.ignore_patterns("units", "_commits"))
        library, choice = open_library(copy), TaskChoice(name="units", model=model)
        worker = ShardWorker(str(copy), [choice], "cpu", Path(weights))
        orders, held = list[Order](), 0
        for order in pending(library, [choice]):
            if held < most:
                orders.append(order)
                held += order.images
        tables.describe(library, choice.description)
        kept = []
        for number, order in enumerate(orders, 1):
            worker.process(order)
            if number == -(-len(orders) // 4):
                kept.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        muster.open(copy).units()
        kept.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    print(json.dumps(kept))


if __name__ == "__main__":
    main()
