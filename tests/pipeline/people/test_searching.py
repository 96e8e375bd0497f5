from pathlib import Path

import pytest

from helpers.findings import commit, dog, scanned
from muster.errors import NotYetError
from muster.pipeline.people.searching import opened
from muster.pipeline.work.choice import TaskChoice
from muster.storage import manifest
from muster.storage.library import open_library

OBJECTS = TaskChoice(name="objects").description


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


def test_before_a_run(tmp_path: Path, photos: Path) -> None:
    library = open_library(tmp_path / "library", create=True)
    manifest.scan(library, [str(photos)])
    with pytest.raises(NotYetError, match="`run` first"):
        opened(library)
