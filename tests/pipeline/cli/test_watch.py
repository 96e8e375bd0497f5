"""A camera by the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.cameras import unhurried
from helpers.clips import even, write_clip
from helpers.fixtures import Outcome, School
from muster.pipeline.cli import watch as command
from muster.storage.gallery import audit
from muster.storage.library import open_library

pytest.importorskip("av")

Muster = Callable[..., Outcome]
CPU = ("--device", "cpu", "--threshold", "0.3")


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    unhurried(monkeypatch)


@pytest.fixture
def film(school: School, tmp_path: Path) -> Path:
    """Somebody who is enrolled, at the door for a second and a half."""
    photo = np.asarray(Image.open(next(iter(school.probes.values()))).resize((256, 256)))
    return write_clip(tmp_path / "door.mp4", even(15, 10), frames=[photo] * 15)


def test_a_file_is_watched_to_its_end(muster: Muster, gallery_library: Path, film: Path, school: School) -> None:
    (ann, *_) = school.probes
    outcome = muster("watch", film, "-l", gallery_library, "--name", "front door", *CPU)
    assert outcome.code == 0
    enter, leave = map(json.loads, outcome.out.splitlines())
    assert (enter["event"], enter["person_id"], enter["camera"]) == ("enter", ann, "front door")
    assert (leave["event"], leave["person_id"]) == ("leave", ann)
    assert outcome.error == "muster: 15 frames came, 15 were looked at"
    assert "muster: watching front door" in outcome.err


def test_the_source_may_stand_in_the_environment(
    muster: Muster, gallery_library: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_CAMERA", str(film))
    assert len(muster("watch", "-l", gallery_library, *CPU).out.splitlines()) == 2


@pytest.mark.parametrize(
    ("source", "options", "text"),
    [
        ("rtsp://me:Pa55word@127.0.0.1:9/Pa55word", (), "`source` 127.0.0.1:9: Connection refused"),
        ("rtsp://me:Pa55word@127.0.0.1:9@/", (), "%40 for @"),
        ("http://me:Pa55word@127.0.0.1/", (), "give rtsp://, a video device or a video file"),
        ("none.mp4", (), "`source` none.mp4: No such file or directory"),
        ("", ("--agree", "2"), "--agree 2 of --of 5: give more than half, as 3 of 5"),
        ("", ("--away", "0"), "--away 0: give seconds above 0"),
        ("", ("--webhook", "http://example.org/Pa55word"), "--webhook http://example.org: "),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_code_2(
    muster: Muster, gallery_library: Path, film: Path, source: str, options: tuple[str, ...], text: str
) -> None:
    outcome = muster("watch", source or film, *options, "-l", gallery_library, *CPU)
    assert (outcome.code, outcome.out) == (2, "")
    assert text in outcome.error
    assert "Pa55word" not in outcome.err


def test_ctrl_c_ends_it_after_who_is_there_has_left(
    muster: Muster, gallery_library: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = command.report

    def report(event: dict, as_json: bool) -> None:
        given(event, as_json)
        if event["event"] == "enter":
            raise KeyboardInterrupt

    ended: list[int] = []

    def leave(code: int) -> None:
        ended.append(code)
        raise SystemExit(code)

    monkeypatch.setattr(command, "report", report)
    monkeypatch.setattr("os._exit", leave)
    outcome = muster("watch", film, "-l", gallery_library, *CPU)
    assert ended == [130]
    assert [json.loads(line)["event"] for line in outcome.out.splitlines()] == ["enter", "leave"]
    assert "muster: stopped" in outcome.error


def test_a_file_is_in_the_log_by_its_name_alone(muster: Muster, gallery_library: Path, film: Path) -> None:
    muster("watch", film, "-l", gallery_library, *CPU)
    watched = [line for line in audit.entries(open_library(gallery_library)) if line["action"] in ("watch", "leave")]
    assert {line["camera"] for line in watched} == {"door.mp4"}
    assert str(film.parent) not in str(watched)
