"""Scratch worlds for `benchmarks/attack.py`: a library, an inbox, a home; and what they are copied from."""

import hashlib
import io
import itertools
import json
import os
import random
import shutil
import stat
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.attack_tables import ALBUM, COMMANDS, LOCKED, READERS, SCHOOL

HOME = Path(__file__).parents[1]
DATA = Path(os.environ.get("MUSTER_TEST_DATA", HOME.parent / "shared" / "data"))
SECRET = "kXq9Zt4w"  # what private files begin with: a text that quotes eight bytes of one holds it
PEOPLE = 34  # who are enrolled; calibration wants 30
State = dict[str, tuple[Any, ...]]


@dataclass(frozen=True)
class World:
    """`base`: what all attempts copy from (`build`). `state`: album or school. `port`: of a listener that must wait."""

    root: Path
    base: Path
    state: str
    encrypted: bool
    choose: random.Random = field(default_factory=random.Random)
    port: int = 9

    def __getattr__(self, name: str) -> Path:
        if name in ("library", "inbox", "home", "out", "tmp", "cache"):
            return self.root / name
        raise AttributeError(name)

    @cached_property
    def facts(self) -> dict[str, str]:
        """What commands and payloads may name."""
        places = {name: str(getattr(self, name)) for name in ("library", "inbox", "home", "out")}
        known = json.loads((self.base / f"{self.state}{'-key' * self.encrypted}.json").read_text())
        return {**known, **places, "port": str(self.port)}

    def fill(self, text: str) -> str:
        for name, value in self.facts.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def argv(self, command: str, payload: str = "") -> list[str]:
        return [self.fill(part).replace("{payload}", payload) for part in COMMANDS.get(command, command).split()]

    @property
    def commands(self) -> list[str]:
        """Those that make sense here, by name."""
        names = [*(ALBUM if self.state == "album" else SCHOOL), *(LOCKED if self.encrypted else ())]
        return [name for name in names if not (self.encrypted and name == "pages")]

    def twin(self, name: str) -> bytes:
        """What a file of the library says, which the attacker knows from elsewhere where it is encrypted."""
        return (self.base / self.state / "library" / name).read_bytes()

    def names(self, folder: Path | None = None) -> list[str]:
        folder = folder or self.library
        return sorted(
            str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"
        )

    def reader(self, name: str) -> str:
        """A command that looks at this file; one time in five any other."""
        fitting = [c for c in READERS.get(name.split("/")[0], ()) if c in self.commands] + ["decrypt"] * self.encrypted
        return self.choose.choice(fitting if fitting and self.choose.random() < 0.8 else self.commands)


def make_world(root: Path, base: Path, state: str, encrypted: bool, choose: random.Random, port: int = 9) -> World:
    world = World(root, base, state, encrypted, choose, port)
    shutil.copytree(base / f"{state}{'-key' * encrypted}" / "library", world.library, symlinks=True)
    shutil.copytree(base / "inbox", world.inbox)
    for name in ("out", "tmp", "cache"):
        (root / name).mkdir()
    make_home(world.home, base)
    return world


def make_home(home: Path, base: Path) -> None:
    """What nobody may touch, and nobody may read but as photos. Also names that a clean-up would take for its own."""
    for folder in ("docs", ".ssh", "pictures", "empty"):
        (home / folder).mkdir(parents=True)
    for name in (
        "docs/thesis.txt",
        "docs/index.html",
        "docs/.draft.txt." + "0" * 32 + ".tmp",
        ".ssh/id",
        "docs/shard-0-1.parquet",
    ):
        (home / name).write_text(f"{SECRET} {name} " + "private " * 20)
    shutil.copy(base / "private.jpg", home / "pictures/private.jpg")
    shutil.copy(base / "rows.parquet", home / "docs/rows.parquet")
    (home / "link").symlink_to("docs/thesis.txt")
    os.mkfifo(home / "pipe")


def look(*folders: Path) -> State:
    """Path → kind and mode, size, time, inode and bytes, of everything below these folders; links are not followed."""
    found: State = {}
    for path in itertools.chain(*([folder, *folder.rglob("*")] for folder in folders)):
        info = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(info.st_mode) else None
        content = os.readlink(path) if stat.S_ISLNK(info.st_mode) else content
        found[str(path)] = (info.st_mode, info.st_size, info.st_mtime_ns, info.st_ino, content)
    return found


def matching(folder: Path, pattern: str) -> Path:
    """The largest of the files that fit: one with rows."""
    return max(folder.glob(pattern), key=lambda path: (path.stat().st_size, path.name))


