"""Answers hold for the gallery as it is at that moment, and stand in the log before they are given."""

import json
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.enrolled import enrolled, person, probes, write
from muster.errors import InputError, MusterError, NotEnrolledError, NotYetError
from muster.pipeline import forget
from muster.pipeline.gallery import desk as desks
from muster.pipeline.gallery.desk import IDENTIFY, LEAVE, NOTE, VERIFY, WATCH, Answer, Desk, Question
from muster.storage import layout
from muster.storage.gallery import audit
from muster.storage.gallery.roster import UNKNOWN
from muster.storage.index import vectors
from muster.storage.library import LibraryFiles, open_library

EVERYBODY = range(40)


def asked(desk: Desk, question: Question) -> Answer:
    [answer] = desk.answer([question])
    assert isinstance(answer, Answer), answer
    return answer


def who(desk: Desk, *numbers: int) -> list[str]:
    return [row["person_id"] for row in asked(desk, Question(IDENTIFY, probes(*numbers))).rows]


def last(library: LibraryFiles) -> dict[str, Any]:
    return audit.entries(library)[-1]


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return enrolled(tmp_path / "L", EVERYBODY)


def test_a_face_is_named_and_a_stranger_is_not(library: LibraryFiles) -> None:
    answer = asked(Desk(library), Question(IDENTIFY, probes(3, 99, 7), noted={"images": 1, "key": "abc"}))
    assert [row["person_id"] for row in answer.rows] == ["S3", UNKNOWN, "S7"]
    assert [row["name"] for row in answer.rows] == ["Person 3", None, "Person 7"]
    assert answer.rows[1]["reason"] == "nobody is alike enough"
    line = last(library)
    assert line.items() >= {"action": "identify", "faces": 3, "images": 1, "key": "abc", "threshold": 0.5}.items()
    assert line["people"] == [f"{number:016x}" for number in (3, 7)]
    assert "S3" not in json.dumps(line)


def test_is_it_this_person(library: LibraryFiles) -> None:
    desk = Desk(library)
    facts = asked(desk, Question(VERIFY, probes(3), "S3")).facts
    assert (facts["answer"], facts["match"], facts["name"], facts["threshold"]) == ("match", True, "Person 3", 0.45)
    assert last(library).items() >= {"action": "verify", "answer": "match", "people": [f"{3:016x}"]}.items()
    assert asked(desk, Question(VERIFY, probes(99), "S3")).facts["answer"] == "no match"
    [refused] = desk.answer([Question(VERIFY, probes(3), "nobody")])
    assert isinstance(refused, NotEnrolledError)
    assert last(library).items() >= {"action": "verify", "people": [], "refused": "not enrolled"}.items()
    assert "nobody" not in json.dumps(last(library))


