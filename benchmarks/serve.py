"""How quick the live page is on 40,000 photos with 120,000 faces.

    python benchmarks/serve.py [--photos 40000] [--keep FOLDER]

The library is generated from LFW rows: faces, thumbnails, embeddings and previews of 2,000 of them, as `muster run`
makes them, repeated over photos with one to five faces; 6,000 people, each an LFW person with a direction of its own
added to the embeddings, a fifth of the faces nobody's. What is timed, by HTTP on loopback against the command itself:

- first_page_seconds: from the start of the process until the first page of people has arrived whole, median of the
  starts; `first_page_named_seconds`: the same with as many edits as were made here in the ledger.
- edit_p95_ms: an edit (naming, "not this person", splitting, hiding, merging, undoing) is sent, answered, and the page
  that shows it has arrived. When it is answered it is on the disk.
- search_p95_ms: a page of search results.
- peak_mib: resident memory of the process at most, from /proc.

Pages of pictures are fetched too, so that memory counts what they take. The last line is one JSON object.
"""

import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import muster
from muster.arrays import F32, I64, matrix
from muster.pipeline.work.choice import TaskChoice
from muster.storage import clusters, layout, manifest, tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import IMAGES, IMAGES_DESCRIPTION, IMAGES_FINGERPRINT

DATA = Path(os.environ.get("MUSTER_TEST_DATA", "../shared/data"))
SEED_ROWS, PEOPLE, LONE = 2000, 6000, 0.2
ENV = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # pip writes it too
WORDS = ('"person of round 1"', '"person of round 1" 2010..2020', "2012", "2010..2015 -favourite", "IMG_0001")


def make_library(folder: Path, photos: int) -> LibraryFiles:
    seed, names = seed_rows(folder)
    source = folder / "source.parquet"
    uris = [f"s3://photos/{2005 + n * 20 // photos}/IMG_{n:06d}.JPG" for n in range(photos)]
    pq.write_table(pa.table({"uri": uris}), source)
    library = open_library(folder / "library", create=True)
    manifest.scan(library, [str(source)])
    faces, previews = (TaskChoice(name=name) for name in ("faces", "previews"))
    for description in (IMAGES_DESCRIPTION, faces.description, previews.description):
        tables.describe(library, description)
    rng, found = np.random.default_rng(0), []
    people = Crowd(seed, names, rng)
    for shard, _ in manifest.shards(library):
        ids = sorted(manifest.read_shard(library, shard)["image_id"].to_pylist())
        tables.write_shard(library, IMAGES_FINGERPRINT, shard, {"images": images(ids)})
        rows, who = people.faces(ids, faces.task.schema)
        tables.write_shard(library, faces.fingerprint, shard, {"faces": rows})
        some = rng.integers(0, len(seed), len(ids))
        jpegs = seed["jpeg"].take(pa.array(some))
        shown = pa.table([ids, [162] * len(ids), [162] * len(ids), jpegs.combine_chunks()], previews.task.schema)
        tables.write_shard(library, previews.fingerprint, shard, {"previews": shown})
        found.append(pa.table({"face_id": rows["face_id"], "image_id": rows["image_id"], "cluster_id": who}))
    grouped = pa.concat_tables(found)
    certain = pa.array(rng.beta(20, 1, grouped.num_rows), pa.float32())
    clusters.write(library, faces.fingerprint, grouped.append_column("certainty", certain), "generated")
    return library


def seed_rows(folder: Path) -> tuple[pa.Table, list[str]]:
    """Faces of LFW rows, with the preview of each, and who they are."""
    rows = pq.read_table(DATA / "lfw" / "lfw.parquet")
    several = rows.group_by("person").aggregate([("file", "count")]).filter(pc.greater(pc.field("file_count"), 2))
    known = rows.filter(pc.is_in(rows["person"], value_set=several["person"].combine_chunks())).slice(0, SEED_ROWS)
    pq.write_table(known, folder / "lfw.parquet", row_group_size=256)
    library = muster.open(folder / "seed", create=True)
    library.scan(str(folder / "lfw.parquet"))
    library.run(("faces", "previews"), machine=muster.Machine(device="cpu"))
    faces, previews, found = (library.table(name) for name in ("faces", "previews", "manifest"))
    jpegs = previews["jpeg"].take(pc.index_in(faces["image_id"], previews["image_id"].combine_chunks()))
    people = found["person"].take(pc.index_in(faces["image_id"], found["image_id"].combine_chunks()))
    return faces.append_column("jpeg", jpegs), people.to_pylist()


