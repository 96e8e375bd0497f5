"""`muster export` and `muster overlay`, by the command line."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.findings import STREETS, commit, dog, face, scanned, sky
from helpers.fixtures import Outcome
from muster.pipeline.work.choice import TaskChoice
from muster.storage import manifest
from muster.storage.library import LibraryFiles

Muster = Callable[..., Outcome]


@pytest.fixture
def found(tmp_path: Path, make_photos: Callable[..., Path]) -> LibraryFiles:
    library = scanned(tmp_path / "library", make_photos(tmp_path / "photos", range(12)))
    commit(library, TaskChoice(name="objects").description, lambda i: [dog(), dog(0.2)])
    commit(library, STREETS, lambda i: [sky()])
    commit(library, TaskChoice(name="faces").description, lambda i: [face(i)], shards=slice(1))
    return library


def test_four_formats(muster: Muster, found: LibraryFiles, tmp_path: Path) -> None:
    for form in ("coco", "csv", "yolo", "labelme"):
        outcome = muster("export", "--format", form, "--out", tmp_path / form, "-l", found.uri, "--json")
        assert outcome.code == 0, outcome.err
        expected = {"format": form, "out": str(tmp_path / form), "images": 12, "annotations": 24, "errors": 0}
        assert outcome.facts.items() >= expected.items()
    assert len(json.loads((tmp_path / "coco").read_text())["annotations"]) == 24
    with (tmp_path / "csv").open(newline="") as file:
        assert {row["label"] for row in csv.DictReader(file)} == {"dog"}
    assert len(list((tmp_path / "yolo" / "labels").iterdir())) == len(list((tmp_path / "labelme").iterdir())) == 12


def test_options_of_export(muster: Muster, found: LibraryFiles, tmp_path: Path) -> None:
    at = ("-l", found.uri)
    both = manifest.shards(found)[0][1]  # the images of the one shard whose faces are found
    some = ("--tasks", "objects,faces", "--min-score", "0.5", "--model", "objects=fastestdet")
    outcome = muster("export", "--format", "csv", "--out", tmp_path / "out.csv", *some, *at)
    assert (outcome.code, outcome.out) == (
        0,
        f"{tmp_path / 'out.csv'}: {2 * both} finds in {both} images; left out: 0 images with errors\n",
    )
    assert outcome.error.startswith(
        f"muster: not in it: {12 - both} images not processed yet; `muster run --tasks objects,faces`"
    )
    masks = muster("export", "--format", "yolo", "--out", tmp_path / "yolo", "--tasks", "masks", *at)
    assert masks.code == 0
    assert "sky" in (tmp_path / "yolo" / "data.yaml").read_text()


def test_overlay(muster: Muster, found: LibraryFiles, tmp_path: Path) -> None:
    (tmp_path / "photos" / "0003.jpg").write_bytes(b"not a photo any more")
    options = ("--sample", "12", "--tasks", "objects,masks", "--model", "masks=streets")
    outcome = muster("overlay", "--out", tmp_path / "look", *options, "-l", found.uri)
    assert (outcome.code, outcome.out) == (0, f"{tmp_path / 'look' / 'overview.jpg'}: 33 finds in 11 photos\n")
    assert outcome.error.startswith(f"muster: left out {tmp_path / 'photos' / '0003.jpg'}: not an image")
    again = muster("overlay", "--out", tmp_path / "2", "--sample", 3, "--seed", 7, "-l", found.uri, "--json")
    assert again.facts["images"] + len(again.facts["unreadable"]) == 3


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["export", "--format", "xml", "--out", "NEW"], "--format xml: choose one of coco, csv, yolo, labelme"),
        (["export", "--format", "csv", "--out", "library"], "library is there already, and is not overwritten"),
        (["export", "--format", "yolo", "--out", "library"], "give an empty folder or a new name"),
        (["export", "--format", "csv", "--out", "none/new"], "no folder"),
        (["export", "--format", "coco", "--out", "NEW", "--tasks", "scenes"], "choose among faces, masks, objects"),
        (["export", "--format", "csv", "--out", "NEW", "--tasks", "previews"], "faces, labels, masks, objects, scenes"),
        (
            ["export", "--format", "csv", "--out", "NEW", "--tasks", ","],
            "--tasks names no task: choose among faces, labels, masks, objects, scenes",
        ),
        (["export", "--format", "yolo", "--out", "NEW", "--tasks", "masks,objects"], "give one task"),
        (["export", "--format", "csv", "--out", "NEW", "--min-score", "2"], "a score is a number from 0 to 1"),
        (["export", "--format", "csv", "--out", "NEW", "--model", "fcos"], "write TASK=NAME"),
        (["export", "--format", "csv", "--out", "NEW", "--model", "objects=fcos"], "has objects by fastestdet: "),
        (["overlay", "--out", "library"], "is not overwritten"),
        (["overlay", "--out", "NEW", "--sample", "0"], "--sample 0: at least 1 photo"),
        (["overlay", "--out", "NEW", "--tasks", "previews"], "choose among faces, labels, masks, objects, scenes"),
        (["overlay", "--out", "NEW", "--tasks", "scenes"], "no scenes for its images yet: run `muster run"),
        (["overlay", "--out", "NEW", "--model", "x=y"], "write TASK=NAME"),
    ],
)
def test_bad_input(muster: Muster, found: LibraryFiles, tmp_path: Path, arguments: list[str], text: str) -> None:
    at = arguments.index("--out") + 1
    arguments[at] = str(tmp_path / arguments[at])
    outcome = muster(*arguments, "-l", found.uri)
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1)
    assert text in outcome.error
    assert not (tmp_path / "NEW").exists()


def test_no_library(muster: Muster, tmp_path: Path) -> None:
    outcome = muster("export", "--format", "csv", "--out", tmp_path / "out.csv", "-l", tmp_path / "none")
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
