"""Who came and who left, from the faces of a camera's frames: one visit for who stays, however often they turn away."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from muster.arrays import F32
from muster.errors import InputError, MusterError
from muster.pipeline.gallery.answers import Probes
from muster.pipeline.gallery.desk import LEAVE, NOTE, WATCH, Answer, Question
from muster.storage.gallery.roster import UNKNOWN, UNSURE
from muster.tasks.people.following import Tracks, agreed, ended, follow, nobody
from muster.tasks.people.search import CANDIDATES, MIN_QUALITY

Ask = Callable[[Sequence[Question]], Sequence[Answer | MusterError]]
Event = dict[str, Any]
_OF_ANSWER = ("score", "threshold", "unsure_from", "quality", "reason")


@dataclass(frozen=True)
class Rules:
    """`agree` of the `of` best faces of a track must be one person before somebody is named. Who is not seen for `away`
    seconds has left."""

    agree: int = 3
    of: int = 5
    away: float = 5.0

    def __post_init__(self) -> None:
        if not 1 <= self.agree <= self.of < 2 * self.agree:
            raise InputError(f"`agree` {self.agree} of `of` {self.of}: give more than half, as 3 of 5")
        if not 0 < self.away <= 3600:
            raise InputError(f"`away` {self.away:g}: give seconds above 0, and 3600 at most")


@dataclass(frozen=True)
class Moment:
    """When a frame came: `at` for people (UTC); `clock` in seconds that only grow; `position` in a file, seconds."""

    at: datetime
    clock: float
    position: float | None = None

    def facts(self) -> Event:
        shown: Event = {"at": timestamp(self.at)}
        return shown if self.position is None else shown | {"position": round(self.position, 3)}


def timestamp(at: datetime) -> str:
    """ISO 8601 with milliseconds, as 2026-11-30T08:15:00.123Z. `at`: UTC."""
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


@dataclass
class _Visit:
    """`who`: a person_id, UNKNOWN or UNSURE. `tracks`: numbers of those that are it and have not ended."""

    who: str
    track: int
    entered: Moment
    last: Moment
    tracks: set[int] = field(default_factory=set)


@dataclass
class _Track:
    """`best`: quality and embedding of its best faces, best first. `fresh`: how many of them came after the gallery was
    asked last. `beside`: numbers of the tracks under way that were seen in one frame with it."""

    number: int
    last: Moment
    box: list[float]
    best: list[tuple[float, F32]] = field(default_factory=list)
    fresh: int = 0
    beside: set[int] = field(default_factory=set)
    visit: _Visit | None = None

    def add(self, quality: float, embedding: F32, most: int) -> None:
        place = sum(quality <= other for other, _ in self.best)
        if place < most:
            self.best.insert(place, (quality, embedding))
            del self.best[most:]
            self.fresh += 1


class Visits:
    """The visits of one camera. `ask`: the desk; whatever is answered stands in the audit log then."""

    def __init__(self, camera: str, ask: Ask, rules: Rules, width: int) -> None:
        self._camera, self._ask, self._rules = camera, ask, rules
        self._following: Tracks = nobody(width)
        self._tracks: dict[int, _Track] = {}
        self._visits: list[_Visit] = []

    def seen(self, moment: Moment, boxes: F32, qualities: F32, embeddings: F32) -> list[Event]:
        """What is to be told after a frame with these faces: boxes (N, 4), qualities (N,), embeddings (N, D)."""
        self._following, numbers = follow(self._following, moment.clock, boxes, embeddings, qualities)
        for number, box, quality, embedding in zip(
            numbers.tolist(), boxes.tolist(), qualities.tolist(), embeddings, strict=True
        ):
            track = self._tracks.setdefault(number, _Track(number, moment, box))
            track.last, track.box = moment, box
            track.beside.update(numbers.tolist())
            if quality >= MIN_QUALITY:
                track.add(quality, embedding, self._rules.of)
        return self._entered(moment) + self.unseen(moment.clock)

    def unseen(self, clock: float) -> list[Event]:
        """Who has left by now."""
        self._following, over = ended(self._following, clock, self._rules.away)
        return self._left(over.tolist())

    def close(self) -> list[Event]:
        """Nobody is looked for any more: who is still there leaves, and whose leaving was interrupted."""
        return self._left(list(self._tracks))

    # ---- coming ------------------------------------------------------------------------------------------------------

    def _entered(self, moment: Moment) -> list[Event]:
        asked = [track for track in self._tracks.values() if self._worth_asking(track)]
        questions = [
            Question(WATCH, _probes(self._camera, track), noted={"camera": self._camera, "track": track.number})
            for track in asked
        ]
        events = []
        for track, answer in zip(asked, self._ask(questions) if questions else [], strict=True):
            if isinstance(answer, MusterError):
                raise answer
            track.fresh = 0
            if found := _decided(answer.rows, self._rules):
                events += self._enter(track, found, moment)
        return events

    def _worth_asking(self, track: _Track) -> bool:
        """First when so many faces could agree, and when all are there. Then no more of who is named; of others, where
        many better faces came since."""
        if track.visit is not None and track.visit.who not in (UNKNOWN, UNSURE):
            return False
        full = track.visit is None and track.fresh > 0 and len(track.best) == self._rules.of
        return full or track.fresh >= self._rules.agree

    def _enter(self, track: _Track, found: Event, moment: Moment) -> list[Event]:
        """Nothing where they are here already: unless another face is by the same name, at the same time."""
        who, reason = found["person_id"], found["reason"]
        if track.visit is not None and track.visit.who == who:
            return []
        if who not in (UNKNOWN, UNSURE):
            here = [visit for visit in self._visits if visit.who == who]
            before = next((visit for visit in here if not self._beside(visit, track)), None)
            if before is not None:
                known = self._told_to_be(track, before, moment)
                self._join(track, before)
                return known
            if here:
                reason = f"another face is by this name at the same time, track {here[0].track}"
        self._join(track, _Visit(who, track.number, moment, moment))
        told = {"event": "enter", "camera": self._camera, **moment.facts(), "track": track.number, **found}
        return [told | {"reason": reason, "box_xyxy": [round(value, 1) for value in track.box]}]

    def _beside(self, visit: _Visit, track: _Track) -> bool:
        """Whether a face of the visit was seen in one frame with the track: so it is another. Tracks of one person, who
        turns this way and that, take turns."""
        return not visit.tracks.isdisjoint(track.beside)

    def _told_to_be(self, track: _Track, visit: _Visit, moment: Moment) -> list[Event]:
        """The leave of nobody known, whom the track was told to be until it was taken for a visit that is under way."""
        if track.visit is None:
            return []
        track.visit.last = moment
        left = self._leave([track.visit], f"it is who came as track {visit.track}")
        track.visit = None
        return left

    def _join(self, track: _Track, visit: _Visit) -> None:
        if track.visit is not None:  # of nobody known until now: what is said of this track now stands in its place
            self._visits.remove(track.visit)
        if not visit.tracks:
            self._visits.append(visit)
        visit.tracks.add(track.number)
        track.visit = visit

    # ---- leaving -----------------------------------------------------------------------------------------------------

    def _left(self, numbers: Sequence[int]) -> list[Event]:
        """Of tracks that have ended."""
        for number in numbers:
            track = self._tracks.pop(number)
            if track.visit is not None:
                track.visit.last = max(track.visit.last, track.last, key=lambda moment: moment.clock)
                track.visit.tracks.discard(number)
        for track in self._tracks.values():
            track.beside.difference_update(numbers)
        return self._leave([visit for visit in self._visits if not visit.tracks])

    def _leave(self, visits: Sequence[_Visit], reason: str | None = None) -> list[Event]:
        """They are kept until the answer is there: an interrupted one is told by `close`."""
        answers = self._ask([self._of_leaving(visit) for visit in visits]) if visits else []
        events = [self._leaving(visit, answer, reason) for visit, answer in zip(visits, answers, strict=True)]
        for visit in visits:
            self._visits.remove(visit)
        return events

    def _of_leaving(self, visit: _Visit) -> Question:
        noted = {"camera": self._camera, "track": visit.track}
        if visit.who in (UNKNOWN, UNSURE):
            return Question(NOTE, action=LEAVE, noted=noted)
        return Question(LEAVE, person=visit.who, noted=noted)

    def _leaving(self, visit: _Visit, answer: Answer | MusterError, reason: str | None) -> Event:
        """By the name that they have now; without one where they may not be named any more."""
        if isinstance(answer, Answer):
            who = {"person_id": visit.who, "name": answer.facts.get("name")}
        elif isinstance(answer, InputError):  # also where the consent of everybody has ended
            who, reason = {"person_id": None, "name": None}, "not enrolled any more"
        else:
            raise answer
        times = {"entered": timestamp(visit.entered.at), "seconds": round(visit.last.clock - visit.entered.clock, 3)}
        told = {"event": "leave", "camera": self._camera, **visit.last.facts(), "track": visit.track}
        return told | who | times | {"reason": reason}


def _probes(camera: str, track: _Track) -> Probes:
    rows = [
        {"image": camera, "face": number, "quality": quality, "box_xyxy": track.box}
        for number, (quality, _) in enumerate(track.best)
    ]
    return Probes(rows, np.stack([embedding for _, embedding in track.best]), [])


def _decided(rows: Sequence[Mapping[str, Any]], rules: Rules) -> Event | None:
    """What the answers for a track's best faces, best first, say together; None where more faces may say more.

    Where so many do not agree it is unsure who it is, and a human is shown all whom one of the answers names or shows.
    """
    said = [row["person_id"] for row in rows]
    who = agreed(said, rules.agree)
    if who in (None, UNKNOWN, UNSURE) and len(rows) < rules.of:
        return None
    found = {"person_id": who or UNSURE, "name": None}
    row = next((row for row in rows if row["person_id"] == who), rows[0])
    found |= {name: row[name] for name in _OF_ANSWER} | {"agreed": said.count(who or UNSURE), "of": len(rows)}
    if who is None:
        found["reason"] = "its faces do not agree on one person"
    if who in (None, UNSURE):
        return found | {"candidates": _candidates(rows)}
    return found | {"name": row["name"], "candidates": []}


def _candidates(rows: Sequence[Mapping[str, Any]]) -> list[Event]:
    """Each person with their best score, best first."""
    shown: dict[str, Event] = {}
    for row in rows:
        named = [] if row["person_id"] in (UNKNOWN, UNSURE) else [row]
        for each in [*named, *row["candidates"]]:
            facts = {name: each[name] for name in ("person_id", "name", "score")}
            shown[each["person_id"]] = max(shown.get(each["person_id"], facts), facts, key=lambda one: one["score"])
    return sorted(shown.values(), key=lambda each: -each["score"])[:CANDIDATES]
