"""The same photos as a folder, in Parquet, in archives and on servers: the same rows, and how fast.

    python benchmarks/sources.py [--images 10000] [--model faces=own] [--rounds 1] [--only folder,tar]

LFW photos, one after the other and from the start again if more are wanted, each as a file of its own (`folder`), as
bytes in a column (`parquet`) and in the struct of Hugging Face (`huggingface`; as Arrow and Lance too), in a tar
with JSON beside each photo, as WebDataset has it (`tar`), in a zip (`zip`), listed in a Parquet file by their URLs
(`http`), and in a bucket (`s3`). The last two are served by benchmarks/objects_server.py on this machine, each
answer 5 ms late.

Of each source: `muster scan`, then `muster run` with two workers into a library of its own; rates are the run's own,
and medians of the rounds. Rows of all tables are compared to the last bit; a photo is known by its SHA-256. `peak_mib`
is the most that one worker held. The server takes its time from the two cores that the workers have: so `--model` is
one that takes a while for each photo, as most do.

The last line is one JSON object; exit code 1 where rows differ.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from muster.storage import tables
from muster.storage.library import open_library

HERE = Path(__file__).parent
DATA = Path(os.environ.get("MUSTER_TEST_DATA", HERE.parents[1] / "shared" / "data"))
GROUP = 256  # rows of a row group: shards are then cut alike, and batches have the same photos
NAMES = "{:06d}.jpg"
IDS = ("image_id", "face_id")  # which say where a photo lies
Port = int


# ---- the sources -----------------------------------------------------------------------------------------------------


def folder(photos: list[bytes], home: Path, port: Port) -> str:
    return str(home / "bucket")  # written for the server


def parquet(photos: list[bytes], home: Path, port: Port) -> str:
    pq.write_table(pa.table({"image": photos}), home / "photos.parquet", row_group_size=GROUP)
    return str(home / "photos.parquet")


def huggingface(photos: list[bytes], home: Path, port: Port) -> str:
    pq.write_table(structs(photos), home / "huggingface.parquet", row_group_size=GROUP)
    return str(home / "huggingface.parquet")


def structs(photos: list[bytes]) -> pa.Table:
    return pa.table({"image": [{"bytes": p, "path": NAMES.format(number)} for number, p in enumerate(photos)]})


def arrow(photos: list[bytes], home: Path, port: Port) -> str:
    table = structs(photos)
    with pa.ipc.new_stream(home / "photos.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)  # as `datasets` does
    return str(home / "photos.arrow")


def lance(photos: list[bytes], home: Path, port: Port) -> str:
    import lance

    lance.write_dataset(structs(photos), str(home / "photos.lance"))
    return str(home / "photos.lance")


def tar(photos: list[bytes], home: Path, port: Port) -> str:
    with tarfile.open(home / "photos.tar", "w") as archive:
        for number, photo in enumerate(photos):
            for suffix, data in ((".jpg", photo), (".json", json.dumps({"number": number}).encode())):
                info = tarfile.TarInfo(NAMES.format(number).replace(".jpg", suffix))
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return str(home / "photos.tar")


def zipped(photos: list[bytes], home: Path, port: Port) -> str:
    with zipfile.ZipFile(home / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number, photo in enumerate(photos):
            archive.writestr(NAMES.format(number), photo)
    return str(home / "photos.zip")


def http(photos: list[bytes], home: Path, port: Port) -> str:
    urls = [f"http://127.0.0.1:{port}/bucket/{NAMES.format(number)}" for number in range(len(photos))]
    pq.write_table(pa.table({"url": urls}), home / "urls.parquet")
    return str(home / "urls.parquet")


def s3(photos: list[bytes], home: Path, port: Port) -> str:
    return f"s3://any:thing@bucket/?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"


SOURCES: dict[str, Callable[[list[bytes], Path, Port], str]] = {
    "folder": folder,
    "parquet": parquet,
    "huggingface": huggingface,
    "arrow": arrow,
    "lance": lance,
    "tar": tar,
    "zip": zipped,
    "http": http,
    "s3": s3,
}


@contextmanager
def served(home: Path) -> Iterator[Port]:
    command = [sys.executable, str(HERE / "objects_server.py"), str(home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield int(server.stdout.readline())
        server.communicate()


# ---- runs ------------------------------------------------------------------------------------------------------------


class Memory(threading.Thread):
    """The most that a worker process has held at once, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.over = 0, threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.2):
            self.peak = max(self.peak, *map(_held, Path("/proc").glob("[0-9]*")), 0)


def _held(process: Path) -> int:
    try:
        if not (process / "cmdline").read_bytes().startswith(b"ray::_Actor"):
            return 0
        lines = (process / "status").read_text().splitlines()
        return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):  # it has ended
        return 0


def run(source: str, library: Path, model: str) -> dict[str, Any]:
    muster = [sys.executable, "-m", "muster"]
    _done([*muster, "scan", source, "-l", str(library), "--json", "--allow-private"])
    memory = Memory()
    memory.start()
    options = ["--tasks", model.partition("=")[0], "--model", model, "--device", "cpu", "--workers", "2", "--json"]
    facts = _done([*muster, "run", "-l", str(library), *options])
    memory.over.set()
    return {"rate": facts["images_per_second"], "peak_mib": memory.peak, "errors": facts["error_kinds"]}


def _done(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}:\n{done.stderr}")
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def rows_of(path: Path) -> list[str]:
    """Every row of every table, by the photo's SHA-256 instead of where it lies."""
    library = open_library(path)
    rows: list[tuple[str, dict[str, Any]]] = []
    for fingerprint, description in tables.descriptions(library).items():
        for name in (description["task"], "errors"):
            table = tables.read(library, name, fingerprint)
            rows += [(f"{name}/{fingerprint}", row) for row in (table.to_pylist() if table is not None else ())]
    photos = {row["image_id"]: row["sha256"] for name, row in rows if name.startswith("images/")}
    return sorted(
        f"{name} {photos[row['image_id']]} { ({key: value for key, value in row.items() if key not in IDS}) }"
        for name, row in rows
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--model", default="faces=own")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default=",".join(SOURCES), help="the first one is what others are compared with")
    args = parser.parse_args()
    names = args.only.split(",")
    lfw = pq.read_table(DATA / "lfw/lfw.parquet", columns=["image"])["image"].to_pylist()
    photos = list(islice(cycle(lfw), args.images))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    rows: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        (home / "bucket").mkdir()
        for number, photo in enumerate(photos):
            (home / "bucket" / NAMES.format(number)).write_bytes(photo)
        with served(home) as port:
            sources = {name: SOURCES[name](photos, home, port) for name in names}
            for number in range(args.rounds):
                for name in names:
                    library = home / f"{name}-{number}"
                    found[name].append(run(sources[name], library, args.model))
                    print(f"{name}: {found[name][-1]}", file=sys.stderr)
                    rows[name] = rows_of(library)
    rates = {name: round(statistics.median(each["rate"] for each in found[name]), 1) for name in names}
    equal = {name: rows[name] == rows[names[0]] for name in names}
    print(
        json.dumps(
            {
                "rates": rates,
                "rows_equal": all(equal.values()),
                "lowest_ratio_to_folder": round(min(rates.values()) / rates[names[0]], 3),
                "differing": [name for name, same in equal.items() if not same],
                "images": args.images,
                "model": args.model,
                "peak_mib": {name: max(each["peak_mib"] for each in found[name]) for name in names},
            }
        )
    )
    return int(not all(equal.values()))


if __name__ == "__main__":
    sys.exit(main())
