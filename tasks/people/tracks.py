"""Faces of consecutive moments of one video that are one face: a track."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from muster.arrays import F32, F64, I64, Bools

OVERLAP = 0.2  # intersection over union of the boxes of two moments
ALIKE = 0.5  # cosine of a face with the last one of its track
GAP = 2.5  # seconds between them, at most: at one moment a second, one may be missing


def tracks(videos: I64, moments: F64, boxes: F32, embeddings: F32) -> I64:
    """(N,): the track of each face, numbered from 0 in the order of their first rows.

    `videos`: (N,), the video that a face is in, -1 none: such a face is a track of its own. `moments`: (N,) seconds.
    `boxes`: (N, 4), xyxy. `embeddings`: (N, D) float32, L2-normalised. A face goes on with a track whose last face its
    box overlaps and which it looks like; where several could, those that fit best together. Faces of one moment are in
    different tracks. The same for every order of the rows.
    """
    last = np.arange(len(videos))  # the row that a track began with
    for video in np.unique(videos[videos >= 0]):
        rows = np.flatnonzero(videos == video)
        rows = rows[np.lexsort((*boxes[rows].T, moments[rows]))]
        open_ = rows[:0]  # the last face of each track
        for now in np.split(rows, np.flatnonzero(np.diff(moments[rows])) + 1):
            open_ = open_[moments[now[:1]] - moments[open_] <= GAP] if len(now) else open_
            before, after = _matched(boxes, embeddings, open_, now)
            last[after] = last[before]
            open_ = np.append(np.setdiff1d(open_, before), now)
    return _numbered(last)


def _matched(boxes: F32, embeddings: F32, before: I64, now: I64) -> tuple[I64, I64]:
    """Rows of faces, and beside them those that they go on as."""
    share = overlap(boxes[before], boxes[now])
    alike = embeddings[before] @ embeddings[now].T
    i, j = paired((share >= OVERLAP) & (alike >= ALIKE), share + alike)
    return before[i], now[j]


def paired(fits: Bools, gain: F32) -> tuple[I64, I64]:
    """Rows and columns of (N, M) that go together, each in one pair at most: of those that fit, for the most gain."""
    i, j = linear_sum_assignment(np.where(fits, gain, 0), maximize=True)
    kept = fits[i, j]
    return i[kept], j[kept]


def overlap(a: F32, b: F32) -> F32:
    """Intersection over union of boxes (N, 4) and (M, 4): (N, M)."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    both = np.maximum(high - low, 0).prod(2)
    area_a, area_b = ((each[:, 2:] - each[:, :2]).prod(1) for each in (a, b))
    shares: F32 = both / np.maximum(area_a[:, None] + area_b - both, 1e-9)
    return shares


def _numbered(first: I64) -> I64:
    """Numbers from 0 in the order of the first rows; `first`: (N,), anything that faces of one track share."""
    _, rows, place = np.unique(first, return_index=True, return_inverse=True)
    number = np.empty(len(rows), np.int64)
    number[np.argsort(rows)] = np.arange(len(rows))
    return number[place.reshape(-1)]


def best(track: I64, quality: F32, most: int) -> I64:
    """The rows, ascending, of the `most` best faces of each track: (M,). `track`, `quality`: (N,).

    Faces of one track are alike: 50 of them would be all the neighbours that each of them has.
    """
    order = np.lexsort((-quality, track))
    starts = np.flatnonzero(np.diff(track[order], prepend=-1))
    place = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return np.sort(order[place < most])


def spread(track: I64, rows: I64, labels: I64) -> I64:
    """(N,): for each face the label that most of the faces of its track have, -1 where none of these has one.

    `track`: (N,). `labels`: (M,), of the faces in `rows`, -1 for a face alone. Of labels that as many have, the
    smallest, which is that of the larger cluster.
    """
    found = np.full(int(track.max(initial=-1)) + 1, -1)
    named = labels >= 0
    pairs, counts = np.unique(np.stack([track[rows][named], labels[named]]), axis=1, return_counts=True)
    order = np.lexsort((pairs[1], -counts, pairs[0]))
    first = order[np.diff(pairs[0][order], prepend=-1) > 0]
    found[pairs[0][first]] = pairs[1][first]
    return found[track]
