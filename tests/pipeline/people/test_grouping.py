import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.embeddings import people
from helpers.findings import commit, face, scanned
from helpers.fixtures import Outcome
from muster.errors import InputError, MusterError, TaskError
from muster.pipeline.people.faces import faces_fingerprint, load_faces, strangers_of
from muster.pipeline.people.grouping import cluster_faces, label
from muster.pipeline.people.pages import label_table, label_tables, write_people
from muster.pipeline.work.choice import TaskChoice
from muster.storage import tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.manifest import read_manifest, read_shard, scan
from muster.storage.manifest import shards as all_shards
from muster.tasks.models.filter_scores import MEASURED, UNMEASURED
from muster.tasks.people import certainty
from muster.tasks.people.graph import Strangers

Work = Callable[..., object]
JOHNS = ("John_Salley", "John_Simm")


@pytest.fixture(scope="module")
def johns(tmp_path_factory: pytest.TempPathFactory, data: Path, weights: Path, work: Work) -> Path:
    """A library of 22 photos of two people."""
    folder = tmp_path_factory.mktemp("johns")
    for name in JOHNS:
        shutil.copytree(data / "photos" / "johns" / name, folder / "photos" / name)
    scan(open_library(folder / "L", create=True), [str(folder / "photos")])
    work(folder / "L", weights)
    return folder


def clusters(library: LibraryFiles) -> dict[str, str | None]:
    """face_id → cluster_id."""
    [name] = library.names("clusters")
    rows = pq.read_table(library.at(f"clusters/{name}/clusters.parquet"))
    return dict(zip(rows["face_id"].to_pylist(), rows["cluster_id"].to_pylist(), strict=True))


def certainties(library: LibraryFiles) -> dict[str, float | None]:
    """face_id → certainty."""
    [name] = library.names("clusters")
    rows = pq.read_table(library.at(f"clusters/{name}/clusters.parquet"))
    assert rows.schema.field("certainty").type == pa.float32()
    return dict(zip(rows["face_id"].to_pylist(), rows["certainty"].to_pylist(), strict=True))


@pytest.mark.parametrize(("method", "k"), [("graph", None), ("kmeans", 2), ("kmeans", None)])
def test_two_people(johns: Path, method: str, k: int | None) -> None:
    library = open_library(johns / "L")
    summary = cluster_faces(library, None, method, k, same_photo=False)
    assert summary.faces == summary.clustered + summary.unclustered == 22
    assert summary.people == len(set(clusters(library).values()) - {None}) == 2
    assert summary.method == method
    first = clusters(library)
    assert all(0 <= value <= 1 for value in certainties(library).values() if value is not None)
    cluster_faces(library, None, method, k, same_photo=False)
    assert clusters(library) == first


def test_ids_stay_when_a_model_has_a_new_version(johns: Path, tmp_path: Path) -> None:
    shutil.copytree(johns / "L", tmp_path / "L")
    library = open_library(tmp_path / "L")
    cluster_faces(library, None, "graph", None, same_photo=False)
    now = faces_fingerprint(library, None)
    file = tmp_path / "L/clusters" / now / "clusters.parquet"
    rows = pq.read_table(file)
    named = ["anna" if name == rows["cluster_id"][0].as_py() else name for name in rows["cluster_id"].to_pylist()]
    old = pa.table({"face_id": rows["face_id"], "image_id": rows["image_id"], "cluster_id": named})
    other = {"task": "faces", "version": 1, "parameters": {}, "weights": {}}
    for model, name in (("own", "anna"), ("published", "bert")):
        before = tables.describe(library, {**other, "model": model})
        renamed = [each and each.replace("anna", name) for each in named]
        library.write(
            f"clusters/{before}/clusters.parquet", tables.to_parquet(old.set_column(2, "cluster_id", [renamed]))
        )
    file.unlink()
    cluster_faces(library, None, "graph", None, same_photo=False)
    assert pq.read_table(file)["cluster_id"].to_pylist() == named


