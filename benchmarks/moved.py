"""How long it takes to see that a library's photos are the same ones, in another folder or with other times.

    python benchmarks/moved.py [--photos 40000] [--kilobytes 4] [--keep FOLDER]

So many small JPEGs are written, in folders of 500, each of so many kilobytes by comments that no other has; a library
is made of them by a scan and a worker (task `previews`). Then, by `muster scan` and `muster run` themselves:

- rescan: nothing has changed;
- renamed: their folder has another name;
- touched: every file has another time, as in a copy without times, so that all are read;
- verified: `scan --verify`, which reads all, too.

`scan_seconds` and `run_seconds` are of the commands, `cpu_seconds` what processors did for both; `read_megabytes` is
what the scan has read beyond a rescan, from the disk or from memory. Exits where an id is lost or a photo would be
processed again. The last line is one JSON object.
"""

import argparse
import io
import json
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image
from resume_scale import folder_for

from muster.pipeline.run import pending, record
from muster.pipeline.work.choice import choose
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.machine import Machine
from muster.pipeline.work.worker import ShardWorker
from muster.storage import manifest
from muster.storage.library import LibraryFiles, open_library

IN_A_FOLDER = 500
COMMENT = 65_533  # bytes that one segment of a JPEG holds
TASK = "previews"


def write_photos(folder: Path, photos: int, size: int) -> None:
    """JPEGs of about so many bytes, no two alike."""
    small, dice = io.BytesIO(), random.Random(0)
    Image.effect_noise((64, 48), 40).save(small, "JPEG")
    start, picture = small.getvalue()[:2], small.getvalue()[2:]
    for number in range(photos):
        left, comments = size - len(small.getvalue()), []
        while left > 0:
            text = dice.randbytes(min(left, COMMENT))
            comments.append(b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text)
            left -= COMMENT
        path = folder / f"{number // IN_A_FOLDER:03d}" / f"IMG_{number:06d}.JPG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join([start, *comments, picture]))


def process(library: LibraryFiles) -> None:
    """What `muster run` would do, in this process."""
    config = RunConfig(library=library.uri, choices=choose([TASK]), machine=Machine(device="cpu"))
    record(library, config)
    worker = ShardWorker(library.uri, config.choices, "cpu", None)
    for order in pending(library, config.choices):
        worker.process(order)


def measure(library: LibraryFiles, photos: Path, before: dict[str, str], *options: str) -> dict[str, float]:
    """Seconds of a scan and a run, and what the scan read. `before`: name below the photos' folder → image_id."""
    read, cpu, start = bytes_read(), cpu_seconds(), time.perf_counter()
    scan = muster("scan", str(photos), "-l", library.uri, *options)
    scanned, read = time.perf_counter(), bytes_read() - read
    run = muster("run", "-l", library.uri, "--tasks", TASK, "--device", "cpu")
    end = time.perf_counter()
    if ids(library, photos) != before or run["processed"] or scan["unchanged"] != len(before):
        sys.exit(f"not the same photos: {scan}, {run}")
    seconds = {"scan_seconds": scanned - start, "run_seconds": end - scanned, "cpu_seconds": cpu_seconds() - cpu}
    return {**seconds, "read": read / 1e6, "moved": scan["moved"]}


def muster(*command: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-m", "muster", *command, "--json"], check=True, stdout=subprocess.PIPE)
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def bytes_read() -> int:
    """By this process, and by those that it has waited for."""
    return int(Path("/proc/self/io").read_text().split()[1])


def cpu_seconds() -> float:
    """Of the processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def ids(library: LibraryFiles, photos: Path) -> dict[str, str]:
    rows = manifest.read_manifest(library)
    names = (os.path.relpath(uri, photos) for uri in rows["uri"].to_pylist())
    return dict(zip(names, rows["image_id"].to_pylist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=40_000)
    parser.add_argument("--kilobytes", type=float, default=4)
    parser.add_argument("--keep", type=Path, help="work in this folder, and leave all there")
    args = parser.parse_args()
    with folder_for(args.keep) as folder:
        start, photos = time.perf_counter(), folder / "photos"
        write_photos(photos, args.photos, int(args.kilobytes * 1000))
        library = open_library(folder / "library", create=True)
        manifest.scan(library, [str(photos)])
        process(library)
        before = ids(library, photos)
        print(f"made in {time.perf_counter() - start:.0f} s", file=sys.stderr)

        result = {"rescan": measure(library, photos, before)}
        photos = photos.rename(folder / "renamed")
        result["renamed"] = measure(library, photos, before)
        for path in photos.rglob("*.JPG"):
            os.utime(path)
        result["touched"] = measure(library, photos, before)
        result["verified"] = measure(library, photos, before, "--verify")
    usual = result["rescan"]["read"]
    for each in result.values():
        each["read_megabytes"] = each.pop("read") - usual
    rounded = {way: {name: round(value, 2) for name, value in each.items()} for way, each in result.items()}
    print(json.dumps({"photos": args.photos, "kilobytes": args.kilobytes, **rounded}))


if __name__ == "__main__":
    main()
