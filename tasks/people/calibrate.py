"""The threshold of a gallery: measured on its own people, and only as strict as they can support."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import beta

from muster.arrays import F32, I64, Bools, Floats
from muster.errors import TaskError
from muster.tasks.people.search import (
    Matches,
    Templates,
    nearest,
    normalised,
    score_of,
    scores,
    search,
    sums,
)

Interval = tuple[float, float]

FPIRS = (0.1, 0.01, 0.001)
STRANGERS = FPIRS[0]  # who may be named or left to a human, where no share of misses is asked for
RESAMPLES = 1000
_COMPARED, _COMPARED_ONCE = 4_000_000, 100_000
CONFIDENCE = 0.95
MISSED = -math.inf  # score of a mated search that does not put the right person first, or among the candidates


@dataclass(frozen=True)
class Searches:
    """Scores of searches, whose probe each was, and what a mated one counts.

    `own`: (M,) of each mated search with its own person; `others`: (M, `CANDIDATES`) with the most similar others, best
    first, -inf where there are fewer. `mated_face`: (M,) the number of the face that was searched for; `nonmated_best`:
    (N,) whose template is the most similar one.
    """

    own: Floats
    others: Floats
    mated_person: I64
    mated_weight: Floats
    mated_face: I64
    nonmated: Floats
    nonmated_person: I64
    nonmated_best: I64

    @property
    def mated(self) -> Floats:
        """(M,): the score with their own person; `MISSED` where somebody else comes first."""
        return np.where(self.own > self.others[:, 0], self.own, MISSED)

    def shown(self, named_from: float) -> Floats:
        """(M,): the score with their own person, from which on they are among the candidates; `MISSED` where they are
        not at any, or somebody else is named, who comes first and reaches the threshold `named_from`."""
        misnamed = (self.own <= self.others[:, 0]) & (self.others[:, 0] >= named_from)
        return np.where(misnamed | (self.own <= self.others[:, -1]), MISSED, self.own)

    def part(self, mated: Bools, nonmated: Bools) -> "Searches":
        """Some of them. `mated`: (M,), `nonmated`: (N,)."""
        return Searches(
            own=self.own[mated],
            others=self.others[mated],
            mated_person=self.mated_person[mated],
            mated_weight=self.mated_weight[mated],
            mated_face=self.mated_face[mated],
            nonmated=self.nonmated[nonmated],
            nonmated_person=self.nonmated_person[nonmated],
            nonmated_best=self.nonmated_best[nonmated],
        )


class Raised(NamedTuple):
    """By how much the threshold of the person who is named is above that of all: of each mated search (M,), where it is
    the right person's, and of each non-mated one (N,), where it is that of the most similar."""

    mated: Floats | float = 0.0
    nonmated: Floats | float = 0.0


ALIKE_FOR_ALL = Raised()


@dataclass(frozen=True)
class Point:
    """A threshold and what it does: `fpir`, `fnir`, each with its interval (low, high) at `CONFIDENCE`.

    FPIR: share of searches of people who are not enrolled that give somebody's name. FNIR: share of searches of
    enrolled people that do not give theirs. ISO/IEC 19795-1:2021; Grother, Ngan, Hanaoka, FRVT Part 2:
    Identification, NIST IR 8271, section 3.
    """

    target: float
    threshold: float
    fpir: float
    fpir_interval: Interval
    fnir: float | None
    fnir_interval: Interval | None


@dataclass(frozen=True)
class Doubt:
    """Between `threshold` and the one from which on people are named, it is unsure who somebody is.

    `miss`: the share of known people that may be missed, where that was asked for. `strangers`: the share of strangers
    who are left to a human. `missed`: of known people, those who are neither named nor among the candidates; `unsure`:
    those left to a human, themselves among the candidates. None where nobody has two photos, as `mated_people` have.
    """

    threshold: float
    miss: float | None
    strangers: float
    strangers_interval: Interval
    missed: float | None
    missed_interval: Interval | None
    unsure: float | None
    mated_people: int


