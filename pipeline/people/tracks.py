"""Faces of videos enter clustering as tracks: one face for all moments that show it without a break."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from muster.arrays import I64, matrix
from muster.pipeline.people.faces import Faces, read_faces
from muster.storage import manifest
from muster.storage.library import LibraryFiles
from muster.storage.photos.video import KIND
from muster.storage.uris import split_inside
from muster.tasks.people.graph import GraphParameters
from muster.tasks.people.numbering import by_size
from muster.tasks.people.said import Said
from muster.tasks.people.tracks import join, tracks

LEAST = 2  # good faces of a track that is a person by itself, as a cluster has two faces


@dataclass(frozen=True)
class Entries:
    """What is clustered. `faces`: a row for each entry, (E,), a face or a track. `entry`: (M,), that of each face.
    `good`: (E,), how many of its faces are good; 1 of a face of a photo. `said`: of the entries."""

    faces: Faces
    entry: I64
    good: I64
    said: Said | None

    def labels(self, labels: I64) -> I64:
        """(M,) of the faces, from those of the entries (E,): a track of LEAST good faces is somebody also where nobody
        else is like it."""
        alone = np.flatnonzero((labels < 0) & (self.good >= LEAST))
        labels = labels.copy()
        labels[alone] = labels.max(initial=-1) + 1 + np.arange(len(alone))
        return by_size(labels[self.entry])


def entries(faces: Faces, track: I64 | None, said: Said | None) -> Entries:
    """`faces`: distinct ones, (M,). `track`: (M,), see `tracks_of`; None: there are no videos. Of a track, faces of
    which different things were said are different entries."""
    if track is None:
        count = len(faces.embeddings)
        return Entries(faces, np.arange(count), np.ones(count, np.int64), said)
    entry = np.unique(np.stack([track, *_said_of_each(said, len(track))]), axis=1, return_inverse=True)[1].reshape(-1)
    photos = faces.photos
    one = join(entry, faces.embeddings, faces.quality, photos, GraphParameters().min_quality)
    first, image = (np.unique(each, return_index=True)[1] for each in (entry, photos))
    table = pa.table({"image_id": faces.table["image_id"].take(image[one.photos]), "quality": one.quality})
    joined = replace(faces, table=table, embeddings=one.embeddings)
    several = np.bincount(entry) > 1
    return Entries(joined, entry, np.where(several, one.faces, 1), None if said is None else said.part(first))


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
