"""Faces of videos enter clustering as tracks: those that follow each other without a break are one person."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from muster.arrays import I64, matrix
from muster.pipeline.people.faces import Faces, read_faces
from muster.storage import manifest
from muster.storage.library import LibraryFiles
from muster.storage.photos.video import KIND
from muster.storage.uris import split_inside
from muster.tasks.people.numbering import by_size
from muster.tasks.people.said import Said
from muster.tasks.people.tracks import best, spread, tracks

MOST = 10  # faces of a track that are clustered, its best


@dataclass(frozen=True)
class Tracked:
    """What is clustered: of faces (M,) those in `rows`, (E,). `track`: (M,), that of each; faces of which different
    things were said are in different ones."""

    track: I64
    rows: I64

    def labels(self, labels: I64) -> I64:
        """(M,) of all faces, from those of `rows` (E,)."""
        return by_size(spread(self.track, self.rows, labels))


def tracked(faces: Faces, track: I64 | None, said: Said | None) -> Tracked | None:
    """`faces`: distinct ones, (M,). `track`: see `tracks_of`."""
    if track is None:
        return None
    parts = np.stack([track, *_said_of_each(said, len(track))])
    one: I64 = np.unique(parts, axis=1, return_inverse=True)[1].reshape(-1)
    return Tracked(one, best(one, faces.quality, MOST))


def _said_of_each(said: Said | None, count: int) -> list[I64]:
    """(M,) each: what tells faces apart of which different things were said. One that is not somebody is alone."""
    if said is None:
        return []
    denied = np.full(count, -1)
    denied[said.excluded[:, 0]] = said.excluded[:, 0]
    return [said.person, said.shown, denied]


def tracks_of(library: LibraryFiles, faces: Faces, place: I64) -> I64 | None:
    """(M,): the track of each distinct face; None where the library has no faces of videos.

    `faces`: all of them, (N,). `place`: (N,), which of the distinct faces each is a copy of: a copy of a video has the
    tracks of the video.
    """
    images = manifest.read_manifest(library).select(["image_id", "uri"])
    images = images.filter(pc.match_substring(images["uri"], f"#{KIND}="))
    moments = [split_inside(uri) for uri in images["uri"].to_pylist()]
    row = pc.index_in(faces.table["image_id"], value_set=images["image_id"].combine_chunks())
    image: I64 = pc.fill_null(row, -1).to_numpy().astype(np.int64)
    if not (image >= 0).any():
        return None
    numbers = np.unique([each.container if each else "" for each in moments], return_inverse=True)[1]
    videos = np.append(numbers.reshape(-1), -1)[image]
    times = np.array([*(each.place if each else 0.0 for each in moments), 0.0])[image]
    boxes = matrix(read_faces(library, faces.fingerprint, ["box_xyxy"])["box_xyxy"])
    found = tracks(videos, times, boxes, faces.embeddings)
    count = int(found.max()) + 1
    size = count + int(place.max()) + 1  # tracks, and distinct faces: what touches is one
    touching = csr_matrix((np.ones(len(found)), (found, count + place)), (size, size))
    return np.asarray(connected_components(touching, directed=False)[1][count:], np.int64)
