"""A library that commit f7a7ea1 (0.1.0) made: what today's code does with it. tests/data/f7a7ea1/make.py made it.

Its tasks `previews`, `scenes` and `masks` are what they were: a resume does only what is left. `faces` was version 2
and is 3: faces are found anew beside the old ones, and people keep their ids. Faces of the old gallery cannot be
compared with those of today: it is refused in words, and enrolled anew elsewhere (CHANGELOG.md, 0.2.0).
"""

import fcntl
import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from helpers.fixtures import Outcome
from muster.pipeline.gallery import enroll
from muster.storage import manifest, tables
from muster.storage.library import open_library

Muster = Callable[..., Outcome]
Snapshot = Callable[[Path], dict[str, tuple[str, int]]]
HOME = Path("/tmp/muster-f7a7ea1")  # its manifest holds absolute paths
DATA = Path(__file__).parent / "data/f7a7ea1/old.tar.gz"
TASKS = ("faces", "previews", "scenes", "masks")
UNCHANGED = ("images", "previews", "scenes", "masks")  # tasks whose fingerprint is what it was


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The library, its photos and `answers.json`, where it was made; whoever else tests here waits."""
    with open(f"{HOME}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(HOME, ignore_errors=True)
        HOME.mkdir(mode=0o700)
        with tarfile.open(DATA) as tar:
            tar.extractall(HOME, filter="data")
        yield HOME
        shutil.rmtree(HOME)


@pytest.fixture(scope="module")
def answers(home: Path) -> Any:
    """What the old commands said of it: command → the JSON that it printed."""
    return json.loads((home / "answers.json").read_text())


@pytest.fixture(scope="module")
def untouched(home: Path) -> Path:
    """As it was made; to be read only."""
    return home / "library"


@pytest.fixture
def old(untouched: Path, tmp_path: Path) -> Path:
    """A copy that a test may change; its photos are where they were."""
    return Path(shutil.copytree(untouched, tmp_path / "library"))


@pytest.fixture(scope="module")
def resumed(
    untouched: Path, tmp_path_factory: pytest.TempPathFactory, work: Callable[..., list[dict[str, Any]]]
) -> Path:
    """A copy that today's code went on with. Not to be changed."""
    folder = tmp_path_factory.mktemp("resumed") / "library"
    shutil.copytree(untouched, folder)
    work(folder, None, TASKS)
    return folder


def fingerprint(folder: Path, task: str, version: int = 1) -> str:
    """Under which a library has this version of a task; there is one."""
    described = tables.descriptions(open_library(folder))
    [found] = [f for f, each in described.items() if (each["task"], each["version"]) == (task, version)]
    return found


def test_it_opens_and_status_is_what_it_was(muster: Muster, untouched: Path, answers: Any, snapshot: Snapshot) -> None:
    before = snapshot(untouched)
    outcome = muster("status", "-l", untouched, "--json")
    assert outcome.code == 0, outcome.err
    status, was = outcome.facts, answers["status"]
    for count in ("images", "ok", "errors", "pending", "shards"):
        assert status[count] == was[count], count
    rows, old_rows = ({each["fingerprint"]: each["rows"] for each in s["tables"]} for s in (status, was))
    assert old_rows.items() <= rows.items()
    assert snapshot(untouched) == before


def test_its_log_is_whole(muster: Muster, untouched: Path, answers: Any) -> None:
    outcome = muster("audit", "verify", "-l", untouched, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.facts.items() >= answers["audit"].items()


def test_its_photos_are_all_known(muster: Muster, old: Path, home: Path) -> None:
    outcome = muster("scan", home / "album", "-l", old, "--json")
    assert outcome.code == 0, outcome.err
    scan = outcome.facts
    assert (scan["new"], scan["changed"], scan["gone"]) == (0, 0, 0)
    assert scan["unchanged"] == scan["found"] > 0


def test_a_resume_does_what_is_left(untouched: Path, resumed: Path, answers: Any, snapshot: Snapshot) -> None:
    assert answers["status"]["pending"] > 0
    for task in UNCHANGED:
        name = fingerprint(untouched, task)
        assert fingerprint(resumed, task) == name
        before, after = (set(manifest.committed(open_library(folder), name)) for folder in (untouched, resumed))
        assert before < after
    images = tables.read(open_library(resumed), "images", fingerprint(resumed, "images"))
    assert images is not None
    assert images.num_rows == answers["status"]["images"]
    kept = {name: file for name, file in snapshot(untouched).items() if name.endswith(".parquet")}
    assert kept.items() <= snapshot(resumed).items()  # no row of before was made again, nor written


def test_people_keep_their_ids(muster: Muster, resumed: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(resumed, tmp_path / "library"))
    outcome = muster("cluster", "-l", folder, "--json")
    assert outcome.code == 0, outcome.err
    old, new = (clusters(folder, fingerprint(folder, "faces", version)) for version in (2, 3))
    both = old.keys() & new.keys()
    assert len(both) >= 10
    assert set(old.values()) - {None} <= set(new.values())
    assert all(new[face] == old[face] for face in both if old[face] and new[face])


def clusters(folder: Path, name: str) -> dict[str, str | None]:
    """face_id → cluster_id."""
    rows = pq.read_table(folder / "clusters" / name / "clusters.parquet")
    return dict(zip(rows["face_id"].to_pylist(), rows["cluster_id"].to_pylist(), strict=True))


def test_its_gallery_is_refused_in_words(muster: Muster, old: Path, home: Path) -> None:
    outcome = muster("identify", home / "probes", "-l", old, "--threshold", "0.3", "--json")
    assert outcome.code == 2
    assert "was made by an older faces=own" in outcome.err
    assert "enrol everybody anew in another library" in outcome.err


def test_enrolled_anew_it_identifies_as_before(
    muster: Muster, home: Path, answers: Any, tmp_path: Path, work: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enroll, "process", lambda library, *_: work(library.uri, None, ("faces",)))
    enrolled = muster("enroll", home / "roster.csv", "-l", tmp_path / "anew", "--json")
    assert enrolled.code == 0, enrolled.err
    assert enrolled.facts["people"] == answers["enroll"]["people"]
    outcome = muster("identify", home / "probes", "-l", tmp_path / "anew", "--threshold", "0.3", "--json")
    assert outcome.code == 0, outcome.err
    assert named(outcome.facts) == named(answers["identify"])


def named(identified: Any) -> list[tuple[str, str | None, str | None]]:
    return [(each["image"], each["person_id"], each["reason"]) for each in identified["answers"]]


def test_who_was_forgotten_stays_so(muster: Muster, old: Path, answers: Any) -> None:
    """The receipt of the old commit is given once more."""
    [original] = answers["forget"]["originals"]
    outcome = muster("forget", original, "-l", old, "--json")
    assert outcome.code == 0, outcome.err
    [receipt] = outcome.facts["receipts"]
    assert receipt["receipt"] == answers["forget"]["receipt"]
