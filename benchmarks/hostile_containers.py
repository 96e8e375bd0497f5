"""Does a hostile file that holds images kill the process that lists it or reads it, or lose an image?

    python benchmarks/hostile_containers.py [--mutants 500] [--seed 0] [--kinds tar,zip,parquet,arrow,mp4]

Of each kind a file of a few photos (mp4: of a few seconds, its index in front) is made, with JSON, folders and long
names where it can have them; `--mutants` times
some of its bytes are flipped, its end is cut off or a piece of it stands in another place (benchmarks/hostile.py).
Each mutant is scanned and goes through a worker, with the task `previews`, in a process that does many of them: it is a
refusal that names the file, or a library in which each image has exactly one row. The last line is one JSON object, by
kind: refused, images read and images with an error; `lost`: mutants that ended the process, or took longer than LIMIT
seconds. Exit code 1 where there are any, or a row is missing.
"""

import argparse
import io
import json
import os
import random
import select
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
LIMIT = 60
PHOTOS = 12


# ---- files -----------------------------------------------------------------------------------------------------------


def photos() -> dict[str, bytes]:
    from PIL import Image

    files = {}
    for number in range(PHOTOS):
        out = io.BytesIO()
        Image.effect_noise((64, 48), 20 + number).convert("RGB").save(out, "JPEG" if number % 2 else "PNG")
        name = f"folder {number % 3}/{'long ' * 30 if number == 5 else ''}ü{number:04d}"
        files[f"{name}.{'jpg' if number % 2 else 'png'}"] = out.getvalue()
        files[f"{name}.json"] = json.dumps({"person": f"p{number}", "number": number}).encode()
    return files


def tar(path: Path) -> None:
    with tarfile.open(path, "w", format=random.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])) as archive:
        for name, data in photos().items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, data) in enumerate(photos().items()):
            archive.writestr(name, data, zipfile.ZIP_DEFLATED if number % 2 else zipfile.ZIP_STORED)


def parquet(path: Path) -> None:
    pq.write_table(table(), path, row_group_size=5, compression="zstd")


def arrow(path: Path) -> None:
    with pa.ipc.new_stream(path, table().schema) as writer:
        writer.write_table(table(), max_chunksize=5)


def table() -> pa.Table:
    files = {name: data for name, data in photos().items() if not name.endswith(".json")}
    rows = [{"bytes": data, "path": name} for name, data in files.items()]
    return pa.table({"image": rows, "person": [*files]})


def video(path: Path) -> None:
    import av
    import numpy as np

    with av.open(str(path), "w", options={"movflags": "faststart"}) as file:
        stream = file.add_stream("libx264", rate=8, options={"g": "8"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for number in range(4 * 8):
            image = np.full((48, 64, 3), number * 7, np.uint8) ^ np.random.default_rng(number).integers(
                0, 64, (48, 64, 3), np.uint8
            )
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))


KINDS: dict[str, Callable[[Path], None]] = {
    "tar": tar,
    "zip": zipped,
    "parquet": parquet,
    "arrow": arrow,
    "mp4": video,
}


def write_mutants(kind: str, folder: Path, number: int, seed: int) -> list[Path]:
    sys.path.insert(0, str(HERE.parent))
    from benchmarks.hostile import cut, flip, splice

    random.seed(seed)
    choose, paths = random.Random(seed), []
    for each in range(number):
        path = folder / f"{each:04d}.{kind}"
        KINDS[kind](path)
        whole = path.read_bytes()
        mutation = choose.choice([flip, cut, splice])
        path.write_bytes(mutation(whole, whole, choose))
        paths.append(path)
    return paths


# ---- a process that does many ----------------------------------------------------------------------------------------


def work() -> None:
    """Paths come in, a line each; what came of each goes out."""
    from muster.pipeline.run import pending, record
    from muster.pipeline.work.choice import choose
    from muster.pipeline.work.config import RunConfig
    from muster.pipeline.work.worker import ShardWorker

    choices = choose(["previews"])
    worker: ShardWorker | None = None
    for line in sys.stdin:
        path = Path(line.strip())
        library = scanned(path)
        if library is None:
            print(json.dumps({"refused": 1}), flush=True)
            continue
        record(library, RunConfig(library=library.uri, choices=choices))
        worker = worker or ShardWorker(library.uri, choices, "cpu", None)
        worker.library = library
        for order in pending(library, choices):
            worker.process(order)
        print(json.dumps(rows_of(library)), flush=True)


def scanned(path: Path):  # type: ignore[no-untyped-def]  # imports are of the process that does it
    from muster.errors import MusterError
    from muster.storage import manifest
    from muster.storage.library import open_library

    try:
        found = manifest.found_in(None, [str(path)])
    except MusterError as error:
        if str(path) not in str(error):
            raise
        return None
    library = open_library(path.with_suffix(".library"), create=True)
    manifest.take_in(library, found)
    return library


def rows_of(library) -> dict[str, int]:  # type: ignore[no-untyped-def]
    from muster.storage import manifest, tables
    from muster.storage.outcomes import IMAGES_FINGERPRINT

    wanted = manifest.read_manifest(library)["image_id"].to_pylist()
    rows = tables.read(library, "images", IMAGES_FINGERPRINT)
    found = [] if rows is None else rows.select(["image_id", "status"]).to_pylist()
    by_status = Counter(row["status"] for row in found)
    one_each = Counter(row["image_id"] for row in found) == Counter(wanted)
    return {"read": by_status["ok"], "errors": by_status["error"], "rows_wrong": int(not one_each)}


def through(paths: Sequence[Path]) -> tuple[Counter[str], list[str]]:
    """What came of them together, and which of them ended the process."""
    facts, lost = Counter[str](refused=0, read=0, errors=0, rows_wrong=0), list[str]()
    process: subprocess.Popen[bytes] | None = None
    for path in paths:
        process = process or subprocess.Popen(
            [sys.executable, __file__, "work"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert process.stdin
        assert process.stdout
        process.stdin.write(f"{path}\n".encode())
        ready = select.select([process.stdout], [], [], LIMIT)[0]
        line = process.stdout.readline() if ready else b""
        if line:
            facts.update(json.loads(line))
            continue
        process.kill()
        process.communicate()
        process = None
        lost.append(path.name)
        print(f"lost: {path.name}", file=sys.stderr)
    if process:
        process.communicate()
    return facts, lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(KINDS))
    args = parser.parse_args()
    facts = {}
    for kind in args.kinds.split(","):
        with tempfile.TemporaryDirectory() as folder:
            counts, lost = through(write_mutants(kind, Path(folder), args.mutants, args.seed))
        facts[kind] = {**counts, "lost": lost}
    print(json.dumps(facts))
    return int(any(each["lost"] or each["rows_wrong"] for each in facts.values()))


if __name__ == "__main__":
    if sys.argv[1:2] == ["work"]:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        work()
    else:
        sys.exit(main())
