import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from helpers.clips import even, write_clip
from helpers.findings import commit, face, scanned
from helpers.said import said_of
from muster.pipeline.people.faces import Faces, load_faces, rows_of_distinct_files
from muster.pipeline.people.grouping import cluster_faces
from muster.pipeline.people.tracks import MOST, tracked, tracks_of
from muster.pipeline.work.choice import TaskChoice
from muster.storage import clusters, manifest
from muster.storage.library import LibraryFiles, open_library
from muster.storage.photos.wishes import Wishes

pytest.importorskip("av")

ANN, BOB = (np.eye(128, dtype=np.float32)[i] for i in range(2))


def library_of(folder: Path, who: Callable[[str], np.ndarray], quality: float = 0.9) -> LibraryFiles:
    """Of a clip of four moments, with a face in each, in one place. `who`: end of a URI → its embedding."""
    clips = folder / "clips"
    clips.mkdir(parents=True)
    write_clip(clips / "a.mp4", even(4, 1))
    library = scanned(folder / "L", clips)
    uri = {row["image_id"]: row["uri"] for row in manifest.read_manifest(library).to_pylist()}

    def rows(image_id: str) -> list[dict[str, Any]]:
        moment = uri[image_id].rpartition("=")[2]
        return [{**face(image_id), "quality": quality, "embedding": who(moment).tolist(), "thumbnail": b""}]

    commit(library, TaskChoice(name="faces").description, rows)
    return library


def track_of(library: LibraryFiles) -> list[int]:
    """In the order of time."""
    faces = load_faces(library, None)
    rows, place = rows_of_distinct_files(library, faces.table)
    found = tracks_of(library, faces, place)
    assert found is not None
    assert len(found) == len(rows)
    images = manifest.read_manifest(library)
    when = dict(zip(images["image_id"].to_pylist(), images["moment"].to_pylist(), strict=True))
    order = np.argsort([when[image] for image in faces.table["image_id"].take(pa.array(rows)).to_pylist()])
    return found[order].tolist()


def test_faces_of_moments_that_follow_each_other_are_a_track(tmp_path: Path) -> None:
    library = library_of(tmp_path, lambda moment: ANN if moment in ("0", "1") else BOB)
    a, b, c, d = track_of(library)
    assert (a, c) == (b, d)
    assert a != c


def test_a_good_track_is_somebody_also_alone_and_a_poor_one_is_not(tmp_path: Path) -> None:
    for name, quality, people in (("good", 0.9, 1), ("poor", 0.1, 0)):
        library = library_of(tmp_path / name, lambda moment: ANN, quality)
        assert cluster_faces(library, None, "graph", None, same_photo=False).people == people


def test_a_library_without_videos_has_no_tracks(tmp_path: Path, make_photos: Callable[..., Path]) -> None:
    library = scanned(tmp_path / "L", make_photos(tmp_path / "photos", range(3)))
    commit(
        library,
        TaskChoice(name="faces").description,
        lambda i: [{**face(i), "quality": 0.9, "embedding": ANN.tolist()}],
    )
    faces = load_faces(library, None)
    assert tracks_of(library, faces, np.arange(3)) is None
    assert tracked(faces, None, None) is None


def faces_of(count: int) -> Faces:
    table = pa.table(
        {"image_id": [str(i) for i in range(count)], "quality": np.linspace(1, 0, count, dtype=np.float32)}
    )
    return Faces("f", table, np.tile(ANN, (count, 1)))


def test_of_a_long_track_the_best_faces_are_clustered_and_all_go_with_them() -> None:
    found = tracked(faces_of(MOST + 5), np.zeros(MOST + 5, np.int64), None)
    assert found is not None
    assert found.rows.tolist() == list(range(MOST))
    assert found.labels(np.zeros(MOST, np.int64)).tolist() == [0] * (MOST + 5)


def test_faces_of_a_track_of_which_different_things_were_said_are_apart() -> None:
    said = said_of(6, person={0: 0}, excluded=[(1, 0)], shown={2: 0}, groups=[1])
    found = tracked(faces_of(6), np.zeros(6, np.int64), said)
    assert found is not None
    assert len({*found.track[:4].tolist()}) == 4
    assert set(found.track[3:].tolist()) == {found.track[3]}


def test_each_signer_is_one_person_over_their_videos_and_nobody_is_mixed(
    tmp_path: Path, data: Path, weights: Path, work: Callable[..., object]
) -> None:
    signers = {"A": ("again", "no"), "B": ("sorry", "thanks"), "D": ("eat", "sister")}
    (tmp_path / "clips").mkdir()
    for name in (each for clips in signers.values() for each in clips):
        shutil.copy(data / "videos" / f"asl_{name}.mkv", tmp_path / "clips")
    library = open_library(tmp_path / "L", create=True)
    manifest.scan(library, [str(tmp_path / "clips")], Wishes(fps=2))
    work(tmp_path / "L", weights, ("faces",))
    cluster_faces(library, None, "graph", None, same_photo=False)
    video = {row["image_id"]: row["video"] for row in manifest.read_manifest(library).to_pylist()}
    people = defaultdict(set)
    for row in clusters.require(library, load_faces(library, None).fingerprint).to_pylist():
        people[video[row["image_id"]]].add(row["cluster_id"])
    found = [set.union(*(people[f"asl_{name}.mkv"] for name in clips)) - {None} for clips in signers.values()]
    assert [len(each) for each in found] == [1, 1, 1]
    assert len(set.union(*found)) == 3
