"""pipeline/failures.py: which images failed, where, and why."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import muster
from helpers.findings import commit, scanned
from helpers.fixtures import Outcome
from muster.errors import InputError
from muster.pipeline.failures import FAILURES, failures, newest_failures
from muster.pipeline.work.choice import TaskChoice
from muster.storage import layout, manifest, tables
from muster.storage.library import open_library

Muster = Callable[..., Outcome]
OBJECTS = TaskChoice(name="objects")


def test_what_could_not_be_read_is_named_once_and_not_for_every_task(library: Path, album: Path) -> None:
    table = failures(open_library(library))
    assert table.schema == FAILURES
    rows = {Path(row["uri"]).name: row for row in table.to_pylist()}
    assert rows.keys() == {"cut.jpg", "text.jpg"}
    assert table.num_rows == 2
    assert {row["task"] for row in rows.values()} == {None}
    assert rows["text.jpg"]["error_kind"] == "not_an_image"
    assert rows["text.jpg"]["uri"] == str(album / "text.jpg")
    shards = [shard for shard, _ in manifest.shards(open_library(library))]
    assert {row["shard"] for row in rows.values()} <= set(shards)
    for row in rows.values():
        there = manifest.read_shard(open_library(library), row["shard"])
        assert row["image_id"] in there["image_id"].to_pylist()


@pytest.fixture
def failed(tmp_path: Path, make_photos: Callable[..., Path]) -> Path:
    """A library of 12 photos, on each of which `objects` failed, on some `faces`, also of a model not used."""
    library = scanned(tmp_path / "failed", make_photos(tmp_path / "photos", range(12)))
    commit(library, OBJECTS.description, fails=lambda i: True)
    commit(library, TaskChoice(name="faces", model="published").description, fails=lambda i: True, shards=slice(1))
    commit(library, TaskChoice(name="faces").description, fails=lambda i: i < "5")
    return tmp_path / "failed"


def test_by_task_under_the_model_that_is_used(failed: Path) -> None:
    opened = muster.open(failed)
    every = opened.errors()
    faces = opened.errors("faces")
    assert set(faces["task"].to_pylist()) <= {"faces"}
    assert all(image < "5" for image in faces["image_id"].to_pylist())
    assert opened.errors(["objects"]).num_rows == 12
    assert every.num_rows == 12 + faces.num_rows
    order = list(zip(*(every[name].to_pylist() for name in ("shard", "uri", "task")), strict=True))
    assert order == sorted(order)
    with pytest.raises(InputError, match=r"has no rows of masks: it has faces, objects"):
        opened.errors("masks")


def test_images_that_are_gone_have_no_errors(failed: Path, tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / "photos" / f"{number:04d}.jpg").unlink()
    manifest.scan(open_library(failed), [str(tmp_path / "photos")])
    assert muster.open(failed).errors("objects").num_rows == 6


def test_a_run_names_the_first_three_and_where_all_are(muster: Muster, failed: Path, library: Path) -> None:
    outcome = muster("run", "-l", failed, "--tasks", "objects", "--json")
    assert outcome.code == 0, outcome.err
    *named, hint = outcome.err.splitlines()
    assert hint == f"muster: 9 more errors: `muster errors -l {failed}` shows all"
    first = outcome.facts["first_errors"]
    assert named == [f"muster: {row['uri']}: objects, task: x" for row in first]
    assert [row["uri"] for row in first] == muster_errors(muster, failed, "--tasks", "objects")["uri"][:3]
    few = muster("run", "-l", library)
    assert [line.partition("jpg: ")[2].partition(":")[0] for line in few.err.splitlines()] == [
        "truncated",
        "not_an_image",
    ]
    assert f"`muster errors -l {failed}` shows all errors" in muster("status", "-l", failed).out


def test_the_newest_come_first_and_only_their_tables_are_read(failed: Path) -> None:
    library = open_library(failed)
    used = {"objects": OBJECTS.fingerprint, "faces": TaskChoice(name="faces").fingerprint}
    commits = {task: tables.commits(library, name) for task, name in used.items()}
    days = ["2026-03-04", "2026-03-01", None, "2026-03-03", *["2026-03-02"] * 20]
    made = sorted((each["shard"], task, each) for task in used for each in commits[task] if each["failed"])
    want: list[tuple[str, str, str, str]] = []
    for day, (shard, task, each) in zip(days, made, strict=False):
        each["facts"] = {"at": f"{day}T00:00:00+00:00", "slowest": {}} if day else {}
        want += [(each["facts"].get("at", ""), shard, task, image) for image in each["failed"]]
    want.sort(reverse=True)
    for kept in {shard for _, shard, _, _ in want} - {shard for _, shard, _, _ in want[:3]}:
        for name in used.values():
            library.remove(layout.rows("errors", name, kept))
    rows = newest_failures(library, commits, 3)
    assert [(row["at"], row["shard"], row["task"], row["image_id"]) for row in rows] == want[:3]
    assert all((row["error_kind"], row["error"]) == ("task", "x") for row in rows)
    assert all(row["uri"].endswith(".jpg") for row in rows)


def muster_errors(muster: Muster, library: Path, *options: str) -> dict[str, list[Any]]:
    rows = muster("errors", "-l", library, *options, "--json").facts["rows"]
    return {name: [row[name] for row in rows] for name in FAILURES.names}


def test_the_command_counts_images_by_kind_and_shard(muster: Muster, failed: Path, library: Path) -> None:
    facts = muster("errors", "-l", failed, "--json").facts
    assert (facts["errors"], facts["kinds"]) == (12, {"task": 12})
    assert facts["shards"] == dict(manifest.shards(open_library(failed)))
    first, *rows = muster("errors", "-l", library).out.splitlines()
    assert first.startswith("2 images with errors: 1 ")
    assert len(rows) == 2
    assert rows[0].partition(": ")[2].startswith(("truncated: ", "not_an_image: "))
    shards = muster("errors", "-l", failed, "--by-shard").out.splitlines()[1:]
    assert set(shards) == {
        f"{shard}: {number} error{'s' * (number > 1)}" for shard, number in manifest.shards(open_library(failed))
    }


def test_without_errors_it_says_so(muster: Muster, tmp_path: Path, make_photos: Callable[..., Path]) -> None:
    scanned(tmp_path / "library", make_photos(tmp_path / "photos", range(1)))
    assert muster("errors", "-l", tmp_path / "library").out == "0 images with errors\n"
    assert muster("run", "-l", tmp_path / "none").code == 2
