"""Muster, Ray Data, Daft and bare loops on the same images, with the same decoder and networks, in one run.

    python benchmarks/engines.py [--model TASK=NAME] [--images IMAGES.parquet] [--limit N] [--workers N] [--rounds N]

By default `scenes=own`, a light model, so that what an engine does besides is seen, on two sets: 10,562 LFW photos of
162×162 pixels, and 600 of 1600×1200, cut from the phone photos. A heavy model binds all alike: `faces=own` takes 7 ms
for a photo whose decoding takes half of one.

Each with `--workers`, `--rounds` times in turn, so that a machine that changes speed changes all:

- muster: `muster run --tasks TASK --workers N` into a fresh library.
- ray_data: `read_parquet(…).repartition(…).map(decode).map_batches(Model, …).write_parquet(…)`, as Ray Data's guide to
  batch inference has it: decoding in a stage of its own, then a class that loads the model once per actor. An actor
  asks for half a CPU and uses one torch thread: actors that ask for both CPUs leave none to the rest, and the job
  stands still.
- ray_data_fused: the same with decoding inside the class, so that no pixels cross the object store, as one who knows
  Ray Data well would write it on CPUs.
- daft: the same, fused, as a class in Daft's native runner; where Daft is installed.
- bare: as many processes as workers, each with one thread, on all the images: they read, decode and run the task, and
  write nothing. What the machine gives.

All of them decode with Muster's decoder and take the hashes that Muster's table of images has: SHA-256 and perceptual.
Start-up (processes, Ray, weights) is not in the rates, and shown apart. Muster's clock starts when all its workers are
ready. So do the others', where a first worker may have begun by then: batches that were done before do not count. All
but the bare ones write their tables before the clock stops.
Ratios are of medians. Ray gives its workers a lower priority (nice 15), and the bare loops have none: on a machine that
does other work as well, `ratio_to_bare` says little. The last line is one JSON object; its ratios are the lower of both
sets.
"""

import argparse
import io
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
CORES = 2
BATCH = 64
SIZE = (1600, 1200)
# For the bare loops what a worker sets by mallopt (pipeline/work/worker.py): memory of a batch is kept for the next.
KEEP_MEMORY = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 28)}


# ---- muster ----------------------------------------------------------------------------------------------------------


def muster(images: Path, model: str, workers: int) -> dict[str, float]:
    command = [sys.executable, "-m", "muster"]
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        answer([*command, "scan", str(images), "-l", folder + "/l", "--json"])
        options = [
            "--tasks",
            model.partition("=")[0],
            "--model",
            model,
            "--device",
            "cpu",
            "--workers",
            str(workers),
            "--json",
        ]
        facts = answer([*command, "run", "-l", folder + "/l", *options])
    return _result(facts["processed"], facts["seconds"], facts["rows"].get("faces") or facts["ok"], started)


# ---- ray_data --------------------------------------------------------------------------------------------------------


class Model:
    """The task, as the class that `map_batches` takes. Batches hold `pixels` and so on, or the bytes in `image`.

    Notes when it was ready and, for each batch, when it was done and how many images were in it.
    """

    def __init__(self, model: str, notes: str) -> None:
        import torch

        torch.set_num_threads(1)
        self.task = _load(model)
        self.notes = Path(notes, str(os.getpid()))
        self._note(0)

    def _note(self, images: int) -> None:
        with self.notes.open("a") as file:
            file.write(f"{time.time()} {images}\n")

    def __call__(self, batch: dict[str, Any]) -> pa.Table:
        from muster.tasks.base import Image

        if "image" in batch:
            images = [_decode(data, self.task.max_side, str(number)) for number, data in enumerate(batch["image"])]
        else:
            columns = zip(batch["pixels"], batch["scale"], batch["size"], strict=True)
            images = [Image("", pixels, scale, tuple(size)) for pixels, scale, size in columns]
        found = self.task(images)
        self._note(len(images))
        return found


def decoded(row: dict[str, Any], max_side: int) -> dict[str, Any]:
    image = _decode(row["image"], max_side)
    return {"pixels": image.pixels, "scale": image.scale, "size": image.size}


def ray_data(images: Path, model: str, workers: int, fused: bool) -> None:
    """In a process of its own; prints the result."""
    # As pipeline/distributed/actors.py has it; Ray reads it when it is first imported.
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
    import ray

    from muster.tasks import registry

    # "local": without it Ray joins whatever cluster runs on this machine.
    ray.init("local", num_cpus=CORES, include_dashboard=False, log_to_driver=False, logging_level="error")
    ray.data.DataContext.get_current().enable_progress_bars = False
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "notes")
        notes.mkdir()
        # Without repartition() all of a small collection is one block, and one actor does everything.
        photos = ray.data.read_parquet(str(images), columns=["image"]).repartition(8 * workers)
        if not fused:
            task, _, name = model.partition("=")
            side = registry.create(task, name).max_side
            photos = photos.map(decoded, fn_kwargs={"max_side": side})
        photos.map_batches(
            Model,
            fn_constructor_args=(model, str(notes)),
            compute=ray.data.ActorPoolStrategy(size=workers),
            batch_size=BATCH,
            batch_format="numpy",
            num_cpus=0.5,
        ).write_parquet(folder + "/rows")
        end = time.time()
        report(notes, end, rows_of(folder + "/rows").num_rows)
    ray.shutdown()


