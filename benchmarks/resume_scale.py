"""How long a finished library of a million rows takes to say that there is nothing to do.

    python benchmarks/resume_scale.py [--rows 1000000] [--keep FOLDER]

The library is made as `muster scan` and the workers make one: a scan of a Parquet file of URIs, then through the same
functions an `images` table of all rows and, for each other task, its commits. Embeddings and previews are left out of
their files (one row each): a resume never opens these. What is timed, `--rounds` times, files warm in memory:

- decide_seconds: manifest and commits are listed; no shard is pending.
- run_seconds: all of `muster run` but the start of its process: that, and the summary that it reports.
- command_seconds: the whole command.

The last line is one JSON object.
"""

import argparse
import contextlib
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from muster.pipeline.run import pending, record, run
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.machine import Machine
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import ERRORS, IMAGES, IMAGES_FINGERPRINT

BROKEN = 1000  # one image in so many has an error


def make_library(folder: Path, rows: int) -> LibraryFiles:
    """A library of so many images, all of them done by the default tasks."""
    source = folder / "source.parquet"
    uris = [f"s3://photos/2024/{number // 1000:05d}/IMG_{number:07d}.JPG" for number in range(rows)]
    pq.write_table(pa.table({"uri": uris}), source)
    library = open_library(folder / "library", create=True)
    manifest.scan(library, [str(source)])
    config = RunConfig(library=library.uri)
    record(library, config)
    with ThreadPoolExecutor(8) as pool:
        shards = [shard for shard, _ in manifest.shards(library)]
        list(pool.map(lambda shard: finish_shard(library, config.choices, shard), shards))
    return library


def finish_shard(library: LibraryFiles, choices: tuple[TaskChoice, ...], shard: str) -> None:
    """Commit every task's rows of one shard."""
    ids = manifest.read_shard(library, shard)["image_id"].to_pylist()
    images = pa.Table.from_pylist([facts(image_id) for image_id in ids], IMAGES)
    tables.write_shard(library, IMAGES_FINGERPRINT, shard, {"images": images})
    for choice in choices:
        tables.write_shard(library, choice.fingerprint, shard, one_row(choice, ids))


def facts(image_id: str) -> dict[str, Any]:
    """A row of `images`, all of its columns different from image to image, as in a real one."""
    number = int(image_id[:8], 16)
    sha256 = hashlib.sha256(image_id.encode()).hexdigest()
    if number % BROKEN == 0:
        text = "the file is cut short: image file is truncated"
        return {"image_id": image_id, "status": "error", "error_kind": "truncated", "error": text, "sha256": sha256}
    return {
        "image_id": image_id,
        "status": "ok",
        "width": 4032,
        "height": 3024,
        "format": "jpeg",
        "orientation": 1 + number % 8,
        "taken_at": datetime(2024, 1, 1) + timedelta(seconds=number % 10**8),
        "latitude": number % 180 - 90 + 0.5,
        "longitude": number % 360 - 180 + 0.25,
        "camera": f"Camera {number % 7}",
        "sha256": sha256,
        "phash": int(sha256[:15], 16),
    }


def one_row(choice: TaskChoice, ids: list[str]) -> dict[str, pa.Table]:
    """One row of a task's table, empty but for its image; in one shard in eight, a row of `errors` too."""
    schema = choice.task.schema
    values = {field.name: [None] for field in schema}
    rows = {choice.name: pa.table({**values, "image_id": ids[:1]}, pa.schema([f.with_nullable(True) for f in schema]))}
    if int(ids[0][:8], 16) % 8 == 0:
        error = {"image_id": ids[-1], "task": choice.name, "error_kind": "task", "error": "RuntimeError: failed"}
        rows["errors"] = pa.Table.from_pylist([error], ERRORS)
    return rows


def measure(library: LibraryFiles) -> dict[str, float]:
    """Seconds of one resume, each part on its own. Exits where there is something to do."""
    config = RunConfig(library=library.uri, machine=Machine(device="cpu"))
    times = [time.perf_counter()]
    if orders := pending(library, config.choices):
        sys.exit(f"{len(orders)} shards are pending: the library was not finished")
    times.append(time.perf_counter())
    summary = run(config, lambda progress: None)
    times.append(time.perf_counter())
    command = [sys.executable, "-m", "muster", "run", "-l", library.uri, "--device", "cpu", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    times.append(time.perf_counter())
    if json.loads(done.stdout.splitlines()[-1])["images"] != summary.images or summary.processed:
        sys.exit("the command did not see a finished library")
    names = ("decide_seconds", "run_seconds", "command_seconds")
    return {name: after - before for name, before, after in zip(names, times, times[1:], strict=False)}


@contextlib.contextmanager
def folder_for(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="make the library in this folder, or use the one that is there")
    args = parser.parse_args()
    with folder_for(args.keep) as folder:
        start = time.perf_counter()
        there = (folder / "library").exists()
        library = open_library(folder / "library") if there else make_library(folder, args.rows)
        print(f"made in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        rounds = [measure(library) for _ in range(args.rounds)]
        shards = manifest.shards(library)
    result = {
        "rows": sum(images for _, images in shards),
        "shards": len(shards),
        **{name: round(statistics.median(r[name] for r in rounds), 2) for name in rounds[0]},
        "rounds": [{name: round(seconds, 2) for name, seconds in r.items()} for r in rounds],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