def gallery_searches(embeddings: F32, owner: I64, gallery: Templates) -> Searches:
    """Each enrolled face searched for in its own gallery, as a stranger would and as another photo of its person would.

    `embeddings`: (N, D) float32, L2-normalised; `owner`: (N,) int64, of whose templates the gallery is made. As a
    stranger: the template of its own person left out. As another photo: that template made without this face, where the
    person has others; and as large a share of people as has one photo here, by one other photo of theirs, or whoever
    has several would speak for those who are missed more often.
    """
    count = len(gallery.vectors)
    nonmated = search(embeddings, gallery, own=owner)
    number = np.bincount(owner, minlength=count)
    again = np.flatnonzero(number[owner] > 1)
    faces, person = embeddings[again], owner[again]
    without = normalised(sums(embeddings, owner, count)[person] - faces)
    lowered = _beside(faces, gallery.vectors[person], gallery) - score_of(faces, gallery, person)  # by the face itself
    _, others = nearest(faces, gallery, own=person)
    weight, one = person_weights(person), float((number == 1).mean())
    own, weights = [_beside(faces, without, gallery) - lowered], [(1 - one) * weight]
    if one and len(again):
        own.append(_beside(faces, embeddings[another_of(owner)[again]], gallery) - lowered)
        weights.append(one * weight)
    number_of, times = np.tile(again, len(own)), len(own)
    mated = np.concatenate(own), np.tile(others, (times, 1)), np.tile(person, times), np.concatenate(weights), number_of
    return Searches(*mated, nonmated.score, owner, nonmated.best)


def _beside(faces: F32, vectors: F32, gallery: Templates) -> F32:
    """(N,): what the score of each face with the vector beside it is, but for what lowers all scores of the face."""
    return np.asarray((faces * vectors).sum(1) - gallery.crowding(vectors))


def another_of(owner: I64) -> I64:
    """(N,): for each face the next of the same person, for the last the first."""
    order = np.argsort(owner, kind="stable")
    first = np.flatnonzero(np.diff(owner[order], prepend=-1))
    following = np.roll(order, -1)
    following[np.append(first[1:], len(order)) - 1] = order[first]
    another = np.empty_like(order)
    another[order] = following
    return another


def outside_searches(known: F32, own: I64, strangers: F32, person: I64, gallery: Templates) -> Searches:
    """Faces that are not in the gallery searched for in it: `known` (M, D), whose template is `own` (M,), and those of
    `strangers` (N, D), who are the people `person` (N,)."""
    rows, score = nearest(known, gallery)
    others = -np.sort(np.where(rows == own[:, None], np.inf, -score), axis=1)  # further ones change nothing
    mated = score_of(known, gallery, own), others, own, person_weights(own), np.arange(len(own))
    found = search(strangers, gallery)
    return Searches(*mated, found.score, person, found.best)


def threshold_at(score: Floats, weight: Floats, fpir: float) -> float:
    """The lowest threshold at which at most that share of non-mated searches is accepted (`score >= threshold`).

    `score`, `weight`: (N,), what each search came to, and what it counts.
    """
    order = np.argsort(-score, kind="stable")
    accepted = np.cumsum(weight[order]) / weight.sum()
    allowed = int(np.searchsorted(accepted, fpir + 1e-12, side="right"))
    if allowed == len(order):
        return float(score[order[-1]])
    below = score[order[allowed]]
    middle = (below + score[order[allowed - 1]]) / 2 if allowed else below
    return float(middle if middle > below else np.nextafter(below, np.inf, dtype=score.dtype))


def threshold_below(score: Floats, weight: Floats, share: float) -> float:
    """The highest threshold below which at most that share of searches lies (`score < threshold`)."""
    order = np.argsort(score, kind="stable")
    below = np.cumsum(weight[order]) / weight.sum()
    return float(score[order[min(int(np.searchsorted(below, share + 1e-12, side="right")), len(order) - 1)]])


def person_weights(person: I64) -> Floats:
    """(N,): weights with which every person counts the same, however many photos there are."""
    _, code, number = np.unique(person, return_inverse=True, return_counts=True)
    return np.asarray(1 / number[code])


