"""The gallery by the command line: as a school would use it, and as nobody should."""

import csv
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.fixtures import Outcome, School
from muster.storage.gallery import gallery
from muster.storage.library import open_library
from muster.tasks.people.search import SCORE

Muster = Callable[..., Outcome]
CPU = ("--device", "cpu")


def test_a_school_s_export(muster: Muster, gallery_library: Path, tmp_path: Path) -> None:
    """By mapping alone; what is left out, and who may not come back, is said with what to do."""
    file = tmp_path / "export.csv"
    file.write_bytes("sep=;\r\nStudent ID;Name;Photo;Consent;Phone\r\n7;Zoë;;ja;1\r\n".encode("cp1252"))
    at = ("-l", gallery_library)
    refused = muster("enroll", file, *at)
    assert (refused.code, "`--column`" in refused.err or "--column says" in refused.err) == (2, True)
    told = muster("enroll", file, "--column", "person_id=Student ID", "--column", "image=Photo", *at)
    assert told.code == 0
    assert f"muster: columns of {file} that were left out: Phone" in told.err
    assert f"muster: {file} was read as Windows-1252, with 'Zoë'" in told.err
    assert "not enrolled: 7: no photo is named" in told.out
    assert muster("enroll", file, "--column", "person_id", *at).error == (
        "muster: --column person_id: write NAME=COLUMN, for example --column 'person_id=Student ID'"
    )


@pytest.mark.parametrize("command", [("calibrate",), ("identify", "a.jpg"), ("audit", "show")])
def test_where_there_is_no_library_people_are_enrolled_first(
    muster: Muster, tmp_path: Path, command: tuple[str, ...]
) -> None:
    told = muster(*command, "-l", tmp_path / "none")
    assert (told.code, told.error) == (
        2,
        f"muster: no library at {tmp_path}/none: run `muster enroll ROSTER -l {tmp_path}/none` first",
    )


def test_who_was_forgotten_is_listed_with_what_to_do(
    muster: Muster, gallery_library: Path, school: School, tmp_path: Path
) -> None:
    [(ann, photos), *_] = school.enrolled.items()
    (tmp_path / "r.csv").write_text(f'person_id,image,consent\n{ann},"{photos[0]}",yes\n')
    at = ("-l", gallery_library)
    copy = Path(shutil.copy(photos[0], tmp_path / "copy.jpg"))
    muster("scan", copy, *at)
    gone = muster("forget", ann, *at)
    assert (gone.code, f"with it, because it is the same picture: {copy}\n" in gone.out) == (0, True)
    assert "delete them, or a later scan finds them again" in gone.out
    again = muster("enroll", tmp_path / "r.csv", *at)
    assert again.code == 0
    assert f"not enrolled: {ann}: was forgotten on " in again.out
    assert f"(look, then --accept {ann})" in again.out


