"""Rows of Lance data sets."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from muster.errors import ImageError, InputError
from muster.storage.photos import kinds
from muster.storage.photos.listing import covers
from muster.storage.photos.reader import Reader
from muster.storage.photos.sources import find_images

lance = pytest.importorskip("lance", reason="Lance is read by pylance, an extra")
BYTES = [bytes([i]) * (i + 1) for i in range(10)]
KIND = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def written(path: Path, **more: Any) -> str:
    image = pa.array([{"bytes": data, "path": None} for data in BYTES], KIND)
    rows = pa.table({"image": image, "person": [f"p{i % 3}" for i in range(10)], **more})
    lance.write_dataset(rows, path, max_rows_per_file=4, mode="overwrite")
    return str(path)


def rows_of(uri: str | Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = find_images(str(uri), None).rows.to_pylist()
    return found


def test_rows_are_found_and_read_in_any_order(tmp_path: Path) -> None:
    uri = written(tmp_path / "x.lance", **{'a b"c': range(10)})
    for source in (uri, tmp_path, tmp_path / "*.lance", tmp_path / "**"):
        rows = rows_of(source)
        assert [(row["uri"], row["person"]) for row in rows] == [(f"{uri}#row={i}", f"p{i % 3}") for i in range(10)]
    assert [row['a b"c'] for row in rows] == list(range(10))
    for i in [3, 9, 0, 4, 3]:
        assert Reader().read(f"{uri}#row={i}") == BYTES[i]
    assert covers(uri)(f"{uri}#row=3")


def test_a_new_version_is_another_time(tmp_path: Path) -> None:
    before = rows_of(written(tmp_path / "x.lance"))[0]["modified"]
    assert rows_of(written(tmp_path / "x.lance"))[0]["modified"] > before


def test_deleted_rows_are_no_rows(tmp_path: Path) -> None:
    uri = written(tmp_path / "x.lance")
    lance.dataset(uri).delete("person = 'p0'")
    rows = rows_of(uri)
    assert [row["person"] for row in rows] == ["p1", "p2"] * 3
    assert [Reader().read(row["uri"]) for row in rows] == [BYTES[i] for i in (1, 2, 4, 5, 7, 8)]


def test_rows_that_name_files(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    image = pa.array([{"bytes": b"x", "path": "in.jpg"}, {"bytes": None, "path": "a.jpg"}, None], KIND)
    lance.write_dataset(pa.table({"image": image}), tmp_path / "x.lance")
    rows = rows_of(tmp_path / "x.lance")
    assert [row["uri"].rpartition("/")[2] for row in rows] == ["x.lance#row=0", "a.jpg", "x.lance#row=2"]
    with pytest.raises(ImageError) as caught:
        Reader().read(rows[2]["uri"])
    assert caught.value.kind == "empty"


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lance.write_dataset(pa.table({"a": [1]}), tmp_path / "other.lance")
    with pytest.raises(InputError, match="no usable column"):
        find_images(str(tmp_path / "other.lance"), None)
    uri = written(tmp_path / "x.lance")
    with pytest.raises(ImageError, match="10 rows"):
        Reader().read(f"{uri}#row=10")
    for file in (tmp_path / "x.lance" / "_versions").iterdir():
        file.write_bytes(b"abc")
    with pytest.raises(InputError, match="as Lance: "):
        find_images(uri, None)
    with pytest.raises(ImageError) as caught:
        Reader().read(f"{uri}#row=1")
    assert caught.value.kind == "unreadable"


def test_without_pylance_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = written(tmp_path / "x.lance")
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff")
    kinds._by_suffix.cache_clear()
    monkeypatch.setattr(kinds, "find_spec", lambda name: None)
    try:
        with pytest.raises(InputError, match=r"pip install 'muster-photos\[lance\]'"):
            find_images(uri, None)
        found = find_images(str(tmp_path), None)
        assert (found.rows.num_rows, found.skipped) == (1, {".lance": 1})
    finally:
        kinds._by_suffix.cache_clear()
