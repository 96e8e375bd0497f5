"""Random edits of a library to which all kinds of things happen, and what of them holds. See benchmarks/edits.py."""

import os
import random
import shutil
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow.parquet as pq

from benchmarks.edits_any import any_edit
from benchmarks.edits_oracle import Oracle
from muster.errors import InputError
from muster.pipeline.people.faces import faces_fingerprint, read_faces
from muster.pipeline.people.grouping import cluster_faces
from muster.pipeline.people.who import people_now, readable_images
from muster.pipeline.run import pending, record
from muster.pipeline.work.choice import choose
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.machine import Machine
from muster.pipeline.work.worker import ShardWorker
from muster.storage import clusters, manifest
from muster.storage.library import LibraryFiles, open_library
from muster.storage.people import edits
from muster.storage.people.facts import Fact
from muster.storage.people.ledger import Ledger
from muster.storage.people.view import People, Scene

LFW_PEOPLE, FEWEST, MOST = 40, 4, 8  # of LFW, and how many photos of each they have
Say = Callable[[str], None]


def lasting(folder: Path, data: Path, count: int, seed: int, say: Say) -> dict[str, Any]:
    world = World(folder, data, random.Random(seed))
    world.more(0.8)
    world.cluster("own")
    say(f"{len(list(world.photos.rglob('*.jpg')))} photos, {len(world.now('own').people)} people")
    world.sit_down("own")
    for number in range(count):
        world.edit(number)
    world.look("own", "edits")
    say(f"{count} edits, {world.refused} refused, {world.kills} kills, {dict(world.kinds)}: {world.found}")
    for name, happens in (
        ("photos", lambda: (world.more(1.0), world.cluster("own"), "own")),
        ("model", lambda: (world.cluster("published"), "published")),
        ("kmeans", lambda: (world.cluster("published", "kmeans", LFW_PEOPLE), "published")),
        ("renamed", lambda: (world.renamed(), world.cluster("own"), "own")),
        ("touched", lambda: (world.touched(), world.cluster("published"), "published")),
        ("own kmeans", lambda: (world.cluster("own", "kmeans", LFW_PEOPLE), "own")),
    ):
        model = happens()[-1]
        world.killed_while_clustering(model)
        world.look(model, name)
        say(f"{name}: {world.found}")
    world.from_the_ledger()
    say(f"from the ledger alone: {world.found}")
    identical = world.undone()
    say(f"undone: identical {identical}")
    found = {"edits": len(world.oracle.said), "violated": world.found["violated"], "lost": world.found["lost"]}
    kinds = {"refused": world.refused, "kills": world.kills, "kinds": dict(world.kinds), "looks": world.looks}
    return {**found, "undo_identical": identical, **kinds}


