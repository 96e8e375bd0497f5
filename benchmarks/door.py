"""The service of the gallery at a door: how soon it answers, how much, and whether a kill loses a line of its log.

    python benchmarks/door.py [--people 1000] [--seconds 15] [--rounds 3] [--kills 50] [--many 1000000] [--keep FOLDER]

1,000 people of LFW are enrolled by two photos each (filled up with generated faces where there are fewer) and
calibrated; `faces=own`. Probes are JPEGs of 640×480: further photos of LFW, as large as before a camera at a door, on
photos of COCO without people. All by HTTP on loopback against the command itself:

- p50_ms, p95_ms: of identify, one at a time, over one connection that is kept.
- requests_per_second: of `--clients` at once. run_per_second: of `muster run` on the same photos as files, without its
  start. Both take turns, `--rounds` times; ratio_to_run is the median of those of each turn. peak_mib: of the service's
  resident memory by then.
- unaudited, lost: a small gallery is asked, enrolled into and forgotten from by several clients, each with a key of its
  own, while the service is killed `--kills` times at random moments (SIGKILL). unaudited: answers of 200 and 201 that a
  client got and the log has no line of; lost: people whose enrolment was answered and who are not there, or whose
  deletion was answered and who are. The log must be whole.
- search_ms_many_added: what `answers.named`, the part of `Desk.answer` that searches, takes more in the median in a
  gallery of `--many` generated people than in that of 1,000, for a face; in this process, by turns, when all is read.
  desk_ms, desk_ms_many: all of `Desk.answer`, most of which is waiting for the disk that has the log.

0 leaves a part out. The last line is one JSON object.
"""

import argparse
import base64
import contextlib
import http.client
import io
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.index_scale import People, say
from muster.pipeline.gallery.answers import Limits, Probes, named
from muster.pipeline.gallery.calibrate import calibrate
from muster.pipeline.gallery.desk import IDENTIFY, Desk, Question
from muster.pipeline.gallery.resident import Resident, Seen
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.machine import Machine
from muster.storage.gallery import audit, gallery, keys
from muster.storage.library import LibraryFiles, open_library

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
MODEL, SMALL, PROBES = "own", 60, 400
ANSWERED = {"verify": "verify", "identify": "identify", "PUT": "enrolment answered", "DELETE": "deletion asked"}


# ---- galleries and probes --------------------------------------------------------------------------------------------


def photos_of_people() -> dict[str, list[bytes]]:
    table = pq.read_table(DATA / "lfw" / "lfw.parquet", columns=["person", "file", "image"]).sort_by("file")
    found: dict[str, list[bytes]] = {}
    for person, image in zip(table["person"].to_pylist(), table["image"].to_pylist(), strict=True):
        found.setdefault(person, []).append(image)
    return found


def make_gallery(folder: Path, count: int, photos: dict[str, list[bytes]]) -> LibraryFiles:
    """`count` people by two photos each; kept for the next time."""
    if (folder / "library.json").exists():
        return open_library(folder)
    several = {person: mine for person, mine in photos.items() if len(mine) > 1}
    real = dict(list(several.items())[:count])
    choice = TaskChoice(name="faces", model=MODEL)
    resident, vectors, owners = Resident(choice, Machine(device="cpu"), 10**8), [], []
    try:
        for number, mine in enumerate(real.values()):
            for seen in [resident.submit(photo) for photo in mine[:2]]:
                if len(seen.result().faces):
                    vectors.append(seen.result().embeddings[0])
                    owners.append(number)
    finally:
        resident.close()
    people = People(1)
    others = people.faces(count - len(real))
    vectors += [*others, *people.views(others)]
    owners += 2 * list(range(len(real), count))
    library = open_library(folder, create=True)
    write(library, np.array(vectors, np.float32), np.array(owners), choice)
    with library.lock():
        calibrate(library)
    return library


