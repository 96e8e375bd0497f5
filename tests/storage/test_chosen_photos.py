"""storage/chosen_photos.py: chosen photos are shards of one, which keep their tables."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from muster.storage import manifest, tables
from muster.storage.chosen_photos import choose, rows_of
from muster.storage.library import LibraryFiles, open_library


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(folder / f"{number}.png")
    found = open_library(tmp_path / "library", create=True)
    manifest.scan(found, [str(folder)])
    return found


def test_each_photo_is_a_shard_and_keeps_its_id(library: LibraryFiles, tmp_path: Path) -> None:
    album = open_library(tmp_path / "album", create=True)
    choose(album, rows_of(library))
    assert [images for _, images in manifest.shards(album)] == [1] * 5
    both = [sorted(manifest.read_manifest(each).to_pylist(), key=str) for each in (library, album)]
    assert both[0] == both[1]


def test_a_photo_that_is_chosen_again_has_its_rows(library: LibraryFiles, tmp_path: Path) -> None:
    album, rows = open_library(tmp_path / "album", create=True), rows_of(library)
    choose(album, rows)
    first = manifest.shard_id(rows.slice(0, 1))
    tables.write_shard(album, "f" * 16, first, {"x": rows.select(["image_id"]).slice(0, 1)})
    choose(album, rows.slice(1))
    assert len(manifest.shards(album)) == 4
    assert manifest.committed(album, "f" * 16) == []
    choose(album, rows.slice(0, 2))
    assert manifest.committed(album, "f" * 16) == [first]


def test_a_photo_that_was_moved_is_the_same_shard(library: LibraryFiles, tmp_path: Path) -> None:
    album, rows = open_library(tmp_path / "album", create=True), rows_of(library)
    choose(album, rows)
    before = manifest.shards(album)
    uris = pa.array([f"/elsewhere/{number}" for number in range(5)])
    choose(album, rows.set_column(1, "uri", uris))
    assert manifest.shards(album) == before
    assert sorted(manifest.read_manifest(album)["uri"].to_pylist()) == uris.to_pylist()


def test_rows_in_the_order_that_is_asked_for_without_those_that_are_gone(library: LibraryFiles) -> None:
    ids = rows_of(library)["image_id"].to_pylist()
    asked = pa.array([ids[3], "gone", ids[0]])
    assert rows_of(library, asked)["image_id"].to_pylist() == [ids[3], ids[0]]
