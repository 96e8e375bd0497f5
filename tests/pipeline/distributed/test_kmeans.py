"""Clustering by the workers of a cluster: the same as on one machine, whoever dies."""

import base64
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.fixtures import Outcome
from muster.arrays import matrix
from muster.errors import MusterError
from muster.pipeline.distributed.kmeans import _Spread, spread
from muster.pipeline.people.grouping import cluster_faces
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.machine import Machine
from muster.storage import manifest, tables
from muster.storage.index import inverted_file, vectors
from muster.storage.layout import MARKER
from muster.storage.library import LibraryFiles, open_library
from muster.tasks.faces import Faces
from muster.tasks.people import mergeable_kmeans

IMAGES, EACH, PEOPLE = 700, 4, 20


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LibraryFiles:
    """Some 2,000 faces of 20 people, in several shards; some images have none."""
    pq.write_table(pa.table({"uri": [f"{tmp_path}/{i}.jpg" for i in range(IMAGES)]}), tmp_path / "photos.parquet")
    monkeypatch.setattr(manifest, "SHARDS_WANTED", 64)
    library = open_library(tmp_path / "L", create=True)
    manifest.scan(library, [str(tmp_path / "photos.parquet")])
    random = np.random.default_rng(0)
    middles = random.normal(size=(PEOPLE, 128))
    name = tables.describe(library, TaskChoice(name="faces").description)
    for shard, _ in manifest.shards(library):
        rows = []
        for number, image_id in enumerate(manifest.read_shard(library, shard)["image_id"].to_pylist()):
            for face in range(EACH if number % 5 else 0):
                vector = middles[random.integers(PEOPLE)] + random.normal(size=128)
                rows.append({"image_id": image_id, "face_id": f"{image_id}-{face}", "quality": 1.0})
                rows[-1]["embedding"] = (vector / np.linalg.norm(vector)).astype(np.float32).tolist()
        tables.write_shard(library, name, shard, {"faces": pa.Table.from_pylist(rows, Faces().schema)})
    return library


@pytest.fixture
def there(library: LibraryFiles, ray_cluster: None) -> Machine:
    import ray

    return Machine(address=ray.get_runtime_context().gcs_address, shared=True)


def clusters(library: LibraryFiles) -> bytes:
    [name] = library.names("clusters")
    return library.read(f"clusters/{name}/clusters.parquet")


def test_kmeans_by_workers_gives_the_same_bytes(
    library: LibraryFiles, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mergeable_kmeans, "FEW_SIMILARITIES", 0)
    summary = cluster_faces(library, None, "kmeans", PEOPLE, False)
    here = clusters(library)
    library.remove(f"clusters/{library.names('clusters')[0]}/clusters.parquet")
    monkeypatch.setattr("muster.pipeline.people.grouping.load_faces", None)  # no embedding comes here
    assert cluster_faces(library, None, "kmeans", PEOPLE, False, there) == summary
    assert clusters(library) == here
    assert summary.people >= PEOPLE - 1


