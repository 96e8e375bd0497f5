"""The faces path, three ways over the same images in one run: `muster run`, the reference program, a plain loop.

    python benchmarks/faces_throughput.py [--model faces=published] [--images LFW.parquet] [--limit N]

- muster: `muster run --tasks faces` into a fresh library, one worker per core. Start-up is shown apart.
- reference: decode → YuNet → alignment → MobileFaceNet in ONNX Runtime, one image at a time in as many threads as cores
  (the program beside the data, `reference/faces_ort.py`); only its own loop is timed.
- loop: a tuned single process over the same task: torch on all cores, decoding ahead in threads, batches of 64.

Every way runs `--rounds` times in turn, so that a machine that changes speed changes all; ratios are of medians.
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
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
CORES = len(os.sched_getaffinity(0))


def muster(images: Path, model: str, weights: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "muster"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*command, "scan", str(images), "-l", folder + "/l"], check=True, capture_output=True)
        options = ["--tasks", "faces", "--model", model, "--weights-dir", str(weights), "--json"]
        done = subprocess.run(
            [*command, "run", "-l", folder + "/l", *options], check=True, capture_output=True, text=True
        )
    return json.loads(done.stdout.splitlines()[-1])


def alone(way: str, images: Path, model: str, weights: Path) -> float:
    """Images per second of `reference` or `loop`, in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--way", way, "--images", str(images), "--model", model]
    environment = {**os.environ, "MUSTER_WEIGHTS": str(weights)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return float(done.stdout)


def reference(photos: list[bytes]) -> float:
    """Images per second of the reference program's own functions."""
    sys.path.insert(0, str(DATA.parent / "reference"))
    import cv2
    import faces_ort
    import numpy as np

    cv2.setNumThreads(1)
    detector = faces_ort.session(DATA / "weights/yunet_n_dynamic.onnx")
    embedder = faces_ort.session(DATA / "weights/mobilefacenet.onnx")

    def one(data: bytes) -> None:  # as in the program's main()
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        centre = bgr.shape[1] / 2
        faces = faces_ort.detect(detector, bgr)
        if faces:
            best = max(faces, key=lambda f: f[0] - 2 * np.hypot(f[1] - centre, f[2] - centre) / bgr.shape[1])
            faces_ort.embed(embedder, faces_ort.align(bgr, best[5]))

    def all_of(photos: list[bytes]) -> None:
        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(one, photos))

    return rate(all_of, photos)


def loop(photos: list[bytes], model: str, weights: Path) -> float:
    """Images per second of the task itself: torch on all cores, images decoded ahead by threads, batches of 64."""
    import torch

    from muster.pipeline.work.choice import TaskChoice
    from muster.pipeline.work.worker import ahead
    from muster.storage.photos import decode as images
    from muster.tasks.base import Image

    torch.set_num_threads(CORES)
    task = TaskChoice(name="faces", model=model.partition("=")[2] or None).load(torch.device("cpu"), weights)

    def decode(data: bytes) -> Image:
        photo = images.decode(data, task.max_side)
        return Image("", photo.pixels, photo.scale, photo.size)

    def all_of(photos: list[bytes]) -> None:
        with ThreadPoolExecutor(CORES) as pool:
            decoded = ahead(pool, decode, photos, limit=128)
            while batch := list(islice(decoded, 64)):
                task(batch)

    return rate(all_of, photos)


def rate(function: Callable[[list[bytes]], None], photos: list[bytes]) -> float:
    function(photos[:64])
    start = time.perf_counter()
    function(photos)
    return len(photos) / (time.perf_counter() - start)


def subset(images: Path, limit: int, folder: str) -> Path:
    """The first `limit` rows as a Parquet file of their own, so that every way sees the same images."""
    path = Path(folder) / "images.parquet"
    pq.write_table(pq.read_table(images).slice(0, limit), path, row_group_size=512)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="faces=published")
    parser.add_argument("--images", type=Path, default=DATA / "lfw/lfw.parquet")
    parser.add_argument("--limit", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=("reference", "loop"), help="one way alone, all images: print its rate")
    args = parser.parse_args()
    weights = Path(os.environ.get("MUSTER_WEIGHTS", DATA / "weights"))
    if args.way:
        photos = pq.read_table(args.images, columns=["image"])["image"].to_pylist()
        print(reference(photos) if args.way == "reference" else loop(photos, args.model, weights))
        return
    rates: dict[str, list[float]] = {"muster": [], "reference": [], "loop": []}
    startup = []
    with tempfile.TemporaryDirectory() as folder:
        images = subset(args.images, args.limit, folder)
        count = pq.read_metadata(images).num_rows
        for number in range(args.rounds):
            run = muster(images, args.model, weights)
            rates["muster"].append(run["images_per_second"])
            startup.append(run["startup_seconds"])
            rates["reference"].append(alone("reference", images, args.model, weights))
            rates["loop"].append(alone("loop", images, args.model, weights))
            print(f"round {number + 1}: " + ", ".join(f"{k} {v[-1]:.1f}/s" for k, v in rates.items()), file=sys.stderr)
    median = {name: statistics.median(values) for name, values in rates.items()}
    result = {
        "images": count,
        "cores": CORES,
        "images_per_second": round(median["muster"], 1),
        "reference_images_per_second": round(median["reference"], 1),
        "loop_images_per_second": round(median["loop"], 1),
        "ratio_to_reference": round(median["muster"] / median["reference"], 3),
        "ratio_to_loop": round(median["muster"] / median["loop"], 3),
        "startup_seconds": round(statistics.median(startup), 2),
        "rates": {name: [round(v, 1) for v in values] for name, values in rates.items()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
