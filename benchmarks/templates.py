"""What should a person be known by: the mean of their enrolled faces, or the enrolled faces nearest to a probe?

    python benchmarks/templates.py [--images LFW.parquet] [--label person] [--models own,published] [-l FOLDER]

By the protocol of `muster evaluate identify`: enrolled is the first half of the photos of whoever has several, looked
for are their other photos, and everybody with one photo is a stranger. FOLDER keeps a library for each model.

- mean: the cosine with the mean of a person's faces (`search.templates`), as Muster has it.
- nearest 1, 2, 3: the mean of the highest cosines with so many of a person's faces, or with all where there are fewer.
- vote 3, 5: the k nearest faces of all vote (k-NN: Cover and Hart, Nearest neighbor pattern classification, 1967);
  people with as many votes in order of their nearest face, of which is the score.

All are normalised in one way, as `search.search` has it: less the crowding of the face and, of the faces or means that
it is compared with, and less the mean of the ten people who come next. FNIR: known people who are not named at the
threshold that names such a share of strangers. several: of people with two enrolled photos or more alone: means and
photos are one where there is one. better_than_mean: the share of 1,000 draws of the people in which FNIR at .01 is
lower than that of means.

The last line is one JSON object.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.second_photo import of_each_model
from muster.pipeline.evaluate.faces import Labelled
from muster.pipeline.evaluate.identify import split
from muster.tasks.people.calibrate import FPIRS, MISSED, threshold_at
from muster.tasks.people.graph import Strangers
from muster.tasks.people.search import LOOKALIKES, templates

DRAWS = 1000


class Enrolled:
    """What probes are compared with: `faces` (P, D) of the people `owner` (P,), in order of these, and their means."""

    def __init__(self, faces: np.ndarray, owner: np.ndarray, strangers: Strangers | None) -> None:
        order = np.argsort(owner, kind="stable")
        self.faces, self.owner = faces[order], owner[order]
        self.count = np.bincount(owner)
        self.means = templates(faces, owner, len(self.count), strangers)
        self.lowered = self.means.crowding(self.faces)

    def by_mean(self, probes: np.ndarray) -> tuple[np.ndarray, ...]:
        """Of each probe (N, D) and each person, (N, G): what decides who is first, the cosine less what the person's
        place counts, and the cosine alone."""
        cosines = probes @ self.means.vectors.T
        return cosines - self.means.lowered, cosines - self.means.lowered, cosines

    def by_nearest(self, k: int, probes: np.ndarray) -> tuple[np.ndarray, ...]:
        cosines = probes @ self.faces.T
        less = self._highest(cosines - self.lowered, k)
        return less, less, self._highest(cosines, k)

    def by_vote(self, k: int, probes: np.ndarray) -> tuple[np.ndarray, ...]:
        _, less, cosines = self.by_nearest(1, probes)
        alike = probes @ self.faces.T - self.lowered
        votes = np.zeros_like(less)
        voters = self.owner[np.argpartition(-alike, k - 1, axis=1)[:, :k]]
        np.add.at(votes, (np.arange(len(probes))[:, None], voters), 10)
        return less + votes, less, cosines

    def _highest(self, alike: np.ndarray, k: int) -> np.ndarray:
        """(N, G): the mean of the `k` highest of each person's, (N, P)."""
        alike, total = alike.copy(), np.zeros((len(alike), len(self.count)), np.float32)
        first = np.cumsum(self.count) - self.count
        for number in range(min(k, self.count.max())):
            highest = np.maximum.reduceat(alike, first, axis=1)
            total += np.where(self.count > number, highest, 0)
            alike[alike == highest[:, self.owner]] = -np.inf
        return total / np.minimum(self.count, k)


