"""Who is this, or nobody we know: faces against the templates of a gallery."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from muster.arrays import F32, I64, Bools
from muster.tasks.people.graph import Strangers

Near = Callable[[F32, int, Callable[[F32], Bools]], tuple[F32, I64]]

LOOKALIKES = 10  # how many of the most similar others say how crowded the place of a face is
MIN_QUALITY = 0.25  # the chance of being recognised below which nobody is named: 1 % of LFW (own), .2 % (published)
CANDIDATES = 3  # people shown where it is unsure who somebody is
LEAST_TEMPLATES = 30  # templates below which a gallery is too small a sample of other people for that
SCORE = 2  # the kind of score: a threshold measured with another does not hold (1: the face's look-alikes alone)
STANDS_OUT = 0.15  # ahead of the ten next by this much in cosine, nobody else is nearer, and no threshold is near
SEARCHED = 1 + LOOKALIKES + CANDIDATES  # templates that a search by `Templates.near` finds: one may be left out
_BLOCK = 1 << 25  # scores held at once


class Matches(NamedTuple):
    """Of each probe (N,): `best`, the row of the most similar template; its `score`; `margin`, by how much it is ahead.

    A gallery of one person has nobody next: the margin is the score itself.
    """

    best: I64
    score: F32
    margin: F32


@dataclass(frozen=True)
class Templates:
    """What people are known by: `vectors` (G, D), float32, L2-normalised.

    `strangers`: those of the model. None: there are none yet, and the gallery's own look-alikes stand for them.
    `near`: finds the nearest of very many vectors, so that not all are compared. Given faces (N, D), a number K and
    what says of cosines (N, K) which faces need no deeper search: cosines and rows (N, K), most similar first, -inf and
    -1 for none. `noted` (G,): what `strangers.crowding` says of the vectors, where that is known.
    """

    vectors: F32
    strangers: Strangers | None
    near: Near | None = None
    noted: F32 | None = None

    @property
    def share(self) -> float:
        """What the strangers count on either side; the gallery's own look-alikes, if any, count the rest."""
        if self.strangers is None:
            return 0.0
        return 0.25 if len(self.vectors) >= LEAST_TEMPLATES else 0.5

    @cached_property
    def lowered(self) -> F32:
        """(G,): by how much all scores with each template are less, see `crowding`."""
        if self.noted is None:
            return self.crowding(self.vectors)
        return np.asarray(self.share * self.noted, np.float32)

    def crowding(self, faces: F32) -> F32:
        """(N,): how much closer than usual strangers lie to each of faces (N, D), in cosine, as far as it counts."""
        if self.strangers is None:
            return np.zeros(len(faces), np.float32)
        return np.asarray(self.share * self.strangers.crowding(faces), np.float32)


def templates(embeddings: F32, owner: I64, count: int, strangers: Strangers | None) -> Templates:
    """`means` of the people 0..count-1, to be searched. `strangers`: see `Templates`."""
    return Templates(means(embeddings, owner, count), strangers)


def means(embeddings: F32, owner: I64, count: int) -> F32:
    """The mean of each person's faces, normalised again: (G, D) float32.

    `embeddings`: (N, D) float32, L2-normalised. `owner`: (N,) int64, the person 0..count-1 of each; everybody has one.
    """
    return normalised(sums(embeddings, owner, count))


def sums(embeddings: F32, owner: I64, count: int) -> F32:
    """(G, D): what each person's embeddings (N, D) add up to."""
    total = np.zeros((count, embeddings.shape[1]), np.float32)
    np.add.at(total, owner, embeddings)
    return total


