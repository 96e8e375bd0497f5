from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from muster.errors import MusterError
from muster.storage import layout
from muster.storage.library import LibraryFiles, open_library
from muster.storage.tags import table

EMPTY = {
    **dict.fromkeys(("files", "regions", "keywords", "people", "albums", "remarks"), ()),
    **dict.fromkeys(("title", "description", "taken_at", "latitude", "longitude", "rating")),
    "favourite": False,
}
BOX = [1.0, 2.0, 3.0, 4.0]


def row(image_id: str, **said: object) -> dict[str, object]:
    return {"image_id": image_id, **EMPTY, **said}


def rows(*some: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(
        [{k: list(v) if v == () else v for k, v in each.items()} for each in some], table.SCHEMA
    )


def stamps(*ids: str) -> pa.Table:
    return pa.Table.from_pylist([{"image_id": each, "stamp": "0" * 16} for each in ids], table.READ)


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return open_library(tmp_path / "L", create=True)


def test_what_was_written_is_read(library: LibraryFiles) -> None:
    assert table.read(library).equals(table.SCHEMA.empty_table())
    region = {"name": "Ann", "type": "Face", "box_xyxy": BOX, "origin": "mp"}
    some = rows(row("a", regions=[region], keywords=["dog"], taken_at=datetime(2019, 1, 2)), row("b", rating=4))
    table.write(library, some, stamps("a", "b", "c"))
    assert table.read(library).equals(some)
    assert table.read_stamps(library)["image_id"].to_pylist() == ["a", "b", "c"]


def test_a_damaged_file_is_named(library: LibraryFiles) -> None:
    for damage in (b"no Parquet", b""):
        library.write(layout.TAGS, damage)
        with pytest.raises(MusterError, match=r"tags/tags\.parquet is damaged .*: delete it, and read the tags again"):
            table.read(library)


def test_images_are_forgotten(library: LibraryFiles) -> None:
    table.write(library, rows(row("a"), row("b")), stamps("a", "b"))
    table.forget(library, pa.chunked_array([["b"]]))
    assert table.read(library)["image_id"].to_pylist() == ["b"]
    assert table.read_stamps(library)["image_id"].to_pylist() == ["b"]


def test_names_are_forgotten(library: LibraryFiles) -> None:
    regions = [{"name": name, "type": "Face", "box_xyxy": BOX, "origin": "mp"} for name in ("Ann", "Bob")]
    some = rows(row("a", regions=regions, people=["Ann", "Cy"], keywords=["Ann", "lake"]), row("b", people=["Bob"]))
    table.write(library, some, stamps("a", "b"))
    table.forget_names(library, {"Ann"})
    first, second = table.read(library).to_pylist()
    assert [each["name"] for each in first["regions"]] == [None, "Bob"]
    assert (first["people"], first["keywords"], second["people"]) == (["Cy"], ["lake"], ["Bob"])


def test_a_date_or_place_of_the_photo_goes_before() -> None:
    own, said = datetime(2001, 1, 1), datetime(2002, 2, 2)
    images = pa.table(
        {
            "image_id": ["a", "b", "c", "d"],
            "taken_at": pa.array([own, None, None, None], pa.timestamp("us")),
            "latitude": pa.array([None, 5.0, None, None], pa.float64()),
            "longitude": pa.array([None, 6.0, None, None], pa.float64()),
        }
    )
    tags = rows(*(row(each, taken_at=said, latitude=1.0, longitude=2.0) for each in "abc"))
    found = table.filled(images, tags)
    assert found.schema == images.schema
    assert found["taken_at"].to_pylist() == [own, said, said, None]
    assert found["latitude"].to_pylist() == [1.0, 5.0, 1.0, None]
    assert found["longitude"].to_pylist() == [2.0, 6.0, 2.0, None]
    assert table.filled(images.select(["image_id", "taken_at"]), tags)["taken_at"].to_pylist() == [
        own,
        said,
        said,
        None,
    ]
    assert table.filled(images, tags.slice(0, 0)).equals(images)
