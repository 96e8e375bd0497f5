"""Is anybody left, or named, who should be gone, when the commands of a gallery are killed? By real SIGKILLs.

    python benchmarks/deletion.py [--kills 300] [--seed 0] [--worlds 2] [--people 8]

A world is a library, people of LFW with two photos each, and a calendar. In each round one of `enroll` (new people, or
more photos of known ones, some with an end of consent), `forget`, `forget --expired` and `identify` is killed: before a
random change of a file, as counted from within, or after a random time. Beside a deletion, an identification may be
stopped at a random moment, to go on afterwards. Then one more command, of those that write or answer, runs to its end:

- `left_behind`: of nobody who is not in the gallery by then is anything found, in no byte of any file and no column of
  any Parquet file: person_id, name, URIs, image_ids, embeddings, thumbnails. Receipts may name them.
- `named_after`: nobody who was not in the gallery any more, or was noted to go, is named by an answer given after that.

Commands run as `muster` would run them, in processes that are forked from one that has everything imported and the
networks loaded; a worker in the process stands in Ray's place, whose start would take most of the time. The seed is
fixed. Progress goes to stderr. The last line is one JSON object; exit code 1 where anybody is left behind or named.
"""

import argparse
import contextlib
import functools
import importlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HOME = Path(__file__).parents[1]
DATA = Path(os.environ.get("MUSTER_TEST_DATA", HOME.parent / "shared" / "data"))
sys.path.insert(0, str(HOME))

TODAY = date(2026, 1, 1)  # of a world's first round
ALIKE = 0.999  # cosine from which two embeddings are of one photo: batches differ in the last digits only
LIMIT = 120.0  # seconds that a command may take
Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Person:
    """`needles`: what must not be found of them: label → bytes. `embeddings`: (N, D) of their photos."""

    person_id: str
    name: str
    photos: tuple[Path, ...]
    needles: dict[str, bytes]
    embeddings: Floats


# ---- commands in processes of their own ------------------------------------------------------------------------------


def prepare() -> None:
    """Import everything, load the networks, and put a worker in this process in Ray's place. No thread may start: this
    process is forked."""
    os.environ["OMP_NUM_THREADS"] = "1"
    import faiss
    import torch

    from muster.pipeline import run
    from muster.pipeline.work import worker
    from muster.pipeline.work.choice import TaskChoice, choose

    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    tasks = {choice.name: choice.load(torch.device("cpu"), None) for choice in choose(["faces", "previews"])}

    def loaded(choice: TaskChoice, *_: Any, **__: Any) -> Any:
        return tasks[choice.name]

    def work(library: Any, config: Any, orders: Any, *_: Any) -> int:
        one = worker.ShardWorker(library.uri, config.choices, "cpu", None)
        for order in orders:
            one.process(order)
        return 1

    TaskChoice.load = loaded  # type: ignore[method-assign]
    run._work = work
    run.actors.connected = lambda *_, **__: contextlib.nullcontext()  # type: ignore[attr-defined]
    run.actors.check_reach = lambda *_, **__: None  # type: ignore[attr-defined]


def set_calendar(today: date) -> None:
    class Calendar(date):
        @classmethod
        def today(cls) -> date:  # type: ignore[override]
            return today

    for name in ("library", "pipeline.gallery.enroll", "pipeline.gallery.identify", "pipeline.forget"):
        module = importlib.import_module(f"muster.{name}")
        if hasattr(module, "date"):
            module.date = Calendar  # type: ignore[attr-defined]


def die_at(change: int) -> None:
    """SIGKILL before the n-th time from now that a file is opened for writing, renamed or removed."""
    from muster.storage.library import LibraryFiles

    left = [change]

    def count() -> None:
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in ("os.rename", "os.link", "os.remove"):
            count()

    remove = LibraryFiles.remove

    def removing(self: LibraryFiles, name: str) -> None:  # pyarrow does it, and tells no hook
        count()
        remove(self, name)

    LibraryFiles.remove = removing  # type: ignore[method-assign]
    sys.addaudithook(hook)