def write(library: LibraryFiles, vectors: np.ndarray, owners: np.ndarray, choice: TaskChoice) -> None:
    order = np.argsort(owners, kind="stable")
    names = [f"S{owner:07}" for owner in owners[order].tolist()]
    ids = [f"{number:012x}-0" for number in range(len(order))]
    flat = pa.array(vectors[order].reshape(-1))
    columns: dict[str, Any] = {name: pa.nulls(len(order)) for name in gallery.schema(1).names}
    columns |= {"person_id": names, "name": [f"Name of {name}" for name in names], "pseudonym": names, "face_id": ids}
    columns |= {"image_id": [each[:12] for each in ids], "uri": ids, "sha256": ids, "quality": [0.9] * len(ids)}
    schema = gallery.schema(vectors.shape[1])
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    faces = pa.table([pa.array(columns[each.name], each.type) for each in schema], schema)
    with library.lock():
        gallery.write(library, gallery.Gallery(faces, choice.fingerprint, MODEL), "enroll", {"people": []})


def make_probes(folder: Path, photos: dict[str, list[bytes]]) -> list[Path]:
    """Those of people with three photos or more come first, in their order, then those of others."""
    if not folder.exists():
        described = json.loads((DATA / "coco_photos" / "instances.json").read_text())
        person = next(each["id"] for each in described["categories"] if each["name"] == "person")
        peopled = {each["image_id"] for each in described["annotations"] if each["category_id"] == person}
        table = pq.read_table(DATA / "coco_photos" / "photos.parquet", columns=["image_id", "has_boxes", "image"])
        behind = [r["image"] for r in table.to_pylist() if r["has_boxes"] and r["image_id"] not in peopled]
        chosen = [mine[-1] for mine in photos.values() if len(mine) > 2]
        chosen = (chosen + [mine[0] for mine in photos.values() if len(mine) == 1])[:PROBES]
        draft = folder.with_suffix(".draft")
        draft.mkdir(parents=True)
        for number, face in enumerate(chosen):
            canvas = Image.open(io.BytesIO(behind[number % len(behind)])).convert("RGB").resize((640, 480))
            size = 260 + number % 120
            shown = Image.open(io.BytesIO(face)).convert("RGB").resize((size, size))
            canvas.paste(shown, ((640 - size) // 2 + number % 50, (480 - size) // 2))
            canvas.save(draft / f"{number:04}.jpg", quality=90)
        draft.rename(folder)
    return sorted(folder.iterdir())


# ---- the service -----------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def start(library: LibraryFiles, port: int, *options: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "muster", "serve", "--gallery", "-l", library.path, "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--rate", "1e9", "--device", "cpu", "--json", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    if not process.stdout.readline():
        sys.exit("the service does not start")
    return process


@contextlib.contextmanager
def served(library: LibraryFiles, port: int, *options: str) -> "Iterator[subprocess.Popen[str]]":
    process = start(library, port, *options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def peak_mib(process: "subprocess.Popen[str]") -> int:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) >> 10


@dataclass
class Client:
    port: int
    key: str
    connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "image/jpeg") -> tuple[int, bytes]:
        """OSError or HTTPException where there is no answer."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            self.connection.connect()
            self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": kind}
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            return answer.status, answer.read()
        except BaseException:
            self.connection.close()
            self.connection = None
            raise


def identify(client: Client, photo: bytes) -> None:
    status, body = client.ask("POST", "/v1/identify", photo)
    if status != 200:
        sys.exit(f"{status}: {body.decode()}")


def alone(port: int, key: str, photos: Sequence[bytes], count: int) -> dict[str, float]:
    client, taken = Client(port, key), []
    for number in range(count + 20):
        began = time.perf_counter()
        identify(client, photos[number % len(photos)])
        taken.append((time.perf_counter() - began) * 1000)
    some = sorted(taken[20:])
    return {"p50_ms": round(statistics.median(some), 1), "p95_ms": round(some[int(0.95 * len(some))], 1)}


def together(port: int, key: str, photos: Sequence[bytes], clients: int, seconds: float) -> float:
    """Requests/s of so many clients, each of whom asks again as soon as it is answered."""
    until, done = time.perf_counter() + seconds, [0] * clients

    def work(mine: int) -> None:
        client = Client(port, key)
        while time.perf_counter() < until:
            identify(client, photos[(mine * 31 + done[mine]) % len(photos)])
            done[mine] += 1

    threads = [threading.Thread(target=work, args=(mine,)) for mine in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - began)


def run_rate(photos: Path) -> float:
    """Images/s of `muster run` without its start."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "muster"]
        subprocess.run([*command, "scan", str(photos), "-l", f"{folder}/l"], check=True, capture_output=True)
        options = ["--tasks", "faces", "--model", f"faces={MODEL}", "--device", "cpu", "--json"]
        done = subprocess.run(
            [*command, "run", "-l", f"{folder}/l", *options], check=True, capture_output=True, text=True
        )
    return float(json.loads(done.stdout.splitlines()[-1])["images_per_second"])


# ---- kills -----------------------------------------------------------------------------------------------------------


@dataclass
class Asker(Client):
    """`answered`: how often it got an answer. `here`, `gone`: people who it was told are enrolled, or forgotten."""

    name: str = ""
    answered: Counter[str] = field(default_factory=Counter)
    here: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)

    def work(self, photos: Sequence[bytes], faces: Sequence[bytes], stop: threading.Event, seed: int) -> None:
        chance, number = random.Random(seed), 0
        while not stop.is_set():
            number += 1
            what = chance.choices(("verify", "identify", "PUT", "DELETE"), (2, 2, 2, 1))[0]
            try:
                if what == "PUT":
                    self.enrol(f"{self.name}-{number}", chance.choice(faces))
                elif what == "DELETE":
                    self.forget(chance.choice(sorted(self.here) or ["nobody"]))
                else:
                    query = f"?person_id=S{chance.randrange(SMALL):07}" if what == "verify" else ""
                    self.got(what, self.ask("POST", f"/v1/{what}{query}", chance.choice(photos)))
            except (OSError, http.client.HTTPException):
                stop.wait(0.1)

    def enrol(self, person: str, face: bytes) -> None:
        body = {"consent": True, "name": person, "images": [base64.b64encode(face).decode()], "accept": True}
        if self.got("PUT", self.ask("PUT", f"/v1/people/{person}", json.dumps(body).encode(), "application/json")):
            self.here.add(person)

    def forget(self, person: str) -> None:
        self.here.discard(person)  # by the first time that it is asked, answered or not, nobody knows any more
        if self.got("DELETE", self.ask("DELETE", f"/v1/people/{person}")):
            self.gone.add(person)

    def got(self, what: str, answer: tuple[int, bytes]) -> bool:
        """Whether it was done; an enrolment, whether somebody is enrolled now."""
        self.statuses[answer[0]] += 1
        self.answered[what] += answer[0] in (200, 201)
        return answer[0] == (201 if what == "PUT" else 200)


