"""Visits by made-up faces, before a desk that is asked for nothing but their numbers."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import InputError, MusterError, NotEnrolledError
from muster.pipeline.gallery.desk import LEAVE, NOTE, Answer, Question
from muster.pipeline.gallery.visits import Moment, Rules, Visits
from muster.storage.gallery.roster import UNKNOWN, UNSURE

WIDTH = 6
BEGAN = datetime(2026, 11, 30, 8, tzinfo=UTC)
PEOPLE = ("ann", "bo", "cy")  # the first three directions; the others are strangers


class Desk:
    """Names a face by its direction. `doubts`: directions that nobody is sure of. `gone`: who was forgotten. `looks`:
    directions by which somebody of another is known too."""

    def __init__(self) -> None:
        self.asked: list[Question] = []
        self.doubts: set[int] = set()
        self.gone: set[str] = set()
        self.looks: dict[int, int] = {}
        self.names = {person: person.title() for person in PEOPLE}

    def answer(self, questions: Sequence[Question]) -> list[Answer | MusterError]:
        self.asked += questions
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> Answer | MusterError:
        if question.kind == LEAVE and question.person in self.gone:
            return NotEnrolledError("not enrolled")
        if question.kind == NOTE:
            return Answer()
        if question.kind == LEAVE:
            return Answer(facts={"person_id": question.person, "name": self.names.get(question.person)})
        assert question.probes is not None
        pairs = zip(question.probes.rows, question.probes.embeddings, strict=True)
        return Answer([self._row(row, int(np.argmax(face))) for row, face in pairs])

    def _row(self, row: dict[str, Any], who: int) -> dict[str, Any]:
        who = self.looks.get(who, who)
        limits = {"score": 0.7, "threshold": 0.4, "unsure_from": 0.3, "reason": None}
        name = PEOPLE[who] if who < len(PEOPLE) and PEOPLE[who] not in self.gone else None
        if name and who in self.doubts:
            candidates = [{"person_id": name, "name": name.title(), "score": 0.35}]
            return {**row, **limits, "person_id": UNSURE, "name": None, "reason": "doubt", "candidates": candidates}
        return {**row, **limits, "person_id": name or UNKNOWN, "name": name and name.title(), "candidates": []}


class Scene:
    """A camera that sends two frames a second. `show`: who is in the next frames, as places → directions."""

    def __init__(self, **rules: Any) -> None:
        self.desk, self.clock, self.events = Desk(), 0.0, []
        self.visits = Visits("door", self.desk.answer, Rules(**{"away": 2.0, **rules}), WIDTH)

    def show(self, faces: dict[int, int], frames: int = 1, quality: float = 0.8) -> list[Any]:
        told = []
        for _ in range(frames):
            boxes = np.array([[100 * x, 0, 100 * x + 80, 90] for x in faces], np.float32).reshape(-1, 4)
            looks = np.eye(WIDTH, dtype=np.float32)[list(faces.values())].reshape(-1, WIDTH)
            qualities = np.full(len(faces), quality, np.float32)
            moment = Moment(BEGAN + timedelta(seconds=self.clock), self.clock)
            told += self.visits.seen(moment, boxes, qualities, looks)
            self.clock += 0.5
        return self._told(told)

    def end(self) -> list[Any]:
        return self._told(self.visits.close())

    def _told(self, told: list[dict[str, Any]]) -> list[Any]:
        self.events += told
        return [(event["event"], event["person_id"], event["track"]) for event in told]


def test_who_comes_is_named_once_so_many_faces_agree_and_leaves_once():
    scene = Scene()
    assert scene.show({0: 0}, 2) == []
    assert scene.show({0: 0}, 9) == [("enter", "ann", 0)]
    assert scene.show({}, 9) == [("leave", "ann", 0)]
    enter, leave = scene.events
    assert enter == {
        "event": "enter",
        "camera": "door",
        "at": "2026-11-30T08:00:01.000Z",
        "track": 0,
        "person_id": "ann",
        "name": "Ann",
        "score": 0.7,
        "threshold": 0.4,
        "unsure_from": 0.3,
        "quality": pytest.approx(0.8),
        "agreed": 3,
        "of": 3,
        "reason": None,
        "candidates": [],
        "box_xyxy": [0.0, 0.0, 80.0, 90.0],
    }
    assert leave == {
        "event": "leave",
        "camera": "door",
        "at": "2026-11-30T08:00:05.000Z",
        "track": 0,
        "person_id": "ann",
        "name": "Ann",
        "entered": "2026-11-30T08:00:01.000Z",
        "seconds": 4.0,
        "reason": None,
    }


def test_a_stranger_is_unknown_after_all_faces_that_are_asked_for():
    scene = Scene()
    assert scene.show({0: 4}, 4) == []
    assert scene.show({0: 4}, 9) == [("enter", UNKNOWN, 0)]
    assert scene.events[0]["agreed"] == scene.events[0]["of"] == 5
    assert scene.show({}, 9) == [("leave", UNKNOWN, 0)]
    assert [question.kind for question in scene.desk.asked][-1] == NOTE
    assert scene.desk.asked[-1].action == LEAVE


def test_a_stranger_is_asked_for_when_faces_could_agree_and_when_all_are_there():
    """And not at each face, since each answer is a line of the log."""
    scene = Scene()
    scene.show({0: 4}, 9)
    assert [len(question.probes.rows) for question in scene.desk.asked] == [3, 5]


def test_who_steps_into_the_place_of_another_is_not_called_by_their_name():
    """Though they look a little like them: at cosine .55, as some of those who are no relatives do."""
    scene = Scene()
    ann, other = np.eye(WIDTH, dtype=np.float32)[:2]
    box, good = np.array([[10, 10, 110, 110]], np.float32), np.array([0.9], np.float32)
    look = np.float32(0.55) * ann + np.float32(np.sqrt(1 - 0.55**2)) * other

    def told(face, start):
        moments = [Moment(BEGAN + timedelta(seconds=n / 2), n / 2) for n in range(start, start + 4)]
        events = [event for moment in moments for event in scene.visits.seen(moment, box, good, face[None])]
        return [(event["event"], event["person_id"]) for event in events]

    assert told(ann, 0) == [("enter", "ann")]
    assert told(look, 4) == [("enter", "bo")]


def test_doubt_shows_candidates_and_no_name():
    scene = Scene()
    scene.desk.doubts = {1}
    assert scene.show({0: 1}, 9) == [("enter", UNSURE, 0)]
    assert scene.events[0]["name"] is None
    assert scene.events[0]["candidates"] == [{"person_id": "bo", "name": "Bo", "score": 0.35}]


def test_faces_that_do_not_agree_are_unsure():
    scene = Scene()
    answers = iter(["ann", "bo", UNKNOWN, "ann", "bo"])
    said = [next(answers) for _ in range(5)]

    def answer(questions):
        [question] = questions
        rows = [scene.desk._row(row, 0) for row in question.probes.rows]
        for row, who in zip(rows, said, strict=False):
            row["person_id"] = who
        return [Answer(rows)]

    scene.visits._ask = answer
    assert scene.show({0: 0}, 5) == [("enter", UNSURE, 0)]
    assert [each["person_id"] for each in scene.events[0]["candidates"]] == ["ann", "bo"]
    assert "do not agree" in scene.events[0]["reason"]


def test_poor_faces_are_asked_for_nothing():
    scene = Scene()
    assert scene.show({0: 0}, 9, quality=0.2) == []
    assert scene.end() == []
    assert scene.desk.asked == []


def test_who_flickers_or_moves_away_is_one_visit():
    scene = Scene()
    scene.show({0: 0}, 4)
    assert scene.show({}, 4) + scene.show({5: 0}, 4) + scene.show({}, 3) + scene.show({0: 0}, 4) == []
    assert scene.show({}, 6) == [("leave", "ann", 0)]


def test_a_new_track_of_who_is_here_is_the_same_visit_and_that_lasts_as_long_as_one_of_them():
    scene = Scene(away=3.0)
    scene.show({0: 0}, 4)
    looks = scene.visits._following
    unlike = np.roll(looks.embeddings, 4, 1)  # as where the best faces were taken from another side
    scene.visits._following = replace(looks, embeddings=unlike, best=unlike)
    scene.clock += 0.5
    assert scene.show({3: 0}, 9) == []
    assert [sorted(visit.tracks) for visit in scene.visits._visits] == [[1]]
    assert scene.show({}, 9) == [("leave", "ann", 0)]


def test_two_faces_by_one_name_at_once_are_both_told():
    scene = Scene()
    assert scene.show({0: 0, 5: 0}, 4) == [("enter", "ann", 0), ("enter", "ann", 1)]
    assert scene.events[1]["reason"] == "another face is by this name at the same time, track 0"
    assert scene.end() == [("leave", "ann", 0), ("leave", "ann", 1)]


def test_who_turns_this_way_and_that_in_two_tracks_is_one_visit():
    scene = Scene()
    scene.desk.looks = {3: 0}  # from the side
    told = [event for _ in range(6) for side in (0, 3) for event in scene.show({0: side})]
    assert sorted(scene.visits._tracks) == [0, 1]
    assert told == [("enter", "ann", 0)]
    assert scene.show({}, 9) == [("leave", "ann", 0)]


def test_who_was_unknown_and_turns_out_to_be_here_already_leaves_as_unknown():
    scene = Scene(away=5.0)
    scene.show({0: 0}, 4)
    assert scene.show({5: 3}, 5, quality=0.3) == [("enter", UNKNOWN, 1)]
    scene.desk.looks = {3: 0}
    assert scene.show({5: 3}, 3, quality=0.9) == [("leave", UNKNOWN, 1)]
    assert scene.events[-1]["reason"] == "it is who came as track 0"
    assert (scene.events[-1]["at"], scene.events[-1]["seconds"]) == ("2026-11-30T08:00:05.500Z", 1.5)
    assert scene.show({}, 11) == [("leave", "ann", 0)]


def test_who_leaves_has_the_name_that_they_have_by_then():
    scene = Scene()
    scene.show({0: 0}, 4)
    scene.desk.names = {"ann": "Anna"}
    assert scene.end() == [("leave", "ann", 0)]
    assert scene.events[-1]["name"] == "Anna"


def test_a_leave_that_is_interrupted_is_told_at_the_end():
    def interrupted(questions: Sequence[Question]) -> Any:
        raise KeyboardInterrupt

    scene = Scene()
    scene.show({0: 0, 3: 4}, 5)
    scene.show({3: 4}, 4)
    scene.visits._ask = interrupted
    with pytest.raises(KeyboardInterrupt):
        scene.show({3: 4})
    scene.visits._ask = scene.desk.answer
    assert scene.end() == [("leave", "ann", 0), ("leave", UNKNOWN, 1)]
    assert scene.end() == []


def test_who_was_unknown_and_then_seen_better_is_named():
    scene = Scene()
    scene.desk.gone = {"ann"}
    scene.show({0: 0}, 5, quality=0.3)
    scene.desk.gone = set()
    assert scene.show({0: 0}, 2, quality=0.9) == []
    assert scene.show({0: 0}, 3, quality=0.9) == [("enter", "ann", 0)]
    assert scene.end() == [("leave", "ann", 0)]
    assert scene.visits._visits == []


def test_who_is_forgotten_while_they_are_here_leaves_without_a_name():
    scene = Scene()
    scene.show({0: 0}, 4)
    scene.desk.gone = {"ann"}
    assert scene.end() == [("leave", None, 0)]
    assert (scene.events[-1]["name"], scene.events[-1]["reason"]) == (None, "not enrolled any more")


def test_who_is_here_when_the_consent_of_everybody_ends_leaves_without_a_name():
    scene = Scene()
    scene.show({0: 0}, 4)
    scene.visits._ask = lambda questions: [InputError("the consent of everybody has ended")] * len(questions)
    assert [(event["event"], event["name"]) for event in scene.visits.close()] == [("leave", None)]


def test_what_cannot_be_answered_ends_it():
    scene = Scene()
    scene.visits._ask = lambda questions: [InputError("the consent of everybody has ended")] * len(questions)
    with pytest.raises(InputError, match="consent"):
        scene.show({0: 0}, 9)


@pytest.mark.parametrize("rules", [(0, 5), (2, 5), (6, 5), (1, 2)])
def test_less_than_half_is_no_agreement(rules):
    with pytest.raises(InputError, match="more than half"):
        Rules(*rules)
    with pytest.raises(InputError, match="`away` 0"):
        Rules(away=0)


films = st.lists(st.dictionaries(st.integers(0, 5), st.integers(0, WIDTH - 1), max_size=4), max_size=40)


@given(films, st.sets(st.integers(0, 39)))
def test_each_enter_has_one_leave_or_a_name_that_takes_its_place(film, turned):
    scene = Scene(away=5.0)
    for number, faces in enumerate(film):
        scene.desk.looks = {3: 0} if number in turned else {}
        scene.show({place: who for place, who in faces.items() if list(faces.values()).count(who) == 1})
    scene.end()
    here: dict[int, str] = {}
    for event in scene.events:
        if event["event"] == "enter":
            assert here.get(event["track"], UNKNOWN) in (UNKNOWN, UNSURE)
            twice = event["reason"] is not None and "at the same time" in event["reason"]
            assert event["person_id"] in (UNKNOWN, UNSURE) or twice == (event["person_id"] in here.values())
            here[event["track"]] = event["person_id"]
        else:
            assert here.pop(event["track"]) == event["person_id"]
    assert here == {}
    assert scene.visits._visits == []
    assert scene.visits._tracks == {}