def test_a_school(muster: Muster, ray_cluster: None, gallery_library: Path, school: School, tmp_path: Path) -> None:
    at = ("-l", gallery_library, "--json")
    [ann, *_] = school.probes
    for path in school.strangers[:2]:
        (tmp_path / "new" / path.stem).mkdir(parents=True)
        shutil.copy(path, tmp_path / "new" / path.stem)
    enrolled = muster("enroll", tmp_path / "new", "--consent-given", "--workers", 1, *CPU, *at)
    assert enrolled.code == 0, enrolled.err
    assert enrolled.facts.items() >= {"enrolled": 2, "updated": 0, "people": 34, "refused": []}.items()
    measured = muster("calibrate", *at).facts
    assert measured["people"] == 34

    folder = tmp_path / "probes"
    folder.mkdir()
    for path in [*school.probes.values(), *school.strangers[2:]]:
        shutil.copy(path, folder)
    many = muster("identify", folder, "--out", tmp_path / "answers.csv", "--workers", 1, *CPU, *at)
    assert many.code == 0, many.err
    assert many.facts["images"] == len(school.probes) + len(school.strangers) - 2 > 32
    unsure = [row for row in many.facts["answers"] if row["person_id"] == "UNSURE"]
    assert len(unsure) == many.facts["unsure"]
    right = sum(row["person_id"] == Path(row["image"]).stem[:-2] for row in many.facts["answers"])
    assert right >= 28
    nobody = ("UNKNOWN", "UNSURE")
    wrong = [r for r in many.facts["answers"] if r["person_id"] not in (*nobody, Path(r["image"]).stem[:-2])]
    assert len(wrong) <= 1
    with (tmp_path / "answers.csv").open() as file:
        assert len(list(csv.DictReader(file))) == len(many.facts["answers"])

    few = muster("identify", school.probes[ann], "-l", gallery_library, *CPU)
    assert f"{ann}, {ann}; score" in few.out
    said = muster("calibrate", "-l", gallery_library).out
    assert f"unsure from {measured['unsure']['threshold']:.3f}: " in said
    yes = muster("verify", school.probes[ann], "--person", ann, *CPU, *at)
    no = muster("verify", school.strangers[3], "--person", ann, *CPU, *at)
    assert (yes.facts["match"], no.facts["match"], yes.code, no.code) == (True, False, 0, 0)
    assert (yes.facts["answer"], no.facts["answer"]) == ("match", "no match")

    gone = muster("forget", ann, *at)
    assert gone.facts.items() >= {"people": [ann], "found_afterwards": []}.items()
    assert "nobody's consent has ended" in muster("forget", "--expired", "-l", gallery_library).out
    log = muster("audit", "show", *at).facts["entries"]
    actions = ["enroll-begun", "enroll"] * 2 + ["calibrate", "identify", "identify", "calibrate"]
    actions += ["verify", "verify", "forget"]
    assert [entry["action"] for entry in log] == actions
    assert not any(ann in entry["people"] + entry["candidates"] for entry in log)
    assert muster("audit", "verify", *at).facts["problem"] is None
    [month] = (gallery_library / "audit").glob("*.jsonl")
    month.write_bytes(month.read_bytes().replace(b'"match": false', b'"match": true ', 1))
    edited = muster("audit", "verify", "-l", gallery_library)
    assert (edited.code, "line 11 does not follow the one before" in edited.out) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["enroll", "none.csv"], "cannot read roster none.csv: No such file"),
        (["enroll", "pyproject.toml"], "pyproject.toml"),
        (["calibrate", "--fpir", "7"], "an FPIR must be between 0 and 1, not 7"),
        (["calibrate", "--fpir", "0.001"], "needs at least 3,000 enrolled people to be measured, and there are 32"),
        (["calibrate", "--by", "colour"], "--by colour: choose one of group, age, time"),
        (["calibrate", "--by", "age"], "--by age: nobody in the gallery has a date of birth: enrol with a column born"),
        (["calibrate", "--each-group"], "--by group: nobody in the gallery has a group: enrol with a column group"),
        (["calibrate", "--alike", "ann"], "--alike ann: write PERSON=PERSON"),
        (["calibrate", "--miss", "2"], "the share of known people who may be missed must be between 0 and 1, not 2"),
        (["calibrate", "--miss", "0.01"], "needs at least 300 of them with two photos to be measured, and there are"),
        (["verify", "a.jpg", "--person", "zoe"], "nobody with person_id zoe is enrolled"),
        (["verify", "tests", "--person", "Aaron_Peirsol", "--threshold", "0.3"], "no images in tests"),
        (["identify", "none.jpg"], "no measured threshold"),
        (["identify", "none.jpg", "--threshold", "0.3"], "none.jpg"),
        (["identify", "none.jpg", "--threshold", "5"], "--threshold 5.0: choose one between -2 and 2"),
        (["identify", "none.jpg", "--out", "x.txt"], "its name must end in .parquet or .csv"),
        (["forget"], "name whom or what to forget, or say --expired"),
        (["forget", "zoe"], "zoe is neither a person_id of the gallery nor an image"),
    ],
)
def test_bad_input(muster: Muster, gallery_library: Path, arguments: list[str], text: str) -> None:
    outcome = muster(*arguments, "-l", gallery_library)
    assert (outcome.code, outcome.out) == (2, "")
    assert text in outcome.error


@pytest.mark.parametrize(
    ("roster", "text"),
    [
        ("none.csv", "cannot read roster none.csv: No such file"),
        ("none", "cannot read none: No such file"),
        ("roster.csv", "does not say who consented: add a column consent (yes or no), or say --consent-given"),
        ("album", "is in no person's folder"),
    ],
)
def test_no_library_is_made_for_a_roster_that_cannot_be_used(
    muster: Muster, album: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, roster: str, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "roster.csv").write_text("person_id,image\nann,ann.jpg\n")
    outcome = muster("enroll", album if roster == "album" else roster, "-l", tmp_path / "L")
    assert (outcome.code, text in outcome.error) == (2, True)
    assert not (tmp_path / "L").exists()


def test_what_is_unsure_is_a_question(muster: Muster, gallery_library: Path, school: School) -> None:
    library = open_library(gallery_library)
    known = gallery.require(library)
    limits = {"threshold": 0.9, "target": 0.05}
    facts = {"score": SCORE, "people": 32, "identify": limits, "unsure": {"threshold": 0.1}}
    facts["verify"] = {**limits, "unsure_from": 0.1}
    gallery.write(library, replace(known, calibration=facts), "test", {})
    [ann, *_] = school.probes
    at = ("-l", gallery_library, *CPU)
    out = muster("identify", school.probes[ann], *at).out
    assert f"face 0: UNSURE, is it {ann}, {ann} (0." in out
    assert "? alike, and not enough to be sure; score" in out
    assert "threshold 0.900, unsure from 0.100" in out
    assert f"unsure: {ann}, score" in muster("verify", school.probes[ann], "--person", ann, *at).out
    *_, asked, _ = muster("audit", "show", "-l", gallery_library).out.splitlines()
    action, _, shown = asked.partition("; candidates: ")
    assert (action.split()[-1], ann in shown.split(", ")) == ("identify", True)
    assert muster("identify", school.probes[ann], *at, "--json").facts.items() >= {"named": 0, "unsure": 1}.items()


def test_an_empty_gallery(muster: Muster, library: Path, school: School) -> None:
    for command in (["calibrate"], ["identify", school.strangers[0]], ["verify", school.strangers[0], "--person", "x"]):
        outcome = muster(*command, "-l", library)
        assert (outcome.code, "nobody is enrolled in library" in outcome.error) == (2, True)
