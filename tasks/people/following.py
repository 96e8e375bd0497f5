"""Faces of the frames of a camera that are one face, frame by frame; and what the best of them say together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muster.arrays import F32, F64, I64
from muster.tasks.people.tracks import ALIKE, OVERLAP, overlap, paired

# Cosine from which on a face goes on with a track wherever it is, as after an arm before it. Of five signers in one
# room and two other people none reached .58 with another in one of 1000 pairs (faces=own).
SAME = 0.6


@dataclass(frozen=True)
class Tracks:
    """Those under way: `number` (T,), from 0 in the order in which they began; of the last face of each `seen` (T,),
    seconds, `boxes` (T, 4), xyxy, and `embeddings` (T, D) float32, L2-normalised. `begun`: how many there were."""

    number: I64
    seen: F64
    boxes: F32
    embeddings: F32
    begun: int = 0


def nobody(width: int) -> Tracks:
    """`width`: D of the embeddings."""
    return Tracks(np.empty(0, np.int64), np.empty(0), np.empty((0, 4), np.float32), np.empty((0, width), np.float32))


def follow(tracks: Tracks, now: float, boxes: F32, embeddings: F32) -> tuple[Tracks, I64]:
    """The tracks after a frame, and (N,) the number of each of its faces, all of them different.

    `now`: seconds. `boxes`: (N, 4). `embeddings`: (N, D). A face goes on with a track whose last face its box overlaps
    and which it looks like, or looks like so much that it may be elsewhere; where several could, those that fit best
    together. Others begin tracks. The order of the faces does not matter.
    """
    order = np.lexsort(boxes.T)  # of two that fit as well, and of new ones, the numbers are those of their places
    share, alike = overlap(tracks.boxes, boxes[order]), tracks.embeddings @ embeddings[order].T
    fits = ((share >= OVERLAP) & (alike >= ALIKE)) | (alike >= SAME)
    before, after = paired(fits, share + alike)
    number = np.full(len(boxes), -1)
    number[order[after]] = tracks.number[before]
    new = order[number[order] < 0]
    number[new] = tracks.begun + np.arange(len(new))
    rest = np.setdiff1d(np.arange(len(tracks.number)), before)
    followed = Tracks(
        np.append(tracks.number[rest], number),
        np.append(tracks.seen[rest], np.full(len(boxes), now)),
        np.append(tracks.boxes[rest], boxes, axis=0),
        np.append(tracks.embeddings[rest], embeddings, axis=0),
        tracks.begun + len(new),
    )
    return followed, number


def ended(tracks: Tracks, now: float, unseen: float) -> tuple[Tracks, I64]:
    """The tracks that were seen within the last `unseen` seconds; and the numbers of the others, ascending."""
    over = now - tracks.seen > unseen
    left = Tracks(tracks.number[~over], tracks.seen[~over], tracks.boxes[~over], tracks.embeddings[~over], tracks.begun)
    return left, np.sort(tracks.number[over])


def agreed(said: Sequence[str], agree: int) -> str | None:
    """What at least `agree` of the answers are, which is more than half of them; None where they are not one."""
    [(most, count)] = Counter(said).most_common(1) or [("", 0)]
    return most if count >= agree and 2 * count > len(said) else None