def normalised(vectors: np.ndarray[Any, Any]) -> F32:
    """(N, D) → rows of length 1."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)


def search(probes: F32, gallery: Templates, own: I64 | None = None) -> Matches:
    """The best template of each probe. `probes`: (N, D) float32, L2-normalised. There is at least one template.

    `own`: (N,) int64, a template of each probe to be left out: what a stranger with this face would meet.
    The score is the cosine less half the crowding of the face and half that of the template, which is how clustering
    compares faces; from `LEAST_TEMPLATES` templates on a quarter of each, and three quarters of the mean cosine of the
    ten templates that come next. So blurred faces, which resemble everybody, need more, and so do people whom many
    resemble. Source: adaptive s-norm of speaker verification, its means alone (Matějka et al., Analysis of score
    normalization in multilingual speaker recognition, Interspeech 2017; Cumani et al., Comparison of speaker
    recognition approaches for real applications, Interspeech 2011). Without strangers the ten count whole.
    """
    found = [_best(rows, block) for _, rows, block in _blocks(probes, gallery, own)]
    empty = Matches(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32))
    return Matches(*(np.concatenate(parts) for parts in zip(empty, *found, strict=True)))


def score_of(probes: F32, gallery: Templates, person: I64) -> F32:
    """(N,): the score of each probe with the template `person` (N,), as `search` has it: is it this person?"""
    if gallery.near is not None:
        cosines = (probes * gallery.vectors[person]).sum(1)
        near, _ = gallery.near(probes, SEARCHED, stand_out)
        return np.asarray(cosines - _less(near, probes, gallery) - gallery.lowered[person], np.float32)
    found = [block[np.arange(len(block)), person[part]] for part, _, block in _blocks(probes, gallery, None)]
    return np.concatenate([np.empty(0, np.float32), *found])


def nearest(probes: F32, gallery: Templates, own: I64 | None = None) -> tuple[I64, F32]:
    """The `CANDIDATES` most similar templates of each probe, best first, and their scores: (N, C) both, C up to G.

    `own`: see `search`; its score is -inf, and so it comes last, if at all.
    """
    count = min(CANDIDATES, len(gallery.vectors))
    rows, values = np.empty((len(probes), count), np.int64), np.empty((len(probes), count), np.float32)
    for part, compared, found in _blocks(probes, gallery, own):
        each = np.arange(len(found))
        for place in range(count):  # argpartition would need as much memory again, twice
            best = found.argmax(1)
            rows[part, place], values[part, place] = compared[each, best], found[each, best]
            found[each, best] = -np.inf
    return rows, values


def scores(probes: F32, gallery: Templates, own: I64 | None = None) -> F32:
    """(N, G): the score of every probe with every template, all in memory; -inf with its own, see `search`."""
    blocks = (block for _, _, block in _blocks(probes, replace(gallery, near=None), own))
    return np.concatenate([np.empty((0, len(gallery.vectors)), np.float32), *blocks])


def _blocks(probes: F32, gallery: Templates, own: I64 | None) -> Iterator[tuple[slice, I64, F32]]:
    """Some probes at a time, the templates that they are compared with, and the scores, both (n, K): with all of them
    in order, or with the nearest of very many. -inf with their own."""
    step = max(1, _BLOCK // max(1, SEARCHED if gallery.near else len(gallery.vectors)))
    for start in range(0, len(probes), step):
        part = slice(start, start + step)
        found, rows = _compared(probes[part], gallery, deep=own is not None)
        if own is not None:
            found[rows == own[part, None]] = -np.inf
        found -= _less(found, probes[part], gallery)[:, None]
        found -= gallery.lowered[rows]
        yield part, np.broadcast_to(rows, found.shape), found


def _compared(probes: F32, gallery: Templates, deep: bool) -> tuple[F32, I64]:
    """Cosines (N, K), and of which templates: (N, K), or (1, G) where all are compared. `deep`: a template that stands
    out is not the one that is looked for."""
    if gallery.near is None:
        return probes @ gallery.vectors.T, np.arange(len(gallery.vectors))[None]
    return gallery.near(probes, SEARCHED, _never if deep else stand_out)


def stand_out(cosines: F32) -> Bools:
    """(N,): whether the most similar of templates (N, K), sorted, is far ahead of those that come next."""
    return np.asarray(cosines[:, 0] - cosines[:, 1 : LOOKALIKES + 1].mean(1) >= STANDS_OUT)


def _never(cosines: F32) -> Bools:
    return np.zeros(len(cosines), bool)


def _less(cosines: F32, probes: F32, gallery: Templates) -> F32:
    """(N,): by how much all scores of each probe are less than its cosines (N, K)."""
    return (1 - gallery.share) * _lookalikes(cosines, len(gallery.vectors)) + gallery.crowding(probes)


def _lookalikes(cosines: F32, templates: int) -> F32:
    """(N,): the mean of the ten largest but one of each row; 0 below `LEAST_TEMPLATES` templates."""
    if templates < LEAST_TEMPLATES:
        return np.zeros(len(cosines), np.float32)
    nearest = np.partition(cosines, -LOOKALIKES - 1, axis=1)[:, -LOOKALIKES - 1 :]
    return (nearest.sum(1) - nearest.max(1)) / LOOKALIKES  # not the best one, which may be the person itself


def _best(rows: I64, scores: F32) -> Matches:
    """`rows`, `scores`: (N, K)."""
    each, best = np.arange(len(scores)), scores.argmax(1)
    score = scores[each, best]
    if scores.shape[1] == 1:
        return Matches(rows[each, best], score, score)
    return Matches(rows[each, best], score, score - np.partition(scores, -2, axis=1)[:, -2])
