"""Faces of the frames of a camera that are one face, frame by frame; and what the best of them say together."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from muster.arrays import F32, F64, I64
from muster.tasks.people.search import MIN_QUALITY
from muster.tasks.people.tracks import overlap, paired

# Cosine from which on a face that is seen well goes on with a track, wherever it is, as after an arm before it. Of five
# signers in one room and two other people none reached .58 with another in one of 1000 pairs (faces=own). At the same
# place no less will do: 1 % of pairs of two of them reach .5, and a name would pass to who steps in front of another.
SAME = 0.6
PLACE = 0.5  # overlap from which on a face too poor to be told by its looks goes on with the track at its place


@dataclass(frozen=True)
class Tracks:
    """Those under way: `number` (T,), from 0 in the order in which they began; of the last face of each `seen` (T,),
    seconds, and `boxes` (T, 4), xyxy; `embeddings` (T, D) float32, L2-normalised, of the last face of those that have
    the quality to be told by their looks, if there was one; `quality` (T,) and `best` (T, D) of the best one.
    `begun`: how many there were.
    """

    number: I64
    seen: F64
    boxes: F32
    embeddings: F32
    quality: F32
    best: F32
    begun: int = 0


def nobody(width: int) -> Tracks:
    """`width`: D of the embeddings."""
    none = np.empty((0, width), np.float32)
    return Tracks(np.empty(0, np.int64), np.empty(0), np.empty((0, 4), np.float32), none, none[:, 0], none)


def follow(tracks: Tracks, now: float, boxes: F32, embeddings: F32, quality: F32) -> tuple[Tracks, I64]:
    """The tracks after a frame, and (N,) the number of each of its faces, all of them different.

    `now`: seconds. `boxes`: (N, 4). `embeddings`: (N, D). `quality`: (N,). A face goes on with a track that it looks
    like. One that is turned away looks like nobody: it goes on with the track at its place, and who is seen well again
    has to look like before. Where several could, those that fit best together. Others begin tracks. The order of the
    faces does not matter.
    """
    order = np.lexsort(boxes.T)  # of two that fit as well, and of new ones, the numbers are those of their places
    share = overlap(tracks.boxes, boxes[order])
    alike = np.maximum(tracks.embeddings @ embeddings[order].T, tracks.best @ embeddings[order].T)
    told = (tracks.quality[:, None] >= MIN_QUALITY) & (quality[order] >= MIN_QUALITY)
    fits = (alike >= SAME) | ((share >= PLACE) & ~told)
    before, after = paired(fits, 1 + share + alike)
    row = np.full(len(boxes), -1)  # of the track that each goes on with
    row[order[after]] = before
    new = order[row[order] < 0]
    number = np.append(tracks.number, -1)[row]
    number[new] = tracks.begun + np.arange(len(new))
    known = np.append(tracks.quality, -1).astype(np.float32)[row]
    kept = ((known >= MIN_QUALITY) & (quality < MIN_QUALITY))[:, None]
    last = np.where(kept, _rows(tracks.embeddings, row), embeddings)
    best = np.where((quality > known)[:, None], embeddings, _rows(tracks.best, row))
    rest = np.setdiff1d(np.arange(len(tracks.number)), before)
    followed = Tracks(
        np.append(tracks.number[rest], number),
        np.append(tracks.seen[rest], np.full(len(boxes), now)),
        np.append(tracks.boxes[rest], boxes, axis=0),
        np.append(tracks.embeddings[rest], last, axis=0),
        np.append(tracks.quality[rest], np.maximum(quality, known)),
        np.append(tracks.best[rest], best, axis=0),
        tracks.begun + len(new),
    )
    return followed, number


def _rows(vectors: F32, rows: I64) -> F32:
    """(N, D): those rows; zeros where there is none, -1."""
    return np.append(vectors, np.zeros((1, vectors.shape[1]), np.float32), axis=0)[rows]


def ended(tracks: Tracks, now: float, unseen: float) -> tuple[Tracks, I64]:
    """The tracks that were seen within the last `unseen` seconds; and the numbers of the others, ascending."""
    over = now - tracks.seen > unseen
    left = {name: each[~over] for name, each in vars(tracks).items() if name != "begun"}
    return replace(tracks, **left), np.sort(tracks.number[over])


def agreed(said: Sequence[str], agree: int) -> str | None:
    """What at least `agree` of the answers are, which is more than half of them; None where they are not one."""
    [(most, count)] = Counter(said).most_common(1) or [("", 0)]
    return most if count >= agree and 2 * count > len(said) else None
