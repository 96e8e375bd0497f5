import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from helpers.embeddings import people
from helpers.findings import commit, face
from muster.arrays import matrix
from muster.errors import MusterError
from muster.pipeline.people.faces import embeddings_at, faces_fingerprint, read_faces
from muster.pipeline.people.grouping import ClusterSummary, cluster_faces
from muster.pipeline.people.said import said_here
from muster.pipeline.people.who import people_now
from muster.pipeline.work.choice import TaskChoice
from muster.storage import clusters, manifest, tables
from muster.storage.library import open_library
from muster.storage.outcomes import IMAGES, IMAGES_DESCRIPTION
from muster.storage.people import edits, facts
from muster.storage.people.facts import Fact
from muster.storage.people.ledger import Ledger
from muster.storage.people.view import People

SIZES = (6, 5, 4, 1)
CALLS = [("graph", None), ("kmeans", 2), ("kmeans", 6)]


class Album:
    """Photos of people of SIZES, one face in each, named after their number; and a copy of the first photo."""

    def __init__(self, folder: Path, make_photos: Callable[..., Path]) -> None:
        self.faces, self.who = people(SIZES, 0.5, 128)
        n = len(self.faces)
        photos = make_photos(folder / "photos", range(n))
        (photos / "zz.jpg").write_bytes(sorted(photos.iterdir())[0].read_bytes())
        self.library = open_library(folder / "L", create=True)
        self.scan(photos)

    def scan(self, photos: Path) -> None:
        manifest.scan(self.library, [str(photos)])
        rows = manifest.read_manifest(self.library).select(["image_id", "uri"]).to_pylist()
        content = {row["image_id"]: Path(row["uri"]).read_bytes() for row in rows}
        by_content = {data: i for i, data in enumerate(dict.fromkeys(content[i] for i in self._sorted(rows)))}
        self.number = {image_id: by_content[data] for image_id, data in content.items()}
        seen = tables.describe(self.library, IMAGES_DESCRIPTION)
        for shard, _ in manifest.shards(self.library):
            ids = manifest.read_shard(self.library, shard)["image_id"].to_pylist()
            size = {"status": "ok", "width": 400, "height": 300}
            images = [{"image_id": i, "sha256": hashlib.sha256(content[i]).hexdigest(), **size} for i in ids]
            tables.write_shard(self.library, seen, shard, {"images": pa.Table.from_pylist(images, IMAGES)})
        commit(self.library, TaskChoice(name="faces").description, self._face)

    @staticmethod
    def _sorted(rows: list[dict[str, Any]]) -> list[str]:
        return [row["image_id"] for row in sorted(rows, key=lambda row: row["uri"])]

    def _face(self, image_id: str) -> list[dict[str, Any]]:
        return [{**face(image_id), "quality": 1.0, "embedding": self.faces[self.number[image_id]]}]

    def cluster(self, method: str = "graph", k: int | None = None) -> ClusterSummary:
        return cluster_faces(self.library, None, method, k, same_photo=False)

    def now(self) -> People:
        return people_now(self.library, None)

    def person(self, *numbers: int) -> str:
        """Who all faces of these numbers are now."""
        who = {p for n, p in self.persons().items() if n in numbers}
        assert len(who) == 1, f"{numbers} are {who}"
        return who.pop()

    def persons(self) -> dict[int, str | None]:
        """The person of each number; copies have one."""
        rows = self.now().faces.select(["image_id", "person_id"]).to_pylist()
        pairs = {(self.number[row["image_id"]], row["person_id"]) for row in rows}
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    def face_ids(self, *numbers: int) -> list[str]:
        return [f"{image_id}-0" for image_id, number in self.number.items() if number in numbers]

    def say(self, said: list[Fact]) -> str:
        return Ledger(self.library).record(said).edit_id


@pytest.fixture
def album(tmp_path: Path, make_photos: Callable[..., Path]) -> Album:
    made = Album(tmp_path, make_photos)
    made.cluster()
    return made


def test_the_album_is_what_the_tests_take_it_for(album: Album) -> None:
    assert len(set(album.persons().values())) == 4
    assert album.person(15) is None