def test_several_questions_are_one_write_and_a_line_each(
    library: LibraryFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, before, written = Desk(library), len(audit.entries(library)), []
    write_file = LibraryFiles.write
    monkeypatch.setattr(
        LibraryFiles, "write", lambda self, name, *rest: (written.append(name), write_file(self, name, *rest))[1]
    )
    questions = [Question(IDENTIFY, probes(n)) for n in range(5)]
    questions.insert(2, Question(VERIFY, probes(1), "nobody"))
    answers = desk.answer([*questions, Question(NOTE, action="detect", noted={"images": 2})])
    assert [type(each) for each in answers] == [Answer, Answer, NotEnrolledError, *[Answer] * 4]
    lines = audit.entries(library)[before:]
    assert [line["action"] for line in lines] == [*["identify"] * 2, "verify", *["identify"] * 3, "detect"]
    assert len(written) == 2  # lines, and the head


def test_nothing_is_answered_that_cannot_be_logged(library: LibraryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(library)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LibraryFiles, "write", full)
    with pytest.raises(MusterError, match=r"cannot write .*No space left"):
        desk.answer([Question(IDENTIFY, probes(3))])


def test_who_is_forgotten_or_enrolled_meanwhile_counts_at_once(library: LibraryFiles) -> None:
    desk = Desk(library)
    assert who(desk, 3, 41) == ["S3", UNKNOWN]
    other = open_library(library.uri)
    with forget.locked(other):
        forget.forget_people(other, ["S3"], "test")
    assert who(desk, 3, 4) == [UNKNOWN, "S4"]
    write(other, [*EVERYBODY, 41])
    assert who(desk, 3, 41) == ["S3", "S41"]


def test_who_is_being_forgotten_is_named_no_more(library: LibraryFiles) -> None:
    """From the moment on that it is noted, though the gallery has them still."""
    desk = Desk(library)
    assert who(desk, 3) == ["S3"]
    names = ("images", "originals", "embeddings", "pseudonyms")
    note = {"receipt": "0" * 32, "reason": "test", "people": ["S3"], **{name: [] for name in names}}
    library.write(layout.FORGETTING, json.dumps(note).encode())
    assert who(desk, 3, 4) == [UNKNOWN, "S4"]
    [refused] = desk.answer([Question(VERIFY, probes(3), "S3")])
    assert isinstance(refused, NotEnrolledError)


def test_who_is_forgotten_between_the_look_and_the_line_is_not_named(
    library: LibraryFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, said = Desk(library), desks._said
    who(desk, 3)
    done = []

    def meanwhile() -> None:
        other = open_library(library.uri)
        with forget.locked(other, 60):
            forget.forget_people(other, ["S3"], "test")
        done.append(len(audit.entries(other)))

    thread = threading.Thread(target=meanwhile)

    def slowly(*given: Any) -> Any:
        if not thread.ident:
            thread.start()
            thread.join(0.5)  # it waits for the log
        assert not done
        return said(*given)

    with monkeypatch.context() as patch:
        patch.setattr(desks, "_said", slowly)
        assert who(desk, 3) == ["S3"]
    thread.join()
    actions = [line["action"] for line in audit.entries(library)]
    assert actions[-2:] == ["identify", "forget"]  # the answer was before
    assert who(desk, 3) == [UNKNOWN]


def test_consent_ends_between_two_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = enrolled(tmp_path / "L", EVERYBODY, {3: date.today()})
    desk = Desk(library)
    assert who(desk, 3) == ["S3"]

    class Tomorrow(date):
        @classmethod
        def today(cls) -> "Tomorrow":
            return cls.fromordinal(date.today().toordinal() + 1)

    monkeypatch.setattr(desks, "date", Tomorrow)
    assert who(desk, 3, 4) == [UNKNOWN, "S4"]


def test_a_clock_set_back_is_refused(library: LibraryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Consent that has ended would hold again."""
    desk = Desk(library)
    who(desk, 3)

    def clock(ago: timedelta) -> None:
        class Then(datetime):
            @classmethod
            def now(cls, zone: Any = None) -> datetime:  # type: ignore[override]
                return datetime.now(zone) - ago

        monkeypatch.setattr(desks, "datetime", Then)

    clock(timedelta(minutes=5))
    assert who(desk, 3) == ["S3"]
    clock(timedelta(hours=2))
    with pytest.raises(MusterError, match=r"the clock of this machine says .* Set the clock right"):
        desk.answer([Question(IDENTIFY, probes(3))])
    with pytest.raises(MusterError, match="clock"):
        desk.check(IDENTIFY)


def test_a_line_by_the_right_clock_begins_anew(library: LibraryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the clock had been set forward."""

    class Later(datetime):
        @classmethod
        def now(cls, zone: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(zone) + timedelta(days=400)

    with monkeypatch.context() as patch:
        patch.setattr(audit, "datetime", Later)
        audit.append(library, "test", {})
    desk = Desk(library)
    with pytest.raises(MusterError, match="clock"):
        desk.answer([Question(IDENTIFY, probes(3))])
    write(library, EVERYBODY)  # as `calibrate` does
    assert who(desk, 3) == ["S3"]
    assert audit.check(library).problem is None


def test_a_gallery_of_another_model_is_not_asked(library: LibraryFiles) -> None:
    [refused] = Desk(library, model="published").answer([Question(IDENTIFY, probes(3))])
    assert isinstance(refused, InputError)
    assert "was made anew meanwhile" in str(refused)


def test_an_empty_gallery_and_one_without_a_threshold(tmp_path: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    desk = Desk(library)
    [refused, noted] = desk.answer([Question(IDENTIFY, probes(3)), Question(NOTE, action="detect")])
    assert isinstance(refused, NotYetError)
    assert noted == Answer()
    write(library, EVERYBODY, measured=False)
    with pytest.raises(InputError, match="no measured threshold"):
        desk.check(VERIFY)
    assert Desk(library, threshold=0.4).check(IDENTIFY).startswith("the threshold was given by hand")
    assert who(Desk(library, threshold=0.4), 3, 99) == ["S3", UNKNOWN]


def test_who_leaves_is_named_only_while_enrolled(library: LibraryFiles) -> None:
    desk = Desk(library)
    answer = asked(desk, Question(WATCH, probes(3, 3), noted={"camera": "door"}))
    assert {row["person_id"] for row in answer.rows} == {"S3"}
    assert last(library).items() >= {"action": "watch", "people": [f"{3:016x}"], "camera": "door"}.items()
    assert asked(desk, Question(LEAVE, person="S3")).facts == {"person_id": "S3", "name": "Person 3"}
    assert last(library).items() >= {"action": "leave", "people": [f"{3:016x}"]}.items()
    with forget.locked(library):
        forget.forget_people(library, ["S3"], "test")
    [gone] = desk.answer([Question(LEAVE, person="S3")])
    assert isinstance(gone, NotEnrolledError)


def test_an_enrolment_that_holds_the_library_stops_no_answer(library: LibraryFiles) -> None:
    desk = Desk(library)
    with open_library(library.uri).lock():
        assert who(desk, 3) == ["S3"]


def test_a_large_gallery_has_its_index_though_another_holds_the_library(
    library: LibraryFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "EXACT_UP_TO", 20)
    monkeypatch.setattr(desks, "THOROUGH", (1,))  # of so few, all the ten next are needed
    with open_library(library.uri).lock():
        assert who(Desk(library), 3, 99) == ["S3", UNKNOWN]
        assert not library.files() or not any(name.startswith("index/") for name in library.files())
    assert who(Desk(library), 3, 99) == ["S3", UNKNOWN]
    assert any(name.startswith("index/") for name in library.files())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15)
@given(steps=st.lists(st.tuples(st.sampled_from(["ask", "forget", "enrol"]), st.integers(0, 9)), max_size=12))
def test_nobody_is_ever_named_who_is_not_enrolled_then(tmp_path: Path, steps: list[tuple[str, int]]) -> None:
    here = set(EVERYBODY)
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    library = enrolled(folder, sorted(here))
    desk, answers = Desk(library), 0
    for step, number in steps:
        if step == "forget" and number in here:
            with forget.locked(library):
                forget.forget_people(library, [f"S{number}"], "test")
            here.discard(number)
        elif step == "enrol":
            here.add(number)
            write(library, sorted(here))
        else:
            answers += 1
            assert who(desk, number) == [f"S{number}" if number in here else UNKNOWN]
    assert sum(line["action"] == "identify" for line in audit.entries(library)) == answers
    assert audit.check(library).problem is None


def test_the_day_of_the_log_is_of_its_last_line(library: LibraryFiles) -> None:
    found = audit.last_at(library)
    assert found is not None
    assert abs(found - datetime.now(UTC)) < timedelta(minutes=1)
    assert person(3) @ person(3) == pytest.approx(1)
