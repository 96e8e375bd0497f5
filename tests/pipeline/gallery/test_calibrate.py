import html
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.fixtures import Killed
from muster.errors import InputError, TaskError
from muster.pipeline.gallery.calibrate import Wishes, calibrate, sentences
from muster.storage.gallery import audit, gallery
from muster.storage.layout import REPORT
from muster.storage.library import open_library
from muster.tasks.people.search import SCORE
from muster.tasks.people.second_photo import MEASURED


def test_it_is_measured_kept_and_shown(gallery_library: Path) -> None:
    library = open_library(gallery_library)
    facts = calibrate(library)
    kept = gallery.require(library).calibration
    assert kept == json.loads(json.dumps({name: value for name, value in facts.items() if name != "report"}))
    assert facts["score"] == SCORE
    point = facts["identify"]
    assert point["target"] == pytest.approx(3 / 32)
    assert point["fpir"] == 0  # with 32 people nobody may be accepted
    assert 0 < point["threshold"] < 1
    assert point["fnir"] < 0.2
    assert facts["verify"]["threshold"] < point["threshold"]
    assert (facts["people"], facts["photos"]) == (32, gallery.require(library).faces.num_rows)
    page = library.read(REPORT).decode()
    assert "32 people" in page
    assert "data:image/png;base64," in page
    unsure = facts["unsure"]
    assert unsure["threshold"] < point["threshold"]
    assert facts["verify"]["unsure_from"] <= facts["verify"]["threshold"]
    assert unsure["missed"] + unsure["unsure"] == pytest.approx(point["fnir"])
    assert unsure["mated_people"] > 16
    assert facts["second_photo"] is None  # most have one
    for text in sentences(facts):
        assert html.escape(text) in page
    assert audit.entries(library)[-1]["action"] == "calibrate"


def test_what_cannot_be_promised(gallery_library: Path) -> None:
    library = open_library(gallery_library)
    with pytest.raises(TaskError, match="1 false accept in 100 strangers needs at least 300 enrolled people"):
        calibrate(library, Wishes(fpir=0.01))
    known = gallery.require(library)
    gallery.write(library, known.without(known.people[20:]), "test", {})
    with pytest.raises(TaskError, match="from 30 enrolled people on, and there are 20"):
        calibrate(library)
    assert gallery.require(library).calibration is None


def test_a_gallery_of_one_photo_each_is_told_what_a_second_would_do(gallery_library: Path) -> None:
    library = open_library(gallery_library)
    known = gallery.require(library)
    first = [known.faces["person_id"].to_pylist().index(person) for person in known.people]
    gallery.write(library, replace(known, faces=known.faces.take(first)), "test", {})
    facts = calibrate(library)
    assert (facts["identify"]["fnir"], facts["unsure"]["missed"]) == (None, None)
    assert facts["second_photo"] == MEASURED["own"]
    *_, known_people, second = sentences(facts)
    assert "not known: nobody has two photos" in known_people
    assert "enrol a second of each" in second
    assert html.escape(second) in library.read(REPORT).decode()
    with pytest.raises(TaskError, match=r"there are 0: enrol second photos"):
        calibrate(library, Wishes(miss=0.05))


def test_a_gallery_of_an_older_model_is_not_measured(gallery_library: Path) -> None:
    library = open_library(gallery_library)
    gallery.write(library, replace(gallery.require(library), fingerprint="0" * 16), "test", {})
    with pytest.raises(InputError, match="made by an older faces=own"):
        calibrate(library)
    assert gallery.require(library).calibration is None


def test_a_share_of_misses_is_asked_for(gallery_library: Path) -> None:
    library = open_library(gallery_library)
    with pytest.raises(TaskError, match=r"needs at least 300 of them with two photos to be measured"):
        calibrate(library, Wishes(miss=0.01))
    facts = calibrate(library, Wishes(miss=0.2))
    assert facts["unsure"]["miss"] == 0.2
    assert facts["unsure"]["missed"] <= 0.2
    assert gallery.require(library).calibration["unsure"]["threshold"] == facts["unsure"]["threshold"]


def test_a_kill_at_any_write(gallery_library: Path, tmp_path: Path, kills: Callable[[int], None]) -> None:
    old = gallery.require(open_library(gallery_library))
    for number in range(20):
        copy = open_library(shutil.copytree(gallery_library, tmp_path / f"copy{number}"))
        kills(number)
        try:
            calibrate(copy)
            kills(-1)
            break
        except Killed:
            kills(-1)
        now = gallery.require(copy)
        assert (now.calibration is None) == (audit.entries(copy)[-1]["action"] != "calibrate")
        assert now.faces.equals(old.faces)
        calibrate(copy)
        assert audit.check(copy).problem is None
    assert number == 6  # report, the new gallery beside the old one, log, head, gallery; and the other one goes