class Crowd:
    """People made of LFW people; some are on many photos, most on few."""

    def __init__(self, seed: pa.Table, names: Sequence[str], rng: np.random.Generator) -> None:
        self.seed, self.rng, self.embeddings = seed, rng, matrix(seed["embedding"])
        distinct = sorted(set(names))
        of = {name: np.flatnonzero(np.array(names) == name) for name in distinct}
        self.rows: list[I64] = [of[distinct[n % len(distinct)]] for n in range(PEOPLE)]
        own = rng.normal(size=(PEOPLE, self.embeddings.shape[1])).astype(np.float32)
        self.own: F32 = own / np.linalg.norm(own, axis=1, keepdims=True)
        weights = 1 / np.arange(1, PEOPLE + 1) ** 0.7
        self.weights = weights / weights.sum()
        self.ids = [f"{n:012x}" for n in rng.permutation(1 << 20)[:PEOPLE]]

    def faces(self, ids: Sequence[str], schema: pa.Schema) -> tuple[pa.Table, list[str | None]]:
        columns: dict[str, list[Any]] = {name: [] for name in ("image_id", "face_id", "box_xyxy", "seed", "embedding")}
        who: list[str | None] = []
        for image_id in ids:
            number = 1 + int(image_id[:8], 16) % 5
            people = self.rng.choice(PEOPLE, number, replace=False, p=self.weights)
            for place, person in enumerate(people.tolist()):
                row = int(self.rng.choice(self.rows[person]))
                x, side = 200.0 + 700 * place, float(self.rng.integers(80, 600))
                vector = self.embeddings[row] + 0.5 * self.own[person]
                columns["image_id"].append(image_id)
                columns["face_id"].append(f"{image_id}-{place}")
                columns["box_xyxy"].append([x, 500.0, x + side, 500.0 + side])
                columns["seed"].append(row)
                columns["embedding"].append(vector / np.linalg.norm(vector))
                who.append(None if self.rng.random() < LONE else self.ids[person])
        seed = self.seed.take(pa.array(columns.pop("seed")))
        given = columns | {n: seed[n].combine_chunks() for n in ("score", "landmarks", "quality", "thumbnail")}
        return pa.table([pa.array(given[f.name], f.type) for f in schema], schema), who


def images(ids: Sequence[str]) -> pa.Table:
    rows = []
    for image_id in ids:
        number = int(image_id[:8], 16)
        taken = datetime(2005, 1, 1) + timedelta(seconds=number % (20 * 365 * 86_400))
        rows.append(
            {
                "image_id": image_id,
                "status": "ok",
                "width": 4032,
                "height": 3024,
                "format": "jpeg",
                "orientation": 1,
                "taken_at": taken if number % 10 else None,
                "camera": f"Camera {number % 7}",
                "sha256": image_id * 2,
                "phash": number,
            }
        )
    return pa.Table.from_pylist(rows, IMAGES)


class Served:
    """The command, running on a library, and a browser that keeps its cookie."""

    def __init__(self, library: LibraryFiles) -> None:
        command = [str(Path(sys.executable).with_name("muster")), "serve", "-l", library.uri, "--no-browser", "--json"]
        start = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENV)
        assert self.process.stdout is not None
        self.port = int(re.search(r'"port": (\d+)', line := self.process.stdout.readline())[1])  # type: ignore[index]
        self.cookie = ""
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port)
        self.get(json.loads(line)["url"].partition(str(self.port))[2])
        self.first_page = self.get("/").decode()
        self.first_page_seconds = time.perf_counter() - start

    def get(self, path: str) -> bytes:
        self.connection.request("GET", path, headers={"cookie": self.cookie})
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status == 303:
            self.cookie = answer.getheader("set-cookie", self.cookie).partition(";")[0]
        elif answer.status != 200:
            sys.exit(f"{path}: {answer.status} {body[:200]!r}")
        return body

    def edit(self, what: str, **sent: Any) -> dict[str, Any]:
        headers = {"cookie": self.cookie, "content-type": "application/json", "x-muster": "edit"}
        self.connection.request("POST", f"/api/{what}", json.dumps(sent), headers)
        answer = self.connection.getresponse()
        body = json.loads(answer.read())
        if answer.status != 200:
            sys.exit(f"{what}: {answer.status} {body}")
        return body

    def peak_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


