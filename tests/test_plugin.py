"""examples/plugin, installed as a user would: its task is like one of ours, and nothing else knows of it."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from pycocotools.coco import COCO

from helpers.fixtures import Outcome
from helpers.packages import installed
from muster.errors import TaskError
from muster.pipeline.work.choice import TaskChoice

TASKS = "faces,previews,colours"
Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def library(
    plugin_site: Path, data: Path, make_photos: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A library of twelve photos and its pages, made by a command and workers of Ray. Not to be changed."""
    folder = tmp_path_factory.mktemp("colours")
    make_photos(folder / "photos", range(12))
    environment = {**os.environ, "MUSTER_WEIGHTS": str(data / "weights"), "PYTHONPATH": str(plugin_site)}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-m", "muster", "photos", folder / "photos", "-l", folder / "library", "--json"]
    command += ["--tasks", TASKS, "--set", "colours.min_area=0.02"]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])["run"]["rows"]
    assert rows.keys() == {"faces", "previews", "colours"}
    assert rows["colours"] > 12
    assert f" {rows['colours']} colours, 0 errors" in done.stderr  # the last line of progress
    return folder / "library"


@pytest.fixture
def run(plugin_site: Path, muster: Run) -> Iterator[Run]:
    """The command, where the package is installed."""
    with installed(plugin_site):
        yield muster


def test_a_plugin_is_among_the_tasks(run: Run) -> None:
    done = run("run", "--tasks", "colour")
    assert (done.code, done.out) == (2, "")
    assert (
        done.error
        == "muster: no task 'colour'; known: answers, captions, colours, faces, features, labels, masks, objects,"
        " previews, scenes, style, units"
    )


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("colours.min_are=1", "task 'colours' has no option 'min_are'; the nearest it has: min_area"),
        ("colours.min_area=2", "colours.min_area=2: give a number from 0 to 1"),
        ("faces.min_area=1", "task 'faces' has no option 'min_area'; it has none"),
        ("smiles.min_area=1", "--set smiles.min_area=1: no task 'smiles'; known: answers, captions, colours, faces"),
        ("min_area=1", "--set min_area=1: write TASK.NAME=VALUE, for example --set objects.min_score=0.5"),
        ("objects.min_score=1", "--set objects.min_score: task 'objects' is not among --tasks faces,previews,colours"),
    ],
)
def test_options_of_a_plugin_that_cannot_be(run: Run, setting: str, text: str) -> None:
    done = run("run", "--tasks", TASKS, "--set", setting)
    assert (done.code, done.out) == (2, "")
    assert text in done.error


def test_status_of_a_plugin(run: Run, library: Path) -> None:
    [table] = [t for t in run("status", "-l", library, "--json").facts["tables"] if t["task"] == "colours"]
    assert (table["installed"], table["pending"], table["errors"], table["model"]) == (True, 0, 0, None)
    assert table["rows"] > 12


def test_exports_of_a_plugin(run: Run, library: Path, tmp_path: Path) -> None:
    done = run(
        "export", "--format", "coco", "--tasks", "colours", "--out", tmp_path / "found.json", "-l", library, "--json"
    )
    assert done.code == 0, done.err
    [source] = done.facts["sources"]
    assert source["parameters"] == {"min_area": 0.02}
    found = COCO(tmp_path / "found.json")
    names = {category["name"] for category in found.dataset["categories"]}
    assert names == {"red", "yellow", "green", "blue"}
    assert min(found.cats) > 90  # behind COCO's own
    assert len(found.dataset["annotations"]) == done.facts["annotations"] > 12
    for annotation in found.dataset["annotations"]:
        x, y, width, height = annotation["bbox"]
        assert 0 <= x <= x + width <= 400
        assert 0 <= y <= y + height <= 300
        assert width * height >= 0.02 * 400 * 300
    for form in ("csv", "yolo", "labelme"):
        done = run("export", "--format", form, "--tasks", "colours", "--out", tmp_path / form, "-l", library, "--json")
        assert (done.code, done.facts["images"]) == (0, 12)
    header, first, *_ = (tmp_path / "csv").read_text().splitlines()
    assert dict(zip(header.split(","), first.split(","), strict=True))["task"] == "colours"


def test_overlays_of_a_plugin(run: Run, library: Path, tmp_path: Path) -> None:
    both = run("overlay", "--out", tmp_path / "both", "--sample", 2, "-l", library, "--json")
    assert {source["task"] for source in both.facts["sources"]} == {"colours", "faces"}
    own = run("overlay", "--out", tmp_path / "own", "--sample", 2, "--tasks", "colours", "-l", library, "--json")
    assert own.code == 0, own.err
    assert own.facts["things"] > 0


