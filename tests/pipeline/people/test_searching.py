from pathlib import Path

import pyarrow as pa
import pytest

from helpers.findings import commit, dog, face, scanned
from muster.errors import NotYetError
from muster.pipeline.people.searching import opened
from muster.pipeline.work.choice import TaskChoice
from muster.storage import clusters, manifest
from muster.storage.library import open_library
from muster.storage.people.facts import Hidden, Named
from muster.storage.people.ledger import Ledger
from muster.storage.people.view import SCHEMA
from muster.storage.tags import table as tags

OBJECTS = TaskChoice(name="objects").description
FACES = TaskChoice(name="faces")
ANN, BOB = "ab12" * 3, "ab99" * 3


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.jpg").write_bytes(name.encode())
    return folder


def test_labels_count_as_on_the_pages(tmp_path: Path, photos: Path) -> None:
    library = scanned(tmp_path / "library", photos)
    first, _ = manifest.read_manifest(library)["image_id"].to_pylist()
    commit(library, OBJECTS, lambda image_id: [dog(0.99 if image_id == first else 0.01)])
    assert opened(library).run("dog").image_ids.to_pylist() == [first]  # there are no faces


def test_who_is_hidden_is_not_found(tmp_path: Path, photos: Path) -> None:
    library = scanned(tmp_path / "library", photos)
    ids = manifest.read_manifest(library)["image_id"].to_pylist()
    commit(library, FACES.description, lambda image_id: [face(image_id)])
    who = zip(ids, (ANN, BOB), strict=True)
    rows = [{"face_id": f"{i}-0", "image_id": i, "cluster_id": person} for i, person in who]
    clusters.write(library, FACES.fingerprint, pa.Table.from_pylist(rows), "graph")
    Ledger(library).record([Named(ANN, "Ann"), Named(BOB, "Bob")])
    assert opened(library).run("ann").image_ids.to_pylist() == ids[:1]
    Ledger(library).record([Hidden(ANN)])
    assert opened(library).run("ann").unknown
    assert opened(library).run("bob").image_ids.to_pylist() == ids[1:]


def test_who_is_hidden_is_not_found_by_tags_either(tmp_path: Path, photos: Path) -> None:
    library = scanned(tmp_path / "library", photos)
    ids = manifest.read_manifest(library)["image_id"].to_pylist()
    empty = dict.fromkeys(("files", "regions", "remarks", "keywords", "albums"), ())
    marks = [{"image_id": i, **empty, "people": ["Ann", "Bob"], "favourite": False} for i in ids]
    read = pa.Table.from_pylist([{"image_id": i, "stamp": "0" * 16} for i in ids], tags.READ)
    tags.write(library, pa.Table.from_pylist(marks, tags.SCHEMA), read)
    Ledger(library).record([Named(ANN, "ANN"), Hidden(ANN)])  # of faces that are not there (any more)
    found = opened(library)
    assert found.run("ann").unknown
    assert found.run("bob").image_ids.to_pylist() == ids
    found.know(SCHEMA.empty_table(), {}, hidden=["BOB", ""])  # as the live page does after each edit
    assert found.run("bob").unknown
    found.know(SCHEMA.empty_table(), {})
    assert found.run("ann").image_ids.to_pylist() == found.run("bob").image_ids.to_pylist() == ids


def test_before_a_run(tmp_path: Path, photos: Path) -> None:
    library = open_library(tmp_path / "library", create=True)
    manifest.scan(library, [str(photos)])
    with pytest.raises(NotYetError, match="`run` first"):
        opened(library)
