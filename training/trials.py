"""How well claims are told from lies: who is enrolled by some items, and which other items claim to be of whom."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy.stats import norm

from muster.arrays import F64, I64, Bools, Floats
from muster.errors import TaskError
from muster.tasks.metrics import people as metrics

Scores = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (N, D), (N, D) → (N,): the more alike, the higher
CLAIMS = 1 << 20  # of all that could be made, those of others beyond so many are drawn: it is seconds, not gigabytes
CHUNK = 1 << 14  # claims whose vectors are laid beside each other at once
RESAMPLES, CONFIDENCE = 200, 0.95
FOLDS = 10
MOST = 12  # items of one person, where each is enrolled in turn: nobody with hundreds decides a figure
FARS = ("1e-1", "1e-2")
POINTS, DEVIATES = 50, 3.5  # of a curve, along each axis, from .0002 to .9998


@dataclass(frozen=True)
class Trials:
    """`enrolled` (E, K): rows of what each enrolment consists of, `who` (E,) it is; `tested` (P,): rows of what claims
    to be them. `owner` (P,): who these are of, `genuine` (P,) or only claims to be. Who: numbers from 0."""

    enrolled: I64
    who: I64
    tested: I64
    owner: I64
    genuine: Bools


@dataclass(frozen=True)
class Claims:
    """Of one kind: `scores`, `same` (N,); `claimed` (N,): who each claims to be of, `owner` (N,): who it is of."""

    scores: Floats
    same: Bools
    claimed: I64
    owner: I64


def each_in_turn(labels: Sequence[str]) -> Trials:
    """Every item is enrolled, the first MOST of each label, and every later one tested against it. TaskError where
    there is none."""
    if not labels:
        raise TaskError("there is no item to be tested")
    rows = np.concatenate([rows[:MOST] for rows in _rows_of(labels).values()])
    rows.sort()
    who = np.unique(np.asarray(labels)[rows], return_inverse=True)[1]
    return Trials(rows[:, None], who, rows, who, np.ones(len(rows), bool))


def enrolled_by(labels: Sequence[str], genuine: Bools, count: int) -> Trials:
    """Each label is enrolled by its first `count` genuine items; tested are the later half of these, which may be of
    another day, and all that are not genuine. TaskError where nobody has twice as many."""
    rows_of = {label: rows for label, rows in _rows_of(labels).items() if genuine[rows].sum() >= 2 * count}
    if len(rows_of) < 2:
        raise TaskError(f"{len(rows_of)} people have {2 * count} genuine items or more: at least 2 are needed")
    own = [rows[genuine[rows]] for rows in rows_of.values()]
    tested = [
        np.append(mine[len(mine) // 2 :], rows[~genuine[rows]])
        for mine, rows in zip(own, rows_of.values(), strict=True)
    ]
    flat = np.concatenate(tested)
    return Trials(
        np.stack([mine[:count] for mine in own]),
        np.arange(len(own)),
        flat,
        np.repeat(np.arange(len(own)), list(map(len, tested))),
        genuine[flat],
    )


def _rows_of(labels: Sequence[str]) -> dict[str, I64]:
    found: dict[str, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        found[label].append(row)
    return {label: np.array(rows) for label, rows in sorted(found.items())}


def claims(trials: Trials, vectors: torch.Tensor, scores: Scores) -> dict[str, Claims]:
    """`others`: claims of those who are enrolled beside those of others; `forged`: beside what is not genuine, where
    there is such. The score of a claim is the mean over what is enrolled, less how alike that is among itself.

    The latter after Kholmatov and Yanikoglu, Identity authentication using improved online signature verification
    method, Pattern Recognition Letters 26, 2005, section 3: whose own signatures differ, of them much may differ.
    """
    enrolment, test = _met(trials)
    if trials.enrolled.shape[1] == 1:
        once = trials.enrolled[enrolment, 0] < trials.tested[test]  # each pair once, and nothing beside itself
        enrolment, test = enrolment[once], test[once]
    values = _alike(trials, vectors, scores, enrolment, test)
    claimed, owner, genuine = trials.who[enrolment], trials.owner[test], trials.genuine[test]
    same = (claimed == owner) & genuine
    kinds = {"others": genuine, "forged": claimed == owner}
    return {
        name: Claims(values[use], same[use], claimed[use], owner[use])
        for name, use in kinds.items()
        if same[use].any() and not same[use].all()
    }


def _met(trials: Trials) -> tuple[I64, I64]:
    """Which enrolment (C,) each claim names, and which of the tested (C,) makes it: all that there are, or where these
    are more than CLAIMS, whoever names themself, and so many at random."""
    many, tested = len(trials.who), len(trials.owner)
    if many * tested <= CLAIMS:
        return np.divmod(np.arange(many * tested), tested)
    by_owner = np.argsort(trials.owner, kind="stable")
    first, last = (np.searchsorted(trials.owner[by_owner], trials.who, side) for side in ("left", "right"))
    own = [i * tested + by_owner[start:end] for i, (start, end) in enumerate(zip(first, last, strict=True))]
    drawn = np.random.default_rng(0).integers(0, many * tested, CLAIMS)
    return np.divmod(np.unique(np.concatenate([*own, drawn])), tested)


def _alike(trials: Trials, vectors: torch.Tensor, scores: Scores, enrolment: I64, test: I64) -> F64:
    """(C,), of each claim; see `claims`."""
    enrolled = vectors[torch.from_numpy(trials.enrolled)].unbind(1)  # K of (E, D)
    apart = [scores(one, other) for one, other in combinations(enrolled, 2)]
    among = torch.stack(apart).mean(0) if apart else torch.zeros(len(trials.who))
    parts = []
    for begin in range(0, len(test), CHUNK):
        named = torch.from_numpy(enrolment[begin : begin + CHUNK])
        claimant = vectors[torch.from_numpy(trials.tested[test[begin : begin + CHUNK]])]
        found = torch.stack([scores(each[named], claimant) for each in enrolled]).mean(0)
        parts.append(found - among[named])
    return torch.cat(parts).double().numpy()


def of_sources(scores: Floats, same: Bools, sources: Sequence[str]) -> dict[str, Claims]:
    """Pairs, each as if of another person, by their source; those of which all are alike say nothing."""
    found = {}
    for source in sorted(set(sources)):
        here = np.array([each == source for each in sources])
        if len(set(same[here].tolist())) == 2:
            number = np.arange(here.sum())
            found[source] = Claims(scores[here], same[here], number, number)
    return found


def summary(found: Claims) -> dict[str, Any]:
    """`eer` and its interval, `accuracy` over folds of people and its interval, `tar_at_far_…`, and the curve `det`: a
    share of impostors let in and one of genuine claims turned away at each of some thresholds."""
    facts: dict[str, Any] = {
        "genuine": int(found.same.sum()),
        "impostors": int((~found.same).sum()),
        "people": len(np.unique(found.claimed)),
        "eer": round(metrics.equal_error_rate(found.scores, found.same), 4),
        "eer_interval": _interval(found),
    }
    facts |= _accuracy(found)
    for far in FARS:
        facts[f"tar_at_far_{far}"] = round(metrics.tar_at_far(found.scores, found.same, float(far)), 4)
    _, accepted, rejected = metrics.det_curve(found.scores, found.same)
    shares = norm.cdf(np.linspace(-DEVIATES, DEVIATES, POINTS))  # evenly along the axes that such curves are drawn on
    last = len(accepted) - 1
    some = np.unique([0, *np.searchsorted(-accepted, -shares).clip(max=last), *np.searchsorted(rejected, shares), last])
    return facts | {"det": np.stack([accepted, rejected], 1)[some].round(4).tolist()}


def _interval(found: Claims) -> list[float]:
    """By bootstrap over people (Efron, Annals of Statistics 7, 1979; percentiles): a claim counts as often as whom it
    names is drawn, times as often as whose it is, where that is another."""
    random, count = np.random.default_rng(0), int(max(found.claimed.max(), found.owner.max())) + 1
    own = found.claimed == found.owner

    def weights() -> F64:
        drawn: F64 = np.bincount(random.integers(0, count, count), minlength=count).astype(np.float64)
        return drawn[found.claimed] * np.where(own, 1, drawn[found.owner])

    values = metrics.equal_error_rates(found.scores, found.same, (weights() for _ in range(RESAMPLES)))
    bounds = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]) if len(values) else (0.0, 1.0)
    return [round(float(bound), 4) for bound in bounds]


def _accuracy(found: Claims) -> dict[str, float]:
    """Over folds that share no person, as many impostors as genuine claims in each; empty where there are too few
    people. The layout is that of LFW's View 2 (UMass TR 07-49, section 2)."""
    people, random = np.unique(found.claimed), np.random.default_rng(0)
    forged = bool((found.claimed == found.owner)[~found.same].any())
    count = min(FOLDS, len(people) if forged else len(people) // 2)
    if count < 2:
        return {}
    fold = np.full(people.max() + 1 + found.owner.max(), -1)  # whoever nobody claims to be is in none
    fold[random.permutation(people)] = np.arange(len(people)) % count
    inside = fold[found.claimed] == fold[found.owner]
    rows = []
    for number in range(count):
        here = inside & (fold[found.claimed] == number)
        kinds = [np.flatnonzero(here & found.same), np.flatnonzero(here & ~found.same)]
        few = min(map(len, kinds))
        if not few:
            return {}
        rows += [random.permutation(kind)[:few] for kind in kinds]
    some = np.concatenate(rows)
    each, _ = metrics.fold_accuracy(found.scores[some], found.same[some], fold[found.claimed[some]])
    return {"accuracy": round(float(each.mean()), 4), "accuracy_std": round(float(each.std(ddof=1)), 4), "folds": count}


def as_numbers(found: dict[str, Claims]) -> dict[str, float]:
    """Figures of a training's report: equal error rate and accuracy of each kind of claims."""
    figures = {}
    for kind, some in found.items():
        figures[f"eer_{kind}"] = metrics.equal_error_rate(some.scores, some.same)
        figures |= {f"{name}_{kind}": value for name, value in _accuracy(some).items() if name == "accuracy"}
    return figures