class World:
    """Photos, a library of them that is edited, and one that is not."""

    def __init__(self, folder: Path, data: Path, dice: random.Random) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        self.folder, self.data, self.dice, self.photos = folder, data, dice, folder / "photos"
        self.library, self.control = (open_library(folder / name, create=True) for name in ("edited", "control"))
        self.pictures = pictures(data, dice)
        self.oracle, self.found, self.kinds = Oracle(), Counter(violated=0, lost=0), Counter[str]()
        self.refused = self.kills = self.looks = 0

    # ---- what happens to it ------------------------------------------------------------------------------------------

    def more(self, share: float) -> None:
        """Photos come, until there is so much of them."""
        for name, picture in self.pictures[: round(share * len(self.pictures))]:
            (self.photos / name).parent.mkdir(parents=True, exist_ok=True)
            (self.photos / name).write_bytes(picture)
        self._scan()

    def renamed(self) -> None:
        other = self.folder / "other name"
        self.photos.rename(other)
        self.photos = other
        self._scan()

    def touched(self) -> None:
        for path in self.photos.rglob("*.jpg"):
            os.utime(path, (1_600_000_000, 1_600_000_000 + self.dice.randrange(10**6)))
        self._scan()

    def _scan(self) -> None:
        for library in (self.library, self.control):
            manifest.scan(library, [str(self.photos)])

    def cluster(self, model: str, method: str = "graph", k: int | None = None) -> None:
        for library in (self.library, self.control):
            process(library, model, self.data / "weights")
            cluster_faces(library, model, method, k, same_photo=False)

    def from_the_ledger(self) -> None:
        """Nothing is left of the library but its ledger."""
        rebuilt = open_library(self.folder / "rebuilt", create=True)
        shutil.copytree(f"{self.library.uri}/facts", f"{rebuilt.uri}/facts")
        manifest.scan(rebuilt, [str(self.photos)])
        process(rebuilt, "own", self.data / "weights")
        cluster_faces(rebuilt, "own", "graph", None, same_photo=False)
        self._look(rebuilt, "own", "from the ledger")

    # ---- edits -------------------------------------------------------------------------------------------------------

    def now(self, model: str, library: LibraryFiles | None = None) -> People:
        return people_now(library or self.library, model)

    def sit_down(self, model: str) -> None:
        """What is on the screen: `people_now`, of which the tables are read once."""
        fingerprint = faces_fingerprint(self.library, model)
        faces = read_faces(self.library, fingerprint, ["face_id", "image_id", "box_xyxy"])
        self.scene = Scene(clusters.read(self.library, fingerprint), faces, readable_images(self.library))
        self.ledger = Ledger(self.library)

    def edit(self, number: int) -> None:
        """One more that is no contradiction, recorded twice: the first time the process is killed meanwhile."""
        while True:
            try:
                kind, said = any_edit(self.dice, self.scene.people(self.ledger.known), self.ledger)
                edit = self._recorded(said, number)
            except InputError:
                self.refused += 1
                continue
            self.kinds[kind] += 1
            self.oracle.said[edit] = tuple(said)
            return

    def _recorded(self, said: Sequence[Fact], number: int) -> str:
        before = set(self.ledger.edits)
        self.kills += killed(lambda: self.ledger.record(said), number)
        self.ledger.refresh()
        after = set(self.ledger.edits)
        self.found["lost"] += len(before - after) + len(self.ledger.problems)
        return max(after - before, default="") or self.ledger.record(said).edit_id

    # ---- whether it holds --------------------------------------------------------------------------------------------

    def look(self, model: str, name: str) -> None:
        self._look(self.library, model, name)

    def _look(self, library: LibraryFiles, model: str, name: str) -> None:
        ledger, people = Ledger(library), self.now(model, library)
        self.looks += 1
        self.found["lost"] += len(self.oracle.said.keys() - ledger.edits.keys()) + len(ledger.problems)
        for kind, text in self.oracle.wrong(people, ledger):
            self.found[kind] += 1
            print(f"  {name}: {kind}: {text}", file=sys.stderr)

    def killed_while_clustering(self, model: str) -> None:
        """Killed at each operation on files, writing the clusters leaves those before or those after."""
        fingerprint, before = faces_fingerprint(self.library, model), who_is_who(self.now(model))
        rows = clusters.read(self.library, fingerprint)
        number = 0
        while killed(lambda: clusters.write(self.library, fingerprint, rows, "?", clusters.edits_of(rows)), number, 0):
            self.kills += 1
            number += 1
            if who_is_who(self.now(model)) != before:
                self.found["lost"] += 1

    def undone(self) -> bool:
        """Whether nothing is left of edits that were all taken back."""
        ledger = Ledger(self.library)
        for edit in reversed(list(ledger.edits)):
            if ledger.known.counts(edit):
                ledger.record(edits.undone(ledger, edit))
        same = [who_is_who(self.now(m)) == who_is_who(self.now(m, self.control)) for m in ("own", "published")]
        for model in ("own", "published"):
            self.cluster(model)
            same.append(who_is_who(self.now(model)) == who_is_who(self.now(model, self.control)))
        nobody = [each for each in self.now("own").people.values() if each.name or each.hidden or each.born]
        return all(same) and not nobody


def who_is_who(people: People) -> dict[str, str | None]:
    columns = (people.faces[name].to_pylist() for name in ("face_id", "person_id"))
    return dict(zip(*columns, strict=True))


def pictures(data: Path, dice: random.Random) -> list[tuple[str, bytes]]:
    """The Johns' photos, and those of some people of LFW, in any order."""
    johns = sorted((data / "photos/johns").rglob("*.jpg"))
    found = [(f"johns/{path.parent.name}/{path.name}", path.read_bytes()) for path in johns]
    of = defaultdict(list)
    for row in pq.read_table(data / "lfw/lfw.parquet", columns=["person", "file", "image"]).to_pylist():
        of[row["person"]].append((f"lfw/{Path(row['file']).stem}.jpg", row["image"]))
    some = dice.sample(sorted(person for person in of if FEWEST <= len(of[person]) <= MOST), LFW_PEOPLE)
    found += [photo for person in some for photo in of[person]]
    return dice.sample(found, len(found))


def process(library: LibraryFiles, model: str, weights: Path) -> None:
    """What `muster run` would do, in this process."""
    choices = choose(["faces"], models={"faces": model})
    record(library, RunConfig(library=library.uri, choices=choices, machine=Machine(device="cpu")))
    if orders := pending(library, choices):
        worker = ShardWorker(library.uri, choices, "cpu", weights)
        for order in orders:
            worker.process(order)


def killed(write: Callable[[], object], number: int, every: int = 24) -> bool:
    """Whether a process that does this was killed, at this operation on files, counted modulo `every`; 0: not counted
    so, and False where it comes to its end."""
    child = os.fork()
    if not child:
        left = number % every if every else number

        def hook(frame: FrameType, event: str, _: object) -> None:
            nonlocal left
            if event == "c_call" and frame.f_code.co_filename.endswith("storage/disk.py"):
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1

        sys.setprofile(hook)
        try:
            write()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])