WAYS: dict[str, Callable[[Enrolled, np.ndarray], tuple[np.ndarray, ...]]] = {
    "mean": Enrolled.by_mean,
    "nearest 1": lambda it, probes: it.by_nearest(1, probes),
    "nearest 2": lambda it, probes: it.by_nearest(2, probes),
    "nearest 3": lambda it, probes: it.by_nearest(3, probes),
    "vote 3": lambda it, probes: it.by_vote(3, probes),
    "vote 5": lambda it, probes: it.by_vote(5, probes),
}


def searched(way: str, it: Enrolled, probes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Who comes first for each probe (N, D), and the score, both (N,)."""
    best, score = np.empty(len(probes), np.int64), np.empty(len(probes), np.float32)
    for start in range(0, len(probes), 512):
        part = slice(start, start + 512)
        order, alike, cosines = WAYS[way](it, probes[part])
        best[part] = order.argmax(1)
        ten = np.partition(cosines, -LOOKALIKES - 1, axis=1)[:, -LOOKALIKES - 1 :]
        less = (1 - it.means.share) * (ten.sum(1) - ten.max(1)) / LOOKALIKES + it.means.crowding(probes[part])
        score[part] = np.take_along_axis(alike, best[part, None], 1)[:, 0] - less
    return best, score


def fnir(mated: np.ndarray, strangers: np.ndarray, fpir: float) -> float:
    return float((mated < threshold_at(strangers, np.ones(len(strangers)), fpir)).mean())


def measured(data: Labelled, label: str) -> dict[str, dict[str, float]]:
    photos = split(data.images, label)
    face = np.full(data.images.num_rows, -1)
    face[data.owner] = data.rows
    enrolled, mated, strangers = (
        rows[face[rows] >= 0] for rows in (photos.enrolled, photos.mated, photos.nonmated)
    )  # photos without a face, of which LFW has 4, are left out
    people, owner = np.unique(photos.person[enrolled], return_inverse=True)
    mated = mated[np.isin(photos.person[mated], people)]
    own = np.searchsorted(people, photos.person[mated])
    vectors = data.faces.embeddings[face]
    return compared(Enrolled(vectors[enrolled], owner, data.faces.strangers), vectors[mated], own, vectors[strangers])


def compared(it: Enrolled, known: np.ndarray, own: np.ndarray, strangers: np.ndarray) -> dict[str, dict[str, float]]:
    """`known` (M, D): of the people `own` (M,)."""
    several = it.count[own] > 1
    results: dict[str, dict[str, float]] = {}
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for way in WAYS:
        best, score = searched(way, it, known)
        mated, others = np.where(best == own, score, MISSED), searched(way, it, strangers)[1]
        found[way] = mated, others
        results[way] = {"rank1": round(float((mated > MISSED).mean()), 5)}
        results[way] |= {f"fnir_at_fpir_{fpir:g}": round(fnir(mated, others, fpir), 5) for fpir in FPIRS}
        results[way]["several_rank1"] = round(float((mated[several] > MISSED).mean()), 5)
        results[way]["several_fnir_at_fpir_0.01"] = round(fnir(mated[several], others, 0.01), 5)
        results[way]["better_than_mean"] = better(found["mean"], found[way], own)
    return results


def better(mean: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], own: np.ndarray) -> float:
    random, (_, code) = np.random.default_rng(0), np.unique(own, return_inverse=True)
    rows = np.split(np.argsort(code, kind="stable"), np.cumsum(np.bincount(code))[:-1])
    lower = 0
    for _ in range(DRAWS):
        known = np.concatenate([rows[i] for i in random.integers(0, len(rows), len(rows))])
        strangers = random.integers(0, len(mean[1]), len(mean[1]))
        lower += fnir(other[0][known], other[1][strangers], 0.01) < fnir(mean[0][known], mean[1][strangers], 0.01)
    return lower / DRAWS


def main() -> None:
    results = {}
    for model, data, label in of_each_model(__doc__):
        results[model] = measured(data, label)
        for way, facts in results[model].items():
            print(model, way, facts, file=sys.stderr)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