def test_few_faces_are_done_here(library: LibraryFiles, there: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster.pipeline.people.grouping.ray_kmeans.kmeans", None)
    summary = cluster_faces(library, None, "kmeans", PEOPLE, False, there)
    assert summary.how == "k as given"


def test_an_address_where_nobody_answers_is_said_though_few_faces_need_no_worker(library: LibraryFiles) -> None:
    with pytest.raises(MusterError, match="no Ray cluster answers"):
        cluster_faces(library, None, "kmeans", PEOPLE, False, Machine(address="127.0.0.1:1"))


def test_a_holder_that_dies_begins_anew(library: LibraryFiles, there: Machine) -> None:
    import ray

    name, faces = TaskChoice(name="faces").fingerprint, library_faces(library)
    rows = np.arange(0, len(faces), 3)
    while ray.available_resources().get("CPU", 0) < 2:  # workers of the test before are ending
        time.sleep(0.1)
    held = _Spread(library, name, [shard for shard, _ in manifest.shards(library)], rows)
    here = mergeable_kmeans.InMemory(faces[rows])
    assert len(held.holders) == 2
    assert len(held) == len(here)
    some = np.arange(5, len(rows), 7)
    assert held.take(some).tobytes() == here.take(some).tobytes()
    ray.kill(held.holders[0], no_restart=False)
    centroids = faces[:9]
    for found, expected in ((held.sums(some, centroids), here.sums(some, centroids)), (held.step(centroids)[1],) * 2):
        assert found.embeddings.tobytes() == expected.embeddings.tobytes()
    assert held.step(centroids)[0].tolist() == here.step(centroids)[0].tolist()


def test_what_a_worker_cannot_read_is_said(library: LibraryFiles, there: Machine) -> None:
    shard = manifest.shards(library)[0][0]
    name = TaskChoice(name="faces").fingerprint
    library.write(f"faces/{name}/shard-{shard}.parquet", b"no Parquet")
    with pytest.raises(MusterError, match=rf"a worker failed: .*shard-{shard}.parquet is missing or damaged"):
        _Spread(library, name, [shard], np.arange(10))
    with pytest.raises(MusterError, match=r"a worker failed: TypeError: cannot unpack"):
        list(spread(there, library.uri, inverted_file.fill, [0]))


def test_embeddings_of_an_encrypted_library_stay_here(library: LibraryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mergeable_kmeans, "FEW_SIMILARITIES", 0)
    monkeypatch.setenv("MUSTER_KEY", base64.b64encode(bytes(32)).decode())
    locked = open_library(f"{library.uri}-locked", create=True)
    for each in library.files():
        if each != MARKER:
            locked.write(each, library.read(each))
    nowhere = Machine(address="127.0.0.1:1")
    assert cluster_faces(locked, None, "kmeans", PEOPLE, False, nowhere).faces == 2036


def library_faces(library: LibraryFiles) -> np.ndarray:
    shards = [shard for shard, _ in manifest.shards(library)]
    table = tables.require(library, "faces", TaskChoice(name="faces").fingerprint, ["embedding"], shards)
    return matrix(table["embedding"])


def test_an_index_filled_by_workers_finds_the_same(
    library: LibraryFiles, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but for codes that another number of threads rounds otherwise; what they lead to is compared exactly."""
    monkeypatch.setattr(inverted_file, "SHARD", 512)
    faces = library_faces(library)
    place = np.append(np.arange(len(faces)), -1)
    here, built = (
        inverted_file.build_lists(faces, by).search(
            faces, faces, place, 5, inverted_file.DEPTHS, inverted_file.all_alike
        )
        for by in (map, lambda function, items: spread(there, library.uri, function, items))
    )
    assert built[1][:, 0].tolist() == list(range(len(faces)))
    assert (built[1] == here[1]).mean() > 0.99


def test_the_graph_uses_an_index_that_workers_filled(
    library: LibraryFiles, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "EXACT_UP_TO", 500)
    monkeypatch.setattr(inverted_file, "SHARD", 512)
    called: list[int] = []

    def counted(function: Callable[..., object], items: object) -> object:
        called.append(1)
        return spread(there, library.uri, function, items)

    monkeypatch.setattr(
        "muster.pipeline.people.grouping.ray_kmeans.spread", lambda machine, library, *arguments: counted(*arguments)
    )
    summary = cluster_faces(library, None, "graph", None, False, there)
    assert called
    assert summary.people >= PEOPLE - 1


def test_by_the_command_line(
    muster: Callable[..., Outcome], library: LibraryFiles, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mergeable_kmeans, "FEW_SIMILARITIES", 0)
    options = ("--method", "kmeans", "--k", PEOPLE, "-l", library.uri, "--json")
    outcome = muster("cluster", *options, "--address", there.address, "--shared-library")
    assert (outcome.code, outcome.facts["faces"]) == (0, 2036), outcome.err
    nobody = muster("cluster", *options, "--address", "127.0.0.1:1")
    assert (nobody.code, nobody.out) == (1, "")
    assert "127.0.0.1:1" in nobody.error
