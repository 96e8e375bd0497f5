"""Muster, Ray Data and a plain loop on the same images, with the same decoder and the same networks, in one run.

    python benchmarks/engines.py [--model TASK=NAME] [--images IMAGES.parquet] [--limit N] [--rounds N]

By default `scenes=own`, a light model, so that what an engine does besides is seen. A heavy one binds all alike:
`faces=own` takes 7 ms for a photo whose decoding takes half of one.

Each at 1 and at 2 workers, `--rounds` times in turn, so that a machine that changes speed changes all:

- muster: `muster run --tasks TASK --workers N` into a fresh library.
- ray_data: `read_parquet(…).repartition(…).map(decode).map_batches(Model, …).write_parquet(…)`, as Ray Data's guide to
  batch inference has it: decoding in a stage of its own, then a class that loads the model once per actor. An actor
  asks for half a CPU and uses one torch thread: actors that ask for both CPUs leave none to the rest, and the job
  stands still.
- ray_data_fused: the same with decoding inside the class, so that no pixels cross the object store, as one who knows
  Ray Data well would write it on CPUs.
- loop: a tuned single process, nothing written: torch on N threads, decoding ahead in N threads, batches of 64.
- side_by_side: two at once of that loop with one thread each, as two workers are: what this machine gives for twice
  the processes (`machine_scaling_1_to_2`, beside loop_1).

Start-up (processes, Ray, weights) is not in the rates, and shown apart. Muster's clock starts when all its workers are
ready. So does Ray Data's, where a first actor may have begun by then: batches that were done before do not count. Both
write their tables before the clock stops.
Ratios are of medians. Ray gives its workers a lower priority (nice 15), and the loop has none: on a machine that does
other work as well, `ratio_to_loop` says little. The last line is one JSON object.
"""

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
CORES = 2
BATCH = 64
# For the loops what a worker sets by mallopt (pipeline/work/worker.py): the memory of a batch is kept for the next one.
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
            images = [_decode(data, self.task.max_side) for data in batch["image"]]
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
        done = [[line.split() for line in path.read_text().splitlines()] for path in notes.iterdir()]
        rows = pq.read_table(folder + "/rows").num_rows
    ray.shutdown()
    ready = max(float(lines[0][0]) for lines in done)
    count = sum(int(images) for lines in done for at, images in lines if float(at) > ready)
    print(json.dumps({"images": count, "seconds": end - ready, "rows": rows}))


# ---- loop ------------------------------------------------------------------------------------------------------------


def loop(images: Path, model: str, threads: int) -> None:
    """In a process of its own: says when it is ready, begins when a line comes in, prints the result."""
    import torch

    from muster.pipeline.work.worker import ahead

    torch.set_num_threads(threads)
    task = _load(model)
    photos = pq.read_table(images, columns=["image"])["image"].to_pylist()

    def all_of(photos: list[bytes]) -> int:
        rows = 0
        with ThreadPoolExecutor(threads) as pool:
            photos_ahead = ahead(pool, lambda data: _decode(data, task.max_side), photos, limit=2 * BATCH)
            while batch := list(islice(photos_ahead, BATCH)):
                rows += task(batch).num_rows
        return rows

    all_of(photos[:BATCH])
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    rows = all_of(photos)
    print(json.dumps({"images": len(photos), "seconds": time.perf_counter() - start, "rows": rows}))


def _load(model: str) -> Any:
    import torch

    from muster.pipeline.work.choice import TaskChoice

    weights = Path(os.environ.get("MUSTER_WEIGHTS", DATA / "weights"))
    task, _, name = model.partition("=")
    return TaskChoice(name=task, model=name or None).load(torch.device("cpu"), weights)


def _decode(data: bytes, max_side: int) -> Any:
    from muster.storage.photos import decode
    from muster.tasks.base import Image

    photo = decode.decode(data, max_side)
    return Image("", photo.pixels, photo.scale, photo.size)


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


def loops(images: Path, model: str, threads: int, processes: int) -> dict[str, float]:
    """The loop in so many processes, which begin together; what they do together until the last one ends."""
    started = time.perf_counter()
    command = _command("loop", images, model, threads)
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


def one_round(images: Path, model: str) -> dict[str, dict[str, float]]:
    measured = {}
    for workers in (1, 2):
        measured[f"muster_{workers}"] = muster(images, model, workers)
        measured[f"ray_data_{workers}"] = in_process("ray_data", images, model, workers)
        measured[f"ray_data_fused_{workers}"] = in_process("ray_data_fused", images, model, workers)
        measured[f"loop_{workers}"] = loops(images, model, workers, processes=1)
    measured["side_by_side"] = loops(images, model, 1, processes=2)
    if len({each["rows"] for each in measured.values()}) > 1:
        print(f"not the same rows: { ({name: each['rows'] for name, each in measured.items()}) }", file=sys.stderr)
    return measured


def subset(images: Path, limit: int, folder: str) -> Path:
    """The first `limit` rows in a Parquet file of their own, in row groups that Ray Data can read in parallel."""
    path = Path(folder) / "images.parquet"
    pq.write_table(pq.read_table(images, columns=["image"]).slice(0, limit), path, row_group_size=256)
    return path


def summary(rounds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    def median(name: str, what: str) -> float:
        return statistics.median(each[name][what] for each in rounds)

    rate = {name: median(name, "rate") for name in rounds[0]}
    return {
        "ratio_to_ray_data": round(rate["muster_2"] / rate["ray_data_2"], 3),
        "ratio_to_ray_data_fused": round(rate["muster_2"] / rate["ray_data_fused_2"], 3),
        "ratio_to_loop": round(rate["muster_2"] / rate["loop_2"], 3),
        "scaling_1_to_2": round(rate["muster_2"] / rate["muster_1"], 3),
        "machine_scaling_1_to_2": round(rate["side_by_side"] / rate["loop_1"], 3),
        "ratio_to_ray_data_at_1": round(rate["muster_1"] / rate["ray_data_1"], 3),
        "ratio_to_loop_at_1": round(rate["muster_1"] / rate["loop_1"], 3),
        "images_per_second": {name: round(value, 1) for name, value in rate.items()},
        "startup_seconds": {name: round(median(name, "startup"), 1) for name in rate},
        "rows": {name: each["rows"] for name, each in rounds[0].items()},
        "rates": {name: [round(each[name]["rate"], 1) for each in rounds] for name in rate},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="scenes=own")
    parser.add_argument("--images", type=Path, default=DATA / "lfw/lfw.parquet")
    parser.add_argument("--limit", type=int, default=12000)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--way", choices=("ray_data", "ray_data_fused", "loop"), help="one way alone, for a process of its own"
    )
    parser.add_argument("--workers", type=int, default=2, help="with --way")
    args = parser.parse_args()
    if args.way == "loop":
        loop(args.images, args.model, args.workers)
        return
    if args.way:
        ray_data(args.images, args.model, args.workers, fused=args.way == "ray_data_fused")
        return
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        images = subset(args.images, args.limit, folder)
        for number in range(args.rounds):
            rounds.append(one_round(images, args.model))
            rates = ", ".join(f"{name} {each['rate']:.1f}/s" for name, each in rounds[-1].items())
            print(f"round {number + 1}: {rates}", file=sys.stderr)
        count = pq.read_metadata(images).num_rows
    print(json.dumps({"images": count, **summary(rounds)}))


if __name__ == "__main__":
    main()
