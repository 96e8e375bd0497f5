"""The rows of Parquet files that users bring."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from muster.errors import InputError
from muster.storage.library import LibraryFiles, open_library
from muster.storage.photos.parquet_rows import LARGE_GROUP
from muster.storage.photos.sources import Found, find_images

BYTES = pa.array([b"1", b"2", None])


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return open_library(tmp_path / "library", create=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def found(path: str | Path, library: LibraryFiles) -> tuple[Found, list[dict[str, Any]]]:
    result = find_images(str(path), library)
    return result, result.rows.to_pylist()


def refusal(path: str | Path, library: LibraryFiles) -> str:
    with pytest.raises(InputError) as refused:
        find_images(str(path), library)
    return str(refused.value)


def test_inline_images(folder: Path, library: LibraryFiles) -> None:
    path = write(folder / "x.parquet", image=BYTES, person=["a", "b", None], uri=["u", "v", "w"])
    os.utime(path, (1e9, 1e9))
    for source in (path, folder, folder / "*.parquet"):
        result, rows = found(source, library)
        assert result.from_parquet
        assert [row["uri"] for row in rows] == [f"{path}#row={i}" for i in range(3)]
        assert rows[1]["modified"] == datetime.fromtimestamp(1e9, UTC)
        assert rows[1]["size"] is None
        assert [row["person"] for row in rows] == ["a", "b", None]
        assert [row["user_uri"] for row in rows] == ["u", "v", "w"]
        assert "image" not in result.rows.column_names


def test_large_row_groups(folder: Path, library: LibraryFiles) -> None:
    table = pa.table({"image": pa.array([b"x"] * 5000)})
    pq.write_table(table, folder / "large.parquet")
    pq.write_table(table, folder / "small.parquet", row_group_size=LARGE_GROUP)
    result = find_images(str(folder), library)
    assert result.large_groups == {str(folder / "large.parquet"): 5000}
    write(folder / "names.parquet", uri=[f"{i}.jpg" for i in range(5000)])  # read once, at the scan
    assert find_images(str(folder / "names.parquet"), library).large_groups == {}


def test_parquet_without_other_columns(folder: Path, library: LibraryFiles) -> None:
    assert len(found(write(folder / "x.parquet", image=BYTES), library)[1]) == 3


def test_listed_files(folder: Path, library: LibraryFiles, tmp_path: Path) -> None:
    (folder / "a b.jpg").write_bytes(b"abc")
    uris = [str(folder / "a b.jpg"), "a b.jpg", f"file://{folder}/a%20b.jpg", "../gone.jpg", "s3://b/c%20d.jpg", "e\0"]
    path = write(folder / "x.parquet", uri=uris, n=range(6))
    rows = found(path, library)[1]
    assert [row["uri"] for row in rows] == [
        *[str(folder / "a b.jpg")] * 3, str(tmp_path / "gone.jpg"), "s3://b/c%20d.jpg", f"{folder}/e\0"
    ]  # fmt: skip
    assert [row["size"] for row in rows] == [3, 3, 3, None, None, None]
    assert [row["n"] for row in rows] == list(range(6))
    assert [row["modified"] is None for row in rows] == [False, False, False, True, True, True]


def test_listed_inline_images(folder: Path, library: LibraryFiles) -> None:
    """As in a manifest that was filtered and is scanned again."""
    image = write(folder / "images.parquet", image=BYTES)
    (folder / "real.parquet#row=1").touch()
    path = write(folder / "x.parquet", uri=[f"{image}#row=1", "images.parquet#row=2", "real.parquet#row=1"])
    uris = [row["uri"] for row in found(path, library)[1]]
    assert uris == [f"{image}#row=1", f"{image}#row=2", f"file://{folder}/real.parquet%23row%3D1"]


def test_sizes_and_times_are_believed_where_nobody_looked(folder: Path, library: LibraryFiles) -> None:
    (folder / "a.jpg").write_bytes(b"abc")
    times = pa.array([10**18, 2 * 10**18 + 1], pa.timestamp("ns"))
    path = write(
        folder / "x.parquet", uri=["a.jpg", "gs://b/c.jpg"], size=pa.array([7, 8], pa.uint16()), modified=times
    )
    rows = found(path, library)[1]
    assert [row["size"] for row in rows] == [3, 8]
    assert rows[1]["modified"] == datetime.fromtimestamp(2e9, UTC)
    assert rows[0]["modified"] != datetime.fromtimestamp(1e9, UTC)
    assert set(rows[0]) == {"uri", "size", "modified"}


def test_columns_named_like_ours_are_kept_under_another_name(folder: Path, library: LibraryFiles) -> None:
    path = write(folder / "x.parquet", uri=["a"], size=["big"], image_id=[7], source=["s"], user_size=[1], image=["no"])
    [row] = found(path, library)[1]
    kept = {"user_size": "big", "user_image_id": 7, "user_source": "s", "user_user_size": 1, "image": "no"}
    assert kept.items() <= row.items()


def test_rows_without_uri_are_counted(folder: Path, library: LibraryFiles) -> None:
    result, rows = found(write(folder / "x.parquet", uri=["a.jpg", None, ""], n=[1, 2, 3]), library)
    assert [row["n"] for row in rows] == [1]
    assert result.skipped == {"rows without uri": 2}


def test_text_of_pandas_and_polars(folder: Path, library: LibraryFiles) -> None:
    frame = pd.DataFrame({"uri": ["/a.jpg", "/b.jpg"], "person": pd.Categorical(["x", "y"])})
    frame.to_parquet(folder / "x.parquet")
    write(folder / "y.parquet", uri=pa.array(["/c.jpg"], pa.large_string()), person=pa.array(["z"], pa.string_view()))
    write(folder / "z.parquet", uri=["/d.jpg"], person=pa.nulls(1))
    rows = found(folder, library)[1]
    assert [row["person"] for row in rows] == ["x", "y", "z", None]


def test_other_filesystems(library: LibraryFiles) -> None:
    fs = pafs.FileSystem.from_uri("fsspec+memory://sources/")[0]
    fs.create_dir("/sources")
    for name, columns in {"in line": {"image": [b"1"]}, "list": {"uri": ["a b.jpg", "/local.jpg"]}}.items():
        with fs.open_output_stream(f"/sources/{name}.parquet") as out:
            pq.write_table(pa.table(columns), out)
    uris = [row["uri"] for row in found("fsspec+memory://sources", library)[1]]
    assert uris == [
        "fsspec+memory://sources/in%20line.parquet#row=0",
        "fsspec+memory://sources/a%20b.jpg",
        "/local.jpg",
    ]


def test_parquet_without_usable_column(folder: Path, library: LibraryFiles) -> None:
    path = write(folder / "x.parquet", file=["a"], image=["text"])
    assert str(path) in refusal(path, library)
    assert refusal(path, library).endswith("It has: file (string), image (string)")
    assert "uri (int64)" in refusal(write(folder / "y.parquet", uri=[1]), library)


def test_parquet_without_rows(folder: Path, library: LibraryFiles) -> None:
    assert "no images in" in refusal(write(folder / "x.parquet", image=pa.array([], pa.binary())), library)
    assert "no images in" in refusal(write(folder / "y.parquet", uri=pa.array([None], pa.string())), library)


def test_columns_of_two_types(folder: Path, library: LibraryFiles) -> None:
    write(folder / "x.parquet", uri=["a"], person=["x"])
    write(folder / "y.parquet", uri=["a"], person=[1])
    message = refusal(folder, library)
    for part in ("'person'", "string", "int64", "x.parquet", "y.parquet"):
        assert part in message


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "footer", "pages"])
def test_damaged_parquet(folder: Path, library: LibraryFiles, damage: str) -> None:
    path = write(folder / "x.parquet", uri=[f"/{i}.jpg" for i in range(1000)])
    data = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "text": b"uri,person\n" * 100,
            "cut": data[: len(data) // 2],
            "footer": data[:-200] + b"\xff" * 100 + data[-100:],
            "pages": data[:4] + b"\xff" * 1000 + data[1004:],
        }[damage]
    )
    assert refusal(path, library).startswith(f"cannot read {path} as Parquet: ")


def test_lfw(data: Path, library: LibraryFiles) -> None:
    result, rows = found(data / "lfw" / "lfw.parquet", library)
    assert len(rows) == 10_562
    assert len({row["person"] for row in rows}) == 4_859
    assert result.rows.column_names == ["uri", "size", "modified", "person", "file"]