def rows_of(folder: str) -> pa.Table:
    return pq.read_table(folder)


def report(notes: Path, end: float, rows: int) -> None:
    """Print what was done from when the last worker was ready until `end`."""
    done = [[line.split() for line in path.read_text().splitlines()] for path in notes.iterdir()]
    ready = max(float(lines[0][0]) for lines in done)
    count = sum(int(images) for lines in done for at, images in lines if float(at) > ready)
    print(json.dumps({"images": count, "seconds": end - ready, "rows": rows}))


# ---- daft ------------------------------------------------------------------------------------------------------------


def by_daft(images: Path, model: str, workers: int) -> None:
    """In a process of its own; prints the result. Its workers are processes, as Python holds a lock."""
    import daft

    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "notes")
        notes.mkdir()

        @daft.cls(max_concurrency=workers, use_process=True)
        class InDaft:
            def __init__(self) -> None:
                self.model = Model(model, str(notes))

            @daft.method.batch(return_dtype=daft.DataType.string(), batch_size=BATCH)
            def rows(self, image: Any) -> Any:
                found = self.model({"image": image.to_pylist()})
                by_image: dict[str, list[Any]] = {str(number): [] for number in range(len(image))}
                for row in found.to_pylist():
                    by_image[row["image_id"]].append(row)
                return daft.Series.from_pylist([json.dumps(each, default=str) for each in by_image.values()])

        photos = daft.read_parquet(str(images))
        photos.select(InDaft().rows(photos["image"])).write_parquet(folder + "/rows")
        report(
            notes, time.time(), sum(len(json.loads(each)) for each in rows_of(folder + "/rows").column(0).to_pylist())
        )


# ---- bare ------------------------------------------------------------------------------------------------------------


def bare(images: Path, model: str) -> None:
    """In a process of its own: says when it is ready, begins when a line comes in, prints the result."""
    import torch

    torch.set_num_threads(1)
    task = _load(model)

    def all_of(limit: int | None) -> tuple[int, int]:
        rows = seen = 0
        for batch in pq.ParquetFile(images).iter_batches(BATCH, columns=["image"]):
            photos = batch["image"].to_pylist()
            rows += task([_decode(data, task.max_side) for data in photos]).num_rows
            seen += len(photos)
            if limit is not None and seen >= limit:
                break
        return seen, rows

    all_of(BATCH)
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    seen, rows = all_of(None)
    print(json.dumps({"images": seen, "seconds": time.perf_counter() - start, "rows": rows}))


def _load(model: str) -> Any:
    import torch

    from muster.pipeline.work.choice import TaskChoice

    weights = Path(os.environ.get("MUSTER_WEIGHTS", DATA / "weights"))
    task, _, name = model.partition("=")
    return TaskChoice(name=task, model=name or None).load(torch.device("cpu"), weights)


def _decode(data: bytes, max_side: int, name: str = "") -> Any:
    from muster.storage.photos import decode, pixels
    from muster.tasks.base import Image

    photo = decode.decode(data, max_side)
    pixels.perceptual_hash(photo.pixels)
    return Image(name, photo.pixels, photo.scale, photo.size)


# ---- all together ----------------------------------------------------------------------------------------------------


def in_process(way: str, images: Path, model: str, workers: int) -> dict[str, float]:
    """Ray Data, in a process of its own."""
    started = time.perf_counter()
    return _result(**answer(_command(way, images, model, workers)), started=started)


