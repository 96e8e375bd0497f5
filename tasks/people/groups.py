"""Thresholds and errors of each group of a gallery's people: a class, an age, how long ago a photo was made."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muster.arrays import F32, I64, Bools, Floats
from muster.errors import TaskError
from muster.tasks.people.calibrate import (
    Interval,
    Raised,
    Searches,
    allowed,
    people_needed,
    person_weights,
    rate,
    strictest,
    supported,
    threshold_at,
    up,
)
from muster.tasks.people.search import Templates, scores

COMPARED = 4_000_000  # comparisons that a group's threshold for 1:1 is measured by, at most
LEAST = 20  # people of a group whose rates are shown: of fewer, an interval says nothing that is of use


@dataclass(frozen=True)
class Grouping:
    """Of which of the groups `names` (K) is who. All are numbers of them.

    Of each non-mated search (N,): `stranger`, who was searched for, and `candidate`, whose threshold they met. Of each
    mated search (M,): `known`, who was searched for, and `own`, whose threshold they met.
    """

    names: Sequence[str]
    stranger: I64
    candidate: I64
    known: I64
    own: I64


@dataclass(frozen=True)
class Row:
    """What people of a group meet. `people`: of whom strangers were made, `known`: with two photos; `fpir` and `fnir`:
    see `Point`, None where too few people support the FPIR asked for, or none has two photos. `threshold`: the lowest
    and the highest of those who are met, None where nobody is. `strictest`: the lowest FPIR that so many can support,
    None above 1. `more`: it is 95 % certain that strangers of it are given a name more often than was asked for."""

    name: str
    people: int
    fpir: float | None
    fpir_interval: Interval | None
    known: int
    fnir: float | None
    fnir_interval: Interval | None
    threshold: Interval | None
    strictest: float | None
    more: bool


def needed(fpir: float) -> int:
    """People of a group for this FPIR: as two who resemble each other are each named as the other, hits come in pairs,
    and the people count as half as many."""
    return 2 * people_needed(fpir)


def thresholds(searches: Searches, groups: Grouping, fpir: float) -> tuple[float, Floats]:
    """The lowest threshold, and (K,) that of each group: who is named must reach that of their own.

    Of every group's strangers no more than this share is given a name, of whichever group, with 95 % certainty as in
    `point`, with half of the people, see `needed`. A group's own threshold is the lowest at which that is so, with all
    others at the lowest there is; where they alone let too many pass, that one is raised to what this group's strangers
    need anywhere. None is below that of `point`. NaN for a group that no stranger is of. TaskError where a group has
    too few people.
    """
    lowest = supported(searches, fpir)
    _refused(groups, _people(searches, groups), needed(fpir))
    present = np.unique(groups.stranger)
    share = {int(g): _share(searches.nonmated_person[groups.stranger == g], fpir) for g in present}
    for g in map(int, present):
        score, weight, own = _of(searches, groups, g)
        if float(weight[~own & (score >= lowest)].sum() / weight.sum()) > share[g] + 1e-12:
            lowest = max(lowest, threshold_at(score, weight, share[g]))
    found = np.full(len(groups.names), np.nan)
    for g in map(int, present):
        score, weight, own = _of(searches, groups, g)
        others = ~own & (score >= lowest)
        left = (share[g] - float(weight[others].sum() / weight.sum())) * weight.sum()
        mine = threshold_at(score[own], weight[own], max(left, 0) / weight[own].sum()) if own.any() else lowest
        found[g] = max(lowest, mine)
    return lowest, found


def raised(groups: Grouping, lowest: float, each: Floats) -> Raised:
    """`lowest`, `each`: of `thresholds`."""
    return Raised((each - lowest)[groups.own], (each - lowest)[groups.candidate])


def rows(searches: Searches, groups: Grouping, target: float, threshold: float, above: Raised) -> list[Row]:
    """What each group meets at a threshold, or `above` it, in order of names; none for a group of nobody."""
    strange, known = searches.nonmated >= threshold + above.nonmated, searches.mated < threshold + above.mated
    found = []
    for number, name in enumerate(groups.names):
        a, b = groups.stranger == number, groups.known == number
        if not (a.any() or b.any()):
            continue
        people, two = (len(np.unique(p)) for p in (searches.nonmated_person[a], searches.mated_person[b]))
        fpir = of_fpir = fnir = of_fnir = None
        if people >= LEAST:
            fpir, of_fpir = rate(strange[a], searches.nonmated_person[a], person_weights(searches.nonmated_person[a]))
            if two:
                weight = _once(searches.mated_person[b], searches.mated_weight[b])
                fnir, of_fnir = rate(known[b], searches.mated_person[b], weight)
        more, met = of_fpir is not None and of_fpir[0] > target, _met(groups, number, threshold, above)
        support = strictest(people // 2) if strictest(people // 2) < 1 else None
        found.append(Row(name, people, fpir, of_fpir, two, fnir, of_fnir, met, support, more))
    return found


def _once(person: I64, weight: Floats) -> Floats:
    """(M,): weights in the same ratios for each person, with which each counts the same."""
    _, code = np.unique(person, return_inverse=True)
    return np.asarray(weight / np.bincount(code, weight)[code])


def _met(groups: Grouping, number: int, threshold: float, above: Raised) -> Interval | None:
    """The lowest and the highest threshold of those who are of this group."""
    pairs = (groups.candidate, above.nonmated), (groups.own, above.mated)
    by = np.concatenate([np.broadcast_to(raise_by, who.shape)[who == number] for who, raise_by in pairs])
    return (threshold + float(by.min()), threshold + float(by.max())) if len(by) else None


def impostor_threshold_of(embeddings: F32, owner: I64, gallery: Templates, member: Bools, fmr: float) -> float:
    """For 1:1: the lowest score that at most a share `fmr` of comparisons with others of one group reach.

    `member`: (G,), who is of it. As `impostor_threshold`, faces and templates both of members: who claims to be
    somebody is most alike in their own group.
    """
    mine, columns = np.flatnonzero(member[owner]), np.flatnonzero(member)
    some = mine[:: max(1, len(mine) * len(member) // COMPARED)]
    matrix = scores(embeddings[some], gallery, own=owner[some])[:, columns]
    others = columns != owner[some, None]
    return threshold_at(matrix[others], np.ones(int(others.sum())), fmr)


def _of(searches: Searches, groups: Grouping, group: int) -> tuple[Floats, Floats, Bools]:
    """Score and weight of the searches of a group's strangers, and which of them came nearest to one of their own."""
    mine = groups.stranger == group
    own = groups.candidate[mine] == group
    return searches.nonmated[mine], person_weights(searches.nonmated_person[mine]), own


def _share(person: I64, fpir: float) -> float:
    half = len(np.unique(person)) // 2
    return allowed(half, fpir) / half


def _people(searches: Searches, groups: Grouping) -> I64:
    """(K,): of how many people strangers were made in each group."""
    return np.array(
        [len(np.unique(searches.nonmated_person[groups.stranger == g])) for g in range(len(groups.names))], np.int64
    )


def _refused(groups: Grouping, number: I64, enough: int) -> None:
    """Groups without anybody are none."""
    pairs = zip(groups.names, number.tolist(), strict=True)
    few = [f"{name} has {people:,}" for name, people in pairs if 0 < people < enough]
    if few:
        more = f", and {len(few) - 5:,} more groups too few" if len(few) > 5 else ""
        least = strictest(int(number[number > 0].min()) // 2)
        raise TaskError(
            f"the same promise for every group needs at least {enough:,} people with photos in each, and"
            f" {', '.join(few[:5])}{more}: enrol more, or join groups"
            + (f", or choose an FPIR of at least {up(least)}" if least < 1 else "")
        )
