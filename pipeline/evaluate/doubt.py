"""Who is named, who is left to a human and who is missed, with one, two and four photos of each enrolled person."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np

from muster.arrays import Bools
from muster.pipeline.evaluate.common import file_names
from muster.pipeline.evaluate.faces import Labelled
from muster.storage.photos.names import names_of
from muster.tasks.people.calibrate import (
    STRANGERS,
    Searches,
    outside_searches,
    person_weights,
    threshold_at,
    threshold_below,
)
from muster.tasks.people.search import templates

PHOTOS = (1, 2, 4)
FPIR, MISS = 0.01, 0.01
LEAST_PEOPLE = 30  # people who must have more photos than are enrolled
RULES = (f"miss {MISS:g}", f"strangers {STRANGERS:g}")


def doubt(data: Labelled, label: str, seed: int | None = None) -> list[dict[str, Any]]:
    """A row for each number of photos and each rule for the lower threshold; none where too few have the photos.

    Enrolled are the people with more photos than the largest number that `LEAST_PEOPLE` people have, so that all rows
    are about the same people and the same searches: with the rest of their photos. Everybody else is a stranger. People
    are named from the threshold on that names `FPIR` of strangers. The lower one misses `MISS` of enrolled people, or
    is reached by `STRANGERS` of strangers. Both are chosen on one half of the people (by a hash of the name) and judged
    on the other, both ways; every person counts once. By scores alone, whatever the quality of a face.

    `seed`: of a random order of each person's photos, in place of that of their file names.
    """
    photos = _Photos(data, label, seed)
    most = max((n for n in PHOTOS if (photos.count > n).sum() >= LEAST_PEOPLE), default=0)
    rows = []
    for number in (n for n in PHOTOS if n <= most):
        searches = photos.searches(number, most)
        facts = {"photos": number, "people": len(np.unique(searches.mated_person)), "searches": len(searches.own)}
        facts["strangers"] = len(np.unique(searches.nonmated_person))
        rows += [{**facts, "lower": rule, **_judged(searches, photos.half, rule)} for rule in RULES]
    return rows


class _Photos:
    """Of each photo with a label: `person` and `place` among that person's, `face` (-1: none). Of each person: how many
    photos (`count`), and which `half` of the people it is in."""

    def __init__(self, data: Labelled, label: str, seed: int | None) -> None:
        column = names_of(f"`label` {label}", data.images[label])
        files = file_names(data.images)
        rows = sorted((i for i, name in enumerate(column) if name is not None), key=lambda i: (files[i], i))
        if seed is not None:
            np.random.default_rng(seed).shuffle(rows)
        names, self.person = np.unique([str(column[i]) for i in rows], return_inverse=True)
        face = np.full(len(column), -1, np.int64)
        face[data.owner] = data.rows
        self.face, self.vectors, self.strangers = face[rows], data.faces.embeddings, data.faces.strangers
        self.count = np.bincount(self.person)
        by_person = np.argsort(self.person, kind="stable")
        self.place = np.empty(len(rows), np.int64)
        self.place[by_person] = np.arange(len(rows)) - np.repeat(np.cumsum(self.count) - self.count, self.count)
        self.half = np.array([hashlib.sha256(str(name).encode()).digest()[0] & 1 for name in names], bool)

    def searches(self, number: int, most: int) -> Searches:
        """`number` photos of everybody with more than `most` enrolled, and their photos after `most` looked for."""
        several = self.count[self.person] > most
        used = several & (self.place < number) & (self.face >= 0)
        people, owner = np.unique(self.person[used], return_inverse=True)
        gallery = templates(self.vectors[self.face[used]], owner, len(people), self.strangers)
        known = several & (self.place >= most) & np.isin(self.person, people)
        own = np.searchsorted(people, self.person[known])
        known_faces, strangers = (self.vectors[np.maximum(self.face[part], 0)] for part in (known, ~several))
        found = outside_searches(known_faces, own, strangers, self.person[~several], gallery)
        unseen, unseen_strangers = self.face[known] < 0, self.face[~several] < 0
        return replace(
            found,
            own=np.where(unseen, -np.inf, found.own),
            others=np.where(unseen[:, None], -np.inf, found.others),
            mated_person=self.person[known],
            nonmated=np.where(unseen_strangers, -np.inf, found.nonmated),
        )


def _judged(searches: Searches, half: Bools, rule: str) -> dict[str, float]:
    sums = [_sums(_part(searches, half != one), *_limits(_part(searches, half == one), rule)) for one in (False, True)]
    total = {name: float(sums[0][name] + sums[1][name]) for name in sums[0]}
    people, strangers = total.pop("people"), total.pop("strangers")
    return {name: round(n / (strangers if name.startswith("strangers") else people), 5) for name, n in total.items()}


def _part(searches: Searches, people: Bools) -> Searches:
    """Those of some people. `people`: a bool for each."""
    known, strangers = people[searches.mated_person], people[searches.nonmated_person]
    return searches.part(known, strangers)


def _limits(searches: Searches, rule: str) -> tuple[float, float]:
    weight = person_weights(searches.nonmated_person)
    named_from = threshold_at(searches.nonmated, weight, FPIR)
    if rule == RULES[1]:
        return named_from, threshold_at(searches.nonmated, weight, STRANGERS)
    found = threshold_below(searches.shown(named_from), searches.mated_weight, MISS)
    return named_from, min(max(found, -3), named_from)  # no score is below -3, but of a photo without a face


def _sums(searches: Searches, named_from: float, unsure_from: float) -> dict[str, float]:
    """How many people each answer is given, or as much of them as the share of their searches."""
    own, other = searches.own, searches.others[:, 0]
    weight, strange = searches.mated_weight, person_weights(searches.nonmated_person)
    named, misnamed = searches.mated >= named_from, (own <= other) & (other >= named_from)
    unknown = np.maximum(own, other) < unsure_from
    unsure, shown = ~named & ~misnamed & ~unknown, searches.shown(named_from) >= unsure_from
    hits = {"named": named, "misnamed": misnamed, "unsure": unsure, "unsure_shown": unsure & shown, "unknown": unknown}
    nonmated = searches.nonmated
    return {
        "people": weight.sum(),
        **{name: (hit * weight).sum() for name, hit in hits.items()},
        "strangers": strange.sum(),
        "strangers_named": ((nonmated >= named_from) * strange).sum(),
        "strangers_unsure": ((nonmated >= unsure_from) * (nonmated < named_from) * strange).sum(),
    }