@pytest.mark.parametrize(("method", "k"), CALLS)
def test_edits_last_through_clustering(album: Album, method: str, k: int | None) -> None:
    first, second, third = album.person(0), album.person(6), album.person(11)
    album.say(edits.named(album.now(), first, "Anna"))
    album.say(edits.merged(album.now(), first, second))
    album.say(edits.moved(album.now(), album.face_ids(15), third))
    album.say(edits.barred(album.now(), album.face_ids(1), first))
    album.say(edits.moved(album.now(), album.face_ids(2), third))
    before = album.persons()
    summary = album.cluster(method, k)
    assert album.persons() == before
    assert (album.person(0, 6), album.person(2, 11, 15), album.person(1)) == (first, third, None)
    assert album.now().people[first].name == "Anna"
    assert summary.people == 2
    stored = clusters.read(album.library, faces_fingerprint(album.library, None)).to_pylist()
    of = {row["face_id"]: row for row in stored}
    for face_id in album.face_ids(2, 15):
        assert (of[face_id]["cluster_id"], of[face_id]["certainty"]) == (third, 1)


@pytest.mark.parametrize(("method", "k"), CALLS)
def test_what_is_taken_back_leaves_no_trace(album: Album, method: str, k: int | None) -> None:
    album.cluster(method, k)
    before = album.persons()
    first, second = album.person(0), album.person(11)
    said = [
        album.say(edits.merged(album.now(), first, second)),
        album.say(edits.moved(album.now(), album.face_ids(7, 15), first)),
    ]
    album.cluster(method, k)
    for edit in reversed(said):
        album.say(edits.undone(Ledger(album.library), edit))
    assert album.persons() == before
    album.cluster(method, k)
    assert album.persons() == before
    assert "found_id" not in clusters.read(album.library, faces_fingerprint(album.library, None)).column_names


def test_what_is_taken_back_after_clustering_counts_at_once_and_the_rest_stays(album: Album) -> None:
    first, second, third = album.person(0), album.person(6), album.person(11)
    album.say(edits.named(album.now(), second, "Bob"))
    merge = album.say(edits.merged(album.now(), first, second))
    album.say(edits.moved(album.now(), album.face_ids(15), third))
    before = album.persons()
    album.cluster()
    assert (album.persons(), album.person(0, 6)) == (before, second)
    back = album.say(edits.undone(Ledger(album.library), merge))
    assert (album.person(0), album.person(6), album.person(11, 15)) == (first, second, third)
    album.cluster()
    assert (album.person(0), album.person(6), album.person(11, 15)) == (first, second, third)
    album.say(edits.undone(Ledger(album.library), back))
    assert album.persons() == before


def test_nobody_else_goes_by_the_id_of_a_person(album: Album) -> None:
    first = album.person(0)
    album.say(edits.named(album.now(), first, "Anna"))
    for numbers in ((0, 1, 2), (3, 4, 5)):
        album.say([facts.IsNot(first, edits.refs(album.now(), album.face_ids(*numbers)))])
    album.cluster()
    assert first not in album.persons().values()
    assert album.now().people[first].name == "Anna"
    assert album.person(0, 1, 2, 3, 4, 5) not in (None, first)


def test_what_a_newer_muster_said_is_not_clustered_against(album: Album) -> None:
    edit = album.say(edits.named(album.now(), album.person(0), "Anna"))
    file = f"facts/{edit}.json"
    album.library.write(file, album.library.read(file).replace(b'"version": 1', b'"version": 99'))
    with pytest.raises(MusterError, match="newer Muster"):
        album.cluster()


def test_nothing_said_is_none(album: Album) -> None:
    assert said_here(album.library, faces_fingerprint(album.library, None)) is None


def test_embeddings_at_any_rows(album: Album) -> None:
    fingerprint = faces_fingerprint(album.library, None)
    every = matrix(read_faces(album.library, fingerprint, ["embedding"])["embedding"])
    for rows in ([], [3], [16, 0, 5], list(range(17))):
        assert np.array_equal(
            embeddings_at(album.library, fingerprint, np.array(rows, np.int64)), every[rows][:, : 128 if rows else 0]
        )
