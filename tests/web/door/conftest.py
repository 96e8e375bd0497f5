import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from helpers.runs import config_of
from muster.pipeline import forget
from muster.pipeline.gallery.calibrate import calibrate
from muster.pipeline.gallery.door import Door
from muster.storage.gallery import keys
from muster.storage.layout import KEYS
from muster.storage.library import LibraryFiles, dump_json, open_library


@dataclass(frozen=True)
class Opened:
    """`keys`: texts by role; `revoked`, `expired` and `another`'s are refused. `people`: who is enrolled."""

    library: LibraryFiles
    door: Door
    keys: dict[str, str]
    people: list[str]


@pytest.fixture(scope="session")
def calibrated(tmp_path_factory: pytest.TempPathFactory, enrolled: Path) -> Path:
    """A library with a threshold and keys, in whose gallery the school's people are. Not to be changed."""
    folder = Path(shutil.copytree(enrolled, tmp_path_factory.mktemp("door") / "library"))
    library = open_library(folder)
    with forget.locked(library):
        calibrate(library)
    made = {role: keys.made(library, f"who {role}", role) for role in keys.ROLES}
    made |= {name: keys.made(library, name, "administers", date.today()) for name in ("revoked", "expired")}
    keys.revoked(library, made["revoked"][0].id)
    rows = json.loads(library.read(KEYS))["keys"]
    for row in rows:
        if row["id"] == made["expired"][0].id:
            row["ends"] = "2020-01-01"
    library.write(KEYS, dump_json({"keys": rows}))
    other = open_library(tmp_path_factory.mktemp("other") / "library", create=True)
    texts = {name: text for name, (_, text) in made.items()} | {"another": keys.made(other, "a", "administers")[1]}
    (folder.parent / "keys.json").write_text(json.dumps(texts))
    return folder


@pytest.fixture
def open_door(tmp_path: Path, calibrated: Path, weights: Path) -> Iterator[Callable[[], Opened]]:
    """open_door(): a door of a gallery that may be changed."""
    made: list[Door] = []

    def opened() -> Opened:
        folder = Path(shutil.copytree(calibrated, tmp_path / "library"))
        made.append(Door(open_library(folder), config_of(folder, "faces", weights_dir=weights), None))
        door = made[-1]
        people = [row["person_id"] for row in door.people()]
        return Opened(door.library, door, json.loads((calibrated.parent / "keys.json").read_text()), people)

    yield opened
    for door in made:
        door.close()


@dataclass(frozen=True)
class Grown:
    """What a process has that may not become more and more."""

    files: int
    threads: int
    memory: int  # bytes

    @staticmethod
    def now() -> "Grown":
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return Grown(len(os.listdir("/proc/self/fd")), threading.active_count(), pages * os.sysconf("SC_PAGE_SIZE"))


@pytest.fixture(scope="session")
def grown() -> Callable[[], Any]:
    return Grown.now
