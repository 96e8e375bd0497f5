import html
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
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


def with_groups(folder: Path, number: int) -> gallery.Gallery:
    """The gallery of the library, all people in `number` groups, born in 2012, on photos of 2016, and calibrated."""
    library = open_library(folder)
    known = gallery.require(library)
    place = {person: i for i, person in enumerate(known.people)}
    rows = [
        row
        | {"group": f"class {place[row['person_id']] % number}", "born": date(2012, 1, 1), "taken": date(2016, 1, 1)}
        for row in known.faces.to_pylist()
    ]
    gallery.write(library, known.with_faces(rows), "test", {})
    return gallery.require(library)


def test_errors_of_each_group_are_shown_and_too_few_are_promised_nothing(gallery_library: Path) -> None:
    known, library = with_groups(gallery_library, 2), open_library(gallery_library)
    facts = calibrate(library)
    assert [(row["name"], row["people"]) for row in facts["groups"]] == [("class 0", 16), ("class 1", 16)]
    assert [(row["name"], row["people"]) for row in facts["ages"]] == [("0-5", 32)]
    assert [row["name"] for row in facts["photo_ages"]] == ["0-5"]
    assert [row["name"] for row in facts["times"]] == ["under 1 year"]
    page = library.read(REPORT).decode()
    assert "<h2>By group</h2>" in page
    text = "nothing is promised for class 0 (16), class 1 (16): 64 people of each would be needed"
    assert text in sentences(facts)
    assert facts["each_group"] is None
    with pytest.raises(
        TaskError, match=r"at least 64 people .* class 0 has 16, class 1 has 16: .* FPIR of at least 0\.375$"
    ):
        calibrate(library, Wishes(each_group=True))
    assert len(known.people) == 32
    with pytest.raises(InputError, match="`by` colour: choose one of"):
        calibrate(library, Wishes(by="colour"))


def test_one_group_has_a_threshold_of_its_own_for_both_questions(gallery_library: Path) -> None:
    with_groups(gallery_library, 1)
    library = open_library(gallery_library)
    facts = calibrate(library, Wishes(fpir=0.19, each_group=True))
    one = calibrate(library, Wishes(fpir=0.19))
    each = facts["each_group"]
    assert each["by"] == "group"
    assert each["identify"]["class 0"] >= one["identify"]["threshold"]
    assert each["verify"]["class 0"] >= one["verify"]["threshold"]
    assert facts["groups"][0]["threshold"] == pytest.approx([each["identify"]["class 0"]] * 2)
    assert one["each_group_ended"] == "group"
    assert any("until now every group by group had a threshold of its own" in text for text in sentences(one))
    assert facts["each_group_ended"] is None
    assert any("kept for every group by group" in text for text in sentences(facts))


def test_pairs_that_were_said_to_look_alike_stay_and_go_with_their_people(gallery_library: Path) -> None:
    library = open_library(gallery_library)
    known = gallery.require(library)
    ann, bo, cy, *_ = known.people
    facts = calibrate(library, Wishes(alike=[(ann, bo)]))
    assert facts["alike"]["declared"] == [sorted([known.pseudonym_of(ann), known.pseudonym_of(bo)])]
    assert facts["alike"]["with_two"] > 16
    assert len(calibrate(library, Wishes(alike=[(bo, cy)]))["alike"]["declared"]) == 2
    assert any("2 pairs were said to" in text for text in sentences(calibrate(library)))
    gallery.write(library, gallery.require(library).without([ann]), "test", {})
    assert len(calibrate(library)["alike"]["declared"]) == 1
    with pytest.raises(InputError, match="that is one person"):
        calibrate(library, Wishes(alike=[(bo, bo)]))
    with pytest.raises(InputError, match="nobody with person_id nobody is enrolled"):
        calibrate(library, Wishes(alike=[(bo, "nobody")]))


def test_a_group_that_is_named_too_often_is_warned_of(gallery_library: Path) -> None:
    facts = calibrate(open_library(gallery_library))
    row = {"name": "4b", "people": 70, "fpir": 0.2, "fpir_interval": (0.1, 0.3), "known": 0, "more": True}
    text = "warning: 4b: 20 % (10 to 30 %) of its strangers would be given a name, more than 9.4 %"
    assert text in sentences(facts | {"groups": [row]})
    many = sentences(facts | {"groups": [row] * 8})
    assert many.count(text) == 5
    assert "warning: 3 more: more than 9.4 %, see the report" in many
    by_time = facts | {"groups": [], "each_group": {"by": "time"}}
    assert any("of photos made on the day they are asked about" in line for line in sentences(by_time))