def edits(served: Served, rounds: int) -> list[float]:
    """Milliseconds from sending an edit until the page that shows it is here."""
    took: list[float] = []

    def edit(page: str, what: str, **sent: Any) -> str:
        start = time.perf_counter()
        answer = served.edit(what, **sent)
        shown = served.get(answer.get("go", page)).decode()
        took.append(1000 * (time.perf_counter() - start))
        return answer.get("go", shown)

    people = re.findall(r'href="/?people/(\w+)\.html', served.first_page)
    for number, person in enumerate(people[100 : 100 + rounds]):
        page = f"/people/{person}.html"
        shown = edit(page, "name", person=person, name=f"Person of round {number}")
        faces = re.findall(r'class="pick" value="([^"]+)"', shown)
        edit(page, "not", person=person, faces=faces[:1])
        edit(page, "split", person=person, faces=faces[1:3])
        edit("/", "hide", person=person)
        edit("/", "undo")
        edit(page, "merge", person=people[100 + rounds + number], other=person)
        edit(page, "favourite", photo=re.findall(r'data-photo="(\w+)"', shown)[0])
    return took


def searches(served: Served) -> list[float]:
    took = []
    for _ in range(5):
        for words in WORDS:
            start = time.perf_counter()
            served.get(f"/search.html?q={quote_plus(words)}")
            took.append(1000 * (time.perf_counter() - start))
    return took


def p95(values: Sequence[float]) -> float:
    return round(float(np.percentile(values, 95)), 1)


def measure(library: LibraryFiles, starts: int, rounds: int) -> dict[str, Any]:
    firsts = []
    for _ in range(starts):
        served = Served(library)
        firsts.append(served.first_page_seconds)
        served.stop()
    served = Served(library)
    found = {"first_page_seconds": round(statistics.median(firsts), 3), "first_page_all": [round(f, 3) for f in firsts]}
    took = edits(served, rounds)
    found |= {"edits": len(took), "edit_p50_ms": round(statistics.median(took), 1), "edit_p95_ms": p95(took)}
    for picture in re.findall(r'src="(/(?:faces|photos)/[^"]+)"', served.get("/").decode()):
        served.get(picture)
    start = time.perf_counter()
    while b"data-wait" in served.get("/suggestions.html"):
        time.sleep(0.5)
    found["questions_ready_seconds"] = round(time.perf_counter() - start, 1)
    found["edit_p95_ms_with_questions"] = p95(edits_again(served))
    found["search_p95_ms"] = p95(searches(served)) if b'action="/search.html"' in served.get("/") else None
    found["peak_mib"] = round(served.peak_mib())
    served.stop()
    served = Served(library)
    found["first_page_named_seconds"] = round(served.first_page_seconds, 3)
    served.stop()
    return found


def edits_again(served: Served) -> list[float]:
    """Answers to questions, each with the next one."""
    took = []
    for _ in range(20):
        page = served.get("/suggestions.html").decode()
        if "<fieldset" not in page:
            break
        first = page.partition("<fieldset")[2].partition("</fieldset>")[0]
        faces, *choices = (part.split(" ") for part in re.findall(r'data-faces="([^"]+)"', first))
        start = time.perf_counter()
        served.edit("answers", answers=[{"answer": "no", "faces": faces, "choices": choices}])
        served.get("/suggestions.html")
        took.append(1000 * (time.perf_counter() - start))
    return took


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
    parser.add_argument("--photos", type=int, default=40_000)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--keep", type=Path, help="make the library in this folder, or use the one that is there")
    args = parser.parse_args()
    with folder_for(args.keep) as folder:
        start = time.perf_counter()
        if not (folder / "library").exists():
            make_library(folder, args.photos)
            print(f"made in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        library = open_library(folder / "library")
        shutil.rmtree(folder / "library" / layout.FACTS, ignore_errors=True)
        faces = sum(
            tables.count(library, "faces", name)
            for name, what in tables.descriptions(library).items()
            if what["task"] == "faces"
        )
        photos = sum(number for _, number in manifest.shards(library))
        result = {"photos": photos, "faces": faces, **measure(library, args.starts, args.rounds)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