@dataclass
class Started:
    """A command that runs. `out`: where its output goes."""

    pid: int
    out: Path
    began: float

    def wait(self) -> "Ended":
        while True:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() - self.began > LIMIT:
                os.kill(self.pid, signal.SIGKILL)
                raise TimeoutError(f"no end after {LIMIT:.0f} s: {self.out.read_text()}")
            time.sleep(0.002)
        return Ended(os.waitstatus_to_exitcode(status), self.out.read_text(), time.monotonic() - self.began)

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass(frozen=True)
class Ended:
    """`code`: -9 where it was killed."""

    code: int
    out: str
    seconds: float

    @property
    def facts(self) -> dict[str, Any]:
        lines = [line for line in self.out.splitlines() if line.startswith("{")]
        return dict(json.loads(lines[-1])) if lines else {}


def start(arguments: Sequence[str], out: Path, today: date, change: int | None = None) -> Started:
    """`muster` with these arguments in a process that is forked; to be killed at a change, where one is given."""
    out.write_bytes(b"")
    began = time.monotonic()
    pid = os.fork()
    if pid:
        return Started(pid, out, began)
    code = 70
    try:
        from muster.pipeline.cli import main as cli

        with out.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(n, "wb", 0), write_through=True) for n in (1, 2))
        sys.argv = ["muster", *arguments]
        set_calendar(today)
        if change is not None:
            die_at(change)
        try:
            cli.main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


# ---- people ----------------------------------------------------------------------------------------------------------


def choose_people(folder: Path, number: int) -> list[tuple[str, str, tuple[Path, ...]]]:
    """(person_id, name, photos) of people of LFW with two photos, which become files."""
    table = pq.read_table(DATA / "lfw/lfw.parquet", columns=["person", "file", "image"])
    rows: dict[str, list[int]] = {}
    for i, person in enumerate(table["person"].to_pylist()):
        rows.setdefault(person, []).append(i)
    folder.mkdir(parents=True)
    found = []
    for k, mine in enumerate([mine for _, mine in sorted(rows.items()) if len(mine) >= 2][:number]):
        photos = tuple(folder / f"photo-of-p{k:02d}x-{i}.jpg" for i in range(2))
        for path, row in zip(photos, mine, strict=False):
            path.write_bytes(table["image"][row].as_py())
        found.append((f"PID{k:02d}X", f"Pupil Nummer{k:02d}", photos))
    return found


def look_at(chosen: Sequence[tuple[str, str, tuple[Path, ...]]], folder: Path) -> list[Person]:
    """With everything that could be left of each: a process enrols them all, and their rows are read."""
    roster = write_roster(folder / "all.csv", [(who, name, photos, None) for who, name, photos in chosen])
    library = folder / "all"
    ended = start(["enroll", str(roster), "-l", str(library)], folder / "out", TODAY).wait()
    if ended.code:
        raise RuntimeError(f"the people could not be enrolled: {ended.out}")
    images = pq.read_table(next((library / "gallery").glob("gallery.parquet"))).to_pylist()
    thumbnails = {
        row["image_id"]: row["thumbnail"] for path in (library / "faces").rglob("*.parquet") for row in _rows(path)
    }
    people = []
    for who, name, photos in chosen:
        mine = [row for row in images if row["person_id"] == who]
        if not mine:
            continue  # not enrolled: a poor photo, or somebody alike
        needles = {"person_id": who.encode(), "name": name.encode()}
        needles |= {f"file {path.name}": path.name.encode() for path in photos}
        for i, row in enumerate(mine):
            needles |= {f"image_id {i}": row["image_id"].encode(), f"thumbnail {i}": thumbnails[row["image_id"]]}
            needles[f"embedding {i}"] = np.array(row["embedding"], np.float32).tobytes()
        vectors = np.array([row["embedding"] for row in mine], np.float32)
        people.append(Person(who, name, photos, needles, vectors))
    return people


