"""What is said of faces that are compared with the gallery: a person, nobody we know, or that a human is to look."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from muster.arrays import F32
from muster.errors import InputError
from muster.pipeline.gallery import groups
from muster.storage.gallery.gallery import Gallery, not_enrolled
from muster.storage.gallery.roster import UNKNOWN, UNSURE
from muster.storage.texts import normal
from muster.tasks.people.calibrate import corrected
from muster.tasks.people.lookalikes import Spread, alike, margin
from muster.tasks.people.search import LEAST_TEMPLATES, MIN_QUALITY, SCORE, Templates, nearest, score_of

NOT_ALIKE_ENOUGH = "alike, and not enough to be sure"
LOOKS_LIKE = "like another enrolled person, and not far enough ahead of them"
MATCH, NO_MATCH, NOT_SURE = "match", "no match", "unsure"  # answers of `verify`
CANDIDATE = pa.struct([("person_id", pa.string()), ("name", pa.string()), ("score", pa.float32())])
ANSWERS = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        ("face", pa.int32()),  # its number in the image, best first; null where there is none
        ("person_id", pa.string()),  # or UNKNOWN, or UNSURE; null where there is no face
        ("name", pa.string()),
        ("score", pa.float32()),
        ("threshold", pa.float32()),  # from which on people are named
        ("unsure_from", pa.float32()),
        ("margin", pa.float32()),
        ("quality", pa.float32()),
        ("box_xyxy", pa.list_(pa.float32(), 4)),
        ("reason", pa.string()),  # why nobody was named
        ("candidates", pa.list_(CANDIDATE)),  # of UNSURE: who reaches `unsure_from`, best first
    ]
)


@dataclass(frozen=True)
class Limits:
    """Scores from `threshold` on name a person, from `unsure_from` on they are for a human to judge. `remark`: what a
    user should know about them. `each`: (G,) the threshold of each person, where groups have their own. `alike`: what
    was measured of people who look alike; None: nothing."""

    threshold: float
    unsure_from: float
    remark: str = ""
    each: Sequence[float] | None = None
    alike: Mapping[str, Any] | None = None

    def of(self, person: int) -> float:
        return self.threshold if self.each is None else self.each[person]


@dataclass(frozen=True)
class Probes:
    """Faces to be named: a row each of image, face, quality, box_xyxy; `embeddings` (N, D). `errors`: image, reason."""

    rows: list[dict[str, Any]]
    embeddings: F32
    errors: list[dict[str, Any]]


class Enrolled:
    """Who may be named, and what they are known by: `people` (G,), person_ids in the order of `made`."""

    def __init__(self, known: Gallery, made: Templates) -> None:
        self.known, self.made, self.people = known, made, known.people
        columns = (known.faces[name].to_pylist() for name in ("person_id", "name", "pseudonym"))
        self._rows = {person: (name, pseudonym) for person, name, pseudonym in zip(*columns, strict=True)}
        self._numbers = {normal(person): number for number, person in enumerate(self.people)}

    def name_of(self, person: str) -> str:
        return self._rows[person][0]

    def pseudonym_of(self, person: str) -> str:
        return self._rows[person][1]

    def number_of(self, person: str) -> int:
        """NotEnrolledError where nobody of this id, however it is written, is enrolled."""
        number = self._numbers.get(normal(person))
        if number is None:
            raise not_enrolled(person, self.people)
        return number


def limits_of(known: Gallery, what: str, given: float | None) -> Limits:
    """The thresholds for `what` ("identify" or "verify"). `given` by hand, there is nothing to be unsure between."""
    if given is not None:
        if not -2 <= given <= 2:
            raise InputError(f"`threshold` {given}: choose one between -2 and 2")
        return Limits(given, given, "the threshold was given by hand: nothing is known about its errors")
    facts = known.calibration
    if facts is None or what not in facts:
        raise InputError(
            "the gallery has no measured threshold: run `calibrate` (it takes 30 people), or give `threshold` and"
            " answer for it yourself"
        )
    point, now = facts[what], len(known.people)
    if now < LEAST_TEMPLATES:  # scores are made in another way then: see muster.tasks.people.search.search
        raise InputError(
            f"the gallery was calibrated with {facts['people']} people, and {now} are left: its threshold does not hold"
            f" below {LEAST_TEMPLATES}; enrol more and run `calibrate`, or give `threshold` and answer for it yourself"
        )
    if facts.get("score") != SCORE:
        raise InputError(
            "the gallery was calibrated by another version of Muster, whose scores differ, so that its threshold does"
            " not hold: run `calibrate` again, or give `threshold` and answer for it yourself"
        )
    remark, unsure = "", facts["unsure"]["threshold"] if what == "identify" else facts["verify"]["unsure_from"]
    if what == "identify" and now != facts["people"]:
        expected = corrected(point["target"], facts["people"], now)
        remark = (
            f"calibrated with {facts['people']} people, {now} are enrolled now: up to {expected:.2g} of strangers may"
            f" be given a name instead of {point['target']:.2g}; run `calibrate` again"
        )
    each = of_groups(known, facts["each_group"], what) if facts.get("each_group") else None
    return Limits(point["threshold"], unsure, remark, each, _alike(known, facts.get("alike")))


def _alike(known: Gallery, measured: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """With the numbers of those of the declared pairs who are both here. None: nothing was measured."""
    if measured is None:
        return None
    pairs = measured["declared"]
    here = dict(zip(known.faces["pseudonym"].to_pylist(), known.owner.tolist(), strict=True)) if pairs else {}
    return {**measured, "declared": [[here[name] for name in pair] for pair in pairs if here.keys() >= set(pair)]}


def of_groups(known: Gallery, each: Mapping[str, Any], what: str) -> list[float]:
    """(G,): the threshold of the group that each person is of today; the strictest where it was not measured."""
    measured = each[what]
    strictest = max(measured.values())
    return [measured.get(name, strictest) for name in groups.of_people(known, each["by"], date.today())]


def _too_alike(made: Templates, probe: F32, person: int, score: float, limits: Limits) -> bool:
    """Whether somebody who looks like this person is too near to them on a face (D,) that has this score."""
    if limits.alike is None:
        return False
    said = {other for pair in limits.alike["declared"] if person in pair for other in pair} - {person}
    others = np.union1d(alike(made, person), np.array(sorted(said), np.int64))
    if not len(others) or limits.alike["spread"] is None:
        return bool(len(others))
    ahead = score - score_of(np.repeat(probe[None], len(others), 0), made, others)
    return bool((ahead < margin(made, person, others, Spread(**limits.alike["spread"]))).any())


def compared(enrolled: Enrolled, number: int, probes: Probes, limits: Limits) -> dict[str, Any]:
    """Is this the person of that number? By the largest face of at least one; the scores of all."""
    made, person = enrolled.made, enrolled.people[number]
    scores, threshold = score_of(probes.embeddings, made, np.full(len(probes.rows), number)), limits.of(number)
    faces = [{**row, "score": round(float(s), 4)} for row, s in zip(probes.rows, scores, strict=True)]
    best = max(faces, key=area)
    poor = _low_quality(best) if best["quality"] < MIN_QUALITY else ""
    if not poor and best["score"] >= threshold:
        probe = probes.embeddings[faces.index(best)]
        poor = LOOKS_LIKE if _too_alike(made, probe, number, best["score"], limits) else ""
    match = bool(not poor and best["score"] >= threshold)
    answer = MATCH if match else NOT_SURE if best["score"] >= limits.unsure_from else NO_MATCH
    facts = {"person_id": person, "name": enrolled.name_of(person), "match": match, "answer": answer}
    facts |= {"threshold": threshold, "unsure_from": limits.unsure_from, "score": best["score"]}
    reason = poor or (NOT_ALIKE_ENOUGH if answer == NOT_SURE else "")
    return {**facts, "face": best, "faces": faces, "reason": reason}


def named(enrolled: Enrolled, probes: Probes, limits: Limits) -> list[dict[str, Any]]:
    """A row of ANSWERS for each face, in their order."""
    made, ids, rows = enrolled.made, enrolled.people, []
    for row, probe, near, scores in zip(probes.rows, probes.embeddings, *nearest(probes.embeddings, made), strict=True):
        found = [
            {"person_id": ids[i], "name": enrolled.name_of(ids[i]), "score": float(score)}
            for i, score in zip(near, scores, strict=True)
        ]
        best, threshold = int(near[0]), limits.of(int(near[0]))
        facts = {"threshold": threshold, "unsure_from": limits.unsure_from}
        facts["margin"] = float(scores[0] - (scores[1] if len(scores) > 1 else 0))
        poor = _low_quality(row) if row["quality"] < MIN_QUALITY else None
        if not poor and scores[0] >= threshold and _too_alike(made, probe, best, scores[0], limits):
            poor = LOOKS_LIKE
        rows.append({**row, **facts, **_answer(found, threshold, limits.unsure_from, poor)})
    return rows


def _answer(found: Sequence[dict[str, Any]], threshold: float, unsure_from: float, poor: str | None) -> dict[str, Any]:
    """A name, UNSURE or UNKNOWN. `found`: the nearest people, best first; `poor`: why nobody may be named."""
    best = found[0]
    if best["score"] >= threshold and not poor:
        return {**best, "reason": None, "candidates": []}
    shown = [each for each in found if each["score"] >= unsure_from]
    reason = poor or (NOT_ALIKE_ENOUGH if shown else "nobody is alike enough")
    person = UNSURE if shown else UNKNOWN
    return {"person_id": person, "name": None, "score": best["score"], "reason": reason, "candidates": shown}


def disclosed(enrolled: Enrolled, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Pseudonyms of whoever the rows of `named` name, and of the candidates that they show."""
    people = {row["person_id"] for row in rows} - {UNKNOWN, UNSURE}
    shown = {each["person_id"] for row in rows for each in row["candidates"]}
    return {key: sorted(map(enrolled.pseudonym_of, ids)) for key, ids in (("people", people), ("candidates", shown))}


def _low_quality(row: dict[str, Any]) -> str:
    return f"the face is too small, blurred or turned away (quality {row['quality']:.2f})"


def area(row: Mapping[str, Any]) -> float:
    x0, y0, x1, y1 = row["box_xyxy"]
    return float((x1 - x0) * (y1 - y0))
