from pathlib import Path

import pyarrow as pa
import pytest

from muster.errors import MusterError, NotYetError
from muster.storage import duplicates, layout
from muster.storage.library import LibraryFiles, open_library


def row(kind: str, group: int, image_id: str, best: bool = False) -> dict[str, object]:
    reason = "largest" if best else None
    facts = {"exact": best, "orientation": 1, "likeness": 1.0, "format": "jpeg", "size": 5}
    return {"kind": kind, "group": group, "image_id": image_id, "best": best, "reason": reason, **facts}


ROWS = pa.Table.from_pylist(
    [
        *(row("picture", 1, "a", True), row("picture", 1, "b"), row("picture", 1, "c")),
        *(row("picture", 2, "d", True), row("picture", 2, "e")),
        *(row("moment", 1, "a", True), row("moment", 1, "d")),
    ],
    duplicates.SCHEMA,
)


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return open_library(tmp_path / "L", create=True)


def test_what_was_written_is_read(library: LibraryFiles) -> None:
    assert duplicates.read(library) is None
    duplicates.write(library, ROWS)
    assert duplicates.read(library).equals(ROWS)


def test_none_were_looked_for(library: LibraryFiles) -> None:
    with pytest.raises(NotYetError, match="`duplicates` first"):
        duplicates.require(library)


def test_a_damaged_file_is_named(library: LibraryFiles) -> None:
    library.write(layout.DUPLICATES, b"no Parquet")
    with pytest.raises(MusterError, match=r"duplicates\.parquet is damaged"):
        duplicates.read(library)


@pytest.mark.parametrize(
    ("gone", "left"),
    [
        ("c", "1a 1b 2d 2e 1a 1d"),
        ("e", "1a 1b 1c 1a 1d"),
        ("a", "2d 2e"),  # what the others were compared with
        ("d", "1a 1b 1c"),
        ("f", "1a 1b 1c 2d 2e 1a 1d"),
    ],
)
def test_who_is_forgotten_leaves_no_group_that_says_nothing(library: LibraryFiles, gone: str, left: str) -> None:
    duplicates.write(library, ROWS)
    duplicates.forget(library, pa.chunked_array([sorted(set("abcdef") - {gone})]))
    rows = duplicates.require(library).to_pylist()
    assert " ".join(f"{each['group']}{each['image_id']}" for each in rows) == left


def test_forgetting_where_none_were_looked_for(library: LibraryFiles) -> None:
    duplicates.forget(library, pa.chunked_array([["a"]]))
    assert duplicates.read(library) is None


def test_forgetting_everybody(library: LibraryFiles) -> None:
    duplicates.write(library, ROWS)
    duplicates.forget(library, pa.chunked_array([pa.array([], pa.string())]))
    assert duplicates.require(library).num_rows == 0
