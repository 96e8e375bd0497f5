from collections.abc import Callable
from pathlib import Path

from muster.pipeline.status import status
from muster.storage.layout import SCANNING
from muster.storage.library import open_library
from muster.storage.manifest import repair, scan


def test_a_new_library(tmp_path: Path) -> None:
    facts = status(open_library(tmp_path / "L", create=True))
    assert (facts["images"], facts["shards"], facts["pending"], facts["tables"]) == (0, 0, 0, [])


def test_scanned_but_not_run(tmp_path: Path, album: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    scan(library, [str(album)])
    facts = status(library)
    assert (facts["images"], facts["ok"], facts["errors"], facts["pending"]) == (26, 0, 0, 26)


def test_processed(processed: Path) -> None:
    facts = status(open_library(processed))
    assert (facts["images"], facts["ok"], facts["errors"], facts["pending"]) == (26, 24, 2, 0)
    tables = {table["task"]: table for table in facts["tables"]}
    assert {name: table["rows"] for name, table in tables.items()} == {"images": 26, "faces": 8, "previews": 24}
    assert {table["pending"] for table in tables.values()} == {0}
    assert tables["faces"]["model"] == "own"


def test_photos_added_are_pending_and_photos_gone_do_not_count(
    library: Path, tmp_path: Path, album: Path, make_photos: Callable[..., Path]
) -> None:
    opened = open_library(library)
    scan(opened, [str(make_photos(tmp_path / "more", range(100, 105)))])
    facts = status(opened)
    assert (facts["images"], facts["ok"], facts["errors"], facts["pending"]) == (31, 24, 2, 5)
    assert {table["pending"] for table in facts["tables"]} == {5}
    assert facts["images"] == facts["ok"] + facts["errors"] + facts["pending"]


def test_an_interrupted_scan_is_told(tmp_path: Path, album: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    scan(library, [str(album)])
    assert status(library)["scan_interrupted"] is False
    library.write(SCANNING, b'{"gone": [], "changed": []}')
    assert status(library)["scan_interrupted"] is True
    repair(library)
    assert status(library)["scan_interrupted"] is False
