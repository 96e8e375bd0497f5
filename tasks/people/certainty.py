"""How sure it is that a face belongs to the person whose cluster it is in."""

import numpy as np

from muster.arrays import F32, I64
from muster.tasks.people.graph import Strangers
from muster.tasks.people.numbering import by_size
from muster.tasks.people.said import Said

WEIGHTS = (-14.0, 29.15, 1.32)  # of `evidence`: a logistic regression on LFW and COCO, benchmarks/certainty.py
EARNED = 0.65  # of LFW's clusters below it about half are wrong; without them BCubed F is .0005 higher (own)
MOST_ALIKE = 0.6  # more alike than this, the rest are wrong labels


def certainty(embeddings: F32, labels: I64, strangers: Strangers | None = None) -> F32:
    """The chance that each face is of the person whom its cluster shows: (N,) float32 in 0..1, NaN where it is alone.

    `embeddings`: (N, D) float32, L2-normalised; `labels`: (N,), -1 for a face alone. It grows with how alike a face is
    to the others of its cluster, and with their number: two faces taken for one person are wrong more often than ten.
    Of clusters of `cluster_graph`: of those that k-means makes of several people it says far too much.
    """
    return np.asarray(1 / (1 + np.exp(-evidence(embeddings, labels, strangers) @ np.array(WEIGHTS, np.float32))))


def earned(labels: I64, certain: F32, said: Said | None = None) -> I64:
    """Labels (N,) without the clusters whose faces are of one person with a chance below `EARNED`, on average.

    `certain`: (N,), see `certainty`. These would be shown as somebody and are, as often as not, two people. Those with
    a face of somebody of whom something was `said` stay.
    """
    together = labels >= 0
    mean = np.bincount(labels[together], certain[together]) / np.maximum(np.bincount(labels[together]), 1)
    kept = together.copy()
    if said is not None:
        mean[labels[together & (said.known >= 0)]] = 1
    kept[together] = mean[labels[together]] >= EARNED
    return by_size(np.where(kept, labels, -1))


def evidence(embeddings: F32, labels: I64, strangers: Strangers | None = None) -> F32:
    """What that rests on: (N, 3) float32, NaN where a face is alone: 1; the mean cosine with the other faces of its
    cluster, less their mean crowding, at most `MOST_ALIKE`; the logarithm of how many these are."""
    together = np.flatnonzero(labels >= 0)
    result = np.full((len(labels), 3), np.nan, np.float32)
    if not len(together):
        return result
    faces, own = embeddings[together], labels[together]
    others = np.maximum(np.bincount(own)[own] - 1, 1)
    sums = np.zeros((own.max() + 1, faces.shape[1]), np.float32)
    np.add.at(sums, own, faces)
    alike = ((sums[own] - faces) * faces).sum(1) / others
    if strangers is not None:
        crowding = strangers.crowding(faces)
        alike -= (crowding + (np.bincount(own, crowding)[own] - crowding) / others) / 2
    result[together] = np.stack([np.ones(len(faces)), np.minimum(alike, MOST_ALIKE), np.log(others)], 1)
    return result