def _rows(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def write_roster(path: Path, entries: Sequence[tuple[str, str, Sequence[Path], date | None]]) -> Path:
    lines = ["person_id,name,consent,valid_until,image,image2"]
    for who, name, photos, until in entries:
        lines.append(",".join([who, name, "yes", str(until or ""), *map(str, photos)]))
    path.write_text("\n".join(lines))
    return path


# ---- what is left ----------------------------------------------------------------------------------------------------


def everything(library: Path) -> tuple[dict[str, bytes], Floats]:
    """The bytes of every file but receipts, those of Parquet files decoded too; and all embeddings in them."""
    files, vectors = {}, [np.empty((0, 128), np.float32)]
    for path in sorted(p for p in library.rglob("*") if p.is_file()):
        if path.relative_to(library).parts[0] == "receipts":
            continue
        name, data = str(path.relative_to(library)), path.read_bytes()
        if path.suffix == ".parquet":
            for column, values in zip(*_columns(path), strict=True):
                if pa.types.is_fixed_size_list(values.type) and values.type.list_size == 128:
                    rows = values.combine_chunks().flatten().to_numpy().reshape(-1, 128).astype(np.float32)
                    vectors.append(rows)
                    files[f"{name}, {column}"] = rows.tobytes()
                else:
                    texts = (x if isinstance(x, bytes) else str(x).encode() for x in values.to_pylist())
                    files[f"{name}, {column}"] = b"\0".join(texts)
        files[name] = data
    return files, np.concatenate(vectors)


def _columns(path: Path) -> tuple[list[str], list[pa.ChunkedArray]]:
    table = pq.read_table(path)
    return table.column_names, table.columns


def left_of(person: Person, files: dict[str, bytes], vectors: Floats) -> list[str]:
    found = [f"{what} in {n}" for what, needle in person.needles.items() for n, data in files.items() if needle in data]
    alike = int((vectors @ person.embeddings.T > ALIKE).any(1).sum()) if len(vectors) else 0
    return found + ([f"{alike} embeddings"] if alike else [])


def enrolled(library: Path) -> set[str]:
    file = library / "gallery/gallery.parquet"
    return set(pq.read_table(file, columns=["person_id"])["person_id"].to_pylist()) if file.is_file() else set()


# ---- a world ---------------------------------------------------------------------------------------------------------


@dataclass
class World:
    """A library, its people, and what came of the kills."""

    folder: Path
    people: list[Person]
    choose: random.Random
    today: date = TODAY
    counts: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    then: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # how long each command took that was not killed
    number: int = 0

    @property
    def library(self) -> Path:
        return self.folder / "library"

    def start(self, arguments: Sequence[str], change: int | None = None) -> Started:
        self.number += 1
        at = ["-l", str(self.library), "--json"]
        return start([*arguments, *at], self.folder / f"out-{self.number % 8}", self.today, change)

    # ---- commands

    def enroll(self) -> list[str]:
        """Two or three people, new or known, or forgotten and willing again (`--accept`); some with an end of consent
        a few days away, some with a photo fewer."""
        entries = []
        for person in self.choose.sample(self.people, self.choose.randint(2, 3)):
            until = self.today + timedelta(self.choose.randint(0, 3)) if self.choose.random() < 0.4 else None
            photos = person.photos if self.choose.random() < 0.6 else self.choose.sample(person.photos, 1)
            entries.append((person.person_id, person.name, photos, until))
        anew = [word for who, *_ in entries for word in ("--accept", who)]
        return ["enroll", str(write_roster(self.folder / f"roster-{self.number}.csv", entries)), *anew]

    def forget(self) -> list[str]:
        known = sorted(enrolled(self.library)) or [self.people[0].person_id]
        return ["forget", *self.choose.sample(known, min(len(known), self.choose.randint(1, 2)))]

    def expired(self) -> list[str]:
        self.today += timedelta(self.choose.randint(1, 3))
        return ["forget", "--expired"]

    def identify(self) -> list[str]:
        photos = [str(person.photos[1]) for person in self.choose.sample(self.people, 3)]
        return ["identify", *photos, "--threshold", "0.3"]

    def other(self) -> list[str]:
        """One of the other commands that write or answer."""
        album, person = self.folder / "album", self.people[0]
        out = self.folder / f"export-{self.number}"  # a new one: what lies there is refused
        return self.choose.choice(
            [
                ["scan", str(album)],
                ["run"],
                ["cluster"],
                ["people"],
                ["calibrate"],
                ["verify", str(person.photos[0]), "--person", person.person_id, "--threshold", "0.3"],
                ["export", "--format", "csv", "--tasks", "faces", "--out", str(out)],
                ["overlay", "--tasks", "faces", "--sample", "1", "--out", str(out)],
            ]
        )

    # ---- rounds

    def round(self) -> None:
        """A command that is killed, perhaps beside an identification; one that is not; and a look at what is left."""
        kind = self.choose.choice(["enroll", "enroll", "forget", "forget", "expired", "expired", "identify"])
        if not enrolled(self.library):
            kind = "enroll"
        arguments = getattr(self, kind)()
        held = self.held() if kind in ("forget", "expired") and self.choose.random() < 0.4 else None
        ended = self.kill(kind, arguments)
        if ended.code == -signal.SIGKILL:
            self.counts["kills"] += 1
            self.killed[kind] += 1
        elif not (held and ended.code == 1):  # the identification had the lock when it was held
            self.check(arguments, ended)
        if held:
            self.answered(held)
        going = self.noted()
        asked = self.choose.choice(
            ["same", "same", "enroll", "forget", "expired", "identify", "other", "other", "other"]
        )
        then = arguments if asked == "same" else getattr(self, asked)()
        self.to_its_end(then)
        self.then[then[0]] += 1
        self.judge(f"{arguments} killed, then {then}", set() if then[0] == "enroll" else going)

    def kill(self, kind: str, arguments: Sequence[str]) -> Ended:
        """Before a random change of a file, or after a random time of what the command takes."""
        usual = {"enroll": 40, "forget": 50, "expired": 50, "identify": 4}[kind]
        if self.choose.random() < 0.6:
            return self.start(arguments, change=self.choose.randrange(usual)).wait()
        started = self.start(arguments)
        time.sleep(self.choose.random() * self.seconds.get(kind, 0.3))
        started.send(signal.SIGKILL)
        return started.wait()

    def to_its_end(self, arguments: Sequence[str]) -> None:
        started = self.start(arguments)
        if arguments[0] == "identify":
            self.answered(started)
            return
        ended = started.wait()
        self.check(arguments, ended)
        if ended.code == 0:
            self.seconds["expired" if "--expired" in arguments else arguments[0]] = ended.seconds

    def held(self) -> Started:
        """An identification that is stopped at a random moment."""
        started = self.start(self.identify())
        time.sleep(self.choose.random() * self.seconds.get("identify", 0.3))
        started.send(signal.SIGSTOP)
        return started

    def answered(self, identification: Started) -> None:
        """Let it go on; if it is in the log from now on, it may name nobody who is gone, or was to be."""
        gone, lines = self.noted() | ({person.person_id for person in self.people} - enrolled(self.library)), self.log()
        identification.send(signal.SIGCONT)
        ended = identification.wait()
        self.check(["identify"], ended)
        if ended.code or "identify" not in self.log()[len(lines) :]:
            return
        self.seconds["identify"] = ended.seconds
        self.counts["answered"] += 1
        for answer in ended.facts["answers"]:
            shown = {answer["person_id"], *(each["person_id"] for each in answer["candidates"] or ())}
            for who in sorted(shown & gone):
                self.problem("named_after", f"{answer['image']} is {who}")

    def log(self) -> list[str]:
        """The actions in the audit log."""
        files = sorted((self.library / "audit").glob("*.jsonl"))
        return [json.loads(line)["action"] for path in files for line in path.read_text().splitlines()]

    def check(self, arguments: Sequence[str], ended: Ended) -> None:
        """A command may refuse what it is asked for, and nothing else may go wrong."""
        if ended.code not in (0, 2):
            self.problem("failed", f"{arguments}: {ended.code}: {ended.out[-800:]}")

    # ---- judging

    def noted(self) -> set[str]:
        """Whose deletion has begun, by the note of it: it must not be taken back."""
        note = self.library / "gallery/_forgetting.json"
        return set(json.loads(note.read_bytes())["people"]) if note.is_file() else set()

    def judge(self, what: str, going: set[str]) -> None:
        """`going`: who must not be in the gallery any more."""
        now = enrolled(self.library)
        files, vectors = everything(self.library)
        for person in self.people:
            if person.person_id not in now and (found := left_of(person, files, vectors)):
                self.problem("left_behind", f"{what}: {person.person_id}: {found[:4]}")
        for person_id in sorted(going & now):
            self.problem("left_behind", f"{what}: {person_id} was to be forgotten and is enrolled")
        self.counts["rounds"] += 1

    def problem(self, kind: str, text: str) -> None:
        self.counts[kind] += 1
        self.problems.append(f"{kind}: {text}")
        say(f"  {kind}: {text}")


def live(folder: Path, people: list[Person], seed: int, kills: int) -> dict[str, Any]:
    """Rounds in one world until so many commands were killed; what came of it."""
    world = World(folder, people, random.Random(seed))
    (folder / "album").mkdir()
    (folder / "album/black.png").write_bytes(_black())
    began = time.monotonic()
    while world.counts["kills"] < kills:
        if world.choose.random() < 0.02:  # a new library, now and then
            shutil.rmtree(world.library, ignore_errors=True)
        world.round()
        if world.counts["rounds"] % 25 == 0:
            say(f"seed {seed}: {dict(world.counts)}, {time.monotonic() - began:.0f} s")
    names = ("counts", "killed", "then")
    return {name: dict(getattr(world, name)) for name in names} | {"problems": world.problems}


def _black() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "png")
    return file.getvalue()


