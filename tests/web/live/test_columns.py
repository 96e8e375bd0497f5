import base64
from pathlib import Path

import pytest

from helpers.collection import Collection
from helpers.live import ANNA, BERT, CARL, source_of
from muster.errors import LibraryGoneError
from muster.storage import layout
from muster.storage.encryption import NEW_KEY
from muster.storage.library import open_library
from muster.storage.rekey import rekeyed
from muster.web.live.columns import load


def test_a_scan_that_finds_files_elsewhere_changes_the_state(tmp_path: Path) -> None:
    made = Collection()
    made.photo("/photos/1.jpg", [ANNA])
    source = source_of(made, tmp_path / "library")
    before = source.state
    assert source.state == before
    (shard,) = source.shards("images")
    name = layout.manifest_shard(shard)
    source.library.write(name, source.library.read(name))  # as a scan does: a new file in place of the old
    assert source.state != before


def test_faces_of_a_photo_that_is_no_longer_shown_are_left_out(tmp_path: Path) -> None:
    made = Collection()
    for n, people in enumerate(([ANNA, None], [BERT], [CARL, ANNA])):
        made.photo(f"/photos/{n}.jpg", people)
    made.images[1] |= {"status": "error", "error_kind": "truncated", "error": "cut short"}
    columns = load(source_of(made, tmp_path / "library"))
    named = [columns.cluster_ids[place] if place >= 0 else None for place in columns.cluster.tolist()]
    assert named == [ANNA, None, CARL, ANNA]
    assert columns.photo.tolist() == [0, 0, 1, 1]
    assert len(columns.face_id) == len(columns.faces) == len(columns.certainty) == 4


def test_copies_are_photos_of_the_same_bytes(tmp_path: Path) -> None:
    made = Collection()
    for n, content in enumerate("abbcbcd"):
        made.photo(f"/photos/{n}.jpg", sha256=content * 64)
    columns = load(source_of(made, tmp_path / "library"))
    assert columns.copies == {"b" * 64: 3, "c" * 64: 2}
    assert [columns.row_of_photo(each) for each in [*columns.image_id.to_pylist(), "none"]] == [*range(7), -1]


def test_a_library_that_got_a_key_since_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Collection()
    made.photo("/photos/1.jpg", [ANNA])
    source = source_of(made, tmp_path / "library")
    monkeypatch.setenv(NEW_KEY, base64.b64encode(bytes(32)).decode())
    library = open_library(source.library.uri)
    with library.lock():
        rekeyed(library)
    with pytest.raises(LibraryGoneError, match="was changed since it was opened here"):
        load(source)