def rate(hits: Bools, person: I64, weight: Floats) -> tuple[float, Interval]:
    """The weighted share of `hits` (N,), and its interval.

    By bootstrap over people (Efron, Bootstrap methods, Annals of Statistics 7, 1979; percentiles), which is too narrow
    where few hit: so no narrower than the interval of Clopper and Pearson (Biometrika 26, 1934) for as many people.
    """
    _, code = np.unique(person, return_inverse=True)
    hit, all_ = np.bincount(code, hits * weight), np.bincount(code, weight)
    people, value = len(all_), float(hit.sum() / all_.sum())
    random = np.random.default_rng(0)
    drawn = (random.integers(0, people, people) for _ in range(RESAMPLES))
    tails = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    low, high = np.quantile([hit[each].sum() / all_[each].sum() for each in drawn], tails)
    count = value * people
    if count > 0:
        low = min(low, beta.ppf(tails[0], count, people - count + 1))
    if count < people:
        high = max(high, beta.ppf(tails[1], count + 1, people - count))
    return value, (float(low), float(high))


def point(searches: Searches, fpir: float) -> Point:
    """The lowest threshold that keeps this FPIR with 95 % certainty, every person counting once.

    As many searches as the upper bound of Clopper and Pearson (Biometrika 26, 1934) allows are accepted; with 3 / fpir
    people, none. TaskError where there are fewer.
    """
    return measured(searches, fpir, supported(searches, fpir))


def supported(searches: Searches, fpir: float) -> float:
    """The threshold of `point`."""
    people = len(np.unique(searches.nonmated_person))
    if not 0 < fpir < 1:
        raise TaskError(f"an FPIR must be between 0 and 1, not {fpir:g}")
    sensible(people)
    if people < people_needed(fpir):
        raise TaskError(
            f"1 false accept in {1 / fpir:,.0f} strangers needs at least {people_needed(fpir):,} enrolled people to be"
            f" measured, and there are {people:,}: choose an FPIR of at least {strictest(people):.2g}, or enrol more"
        )
    return threshold_at(searches.nonmated, person_weights(searches.nonmated_person), allowed(people, fpir) / people)


def measured(searches: Searches, fpir: float, threshold: float, raised: Raised = ALIKE_FOR_ALL) -> Point:
    """What a threshold does that was chosen for this FPIR, or for each person one that is `raised` above it."""
    weight = person_weights(searches.nonmated_person)
    accepted = rate(searches.nonmated >= threshold + raised.nonmated, searches.nonmated_person, weight)
    if not len(searches.mated):
        return Point(fpir, threshold, *accepted, None, None)
    missed = searches.mated < threshold + raised.mated
    return Point(fpir, threshold, *accepted, *rate(missed, searches.mated_person, searches.mated_weight))


def allowed(people: int, share: float) -> int:
    """Of how many people it may be true, so that it is 95 % certain to be true of no more than this share of all."""
    bounds = beta.ppf(CONFIDENCE, np.arange(1, people + 1), np.arange(people, 0, -1))  # for 0, 1, … of them
    return max(int(np.searchsorted(bounds, share, side="right")) - 1, 0)


def doubt(searches: Searches, named_from: float, miss: float | None = None, raised: Raised = ALIKE_FOR_ALL) -> Doubt:
    """From which score on it is unsure who somebody is, people being named from `named_from`, or `raised` above, on.

    `miss`: the share of known people that may be missed, kept with 95 % certainty as in `point`; TaskError where too
    few have two photos, or more are missed at any threshold. None: as `STRANGERS` of the strangers reach.
    """
    weight = person_weights(searches.nonmated_person)
    reached = threshold_at(searches.nonmated, weight, STRANGERS)  # as measured: who looks twice too often does no harm
    threshold = min(reached if miss is None else _found_from(searches, named_from, miss), named_from)
    person = searches.mated_person
    between = (searches.nonmated >= threshold) & (searches.nonmated < named_from + raised.nonmated)
    facts = (threshold, miss, *rate(between, searches.nonmated_person, weight))
    if not len(person):
        return Doubt(*facts, None, None, None, 0)
    missed, named = searches.shown(named_from) < threshold, searches.mated >= named_from + raised.mated
    unsure, _ = rate(~missed & ~named, person, searches.mated_weight)
    return Doubt(*facts, *rate(missed, person, searches.mated_weight), unsure, len(np.unique(person)))