def worlds(folder: Path, people: list[Person], seeds: Sequence[int], kills: int) -> Iterator[dict[str, Any]]:
    """Each in a process of its own, beside the others."""
    shares = [kills // len(seeds) + (i < kills % len(seeds)) for i in range(len(seeds))]
    processes = []
    for seed, share in zip(seeds, shares, strict=True):
        place = folder / f"world-{seed}"
        place.mkdir()
        processes.append((_forked(functools.partial(live, place, people, seed, share), place / "facts.json"), place))
    for pid, place in processes:
        _, status = os.waitpid(pid, 0)
        if status:
            raise RuntimeError(f"{place.name} ended with {os.waitstatus_to_exitcode(status)}")
        yield json.loads((place / "facts.json").read_text())


def _forked(function: Callable[[], Any], out: Path) -> int:
    pid = os.fork()
    if not pid:
        code = 1
        try:
            out.write_text(json.dumps(function()))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of the first world; the others have the next ones")
    parser.add_argument("--worlds", type=int, default=2, help="beside each other, in a process each")
    parser.add_argument("--people", type=int, default=8)
    args = parser.parse_args()
    for name in ("MUSTER_KEY", "MUSTER_KEY_FILE", "MUSTER_LIBRARY", "RAY_ADDRESS"):
        os.environ.pop(name, None)
    began = time.monotonic()
    seeds = list(range(args.seed, args.seed + args.worlds))
    prepare()
    with tempfile.TemporaryDirectory(prefix="muster-deletion-") as place:
        folder = Path(place).resolve()
        people = look_at(choose_people(folder / "photos", args.people), folder)
        say(f"{len(people)} people, seeds {seeds}, {time.monotonic() - began:.0f} s")
        found = list(worlds(folder, people, seeds, args.kills))
    counts = sum((Counter(each["counts"]) for each in found), Counter[str]())
    facts = {
        **{name: counts[name] for name in ("kills", "left_behind", "named_after", "failed", "rounds", "answered")},
        "killed": dict(sum((Counter(each["killed"]) for each in found), Counter[str]())),
        "then": dict(sum((Counter(each["then"]) for each in found), Counter[str]())),
        "problems": [text for each in found for text in each["problems"]][:5],
        "seeds": seeds,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(json.dumps(facts))
    return int(any(facts[name] for name in ("left_behind", "named_after", "failed")))


if __name__ == "__main__":
    sys.exit(main())
