import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Killed

from pipeline.calibrate import REPORT, calibrate
from storage import audit, gallery
from storage.library import open_library
from tasks.base import TaskError


def test_it_is_measured_kept_and_shown(gallery_library: Path) -> None:
    library = open_library(gallery_library)
    facts = calibrate(library, None)
    kept = gallery.require(library).calibration
    assert kept == json.loads(json.dumps({name: value for name, value in facts.items() if name != "report"}))
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
    assert audit.entries(library)[-1]["action"] == "calibrate"


def test_what_cannot_be_promised(gallery_library: Path) -> None:
    library = open_library(gallery_library)
    with pytest.raises(TaskError, match="1 false accept in 100 strangers needs at least 300 enrolled people"):
        calibrate(library, 0.01)
    known = gallery.require(library)
    gallery.write(library, known.without(known.people[20:]), "test", {})
    with pytest.raises(TaskError, match="from 30 enrolled people on, and there are 20"):
        calibrate(library, None)
    assert gallery.require(library).calibration is None


def test_a_kill_at_any_write(gallery_library: Path, tmp_path: Path, kills: Callable[[int], None]) -> None:
    old = gallery.require(open_library(gallery_library))
    for number in range(20):
        copy = open_library(shutil.copytree(gallery_library, tmp_path / f"copy{number}"))
        kills(number)
        try:
            calibrate(copy, None)
            kills(-1)
            break
        except Killed:
            kills(-1)
        now = gallery.require(copy)
        assert (now.calibration is None) == (audit.entries(copy)[-1]["action"] != "calibrate")
        assert now.faces.equals(old.faces)
        calibrate(copy, None)
        assert audit.check(copy).problem is None
    assert number == 6  # report, the new gallery beside the old one, log, head, gallery; and the other one goes
