"""From faces to people: clustering of a library's faces."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from muster.arrays import F32, I64
from muster.errors import InputError
from muster.pipeline.distributed import kmeans as ray_kmeans
from muster.pipeline.distributed.reach import require_answer
from muster.pipeline.people.faces import (
    Faces,
    embeddings_at,
    faces_fingerprint,
    load_faces,
    read_faces,
    rows_of_distinct_files,
)
from muster.pipeline.people.said import SaidHere, said_here
from muster.pipeline.people.tracks import tracked, tracks_of
from muster.pipeline.work.machine import Machine
from muster.storage import clusters, layout, tables
from muster.storage.index import vectors
from muster.storage.index.inverted_file import Spread
from muster.storage.library import LibraryFiles
from muster.tasks.people import collages, graph, kmeans, mergeable_kmeans
from muster.tasks.people.certainty import certainty, earned
from muster.tasks.people.numbering import inherit_ids
from muster.tasks.people.said import Said
from muster.tasks.people.settle import Take, settle

NEIGHBOURS = 50
METHODS = ("graph", "kmeans")
SEED = 0


@dataclass(frozen=True)
class ClusterSummary:
    """`people`: clusters of at least two faces, or of one that a user named.

    `how`: the method, and for k-means how k came about. `held_apart`: faces that would be with a person, were not
    another face of their photo.
    """

    faces: int
    people: int
    clustered: int
    unclustered: int
    method: str
    how: str
    held_apart: int = 0


def check_method(method: str, k: int | None, same_photo: bool) -> None:
    if method not in METHODS:
        raise InputError(f"`method` {method}: choose one of {', '.join(METHODS)}")
    if k is not None and method != "kmeans":
        raise InputError(f"`k` {k} needs `method` kmeans: the graph method finds the number of people by itself")
    if same_photo and method == "kmeans":
        raise InputError("`same_photo` needs `method` graph: kmeans does not look at photos")


def cluster_faces(
    library: LibraryFiles,
    model: str | None,
    method: str,
    k: int | None,
    same_photo: bool,
    machine: Machine | None = None,
) -> ClusterSummary:
    """Say which faces are one person, and write it to `clusters/<fingerprint>/clusters.parquet`.

    Never against what users said: a cluster that is somebody of whom they spoke goes by that person's id. The others
    keep the ids that most of their faces had before. The caller holds the lock, see forget.locked.
    `machine`: with an address, the workers of that cluster do what is worth it; not of an encrypted library: Ray may
    put what it carries on a disk.
    """
    if machine is None or machine.address is None or library.key is not None:
        machine = None
    else:
        require_answer(machine.address)  # now: where this machine is quicker, nobody would ever ask
    found = (
        _by_workers(library, model, k, machine)
        if machine is not None and k is not None
        else _by_this_machine(library, model, method, k, same_photo, machine)
    )
    face_ids = found.table["face_id"].to_pylist()
    ids = alike = inherit_ids(found.alike, face_ids, _previous(library, found.fingerprint))
    table, here = found.table.select(["face_id", "image_id"]), found.here
    if here is not None:
        before = {face: each for face, each in zip(face_ids, alike, strict=True) if each is not None}
        ids = inherit_ids(found.labels, face_ids, before, found.people, here.taken)
    table = table.append_column("cluster_id", pa.array(ids, pa.string()))
    table = table.append_column("certainty", pa.array(found.certain, pa.float32(), from_pandas=True))
    if here is not None:
        table = table.append_column("found_id", pa.array(alike, pa.string()))
    clusters.write(library, found.fingerprint, table, found.how, None if here is None else here.edits)
    clustered = sum(i is not None for i in ids)
    return ClusterSummary(
        faces=len(ids),
        people=len(set(ids) - {None}),
        clustered=clustered,
        unclustered=len(ids) - clustered,
        method=method,
        how=found.how,
        held_apart=found.held_apart,
    )


class _Found(NamedTuple):
    """`table`: the faces under `fingerprint`. `alike`: (N,), of each its cluster by likeness alone. `labels`,
    `certain`: (N,), the same with what users said (`here`), and how certain it is (NaN: alone, or not known). `people`:
    the ids of those clusters that are somebody of whom users spoke."""

    fingerprint: str
    table: pa.Table
    alike: I64
    labels: I64
    certain: F32
    how: str
    held_apart: int = 0
    here: SaidHere | None = None
    people: Mapping[int, str] = MappingProxyType({})


def _by_this_machine(
    library: LibraryFiles, model: str | None, method: str, k: int | None, same_photo: bool, machine: Machine | None
) -> _Found:
    faces = load_faces(library, model)
    rows, place = rows_of_distinct_files(library, faces.table)
    distinct, here = faces.part(rows), said_here(library, faces.fingerprint)
    spread: Spread = map if machine is None else partial(ray_kmeans.spread, machine, library.uri)
    said = None if here is None else here.said.part(rows)
    tracks = tracked(distinct, tracks_of(library, faces, place), said) if method == "graph" else None
    if tracks is None:
        alike, labels, how = _labels(library, distinct, method, k, same_photo, spread, said)
    else:
        some, part = distinct.part(tracks.rows), None if said is None else said.part(tracks.rows)
        mine = tracks.track[tracks.rows]
        alike, labels, how = _labels(library, some, method, k, same_photo, spread, part, mine)
        alike, labels = tracks.labels(alike), tracks.labels(labels)
    known = method == "graph"  # see muster.tasks.people.certainty
    certain = certainty(distinct.embeddings, labels if known else np.full_like(labels, -1), distinct.strangers)
    held = 0 if same_photo or method == "kmeans" else _held_apart(distinct, labels)
    answer = _Found(faces.fingerprint, faces.table, alike, labels, certain, how, held, here)
    return _in_all_copies(answer, rows, place, distinct.embeddings.__getitem__)


def _in_all_copies(found: _Found, rows: I64, place: I64, take: Take) -> _Found:
    """What was `found` of the distinct files, of all, and as users said. `rows`, `place`: `rows_of_distinct_files`."""
    labels, certain, ids = found.labels, found.certain, {}
    if found.here is not None:
        said = found.here.said.part(rows)
        labels, people = settle(labels, said, take)
        ids = {label: found.here.ids[person] for label, person in enumerate(people.tolist()) if person >= 0}
        certain = np.where(labels < 0, np.float32(np.nan), np.where(said.person >= 0, np.float32(1), certain))
    return found._replace(alike=found.alike[place], labels=labels[place], certain=certain[place], people=ids)


def _held_apart(faces: Faces, labels: I64) -> int:
    none = np.zeros(len(labels), np.float32)
    crowding = none if faces.strangers is None else faces.strangers.crowding(faces.embeddings)
    likeness = collages.Likeness(faces.embeddings, crowding)
    return collages.held_apart(likeness, labels, faces.photos, graph.GraphParameters().threshold)


def _by_workers(library: LibraryFiles, model: str | None, k: int, machine: Machine) -> _Found:
    """The same, for k-means on a cluster; this machine does it where that is quicker."""
    fingerprint = faces_fingerprint(library, model)
    table = read_faces(library, fingerprint, ["face_id", "image_id"])
    rows, place = rows_of_distinct_files(library, table)
    if mergeable_kmeans.few(len(rows), k):
        return _by_this_machine(library, model, "kmeans", k, False, machine)
    labels = kmeans.numbered(ray_kmeans.kmeans(machine, library, fingerprint, rows, k, SEED))
    unknown, here = np.full(len(rows), np.nan, np.float32), said_here(library, fingerprint)
    found = _Found(fingerprint, table, labels, labels, unknown, "k as given", here=here)
    return _in_all_copies(found, rows, place, lambda some: embeddings_at(library, fingerprint, rows[some]))


def label(
    library: LibraryFiles | None, faces: Faces, method: str, k: int | None, same_photo: bool, spread: Spread = map
) -> tuple[I64, str]:
    """A label per face, -1 where it is alone, and how it was found. With a library, its index is used and kept.

    `spread`: see `muster.storage.index.vectors.current`.
    """
    labels, _, how = _labels(library, faces, method, k, same_photo, spread, None)
    return labels, how


def _labels(
    library: LibraryFiles | None,
    faces: Faces,
    method: str,
    k: int | None,
    same_photo: bool,
    spread: Spread,
    said: Said | None,
    tracks: I64 | None = None,
) -> tuple[I64, I64, str]:
    """`label`, and the same with what was said; of k-means, which looks neither at that nor at tracks, `settle` has to
    see to it."""
    check_method(method, k, same_photo)
    if not len(faces.embeddings):
        return np.empty(0, np.int64), np.empty(0, np.int64), method
    if method == "kmeans":
        labels, _, how = kmeans.cluster_kmeans(faces.embeddings, k, SEED)
        return labels, labels, how
    if library is None:
        index = vectors.build(faces.embeddings)
    else:
        index = vectors.current(library, layout.index(faces.fingerprint, "faces"), faces.embeddings, spread)
    similarities, rows = index.search(faces.embeddings, NEIGHBOURS + 1)
    parameters = graph.GraphParameters(same_photo=same_photo)
    given = (faces.embeddings, rows, similarities, faces.photos, faces.quality, parameters, faces.strangers)

    def found(words: Said | None) -> I64:
        labels = graph.cluster_graph(*given, words, tracks)
        return earned(labels, certainty(faces.embeddings, labels, faces.strangers), words)

    alike = found(None)
    return alike, alike if said is None else found(said), "graph"


def _previous(library: LibraryFiles, fingerprint: str) -> Mapping[str, str]:
    """Face → cluster of last time, by likeness alone; where this version of a model has not clustered yet, of its
    version before, whose faces have the same names."""
    described = tables.descriptions(library)
    mine = described.get(fingerprint, {})
    older = [f for f, d in described.items() if f != fingerprint and _model(d) == _model(mine)]
    for each in [fingerprint, *sorted(older, key=lambda f: described[f].get("version", 0), reverse=True)]:
        try:
            rows = clusters.read(library, each)
        except FileNotFoundError:
            continue
        column = "found_id" if "found_id" in rows.column_names else "cluster_id"
        pairs = zip(rows["face_id"].to_pylist(), rows[column].to_pylist(), strict=True)
        return {face: name for face, name in pairs if name is not None}
    return {}


def _model(description: Mapping[str, Any]) -> tuple[Any, Any]:
    return description.get("task"), description.get("model")