def test_ids_stay_when_photos_are_added(johns: Path, tmp_path: Path, data: Path, weights: Path, work: Work) -> None:
    shutil.copytree(johns / "L", tmp_path / "L")
    library = open_library(tmp_path / "L")
    cluster_faces(library, None, "graph", None, same_photo=False)
    before = clusters(library)
    scan(library, [str(data / "photos" / "johns" / "John_Shimkus")])
    work(tmp_path / "L", weights)
    assert cluster_faces(library, None, "graph", None, same_photo=False).people == 3
    after = clusters(library)
    assert before.items() <= after.items()
    assert len(after) == 33


def test_photos_that_are_gone_are_left_out(johns: Path, tmp_path: Path, weights: Path, work: Work) -> None:
    shutil.copytree(johns / "photos", tmp_path / "photos")
    library = open_library(tmp_path / "L", create=True)
    scan(library, [str(tmp_path / "photos")])
    work(tmp_path / "L", weights)
    shutil.rmtree(tmp_path / "photos" / JOHNS[0])
    scan(library, [str(tmp_path / "photos")])
    assert len(load_faces(library, None).embeddings) == 11
    assert cluster_faces(library, None, "graph", None, same_photo=False).people == 1


@pytest.mark.parametrize(("method", "k"), [("graph", None), ("kmeans", 2)])
def test_a_copy_shows_nobody_a_second_time(
    johns: Path,
    tmp_path: Path,
    weights: Path,
    work: Work,
    method: str,
    k: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(certainty, "WEIGHTS", (0.0, 5.0, 0.0))
    monkeypatch.setattr(certainty, "MOST_ALIKE", 9.0)
    photos = sorted((johns / "photos" / JOHNS[0]).iterdir())[:3]
    stranger = next((johns / "photos" / JOHNS[1]).iterdir())
    for number, photo in enumerate([*photos, stranger]):
        for copy in ("a", "b"):
            shutil.copy(photo, tmp_path / f"{copy}{number}.jpg")
    library = open_library(tmp_path / "L", create=True)
    scan(library, [f"{tmp_path}/*.jpg"])
    work(tmp_path / "L", weights)
    summary = cluster_faces(library, None, method, k, same_photo=False)
    assert (summary.faces, summary.people, summary.clustered, summary.unclustered) == (8, 1, 6, 2)
    certain, ids = certainties(library), clusters(library)
    if method == "kmeans":
        assert set(certain.values()) == {None}
        return
    assert {face for face, value in certain.items() if value is None} == {f for f, name in ids.items() if name is None}
    assert len({value for value in certain.values() if value is not None}) == 3  # a copy's is the original's


def test_faces_are_rows_beside_embeddings(johns: Path) -> None:
    faces = load_faces(open_library(johns / "L"), None)
    assert faces.embeddings.shape == (22, 128)
    np.testing.assert_allclose(np.linalg.norm(faces.embeddings, axis=1), 1, atol=1e-5)
    assert sorted(faces.photos) == list(range(22))
    assert ((faces.quality >= 0) & (faces.quality <= 1)).all()


def test_strangers_are_those_of_the_model(johns: Path) -> None:
    faces = load_faces(open_library(johns / "L"), None)
    for model in ("own", None):
        np.testing.assert_array_equal(strangers_of(model).embeddings, faces.strangers.embeddings)
    published = strangers_of("published")
    assert len(published.embeddings) != len(faces.strangers.embeddings)
    assert published.usual != faces.strangers.usual


def test_a_part_of_the_faces(johns: Path) -> None:
    faces = load_faces(open_library(johns / "L"), None)
    rows = np.array([3, 1])
    part = faces.part(rows)
    assert part.table["face_id"].to_pylist() == [faces.table["face_id"][i].as_py() for i in (3, 1)]
    np.testing.assert_array_equal(part.embeddings, faces.embeddings[rows])
    np.testing.assert_array_equal(part.quality, faces.quality[rows])
    assert (part.strangers, part.fingerprint) == (faces.strangers, faces.fingerprint)


def test_faces_are_clustered_beside_the_strangers(johns: Path) -> None:
    """Who lies where a dozen strangers do, needs more than these faces have."""
    faces = load_faces(open_library(johns / "L"), None)
    assert label(None, faces, "graph", None, same_photo=False)[0].max() == 1
    crowded = replace(faces, strangers=Strangers(faces.embeddings[:12], usual=-0.5))
    assert (label(None, crowded, "graph", None, same_photo=False)[0] == -1).all()


def test_no_faces_at_all(tmp_path: Path, make_photos: Callable[..., Path], weights: Path, work: Work) -> None:
    library = open_library(tmp_path / "L", create=True)
    scan(library, [str(make_photos(tmp_path / "photos", range(1, 3)))])
    work(tmp_path / "L", weights)
    for method in ("graph", "kmeans"):
        summary = cluster_faces(library, None, method, None, same_photo=False)
        assert (summary.faces, summary.people, summary.unclustered) == (0, 0, 0)
    assert write_people(library, None, tmp_path / "pages").people == 0
    assert (tmp_path / "pages" / "index.html").is_file()


def test_pages_need_clusters(johns: Path, tmp_path: Path) -> None:
    shutil.copytree(johns / "L", tmp_path / "L")
    shutil.rmtree(tmp_path / "L" / "clusters", ignore_errors=True)
    library = open_library(tmp_path / "L")
    with pytest.raises(InputError, match="is not clustered yet: `cluster` first"):
        write_people(library, None, tmp_path / "pages")
    assert not (tmp_path / "pages").exists()
    cluster_faces(library, None, "graph", None, same_photo=False)
    summary = write_people(library, None, tmp_path / "pages")
    assert (summary.people, summary.faces, summary.photos, summary.errors) == (2, 22, 22, 0)


def labelled(library: LibraryFiles, task: str, model: str, shards: list[str], label: str, score: float = 1.0) -> str:
    """Give all images of these shards that label, as one version of a task would."""
    fingerprint = tables.describe(library, {"task": task, "model": model, "parameters": {}})
    for shard in shards:
        rows = pa.table({"image_id": read_shard(library, shard)["image_id"]})
        rows = rows.append_column("label", pa.array([label] * len(rows)))
        rows = rows.append_column("score", pa.array([score] * len(rows)))
        tables.write_shard(library, fingerprint, shard, {task: rows})
    return fingerprint


def test_filters_are_of_the_objects_of_most_images(tmp_path: Path, make_photos: Callable[..., Path]) -> None:
    library = open_library(tmp_path / "L", create=True)
    for number in (1, 2):
        scan(library, [str(make_photos(tmp_path / f"photos{number}", range(number, number + 1)))])
    first, second = (shard for shard, _ in all_shards(library))
    labelled(library, "objects", "of none", [], "dog")
    assert label_tables(library) == []
    some = labelled(library, "objects", "of some", [first], "dog")
    assert [(t.table, t.fingerprint) for t in label_tables(library)] == [("objects", some)]
    most = [labelled(library, "objects", f"of both, {n}", [first, second], "cat") for n in range(4)]
    night = labelled(library, "scenes", "of one", [second], "night")
    found = [(table.table, table.fingerprint) for table in label_tables(library)]
    assert found == [("objects", min(most)), ("scenes", night)]


def test_pages_have_filters_where_there_are_labels(johns: Path, tmp_path: Path) -> None:
    shutil.copytree(johns / "L", tmp_path / "L")
    library = open_library(tmp_path / "L")
    cluster_faces(library, None, "graph", None, same_photo=False)
    write_people(library, None, tmp_path / "without")
    labelled(library, "objects", "any", [shard for shard, _ in all_shards(library)], "dog")
    write_people(library, None, tmp_path / "with")
    assert "filters" not in (tmp_path / "without" / "index.html").read_text()
    assert '>with a dog <span class="tally">22<' in (tmp_path / "with" / "index.html").read_text()


def test_filters_want_what_was_measured_of_these_weights(johns: Path, tmp_path: Path) -> None:
    shutil.copytree(johns / "L", tmp_path / "L")
    library = open_library(tmp_path / "L")
    cluster_faces(library, None, "graph", None, same_photo=False)
    shards = [shard for shard, _ in all_shards(library)]
    labelled(library, "objects", "any", shards, "dog", 0.76)  # less than what those ask that were not measured
    write_people(library, None, tmp_path / "pages")
    assert "with a dog" not in (tmp_path / "pages" / "index.html").read_text()
    usual = TaskChoice(name="objects").description
    other = {**usual, "weights": {"detector": {"name": "fastestdet", "sha256": "0" * 64}}}
    least = [label_table("f", each).least_scores for each in (usual, other)]
    assert least == [MEASURED["fastestdet"], UNMEASURED]


def test_damaged_clusters_are_named(johns: Path, tmp_path: Path) -> None:
    shutil.copytree(johns / "L", tmp_path / "L")
    library = open_library(tmp_path / "L")
    cluster_faces(library, None, "graph", None, same_photo=False)
    [file] = (tmp_path / "L" / "clusters").rglob("clusters.parquet")
    file.write_bytes(b"PAR1")
    with pytest.raises(MusterError, match=f"{file} is damaged"):
        cluster_faces(library, None, "graph", None, same_photo=False)
    with pytest.raises(MusterError, match=f"{file} is damaged"):
        write_people(library, None, tmp_path / "pages")


def test_what_clustering_refuses(johns: Path) -> None:
    faces = load_faces(open_library(johns / "L"), None)
    with pytest.raises(TaskError, match="22, not 1000"):
        label(None, faces, "kmeans", 1000, same_photo=False)
    with pytest.raises(InputError, match="`method` magic"):
        label(None, faces, "magic", None, same_photo=False)
    with pytest.raises(InputError, match="`k` 3 needs `method` kmeans"):
        label(None, faces, "graph", 3, same_photo=False)
    with pytest.raises(InputError, match="`same_photo` needs `method` graph"):
        label(None, faces, "kmeans", 3, same_photo=True)


@pytest.fixture
def mirrored(tmp_path: Path, make_photos: Callable[..., Path]) -> LibraryFiles:
    """Six photos of one person, and in the first a mirror that shows them from aside."""
    library = scanned(tmp_path / "L", make_photos(tmp_path / "photos", range(6)))
    first, *_ = read_manifest(library)["image_id"].to_pylist()
    faces = iter(people([7], 0.5, 128)[0])  # cosines of .8

    def rows(image_id: str) -> list[dict[str, Any]]:
        return [
            {**face(image_id), "face_id": f"{image_id}-{n}", "quality": 1.0, "embedding": next(faces)}
            for n in range(1 + (image_id == first))
        ]

    commit(library, TaskChoice(name="faces").description, rows)
    return library


def test_it_is_said_when_the_rule_held_faces_apart(mirrored: LibraryFiles, muster: Callable[..., Outcome]) -> None:
    found = cluster_faces(mirrored, None, "graph", None, same_photo=False)
    assert (found.people, found.clustered, found.held_apart) == (1, 6, 1)
    outcome = muster("cluster", "-l", mirrored.uri)
    assert outcome.out.splitlines() == [
        "1 person in 6 faces; 1 face left over",
        "the rule that faces of one photo are different people kept 1 face apart; --same-photo lifts it",
    ]
    lifted = muster("cluster", "-l", mirrored.uri, "--same-photo")
    assert lifted.out.splitlines() == ["1 person in 7 faces; 0 faces left over"]
    assert cluster_faces(mirrored, None, "kmeans", 2, same_photo=False).held_apart == 0


def test_a_library_in_which_there_is_no_face(tmp_path: Path, make_photos: Callable[..., Path]) -> None:
    library = scanned(tmp_path / "L", make_photos(tmp_path / "photos", range(2)))
    commit(library, TaskChoice(name="faces").description)
    found = cluster_faces(library, None, "graph", None, same_photo=False)
    assert (found.faces, found.people, found.held_apart) == (0, 0, 0)
    assert write_people(library, None, tmp_path / "pages").people == 0
    page = (tmp_path / "pages/index.html").read_text()
    assert "No people yet." in page
    assert "2 photos without a face" in page