def kill_often(library: LibraryFiles, kills: int, photos: Sequence[bytes], faces: Sequence[bytes]) -> dict[str, Any]:
    port, stop, chance = free_port(), threading.Event(), random.Random(1)
    made = [keys.made(library, f"client {number}", "administers") for number in range(6)]
    askers = [Asker(port, text, name=f"E{number}") for number, (_, text) in enumerate(made)]
    threads = [
        threading.Thread(target=asker.work, args=(photos, faces, stop, number)) for number, asker in enumerate(askers)
    ]
    process = start(library, port)
    for thread in threads:
        thread.start()
    for number in range(kills):
        time.sleep(chance.uniform(0.05, 4))
        process.kill()
        process.wait()
        process = start(library, port)
        if number % 10 == 9:
            say(f"{number + 1} kills, answers {dict(sum((each.answered for each in askers), Counter()))}")
    time.sleep(1)
    stop.set()
    for thread in threads:
        thread.join()
    process.terminate()
    process.wait(30)
    if problem := audit.check(library).problem:
        sys.exit(f"the log is not whole: {problem}")
    lines = Counter((line["action"], line.get("key")) for line in audit.entries(library))
    known = gallery.require(library).people
    missing = [
        (what, key.id, count - lines[ANSWERED[what], key.id])
        for asker, (key, _) in zip(askers, made, strict=True)
        for what, count in asker.answered.items()
        if count > lines[ANSWERED[what], key.id]
    ]
    lost = [person for asker in askers for person in (asker.here - {*known}) | (asker.gone & {*known})]
    say(f"answers {dict(sum((each.answered for each in askers), Counter()))}")
    say(f"statuses {dict(sum((each.statuses for each in askers), Counter()))}; missing {missing}, lost {lost}")
    return {
        "kills": kills,
        "answers_under_kills": sum(sum(each.answered.values()) for each in askers),
        "unaudited": sum(count for *_, count in missing),
        "lost": len(lost),
    }


