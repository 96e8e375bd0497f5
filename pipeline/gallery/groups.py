"""Who of a gallery is of which group: of the roster's, by age, or by how old their photos are."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np

from muster.arrays import I64, Floats
from muster.errors import InputError
from muster.storage.gallery.entry import NO_GROUP
from muster.storage.gallery.gallery import Gallery
from muster.tasks.people.ages import AGES, TIMES, UNKNOWN, age_band, time_band
from muster.tasks.people.calibrate import Searches
from muster.tasks.people.groups import Grouping

GROUP, AGE, TIME = BY = ("group", "age", "time")


def grouping(known: Gallery, by: str, searches: Searches) -> Grouping:
    """The searches of a calibration. InputError where the gallery has nothing to tell people apart by.

    `group`: of the roster. `age`: who is searched for has theirs on that photo, and who is met on their newest. `time`:
    between the photo that is searched for and the newest other one of whom it meets.
    """
    check(known, by)
    face = np.arange(len(searches.nonmated))
    if by == TIME:
        days = known.faces["taken"].to_pylist()
        newest = _newest(known)
        met = [time_band(newest[p], days[f]) for f, p in zip(face, searches.nonmated_best, strict=True)]
        own = [time_band(each, days[f]) for f, each in zip(searches.mated_face, _other(known, searches), strict=True)]
        return _coded((*TIMES, UNKNOWN), met, met, own, own)
    people = np.array(of_people(known, by))
    shown = np.array(_on_photos(known)) if by == AGE else people[known.owner]
    names = (*AGES, UNKNOWN) if by == AGE else sorted(set(people.tolist()))
    return _coded(
        names, shown, people[searches.nonmated_best], shown[searches.mated_face], people[searches.mated_person]
    )


def by_photo_age(known: Gallery, searches: Searches) -> Grouping:
    """Known people by their age on the newest other photo of theirs, strangers by that on the photo itself."""
    born, shown = _first(known, "born"), _on_photos(known)
    pairs = zip(searches.mated_person, _other(known, searches), strict=True)
    enrolled = [age_band(born[person], day) for person, day in pairs]
    return _coded((*AGES, UNKNOWN), shown, shown, enrolled, enrolled)


def of_people(known: Gallery, by: str, today: date | None = None) -> list[str]:
    """(G,): the group of each enrolled person, whose threshold holds for whoever is taken for them.

    `today`: the day of the question, for `time`.
    """
    if by == GROUP:
        return [each or NO_GROUP for each in _first(known, "group")]
    if by == AGE:
        return [age_band(born, day) for born, day in zip(_first(known, "born"), _newest(known), strict=True)]
    return [time_band(day, today) for day in _newest(known)]


def check(known: Gallery, by: str) -> None:
    needed = {GROUP: ("group",), AGE: ("born", "taken"), TIME: ("taken",)}
    if by not in needed:
        raise InputError(f"`by` {by}: choose one of {', '.join(BY)}; another column of the roster is enrolled as group")
    says = {"group": "a group: enrol with a column group", "born": "a date of birth: enrol with a column born"}
    says["taken"] = "a photo with the date of its camera: who was enrolled by an older Muster is to be enrolled again"
    for column in needed[by]:
        if known.faces[column].null_count == known.faces.num_rows:
            raise InputError(f"`by` {by}: nobody in the gallery has {says[column]}")


def has(known: Gallery, by: str) -> bool:
    try:
        check(known, by)
    except InputError:
        return False
    return True


def no_looser(by: str, found: Floats, lowest: float) -> Floats:
    """(K,): thresholds of which, where they were measured, a younger child's is none below an older one's, and an older
    photo's none below a newer one's. An unknown age, and what was not measured (NaN), have the strictest.

    `lowest`: the threshold of all, which is the strictest where nothing was measured.
    """
    missing, strictest = np.isnan(found), np.fmax.reduce(found, initial=lowest)
    if by != GROUP:
        order = slice(None, None, -1) if by == AGE else slice(None)
        found = np.append(np.fmax.accumulate(found[:-1][order])[order], strictest)
    return np.where(missing, strictest, found)


def _on_photos(known: Gallery) -> list[str]:
    """(N,): how old each face's person was when the photo was made."""
    rows = zip(known.faces["born"].to_pylist(), known.faces["taken"].to_pylist(), strict=True)
    return [age_band(*row) for row in rows]


def _first(known: Gallery, column: str) -> list[Any]:
    """(G,): what the first face of each person has there, as all have."""
    _, first = np.unique(known.owner, return_index=True)
    return list(known.faces[column].take(first).to_pylist())


def _newest(known: Gallery) -> list[date | None]:
    """(G,): when each person's newest photo was made, as far as is known."""
    newest: list[date | None] = [None] * len(known.people)
    for person, day in zip(known.owner.tolist(), known.faces["taken"].to_pylist(), strict=True):
        if day is not None:
            newest[person] = max(newest[person] or day, day)
    return newest


def _other(known: Gallery, searches: Searches) -> list[date | None]:
    """(M,): when the newest other photo was made of whom each mated search is for."""
    days: dict[int, list[tuple[date, int]]] = {}
    for face, (person, day) in enumerate(zip(known.owner.tolist(), known.faces["taken"].to_pylist(), strict=True)):
        if day is not None:
            days.setdefault(person, []).append((day, face))
    pairs = zip(searches.mated_person.tolist(), searches.mated_face.tolist(), strict=True)
    return [max((day for day, other in days.get(person, ()) if other != face), default=None) for person, face in pairs]


def _coded(names: Sequence[str], *each: Any) -> Grouping:
    number = {name: i for i, name in enumerate(names)}

    def codes(some: Any) -> I64:
        return np.array([number[str(name)] for name in some], np.int64)

    return Grouping(tuple(names), *map(codes, each))