def to_parquet(table: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


# ---- what all are copied from ----------------------------------------------------------------------------------------


def build(base: Path) -> None:
    """Photos, facts, and the libraries that attempts start from."""
    people, others = photos_of_people()
    for folder in ("photos", "people", "later"):
        (base / folder).mkdir(parents=True)
    (base / "private.jpg").write_bytes(others[0])
    build_inbox(base, others[1:])
    for i, photo in enumerate(others[5:14]):
        (base / "photos" / f"{i}.jpg").write_bytes(photo)
    for person, photos in people.items():
        for i, photo in enumerate(photos):
            (base / "people" / f"{person} {i}.jpg").write_bytes(photo)
    (base / "later/late.jpg").write_bytes(others[14])
    for path in sorted((DATA / "coco128/images").glob("*.jpg"))[:3]:
        shutil.copy(path, base / "photos" / path.name)
    names = list(people)
    facts = {"photos": str(base / "photos"), "private": hashlib.sha256(others[0]).hexdigest(), "other": names[1]}
    facts |= {
        "person": names[0],
        "probe": str(base / f"people/{names[0]} 2.jpg"),
        "stranger": str(base / "inbox/photos/a.jpg"),
    }
    for name, members in (("school", names[:PEOPLE]), ("other", names[PEOPLE:])):
        ids = {members[2]: "Z\u00e9"}  # whom an enrolment under the decomposed name must not make two people
        lines = [f"{ids.get(p, p)},{base}/people/{p} 0.jpg,{base}/people/{p} 1.jpg" for p in members]
        (base / f"{name}.csv").write_text("\n".join(["person_id,image,image2", *lines]), "utf-8")
    (base / "facts.json").write_text(json.dumps(facts))


def photos_of_people() -> tuple[dict[str, list[bytes]], list[bytes]]:
    """name → three photos, of people with as many; photos of others, of whom there is one each."""
    table = pq.read_table(DATA / "lfw/lfw.parquet", columns=["person", "image"], use_threads=False)
    rows: dict[str, list[int]] = {}
    for i, person in enumerate(table["person"].to_pylist()):
        rows.setdefault(person, []).append(i)
    people = [person for person in sorted(rows) if len(rows[person]) >= 3][: PEOPLE + 8]
    others = [person for person in sorted(rows) if len(rows[person]) == 1][:16]
    image = table["image"]
    return {p: [image[i].as_py() for i in rows[p][:3]] for p in people}, [image[rows[p][0]].as_py() for p in others]


def build_inbox(base: Path, photos: Sequence[bytes]) -> None:
    """What users give to commands, in each form there is."""
    inbox = base / "inbox"
    for folder in ("photos/more", "roster/N2", "labels"):
        (inbox / folder).mkdir(parents=True)
    for name, photo in zip(("photos/a.jpg", "photos/more/b.jpg", "roster/N2/a.jpg"), photos, strict=False):
        (inbox / name).write_bytes(photo)
    for name, photo in (("a", photos[0]), ("b", photos[1])):
        size = Image.open(io.BytesIO(photo)).size
        Image.fromarray(np.zeros(size[::-1], np.uint8)).save(inbox / f"labels/{name}.png")
    boxes = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [9, 9, 99, 99], "area": 9801, "iscrowd": 0}]
    images = [{"id": i, "file_name": f"{name}.jpg", "width": 250, "height": 250} for i, name in enumerate("ab", 1)]
    document = {"images": images, "categories": [{"id": 1, "name": "person"}], "annotations": boxes}
    (inbox / "coco.json").write_text(json.dumps(document))
    (inbox / "roster.csv").write_text("person_id,name,group,image\nN1,New,4b,photos/a.jpg\n")
    (inbox / "pairs.txt").write_text("2 1\nA 1 2\nA 1 B 1\nA 1 2\nA 2 C 1\n")
    names = ["A_0001.jpg", "A_0002.jpg", "B_0001.jpg", "C_0001.jpg"]
    rows = [{"person": name[0], "file": name, "image": photo} for name, photo in zip(names, photos, strict=False)]
    pq.write_table(pa.Table.from_pylist(rows), inbox / "labelled.parquet")
    pq.write_table(pa.Table.from_pylist([{"uri": "photos/a.jpg", "file": "a.jpg"}]), inbox / "rows.parquet")
    pq.write_table(
        pa.Table.from_pylist([{"uri": "photos/a.jpg", "person": "N3", "name": "New"}]), inbox / "roster.parquet"
    )
    pq.write_table(pa.table({"image": [f"{SECRET} in a row".encode()] * 2}), base / "rows.parquet")
    (base / "bomb.tif").write_bytes(tile_bomb())


def tile_bomb() -> bytes:
    """A TIFF of 100 by 100 pixels as header, directory and one tile of zeroes: 1.6 MB that take 1.6 GB."""
    wide, high = 32768, 16384
    packer, piece = zlib.compressobj(1), bytes(3 * wide)
    tile = b"".join(packer.compress(piece) for _ in range(high)) + packer.flush()
    entries = [(256, 100), (257, 100), (258, 8), (259, 8), (262, 2), (277, 3), (322, wide), (323, high)]
    entries += [(324, 8 + 2 + 12 * 10 + 4), (325, len(tile))]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4) + tile
