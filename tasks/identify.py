"""Who is this, or nobody we know: faces against the templates of a gallery."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ints = np.ndarray[Any, np.dtype[np.int64]]

LOOKALIKES = 10  # how many of the most similar others say how crowded the place of a face is
MIN_QUALITY = 0.25  # of 0.6 % of LFW's faces below it (published networks) a quarter is unlike its person's others
CANDIDATES = 3  # people shown where it is unsure who somebody is
LEAST = 30  # templates below which a gallery is too small a sample of other people for that
_BLOCK = 1 << 25  # scores held at once


class Matches(NamedTuple):
    """Of each probe (N,): `best`, the row of the most similar template; its `score`; `margin`, by how much it is ahead.

    A gallery of one person has nobody next: the margin is the score itself.
    """

    best: Ints
    score: Floats
    margin: Floats


def templates(embeddings: Floats, owner: Ints, count: int) -> Floats:
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


def search(probes: Floats, gallery: Floats, own: Ints | None = None) -> Matches:
    """The best template of each probe. `probes` (N, D), `gallery` (G, D): float32, L2-normalised; G at least 1.

    `own`: (N,) int64, a template of each probe to be left out: what a stranger with this face would meet.
    The score is the cosine less the mean cosine of the ten templates that come next, so that blurred faces, which
    resemble everybody, need more: adaptive score normalisation as speaker verification has it (Cumani et al.,
    Comparison of speaker recognition approaches for real applications, Interspeech 2011), its mean alone. With fewer
    than `LEAST` templates it is the cosine.
    """
    found = [_best(_scores(block)) for _, block in _blocks(probes, gallery, own)]
    empty = Matches(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.float32))
    return Matches(*(np.concatenate(parts) for parts in zip(empty, *found, strict=True)))


def score_of(probes: Floats, gallery: Floats, person: Ints) -> Floats:
    """(N,): the score of each probe with the template `person` (N,), as `search` has it: is it this person?"""
    found = [_scores(block)[np.arange(len(block)), person[part]] for part, block in _blocks(probes, gallery, None)]
    return np.concatenate([np.empty(0, np.float32), *found])


def nearest(probes: Floats, gallery: Floats, own: Ints | None = None) -> tuple[Ints, Floats]:
    """The `CANDIDATES` most similar templates of each probe, best first, and their scores: (N, C) both, C up to G.

    `own`: see `search`; its score is -inf, and so it comes last, if at all.
    """
    count = min(CANDIDATES, len(gallery))
    rows, values = np.empty((len(probes), count), np.int64), np.empty((len(probes), count), np.float32)
    for part, block in _blocks(probes, gallery, own):
        found, each = _scores(block), np.arange(len(block))
        for place in range(count):  # argpartition would need as much memory again, twice
            rows[part, place] = best = found.argmax(1)
            values[part, place] = found[each, best]
            found[each, best] = -np.inf
    return rows, values


def scores(probes: Floats, gallery: Floats, own: Ints | None = None) -> Floats:
    """(N, G): the score of every probe with every template, all in memory; -inf with its own, see `search`."""
    return np.concatenate(
        [np.empty((0, len(gallery)), np.float32), *(_scores(b) for _, b in _blocks(probes, gallery, own))]
    )


def _blocks(probes: Floats, gallery: Floats, own: Ints | None) -> Iterator[tuple[slice, Floats]]:
    """Cosines of some probes with all templates at a time, -inf with their own."""
    step = max(1, _BLOCK // max(1, len(gallery)))
    for start in range(0, len(probes), step):
        part = slice(start, start + step)
        cosines = probes[part] @ gallery.T
        if own is not None:
            cosines[np.arange(len(cosines)), own[part]] = -np.inf
        yield part, cosines


def _scores(cosines: Floats) -> Floats:
    if cosines.shape[1] < LEAST:
        return cosines
    nearest = np.partition(cosines, -LOOKALIKES - 1, axis=1)[:, -LOOKALIKES - 1 :]
    lookalikes = (nearest.sum(1) - nearest.max(1)) / LOOKALIKES  # not the best one, which may be the person itself
    return np.asarray(cosines - lookalikes[:, None], np.float32)


def _best(scores: Floats) -> Matches:
    best = scores.argmax(1)
    score = scores[np.arange(len(scores)), best]
    if scores.shape[1] == 1:
        return Matches(best, score, score)
    return Matches(best, score, score - np.partition(scores, -2, axis=1)[:, -2])