def _found_from(searches: Searches, named_from: float, miss: float) -> float:
    shown, weight = searches.shown(named_from), searches.mated_weight
    people = len(np.unique(searches.mated_person))
    if not 0 < miss < 1:
        raise TaskError(f"the share of known people who may be missed must be between 0 and 1, not {miss:g}")
    if people < people_needed(miss):
        raise TaskError(
            f"1 miss in {1 / miss:,.0f} searches for known people needs at least {people_needed(miss):,} of them with"
            f" two photos to be measured, and there are {people:,}: "
            + (f"choose a share of at least {up(strictest(people))}, or " if people > 3 else "")
            + "enrol second photos"
        )
    threshold = threshold_below(shown, weight, allowed(people, miss) / people)
    if threshold == MISSED:
        lost = math.ceil(people * float(weight[shown == MISSED].sum() / weight.sum()) - 1e-6)
        least = beta.ppf(CONFIDENCE, lost + 1, people - lost) if lost < people else 1
        raise TaskError(
            f"{lost:,} of {people:,} known people are found at no threshold: another is named, or three others are more"
            f" alike; a share of {miss:g} cannot be promised: look at their photos, or choose a share of"
            f" at least {up(least)}"
        )
    return threshold


def up(share: float) -> str:
    """For a reader, not rounded to less."""
    return f"{math.ceil(1e4 * share) / 1e4:g}"


def genuine_threshold(searches: Searches, miss: float) -> float:
    """For 1:1: the highest score that at most a share `miss` of people do not reach with a photo of theirs (95 %)."""
    people = len(np.unique(searches.mated_person))
    return threshold_below(searches.own, searches.mated_weight, allowed(people, miss) / people)


def impostor_threshold(embeddings: F32, owner: I64, gallery: Templates, fmr: float) -> float:
    """For 1:1: the lowest score that at most a share `fmr` of comparisons with somebody else's template reach.

    Of about `_COMPARED` of them; of one for each of `_COMPARED_ONCE` faces where the nearest of very many templates are
    searched for: all templates would be few faces. TaskError where there are fewer than 3 / fmr.
    """
    count = len(gallery.vectors)
    total = len(owner) * (count - 1)
    if total < 3 / fmr - 1e-6:
        raise TaskError(
            f"1 false match in {1 / fmr:,.0f} comparisons needs at least {3 / fmr:,.0f} of them to be measured, and"
            f" {count:,} people give {total:,}: enrol more"
        )
    if gallery.near is not None:
        some = np.arange(0, len(owner), max(1, len(owner) // _COMPARED_ONCE))
        other = (owner[some] + np.random.default_rng(0).integers(1, count, len(some))) % count
        return threshold_at(score_of(embeddings[some], gallery, other), np.ones(len(some)), fmr)
    some = np.arange(0, len(owner), max(1, total // _COMPARED))
    matrix = scores(embeddings[some], gallery, own=owner[some])
    others = np.arange(count) != owner[some, None]
    return threshold_at(matrix[others], np.ones(int(others.sum())), fmr)


def people_needed(fpir: float) -> int:
    """So many people who all are rejected make it 95 % certain that the FPIR is no higher (the rule of three)."""
    return math.ceil(3 / fpir - 1e-9)


def strictest(people: int) -> float:
    """The lowest FPIR that so many people can support."""
    return 3 / max(people, 1)


def sensible(people: int) -> float:
    """The FPIR to aim for where nobody says: 0.001 or 0.01 if they can be supported, in a small gallery the strictest.

    TaskError where that is above 0.1.
    """
    if strictest(people) > FPIRS[0] + 1e-9:
        raise TaskError(
            f"a threshold can be measured from {people_needed(FPIRS[0])} enrolled people on, and there are {people:,}"
        )
    return min((fpir for fpir in FPIRS[1:] if people >= people_needed(fpir)), default=strictest(people))


def corrected(fpir: float, people: int, now: int) -> float:
    """The FPIR to expect where a gallery of `people` has become one of `now`: every template is one more chance.

    1 - (1 - FPIR)^(now / people): Grother and Phillips, Models of large population recognition performance, CVPR 2004.
    """
    return float(1 - (1 - fpir) ** (now / people))


def points(searches: Searches, fpirs: Sequence[float] = FPIRS) -> list[Point]:
    """A point for each of these FPIRs that the gallery can support."""
    people = len(np.unique(searches.nonmated_person))
    return [point(searches, fpir) for fpir in fpirs if people >= people_needed(fpir)]


def found(matches: Matches, owner: I64) -> Floats:
    """Scores (N,) of mated searches: `MISSED` where another person than `owner` (N,) comes first."""
    return np.where(matches.best == owner, matches.score, MISSED)
