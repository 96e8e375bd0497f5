"""The two groups that a cluster would fall into, if it were two people."""

import numpy as np

from muster.arrays import F32, I64, Bools

ROUNDS = 5


def halves(embeddings: F32, labels: I64) -> list[tuple[I64, I64]]:
    """For each cluster of `labels` (N,) the rows of its smaller half and of the larger; -1 is in none.

    `embeddings`: (N, D) float32, L2-normalised. Spherical k-means of two, that begins with the face least like the
    others and the one least like that.
    """
    rows = np.flatnonzero(labels >= 0)
    rows = rows[np.argsort(labels[rows], kind="stable")]
    bounds = np.flatnonzero(np.diff(labels[rows])) + 1
    found = []
    for members in np.split(rows, bounds) if len(rows) else []:
        if len(members) > 1:
            first = _first(embeddings[members])
            small, large = members[first], members[~first]
            found.append((small, large) if len(small) <= len(large) else (large, small))
    return found


def _first(faces: F32) -> Bools:
    """Which of faces (M, D) are in the first half; at least one is, and one is not."""
    odd = faces[(faces @ faces.sum(0)).argmin()]
    other = faces[(faces @ odd).argmin()]
    for _ in range(ROUNDS):
        first = faces @ odd > faces @ other
        if not first.any() or first.all():
            break
        odd, other = (_direction(faces[part]) for part in (first, ~first))
    if not first.any() or first.all():
        first = np.arange(len(faces)) == 0
    return first


def _direction(faces: F32) -> F32:
    total = faces.sum(0)
    return np.asarray(total / max(float(np.linalg.norm(total)), 1e-9), np.float32)
