"""Does a hostile file kill a worker, hang it, or take more memory than a worker may?

    python benchmarks/hostile.py [--mutants 2000] [--seed 0] [--tasks faces,previews] [--of .dng,.jxl]

All of `broken/`, and real photos (JPEG, HEIC, AVIF, WebP, PNG, …; with `--of` files of these suffixes alone, and
nothing of `broken/`) with bytes flipped, an end cut off, or a piece of another photo written into them, go through a
worker in a process of its own (`work`): the same shards, tasks and commits as in a run. A worker that dies, or is
longer than `LIMIT` over one image, is counted and the image named; another goes on without that image. Progress goes
to stderr. The last line is one JSON object: rows per image, the slowest image, and by how much the worker's peak of
resident memory rose over its start, and with which image. Exit code 1 where a worker is lost, or an image has not
exactly one row.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

HOME = Path(__file__).parents[1]
DATA = Path(os.environ.get("MUSTER_TEST_DATA", HOME.parent / "shared" / "data"))
LIMIT = 60  # seconds for one image
LOSSES = 20  # workers, after which it is pointless to go on


# ---- hostile files ---------------------------------------------------------------------------------------------------


def originals(suffixes: Sequence[str]) -> list[Path]:
    """Of these suffixes; without any, photos of the kinds that are always read."""
    names = ("formats2",) if suffixes else ("formats", "phone", "groups")
    files = [path for name in names for path in sorted((DATA / "photos" / name).iterdir()) if path.suffix != ".xml"]
    return [path for path in files if not suffixes or path.suffix.lower() in suffixes]


def flip(photo: bytes, other: bytes, choose: random.Random) -> bytes:
    """Up to 16 bytes made others; every second time only in the first KiB, where what they mean is decided."""
    mutant, end = bytearray(photo), min(len(photo), 1024) if choose.random() < 0.5 else len(photo)
    for _ in range(choose.randint(1, 16)):
        mutant[choose.randrange(end)] ^= choose.randint(1, 255)
    return bytes(mutant)


def cut(photo: bytes, other: bytes, choose: random.Random) -> bytes:
    return photo[: choose.randrange(len(photo))]


def splice(photo: bytes, other: bytes, choose: random.Random) -> bytes:
    """A piece of another photo in place of some of this one's bytes, which are as many, fewer or more."""
    length = int(2 ** choose.uniform(0, 14))
    at, start = choose.randrange(len(photo)), choose.randrange(max(1, len(other) - length))
    return photo[:at] + other[start : start + length] + photo[at + choose.choice([length, 0, 2 * length]) :]


def write_mutants(folder: Path, number: int, seed: int, suffixes: Sequence[str] = ()) -> None:
    """Files that say in their name what they were and what was done to them."""
    choose, photos = random.Random(seed), {path: path.read_bytes() for path in originals(suffixes)}
    for i in range(number):
        path, mutation = choose.choice(list(photos)), choose.choice([flip, cut, splice])
        mutant = mutation(photos[path], choose.choice(list(photos.values())), choose)
        (folder / f"{i:05d}-{mutation.__name__}-{path.name}").write_bytes(mutant)


# ---- a worker --------------------------------------------------------------------------------------------------------


def work(library: str, tasks: str, skip: Mapping[str, str]) -> None:
    """Do all that is pending, in this process; a line of JSON for each image as its decoding begins and ends."""
    from muster.pipeline.cli.parse import parse_tasks
    from muster.pipeline.run import pending, record
    from muster.pipeline.work.choice import choose
    from muster.pipeline.work.config import RunConfig
    from muster.pipeline.work.worker import ShardWorker
    from muster.storage.library import open_library
    from muster.storage.photos import decode as images

    decode = images.decode

    def reported(data: bytes, max_side: int | None = None) -> images.Photo:
        sha256, began = hashlib.sha256(data).hexdigest(), time.monotonic()
        say({"begins": sha256})
        signal.alarm(LIMIT)  # ends the process, also in the middle of a decoder
        try:
            return decode(data, max_side)
        finally:
            signal.alarm(0)
            say({"ended": sha256, "seconds": time.monotonic() - began, "peak_mib": peak_mib()})

    images.decode = reported
    opened = open_library(library)
    config = RunConfig(library=library, choices=choose(parse_tasks(tasks)))
    record(opened, config)
    worker = ShardWorker(library, config.choices, "cpu", None)
    say({"started_mib": peak_mib()})
    for order in pending(opened, config.choices):
        worker.process(replace(order, skip=tuple(skip.items())))
        say({"shard": order.shard, "peak_mib": peak_mib()})


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def say(fact: Mapping[str, Any]) -> None:
    print(json.dumps(fact), flush=True)


