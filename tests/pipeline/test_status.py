import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from helpers.fixtures import Outcome
from muster.pipeline import forget
from muster.pipeline.status import status
from muster.storage.layout import SCANNING
from muster.storage.library import dump_json, open_library
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


def test_the_newest_errors_and_the_slowest_images_are_named(
    library: Path, album: Path, muster: Callable[..., Outcome]
) -> None:
    """Also after the slowest is forgotten; and of a library of an older version, what its commits know."""
    opened = open_library(library)
    facts = status(opened)
    errors = {Path(row["uri"]).name: (row["task"], row["error_kind"]) for row in facts["newest_errors"]}
    assert errors == {"cut.jpg": (None, "truncated"), "text.jpg": (None, "not_an_image")}
    times = [datetime.fromisoformat(row["at"]) for row in facts["newest_errors"]]
    assert times == sorted(times, reverse=True)
    assert all(timedelta(0) < datetime.now(UTC) - at < timedelta(days=1) for at in times)
    seconds = [row["seconds"] for row in facts["slowest"]]
    assert len(seconds) == 5
    assert seconds == sorted(seconds, reverse=True)
    assert {str(Path(row["uri"]).parent) for row in facts["slowest"]} == {str(album)}

    slowest = next(row for row in facts["slowest"] if Path(row["uri"]).name not in errors)  # those are asked for below
    lines = muster("status", "-l", library).out.splitlines()
    assert f"  {slowest['seconds']:.3f} s  {slowest['uri']}" in lines
    assert any(line.endswith(f"{album / 'cut.jpg'}: truncated: the file is cut short") for line in lines)
    [receipt] = forget.forget(opened, [slowest["uri"]], "asked for")
    assert receipt.found_afterwards == []
    assert slowest["image_id"] not in {row["image_id"] for row in status(opened)["slowest"]}

    for name in opened.files():
        if name.startswith("_commits/"):
            opened.write(name, dump_json(json.loads(opened.read(name)) | {"facts": {}}))
    facts = status(opened)
    assert facts["slowest"] == []
    assert {(Path(row["uri"]).name, row["at"]) for row in facts["newest_errors"]} == {
        ("cut.jpg", None),
        ("text.jpg", None),
    }
    assert "time not known" in muster("status", "-l", library).out


def test_an_interrupted_scan_is_told(tmp_path: Path, album: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    scan(library, [str(album)])
    assert status(library)["scan_interrupted"] is False
    library.write(SCANNING, b'{"gone": [], "changed": []}')
    assert status(library)["scan_interrupted"] is True
    repair(library)
    assert status(library)["scan_interrupted"] is False