def answer(command: list[str]) -> dict[str, Any]:
    """The JSON in the last line that a command prints. Ends with what it said where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stderr}")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def bares(images: Path, model: str, processes: int) -> dict[str, float]:
    """So many bare loops, which begin together; what they do together until the last one ends."""
    started = time.perf_counter()
    command = _command("bare", images, model, 1)
    environment = {**os.environ, **KEEP_MEMORY}
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(processes)
    ]
    for process in running:
        assert process.stdout
        if process.stdout.readline() != "ready\n":
            sys.exit("a loop could not start")
    facts = [json.loads(printed) for printed, _ in _begin(running)]
    seconds = max(each["seconds"] for each in facts)
    return _result(sum(each["images"] for each in facts), seconds, facts[0]["rows"], started)


def _begin(running: list[subprocess.Popen[str]]) -> list[tuple[str, str]]:
    for process in running:
        assert process.stdin
        process.stdin.write("begin\n")
        process.stdin.flush()
    return [process.communicate() for process in running]


def _command(way: str, images: Path, model: str, workers: int) -> list[str]:
    options = ["--images", str(images), "--model", model, "--workers", str(workers)]
    return [sys.executable, "-W", "ignore", __file__, "--way", way, *options]


def _result(images: int, seconds: float, rows: int, started: float) -> dict[str, float]:
    """`startup`: everything else that the whole of it took."""
    startup = time.perf_counter() - started - seconds
    return {"rate": images / seconds, "startup": startup, "rows": rows}


def one_round(images: Path, model: str, workers: int) -> dict[str, dict[str, float]]:
    measured = {"muster": muster(images, model, workers)}
    for way in ("ray_data", "ray_data_fused", *(["daft"] if find_spec("daft") else [])):
        measured[way] = in_process(way, images, model, workers)
    measured["bare"] = bares(images, model, workers)
    if len({each["rows"] for each in measured.values()}) > 1:
        print(f"not the same rows: { ({name: each['rows'] for name, each in measured.items()}) }", file=sys.stderr)
    return measured


def lfw(limit: int) -> list[bytes]:
    return pq.read_table(DATA / "lfw/lfw.parquet", columns=["image"])["image"].slice(0, limit).to_pylist()


def large(limit: int) -> list[bytes]:
    """JPEGs of 1600×1200 pixels: parts of the phone photos."""
    from PIL import Image

    random = Random(0)
    photos = [Image.open(path).convert("RGB") for path in sorted((DATA / "photos/phone").glob("*.jpg"))]
    found = []
    for number in range(limit):
        photo = photos[number % len(photos)]
        width = int(min(photo.width, photo.height * 4 / 3) * random.uniform(0.55, 1))
        height = width * 3 // 4
        x, y = random.randint(0, photo.width - width), random.randint(0, photo.height - height)
        file = io.BytesIO()
        photo.resize(SIZE, Image.Resampling.LANCZOS, (x, y, x + width, y + height)).save(file, "JPEG", quality=88)
        found.append(file.getvalue())
    return found


def given(path: Path) -> Callable[[int], list[bytes]]:
    return lambda limit: pq.read_table(path, columns=["image"])["image"].slice(0, limit).to_pylist()


def written(photos: list[bytes], path: Path) -> Path:
    """In row groups that Ray Data can read in parallel."""
    pq.write_table(pa.table({"image": photos}), path, row_group_size=min(256, -(-len(photos) // 16)))
    return path


def summary(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    def median(name: str, what: str) -> float:
        return statistics.median(each[name][what] for each in rounds)

    rate = {name: median(name, "rate") for name in rounds[0]}
    return {
        **{f"ratio_to_{name}": round(rate["muster"] / rate[name], 3) for name in rate if name != "muster"},
        "images_per_second": {name: round(value, 1) for name, value in rate.items()},
        "startup_seconds": {name: round(median(name, "startup"), 1) for name in rate},
        "rows": {name: each["rows"] for name, each in rounds[0].items()},
        "rates": {name: [round(each[name]["rate"], 1) for each in rounds] for name in rate},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scenes=own")
    parser.add_argument("--images", type=Path, help="a Parquet file instead of both sets")
    parser.add_argument("--limit", type=int, help="images of each set")
    parser.add_argument("--workers", type=int, default=CORES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--way", choices=("ray_data", "ray_data_fused", "daft", "bare"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way == "bare":
        bare(args.images, args.model)
    elif args.way == "daft":
        by_daft(args.images, args.model, args.workers)
    elif args.way:
        ray_data(args.images, args.model, args.workers, fused=args.way == "ray_data_fused")
    else:
        compare(args)


def compare(args: argparse.Namespace) -> None:
    sets = {"given": (given(args.images), 50_000)} if args.images else {"lfw": (lfw, 12_000), "large": (large, 600)}
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (photos, limit) in sets.items():
            images = written(photos(args.limit or limit), Path(folder, f"{name}.parquet"))
            rounds = []
            for number in range(args.rounds):
                rounds.append(one_round(images, args.model, args.workers))
                rates = ", ".join(f"{way} {each['rate']:.1f}/s" for way, each in rounds[-1].items())
                print(f"{name}, round {number + 1}: {rates}", file=sys.stderr, flush=True)
            results[name] = {"images": pq.read_metadata(images).num_rows, **summary(rounds)}
    ratios = [key for key in next(iter(results.values())) if key.startswith("ratio_to_")]
    lower = {key: min(each[key] for each in results.values()) for key in ratios}
    print(json.dumps({**lower, "workers": args.workers, "model": args.model, "sets": results}))


if __name__ == "__main__":
    main()