def test_a_plugin_is_judged_by_its_boxes(run: Run, library: Path, tmp_path: Path) -> None:
    """By what it found itself, of one class: all of it is found again."""
    whole = tmp_path / "found.json"
    place = ("-l", library)
    assert run("export", "--format", "coco", "--tasks", "colours", "--out", whole, *place).code == 0
    evaluated = ("evaluate", "objects", "--images", library.parent / "photos", "--annotations", whole, "--json")
    kept = Path(shutil.copytree(library, tmp_path / "library"))
    done = run(*evaluated, "--library", kept, "--task", "colours", "--set", "colours.min_area=0.02")
    assert done.code == 0, done.err
    assert (done.facts["ap50"], done.facts["recall_at_0.5"]) == (1.0, 1.0)
    done = run(*evaluated, "--library", kept, "--task", "faces")
    assert (done.code, done.out) == (2, "")
    assert "--task faces: its rows have no label, score and box to be judged by" in done.error


def test_filters_by_a_plugin(library: Path) -> None:
    page = (library / "people" / "index.html").read_text()
    assert ">with red <" in page or ">with blue <" in page or ">with green <" in page


def test_a_plugin_keeps_the_contract(plugin_site: Path) -> None:
    from muster.tasks import registry
    from muster.testing import check_task

    with installed(plugin_site):
        check_task(registry.find("colours"))
        check_task(registry.find("colours"), options={"min_area": "0.2"})


def test_nothing_else_knows_of_the_plugin() -> None:
    home = Path(__file__).parents[1]
    folders = ("muster", "pipeline", "storage", "tasks", "training", "web")
    files = [file for folder in folders for file in (home / folder).rglob("*.py")]
    assert not [file for file in files if "muster_colours" in file.read_text()]


# ---- where it is not installed ---------------------------------------------------------------------------------------


def test_a_library_of_a_plugin_that_is_gone(muster: Run, library: Path, tmp_path: Path) -> None:
    place = ("-l", Path(shutil.copytree(library, tmp_path / "library")))
    done = muster("status", *place)
    assert done.code == 0, done.err
    [line] = [line for line in done.out.splitlines() if line.startswith("colours (no model, ")]
    assert line.endswith("; this task is not installed here")
    for command in (("run",), ("cluster",), ("people", "--out", tmp_path / "people")):
        assert muster(*command, *place).code == 0
    assert "with red" not in (tmp_path / "people" / "index.html").read_text()
    done = muster("export", "--format", "csv", "--tasks", "faces", "--out", tmp_path / "faces.csv", *place)
    assert done.code == 0, done.err
    for command in ("export", "--format", "csv"), ("overlay",):
        done = muster(*command, "--tasks", "colours", "--out", tmp_path / "new", *place)
        assert (done.code, done.out) == (2, "")
        assert "has rows of colours, a task that is not installed here: install the package that adds it" in done.error
    done = muster("overlay", "--sample", 2, "--out", tmp_path / "look", *place, "--json")
    assert [source["task"] for source in done.facts["sources"]] == ["faces"]
    done = muster("run", "--tasks", TASKS, *place)
    assert (done.code, done.error) == (
        2,
        "muster: no task 'colours'; known: answers, captions, faces, features, labels, masks, objects, previews,"
        " scenes, style, units",
    )


def test_forgetting_reaches_the_rows_of_a_plugin_that_is_gone(muster: Run, library: Path, tmp_path: Path) -> None:
    from muster.storage import tables
    from muster.storage.library import open_library

    photo = library.parent / "photos" / "0003.jpg"
    library = Path(shutil.copytree(library, tmp_path / "library"))
    opened = open_library(library)
    [name] = [f for f, what in tables.descriptions(opened).items() if what["task"] == "colours"]
    before = set(tables.require(opened, "colours", name)["image_id"].to_pylist())
    done = muster("forget", photo, "-l", library, "--json")
    assert (done.code, done.facts["found_afterwards"]) == (0, []), done.err
    after = set(tables.require(opened, "colours", name)["image_id"].to_pylist())
    assert len(after) == len(before) - 1


def test_a_worker_without_the_plugin_says_what_it_lacks(plugin_site: Path) -> None:
    """As on a node of a cluster where it is not installed."""
    with installed(plugin_site):
        sent = pickle.dumps(TaskChoice(name="colours", options={"min_area": "0.2"}))
        assert pickle.loads(sent).load(torch.device("cpu"), None).parameters == {"min_area": 0.2}
    with pytest.raises(
        TaskError,
        match="no task 'colours'; known: answers, captions, faces, features, labels, masks, objects, previews, scenes",
    ):
        pickle.loads(sent).load(torch.device("cpu"), None)
