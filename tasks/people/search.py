"""Who is this, or nobody we know: faces against the templates of a gallery."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from muster.tasks.people.graph import Strangers

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ints = np.ndarray[Any, np.dtype[np.int64]]

LOOKALIKES = 10  # how many of the most similar others say how crowded the place of a face is
MIN_QUALITY = 0.25  # the chance of being recognised below which nobody is named: 1 % of LFW (own), .2 % (published)
CANDIDATES = 3  # people shown where it is unsure who somebody is
LEAST = 30  # templates below which a gallery is too small a sample of other people for that
SCORE = 2  # the kind of score: a threshold measured with another does not hold (1: the face's look-alikes alone)
_BLOCK = 1 << 25  # scores held at once


class Matches(NamedTuple):
    """Of each probe (N,): `best`, the row of the most similar template; its `score`; `margin`, by how much it is ahead.

    A gallery of one person has nobody next: the margin is the score itself.
    """

    best: Ints
    score: Floats
    margin: Floats


@dataclass(frozen=True)
class Templates:
    """What people are known by: `vectors` (G, D), float32, L2-normalised.

    `strangers`: those of the model. None: there are none yet, and the gallery's own look-alikes stand for them.
    """

    vectors: Floats
    strangers: Strangers | None

    @property
    def share(self) -> float:
        """What the strangers count on either side; the gallery's own look-alikes, if any, count the rest."""
        if self.strangers is None:
            return 0.0
        return 0.25 if len(self.vectors) >= LEAST else 0.5

    @cached_property
    def lowered(self) -> Floats:
        """(G,): by how much all scores with each template are less, see `crowding`."""
        return self.crowding(self.vectors)

    def crowding(self, faces: Floats) -> Floats:
        """(N,): how much closer than usual strangers lie to each of faces (N, D), in cosine, as far as it counts."""
        if self.strangers is None:
            return np.zeros(len(faces), np.float32)
        return np.asarray(self.share * self.strangers.crowding(faces), np.float32)


def templates(embeddings: Floats, owner: Ints, count: int, strangers: Strangers | None) -> Templates:
    """`means` of the people 0..count-1, to be searched. `strangers`: see `Templates`."""
    return Templates(means(embeddings, owner, count), strangers)


def means(embeddings: Floats, owner: Ints, count: int) -> Floats:
    """The mean of each person's faces, normalised again: (G, D) float32.

    `embeddings`: (N, D) float32, L2-normalised. `owner`: (N,) int64, the person 0..count-1 of each; everybody has one.
    """
    return normalised(sums(embeddings, owner, count))


def sums(embeddings: Floats, owner: Ints, count: int) -> Floats:
    """(G, D): what each person's embeddings (N, D) add up to."""
    total = np.zeros((count, embeddings.shape[1]), np.float32)
    np.add.at(total, owner, embeddings)
    return total


def normalised(vectors: np.ndarray[Any, Any]) -> Floats:
    """(N, D) → rows of length 1."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)


def search(probes: Floats, gallery: Templates, own: Ints | None = None) -> Matches:
    """The best template of each probe. `probes`: (N, D) float32, L2-normalised. There is at least one template.

    `own`: (N,) int64, a template of each probe to be left out: what a stranger with this face would meet.
    The score is the cosine less half the crowding of the face and half that of the template, which is how clustering
    compares faces; from `LEAST` templates on a quarter of each, and three quarters of the mean cosine of the ten
    templates that come next. So
    blurred faces, which resemble everybody, need more, and so do people whom many resemble. Source: adaptive s-norm of
    speaker verification, its means alone (Matějka et al., Analysis of score normalization in multilingual speaker
    recognition, Interspeech 2017; Cumani et al., Comparison of speaker recognition approaches for real applications,
    Interspeech 2011). Without strangers the ten count whole.
    """
    found = [_best(block) for _, block in _blocks(probes, gallery, own)]
    empty = Matches(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32))
    return Matches(*(np.concatenate(parts) for parts in zip(empty, *found, strict=True)))


def score_of(probes: Floats, gallery: Templates, person: Ints) -> Floats:
    """(N,): the score of each probe with the template `person` (N,), as `search` has it: is it this person?"""
    found = [block[np.arange(len(block)), person[part]] for part, block in _blocks(probes, gallery, None)]
    return np.concatenate([np.empty(0, np.float32), *found])


def nearest(probes: Floats, gallery: Templates, own: Ints | None = None) -> tuple[Ints, Floats]:
    """The `CANDIDATES` most similar templates of each probe, best first, and their scores: (N, C) both, C up to G.

    `own`: see `search`; its score is -inf, and so it comes last, if at all.
    """
    count = min(CANDIDATES, len(gallery.vectors))
    rows, values = np.empty((len(probes), count), np.int64), np.empty((len(probes), count), np.float32)
    for part, found in _blocks(probes, gallery, own):
        each = np.arange(len(found))
        for place in range(count):  # argpartition would need as much memory again, twice
            rows[part, place] = best = found.argmax(1)
            values[part, place] = found[each, best]
            found[each, best] = -np.inf
    return rows, values


def scores(probes: Floats, gallery: Templates, own: Ints | None = None) -> Floats:
    """(N, G): the score of every probe with every template, all in memory; -inf with its own, see `search`."""
    blocks = (block for _, block in _blocks(probes, gallery, own))
    return np.concatenate([np.empty((0, len(gallery.vectors)), np.float32), *blocks])


def _blocks(probes: Floats, gallery: Templates, own: Ints | None) -> Iterator[tuple[slice, Floats]]:
    """Scores of some probes with all templates at a time, -inf with their own."""
    step = max(1, _BLOCK // max(1, len(gallery.vectors)))
    for start in range(0, len(probes), step):
        part = slice(start, start + step)
        found = probes[part] @ gallery.vectors.T
        if own is not None:
            found[np.arange(len(found)), own[part]] = -np.inf
        found -= ((1 - gallery.share) * _lookalikes(found) + gallery.crowding(probes[part]))[:, None]
        found -= gallery.lowered
        yield part, found


def _lookalikes(cosines: Floats) -> Floats:
    """(N,): the mean of the ten largest but one of each row; 0 where there are fewer than `LEAST`."""
    if cosines.shape[1] < LEAST:
        return np.zeros(len(cosines), np.float32)
    nearest = np.partition(cosines, -LOOKALIKES - 1, axis=1)[:, -LOOKALIKES - 1 :]
    return (nearest.sum(1) - nearest.max(1)) / LOOKALIKES  # not the best one, which may be the person itself


def _best(scores: Floats) -> Matches:
    best = scores.argmax(1)
    score = scores[np.arange(len(scores)), best]
    if scores.shape[1] == 1:
        return Matches(best, score, score)
    return Matches(best, score, score - np.partition(scores, -2, axis=1)[:, -2])