@dataclass
class Watch:
    """What workers reported. Images by the SHA-256 of their bytes."""

    seconds: dict[str, float] = field(default_factory=dict)
    rises: dict[str, float] = field(default_factory=dict)  # MiB by which the peak rose while it was decoded
    started_mib: float = 0.0
    peak_mib: float = 0.0
    current: str | None = None

    def hear(self, fact: Mapping[str, Any]) -> None:
        self.current = fact.get("begins")
        if "started_mib" in fact:
            self.started_mib = max(self.started_mib, fact["started_mib"])
        if "ended" in fact:
            self.seconds[fact["ended"]] = fact["seconds"]
            self.rises[fact["ended"]] = max(0.0, fact["peak_mib"] - max(self.peak_mib, self.started_mib))
        self.peak_mib = max(self.peak_mib, fact.get("peak_mib", 0.0))


def watched(library: Path, tasks: str, skip: Mapping[str, str], watch: Watch) -> int:
    """A worker's exit code: negative where a signal ended it."""
    command = [sys.executable, __file__, "work", str(library), tasks, json.dumps(skip)]
    with subprocess.Popen(command, cwd=HOME, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            watch.hear(json.loads(line))
    return process.returncode


# ---- the whole -------------------------------------------------------------------------------------------------------


def hostile(folder: Path, mutants: int, seed: int, tasks: str, suffixes: Sequence[str]) -> dict[str, Any]:
    """All files through workers; the figures."""
    from muster.storage.library import open_library
    from muster.storage.manifest import scan
    from muster.storage.photos.first_bytes import IMAGE_SUFFIXES

    (folder / "mutants").mkdir()
    write_mutants(folder / "mutants", mutants, seed, suffixes)
    (folder / "broken").mkdir()
    broken = [] if suffixes else sorted((DATA / "broken").iterdir())
    for path in broken:  # a scan leaves out what is called or begins as no image
        shutil.copy(path, folder / "broken" / (path.name if path.suffix in IMAGE_SUFFIXES else f"{path.name}.jpg"))
    library = open_library(folder / "library", create=True)
    scan(library, [str(folder / "mutants"), *([str(folder / "broken")] if broken else [])])
    known = files(library)
    names = {sha256: name for sha256, (_, name) in known.items()}
    began, watch, skip, lost = time.monotonic(), Watch(), dict[str, str](), dict[str, int]()
    while code := watched(folder / "library", tasks, skip, watch):
        if watch.current is None or len(lost) == LOSSES:
            raise RuntimeError(f"a worker ended with {code}, not over an image, or one of too many: {lost}")
        lost[names[watch.current]] = code
        kind = "timeout" if code == -signal.SIGALRM else "crash"
        skip |= dict.fromkeys(known[watch.current][0], kind)
    slowest = max(watch.seconds, key=watch.seconds.__getitem__)
    largest = max(watch.rises, key=watch.rises.__getitem__)
    return {
        **rows(library),
        "seed": seed,
        "workers_lost": len(lost),
        "lost_over": lost,
        "slowest": names[slowest],
        "slowest_seconds": round(watch.seconds[slowest], 2),
        "started_mib": round(watch.started_mib),
        "peak_mib": round(watch.peak_mib),
        "largest": names[largest],
        "largest_mib": round(watch.rises[largest]),
        "seconds": round(time.monotonic() - began, 1),
    }


def files(library: Any) -> dict[str, tuple[list[str], str]]:
    """SHA-256 → the image_ids and the name of the files with these bytes."""
    from muster.storage import manifest

    found = dict[str, tuple[list[str], str]]()
    for row in manifest.read_manifest(library).select(["image_id", "uri"]).to_pylist():
        path = Path(row["uri"])
        found.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), ([], path.name))[0].append(row["image_id"])
    return found


def rows(library: Any) -> dict[str, Any]:
    """How the rows of `images` compare with the manifest, and what they say."""
    from muster.storage import manifest, tables
    from muster.storage.outcomes import IMAGES_FINGERPRINT

    found = Counter(manifest.read_manifest(library)["image_id"].to_pylist())
    table = tables.require(library, "images", IMAGES_FINGERPRINT, ["image_id", "error_kind"])
    done = Counter(table["image_id"].to_pylist())
    return {
        "images": found.total(),
        "rows": done.total(),
        "lost_rows": (found - done).total(),
        "extra_rows": (done - found).total(),
        "kinds": dict(Counter(kind or "ok" for kind in table["error_kind"].to_pylist()).most_common()),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", default="faces,previews")
    parser.add_argument("--of", default="", metavar="SUFFIXES")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        facts = hostile(
            Path(folder), args.mutants, args.seed, args.tasks, [each for each in args.of.split(",") if each]
        )
    print(json.dumps(facts))
    return int(any(facts[name] for name in ("lost_rows", "extra_rows", "workers_lost")))


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        work(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
    else:
        sys.exit(main())