# ---- many people -----------------------------------------------------------------------------------------------------


def search_added(few: LibraryFiles, folder: Path, many: int, seen: Sequence[Seen]) -> dict[str, float]:
    """Medians in milliseconds."""
    if not (folder / "library.json").exists():
        write(
            open_library(folder, create=True),
            People(1).faces(many),
            np.arange(many),
            TaskChoice(name="faces", model=MODEL),
        )
    desks = {"few": Desk(few, 0.6), "many": Desk(open_library(folder), 0.6)}
    taken: dict[tuple[str, str], list[float]] = {(name, what): [] for name in desks for what in ("desk", "named")}
    for turn in range(2):  # what is on the disk is read in the first
        for each in seen:
            face = {name: each.faces[0][name] for name in ("quality", "box_xyxy")}
            probes = Probes([{"image": "0", "face": 0, **face}], each.embeddings[:1], [])
            for name, desk in desks.items():
                began = time.perf_counter()
                [answer] = desk.answer([Question(IDENTIFY, probes)])
                if isinstance(answer, Exception):
                    raise answer
                ended, known = time.perf_counter(), desk.enrolled()
                searching = time.perf_counter()
                named(known, probes, Limits(0.6, 0.6))
                if turn:
                    taken[name, "desk"].append((ended - began) * 1000)
                    taken[name, "named"].append((time.perf_counter() - searching) * 1000)
    median = {key: statistics.median(some) for key, some in taken.items()}
    return {
        "search_ms_many_added": round(median["many", "named"] - median["few", "named"], 2),
        "desk_ms": round(median["few", "desk"], 1),
        "desk_ms_many": round(median["many", "desk"], 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=200, help="one at a time")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()) / "muster_door")
    args = parser.parse_args()
    photos = photos_of_people()
    library = make_gallery(args.keep / f"people-{args.people}", args.people, photos)
    files = make_probes(args.keep / "probes", photos)
    probes = [file.read_bytes() for file in files]
    facts: dict[str, Any] = {"people": args.people, "load": [round(each, 1) for each in os.getloadavg()]}
    if args.requests or args.rounds:
        port, (_, key) = free_port(), keys.made(library, "benchmark", "asks")
        with served(library, port) as process:
            if args.requests:
                facts |= alone(port, key, probes, args.requests)
                say(f"alone: {facts}")
            turns = []
            for _ in range(args.rounds):
                turns.append((together(port, key, probes, args.clients, args.seconds), run_rate(files[0].parent)))
                say("{:.1f} requests/s, {:.1f} images/s of a run".format(*turns[-1]))
            facts["peak_mib"] = peak_mib(process)
        if turns:
            facts["requests_per_second"] = round(statistics.median(turn[0] for turn in turns), 1)
            facts["run_per_second"] = round(statistics.median(turn[1] for turn in turns), 1)
            facts["ratio_to_run"] = round(statistics.median(asked / run for asked, run in turns), 3)
    if args.kills:
        with tempfile.TemporaryDirectory() as folder:
            small = make_gallery(Path(folder) / "small", SMALL, photos)
            fresh = [mine[0] for mine in photos.values() if len(mine) == 1][:300]
            facts |= kill_often(small, args.kills, probes, fresh)
    if args.many:
        resident = Resident(TaskChoice(name="faces", model=MODEL), Machine(device="cpu"), 10**8)
        seen = [resident.submit(photo).result() for photo in probes[:205]]
        resident.close()
        some = [each for each in seen if each.faces]
        facts |= {"many": args.many, **search_added(library, args.keep / f"many-{args.many}", args.many, some)}
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
