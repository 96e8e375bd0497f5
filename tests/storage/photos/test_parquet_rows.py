"""The rows of Parquet files that users bring."""

import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.url_server import UrlServer
from helpers.sources import found, refusal, write
from helpers.urls import private, quick, web
from muster.errors import InputError
from muster.storage.library import LibraryFiles
from muster.storage.photos import parquet_rows
from muster.storage.photos.parquet_rows import LARGE_GROUP, NO_PARTITION, partitions
from muster.storage.photos.sources import find_images
from muster.storage.photos.wishes import Wishes
from muster.storage.uris import local_path, split_inside

__all__ = ["private", "quick", "web"]
BYTES = pa.array([b"1", b"2", None])


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


@pytest.mark.parametrize("year", [1, 1676, 2020, 2263, 9999])
def test_times_of_96_bits(folder: Path, library: LibraryFiles, year: int) -> None:
    """Spark's; 9999-12-31 is "no end" in many a table."""
    when = datetime(year, 12, 31, 23, 59, 58, 123456)
    table = pa.table({"uri": ["a.jpg"], "until": pa.array([when], pa.timestamp("us"))})
    pq.write_table(table, folder / "x.parquet", use_deprecated_int96_timestamps=True)
    assert [row["until"] for row in found(folder, library)[1]] == [when]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.list_(pa.string_view()), ["x", None]),
        (pa.large_list(pa.binary_view()), [b"x"]),
        (pa.list_(pa.string_view(), 2), ["x", "y"]),
        (pa.struct([("a", pa.string_view()), ("b", pa.list_(pa.string_view()))]), {"a": "x", "b": ["y"]}),
        (pa.map_(pa.string(), pa.string_view()), [("k", "v")]),
    ],
)
def test_views_within_lists_and_the_like(folder: Path, library: LibraryFiles, kind: pa.DataType, value: Any) -> None:
    write(folder / "x.parquet", uri=["a.jpg", None, "b.jpg"], more=pa.array([value, value, None], kind))
    assert [row["more"] for row in found(folder, library)[1]] == [value, None]


def test_parquet_without_usable_column(folder: Path, library: LibraryFiles) -> None:
    path = write(folder / "x.parquet", thing=["a"], image=["text"])
    assert str(path) in refusal(path, library)
    assert refusal(path, library).endswith("It has: thing (string), image (string)")
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


# ---- columns in the names of folders ---------------------------------------------------------------------------------


def partitioned(folder: Path, *names: str, **columns: Any) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        write(folder / name / "part-0.parquet", uri=[f"/{name}.jpg"], **columns)


def test_partitions_are_columns(folder: Path, library: LibraryFiles) -> None:
    """As pandas, pyarrow and Spark write them."""
    people = ["anna", "Bén/Ö =%", None]
    table = pa.table({"uri": [f"/{i}.jpg" for i in range(3)], "person": people, "year": [2020, 2021, 2022]})
    pq.write_to_dataset(table, folder, partition_cols=["person", "year"])
    for source in (folder, folder / "**" / "*.parquet"):
        result, rows = found(source, library)
        assert {row["uri"]: (row["person"], row["year"]) for row in rows} == {
            f"/{i}.jpg": (people[i], 2020 + i) for i in range(3)
        }
        assert (result.rows["person"].type, result.rows["year"].type) == (pa.string(), pa.int64())


@given(
    values=st.lists(
        st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=20),
        min_size=1,
        max_size=3,
    )
)
def test_every_value_comes_back(values: list[str]) -> None:
    files = [f"/d/{quote('a=b/c', safe='')}={quote(value, safe='')}/p.parquet" for value in values]
    assert [partitions(file, "/d") for file in files] == [{"a=b/c": value} for value in values]


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["n=1", "n=-20", "n=0", f"n={NO_PARTITION}"], pa.int64()),
        (["n=1", "n=x"], pa.string()),
        (["n=1", "n=007"], pa.string()),  # 7 is somebody else
        (["n=1", "n=1.5"], pa.string()),
        (["n=1", f"n={2**70}"], pa.string()),
        (["n=1", "n="], pa.string()),
        ([f"n={NO_PARTITION}"], pa.null()),
    ],
)
def test_one_type_over_all_files(folder: Path, library: LibraryFiles, names: list[str], kind: pa.DataType) -> None:
    partitioned(folder, *names)
    result, rows = found(folder, library)
    assert result.rows["n"].type == kind
    texts = sorted(name.removeprefix("n=") for name in names)
    assert sorted(NO_PARTITION if row["n"] is None else str(row["n"]) for row in rows) == texts


def test_a_part_has_the_columns_that_it_has_in_the_whole(folder: Path, library: LibraryFiles) -> None:
    """Else a scan of one part would take the names of its photos away."""
    part = "run=5/photos/person=anna/year=2020"
    partitioned(folder, part, n=[1])
    [whole] = found(folder / "run=5" / "photos", library)[1]
    assert (whole["person"], whole["year"]) == ("anna", 2020)
    assert "run" not in whole  # `photos` lies between
    for source in (part, f"{part}/part-0.parquet", f"{part}/*.parquet", "run=5/photos/person=anna"):
        assert found(folder / source, library)[1] == [whole]
    assert found(folder, library)[1] == [whole | {"run": 5}]


def test_a_folder_goes_before_a_column_of_the_file(folder: Path, library: LibraryFiles) -> None:
    partitioned(folder, "person=anna", person=["ben"])
    partitioned(folder, "uri=x/size=3")
    result = found(folder, library)[0]
    rows = {row["uri"]: row for row in result.rows.to_pylist()}
    assert rows["/person=anna.jpg"]["person"] == "anna"  # as DuckDB has it
    assert rows["/uri=x/size=3.jpg"]["user_uri"] == "x"
    assert rows["/uri=x/size=3.jpg"]["user_size"] == 3


def test_partitions_in_a_bucket(library: LibraryFiles) -> None:
    fs = pafs.FileSystem.from_uri("fsspec+memory://hive/")[0]
    for name in ("anna", "b%20c"):
        fs.create_dir(f"/hive/person={name}")
        with fs.open_output_stream(f"/hive/person={name}/p.parquet") as out:
            pq.write_table(pa.table({"image": [b"1"]}), out)
    rows = found("fsspec+memory://hive", library)[1]
    assert [row["person"] for row in rows] == ["anna", "b c"]
    [row] = found("fsspec+memory://hive/person=anna/p.parquet", library)[1]
    assert row["person"] == "anna"


def test_a_folder_that_is_not_utf8(folder: Path, library: LibraryFiles) -> None:
    partitioned(folder, "person=%FF")
    assert "is not UTF-8: rename it" in refusal(folder, library)


def test_long_names_of_folders_count(folder: Path, library: LibraryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / f"a={'x' * 200}").mkdir()
    write(folder / f"a={'x' * 200}" / "p.parquet", uri=["/a.jpg"] * 1000)
    monkeypatch.setattr(parquet_rows, "MAX_TABLE", 350_000)
    assert "column 'a' is too large" in refusal(folder, library)


# ---- types -----------------------------------------------------------------------------------------------------------


def test_types_that_can_be_promoted(folder: Path, library: LibraryFiles) -> None:
    write(
        folder / "x.parquet",
        uri=["/a.jpg"],
        id=pa.array([1], pa.int32()),
        score=[1],
        tags=pa.array([[]], pa.list_(pa.null())),
        at=pa.array([1], pa.timestamp("us")),
    )
    write(
        folder / "y.parquet",
        uri=["/b.jpg"],
        id=[2**40],
        score=[0.5],
        tags=[["x"]],
        at=pa.array([2000], pa.timestamp("ns")),
    )
    result, rows = found(folder, library)
    assert [row["id"] for row in rows] == [1, 2**40]
    assert [row["score"] for row in rows] == [1.0, 0.5]
    assert [row["tags"] for row in rows] == [[], ["x"]]
    assert result.rows["at"].cast(pa.int64()).to_pylist() == [1000, 2000]


def test_a_number_that_would_change_names_its_file(folder: Path, library: LibraryFiles) -> None:
    write(folder / "x.parquet", uri=["/a.jpg"], id=[2**53 + 1])
    write(folder / "y.parquet", uri=["/b.jpg"], id=[0.5])
    assert f"column 'id' is int64 in {folder}/x.parquet" in refusal(folder, library)


# ---- images as Hugging Face has them ---------------------------------------------------------------------------------

HF = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@pytest.mark.parametrize("statistics", [True, False])
def test_images_of_hugging_face(folder: Path, library: LibraryFiles, statistics: bool) -> None:
    (folder / "f.jpg").write_bytes(b"abc")
    values = [
        {"bytes": b"1", "path": "q.jpg"},
        {"bytes": None, "path": "f.jpg"},
        {"bytes": None, "path": f"{folder}/f.jpg"},
        {"bytes": None, "path": None},
        None,
        {"bytes": b"", "path": "f.jpg"},
        {"bytes": None, "path": "gone.jpg"},
    ]
    path = folder / "train.parquet"
    table = pa.table({"image": pa.array(values, HF), "label": range(7)})
    pq.write_table(table, path, row_group_size=3, write_statistics=statistics)
    result, rows = found(path, library)
    inline = {i: f"{path}#row={i}" for i in (0, 3, 4, 5)}  # those without bytes and path get an error row: `empty`
    files = {1: f"{folder}/f.jpg", 2: f"{folder}/f.jpg", 6: f"{folder}/gone.jpg"}
    assert {i: row["uri"] for i, row in enumerate(rows)} == inline | files
    assert [row["size"] for row in rows] == [None, 3, 3, None, None, None, None]
    assert [row["image_path"] for row in rows] == [value and value["path"] for value in values]
    assert [row["label"] for row in rows] == list(range(7))
    assert "image" not in result.rows.column_names


def test_bytes_are_not_read_where_the_statistics_tell(
    folder: Path, library: LibraryFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "x.parquet", image=pa.array([{"bytes": b"1", "path": "q.jpg"}] * 3, HF))
    write(folder / "y.parquet", image=pa.array([{"bytes": None, "path": "q.jpg"}] * 3, HF))
    monkeypatch.delattr(parquet_rows, "images_of")
    uris = [row["uri"] for row in found(folder, library)[1]]
    assert uris == [f"{folder}/x.parquet#row={i}" for i in range(3)] + [f"{folder}/q.jpg"] * 3


def test_other_columns_of_images_keep_their_paths(folder: Path, library: LibraryFiles) -> None:
    """Not their bytes: the library would have a copy."""
    image = pa.array([{"bytes": b"1", "path": "a.jpg"}], HF)
    path = write(folder / "x.parquet", image=image, mask=image, image_path=["own"])
    [row] = found(path, library)[1]
    kept = {"user_image_path": "a.jpg", "mask_path": "a.jpg", "image_path": "own"}
    assert row == {"uri": f"{path}#row=0", "size": None, "modified": row["modified"]} | kept


@pytest.mark.parametrize("name", ["img", "jpg", "photo"])
def test_the_only_column_of_images_has_any_name(folder: Path, library: LibraryFiles, name: str) -> None:
    path = write(folder / "x.parquet", **{name: pa.array([{"bytes": b"1", "path": "a.jpg"}], HF)}, label=[1])
    [row] = found(path, library)[1]
    assert (row["uri"], row[f"{name}_path"], row["label"]) == (f"{path}#row=0", "a.jpg", 1)


def test_columns_that_are_called_as_parts_are(folder: Path, library: LibraryFiles) -> None:
    """As JSON that was made flat has them; but none can be called as the bytes themselves are."""
    path = write(folder / "x.parquet", **{"image.width": [3], "image": [b"1"], "image.height": [4]})
    [row] = found(path, library)[1]
    assert (row["image.width"], row["image.height"]) == (3, 4)
    image = pa.array([{"bytes": b"1", "path": "x"}], HF)
    path = write(folder / "y.parquet", **{"image.bytes": [b"9"], "image": image})
    assert "'image.bytes' is in it twice" in refusal(path, library)


# ---- names of files --------------------------------------------------------------------------------------------------


def test_file_uris_of_every_kind(folder: Path, library: LibraryFiles) -> None:
    (folder / "a b.jpg").write_bytes(b"abc")
    forms = ["file:", "file://", "file://localhost", "FILE:", "file:///"]
    uris = [f"{form}{folder}/a%20b.jpg" for form in forms] + [f" file:{folder}/a%20b.jpg "]
    rows = found(write(folder / "x.parquet", uri=uris), library)[1]
    assert [(row["uri"], row["size"]) for row in rows] == [(f"{folder}/a b.jpg", 3)] * len(uris)


def test_a_file_whose_name_begins_so(folder: Path, library: LibraryFiles) -> None:
    (folder / "file:a.jpg").write_bytes(b"abc")
    [row] = found(write(folder / "x.parquet", uri=["file:a.jpg"]), library)[1]
    assert (row["uri"], row["size"]) == (f"{folder}/file:a.jpg", 3)


@pytest.mark.parametrize("there", [" a.jpg ", "a.jpg", "sub/b.jpg", "B\u00e9n.jpg", "Be\u0301n.jpg"])
def test_names_as_other_systems_write_them(folder: Path, library: LibraryFiles, there: str) -> None:
    (folder / "sub").mkdir()
    (folder / there).write_bytes(b"abc")
    others = {"sub/b.jpg": "sub\\b.jpg", "B\u00e9n.jpg": "Be\u0301n.jpg", "Be\u0301n.jpg": "B\u00e9n.jpg"}
    [row] = found(write(folder / "x.parquet", uri=[others.get(there, " a.jpg ")]), library)[1]
    assert (row["uri"], row["size"]) == (f"{folder}/{there}", 3)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://127.0.0.1:8791/ok.jpg", "in a private network, and `allow_private` is not set"),
        (" HTTPS://u@[::1]/ok.jpg", "in a private network"),
        ("hf://datasets/a/b.jpg", "hf:// is not read"),
        ("file://host/a.jpg", "another machine"),
        ("C:\\photos\\a.jpg", "a Windows machine: give names relative"),
        ("\\\\server\\a.jpg", "a Windows machine"),
        ("data:image/png;base64,aGk=", "write its bytes to a column `image`"),
    ],
)
def test_rows_that_name_nothing_that_is_read_are_counted(
    folder: Path, library: LibraryFiles, uri: str, reason: str
) -> None:
    (folder / "a.jpg").touch()
    result, rows = found(write(folder / "x.parquet", uri=[uri, "a.jpg", uri]), library)
    assert len(rows) == 3  # images with an error, not left out
    [(said, number)] = result.unread.items()
    assert (reason in said, number) == (True, 2)


def texts(*values: bytes) -> pa.Array:
    """As other writers have them, who do not look at what they write."""
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())


@given(
    name=st.binary(min_size=1, max_size=30)
    | st.from_regex(rb"[a-z]+:/{0,3}[^\n]{0,9}(\.parquet#row=\d)?", fullmatch=True)
)
@example(b"a\xff.parquet#row=1")
@example(b"s3://b/\xff")
@example(b"file:/%ff")
def test_no_name_stops_a_scan(name: bytes) -> None:
    """Each is an image, if only one with an error."""
    fs = pafs.FileSystem.from_uri("fsspec+memory://names/")[0]
    fs.create_dir("/names")
    with tempfile.TemporaryDirectory() as folder:
        pq.write_table(pa.table({"uri": texts(name)}), f"{folder}/x.parquet")
        with fs.open_output_stream("/names/x.parquet") as out:
            out.write(Path(folder, "x.parquet").read_bytes())
        for source in (f"{folder}/x.parquet", "fsspec+memory://names/x.parquet"):
            [row] = find_images(source, None).rows.to_pylist()
            path = local_path(row["uri"])
            assert path is None or os.path.isabs(path)


def test_names_of_files_that_are_not_utf8(folder: Path, library: LibraryFiles) -> None:
    name = b"M\xfcller.jpg"
    (folder / os.fsdecode(name)).write_bytes(b"abc")
    [row] = found(write(folder / "x.parquet", uri=texts(name)), library)[1]
    assert (row["uri"], row["size"]) == (f"file://{folder}/M%FCller.jpg", 3)


@pytest.mark.parametrize("nested", [False, True])
def test_other_texts_that_are_not_utf8(folder: Path, library: LibraryFiles, nested: bool) -> None:
    column = pa.ListArray.from_arrays([0, 1], texts(b"M\xfcller")) if nested else texts(b"M\xfcller")
    path = write(folder / "x.parquet", uri=["a.jpg"], person=column)
    assert refusal(path, library) == f"{path}: column 'person' has texts that are not UTF-8: write them as such"


def test_sizes_and_times_that_no_file_has(folder: Path, library: LibraryFiles) -> None:
    uris = [f"s3://b/{i}.jpg" for i in range(4)]
    times = pa.array([2**62, -(2**62), 10**12, -(10**12)], pa.timestamp("ms"))
    path = write(folder / "x.parquet", uri=uris, size=pa.array([2**63, 0, 7, 2**62], pa.uint64()), modified=times)
    rows = found(path, library)[1]
    assert [row["size"] for row in rows] == [None, 0, 7, None]
    assert [row["modified"] and row["modified"].timestamp() for row in rows] == [None, None, 1e9, -1e9]
    path = write(folder / "y.parquet", uri=["s3://b/0.jpg"], size=[-1])  # of who does not know it
    assert found(path, library)[1][0]["size"] is None


@pytest.mark.parametrize(
    ("columns", "hint"),
    [
        ({"uri": [b"a"]}, "`uri` is binary: write it as text"),
        ({"URL": [1]}, "`URL` is int64: write it as text"),
        ({"jpg": [b"a"]}, "If `jpg` holds image files, rename it to `image`"),
        ({"image": ["aGk="]}, "base64 is to be decoded"),
        ({"image": pa.array([[1, 2]], pa.list_(pa.uint8()))}, "write the bytes of each file as one binary value"),
        ({"a": pa.nulls(1, HF), "b": pa.nulls(1, HF)}, "Several columns hold images (a, b): rename one to `image`"),
    ],
)
def test_what_may_be_meant_is_said(folder: Path, library: LibraryFiles, columns: dict[str, Any], hint: str) -> None:
    assert hint in refusal(write(folder / "x.parquet", **columns), library)


def test_what_pandas_and_spark_leave_in_a_table(folder: Path, library: LibraryFiles) -> None:
    pd.DataFrame({"uri": ["/a.jpg", "/b.jpg"]}, index=[5, 7]).to_parquet(folder / "part-0.snappy.parquet")
    for name in ("_SUCCESS", ".part-0.snappy.parquet.crc", "_metadata"):
        (folder / name).touch()
    (folder / "_temporary").mkdir()
    write(folder / "_temporary" / "part-1.parquet", uri=["/c.jpg"])
    rows = found(folder, library)[1]
    assert [(row["uri"], row["__index_level_0__"]) for row in rows] == [("/a.jpg", 5), ("/b.jpg", 7)]


@pytest.mark.parametrize("suffix", [".parq", ".pq"])
def test_other_suffixes(folder: Path, library: LibraryFiles, suffix: str) -> None:
    path = write(folder / f"x{suffix}", image=BYTES)
    for source in (path, folder):
        assert [row["uri"] for row in found(source, library)[1]] == [f"{path}#row={i}" for i in range(3)]
    assert split_inside(f"{path}#row=1") == (str(path), "row", "1")


def test_lfw(data: Path, library: LibraryFiles) -> None:
    result, rows = found(data / "lfw" / "lfw.parquet", library)
    assert len(rows) == 10_562
    assert len({row["person"] for row in rows}) == 4_859
    assert result.rows.column_names == ["uri", "size", "modified", "person", "file"]


URLS = ["https://host/a.jpg", "HTTP://host/b.jpg?w=1#x", " https://host/c.jpg ", "a.jpg", "", None]


@pytest.mark.parametrize("column", ["url", "URL", "Image_URL", "path", "file_name", "uri", "\ufeffurl"])
@pytest.mark.parametrize("coded", [False, True])
def test_a_column_of_urls_and_paths_row_by_row(folder: Path, library: LibraryFiles, column: str, coded: bool) -> None:
    """As LAION, img2dataset and others call it."""
    (folder / "a.jpg").write_bytes(b"abc")
    values = pa.array(URLS, pa.string())
    path = write(folder / "x.parquet", **{column: values.dictionary_encode() if coded else values, "TEXT": ["t"] * 6})
    result, rows = found(path, library)
    assert [row["uri"] for row in rows] == [
        "https://host/a.jpg",
        "HTTP://host/b.jpg?w=1",
        "https://host/c.jpg",
        str(folder / "a.jpg"),
    ]
    assert [row["size"] for row in rows] == [None, None, None, 3]
    assert result.skipped == {f"rows without {column}": 2}
    assert [row["TEXT"] for row in rows] == ["t"] * 4
    assert result.unread == {}
    if column != "uri":
        assert [row[column] for row in rows] == URLS[:4]


def test_which_column_names_images(folder: Path, library: LibraryFiles) -> None:
    path = write(folder / "x.parquet", path=["p.jpg"], url=["https://h/u.jpg"], other=["https://h/o.jpg"])
    assert found(path, library)[1][0]["uri"] == "https://h/u.jpg"
    for column, uri in {"other": "https://h/o.jpg", "path": f"{folder}/p.jpg", None: "https://h/u.jpg"}.items():
        [row] = find_images(str(path), library, Wishes(column=column)).rows.to_pylist()
        assert (row["uri"], row["url"], row["other"]) == (uri, "https://h/u.jpg", "https://h/o.jpg")
    nested = pa.array([{"url": "https://h/n.jpg", "w": 1}, None], pa.struct({"url": pa.string(), "w": pa.int64()}))
    path = write(folder / "y.parquet", photo=nested, image=[b"x", b"y"])
    result = find_images(str(path), library, Wishes(column="photo.url"))
    [row] = result.rows.to_pylist()
    assert (row["uri"], row["photo"], result.skipped) == (
        "https://h/n.jpg",
        {"url": "https://h/n.jpg", "w": 1},
        {"rows without photo.url": 1},
    )
    for column in ("nothing", "photo", "photo.w", "photo.none", "image"):
        with pytest.raises(InputError, match=f"has no column '{column}' of text"):
            find_images(str(path), library, Wishes(column=column))


def test_bytes_go_before_a_url_unless_it_is_asked_for(folder: Path, library: LibraryFiles) -> None:
    path = write(folder / "x.parquet", image=[b"x"], url=["https://h/a.jpg"])
    assert found(path, library)[1][0]["uri"] == f"{path}#row=0"
    [row] = find_images(str(path), library, Wishes(column="url")).rows.to_pylist()
    assert row["uri"] == "https://h/a.jpg"


@pytest.mark.usefixtures("private")
def test_a_list_on_a_web_server_names_files_beside_it(web: UrlServer, library: LibraryFiles) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"url": ["a b.jpg", "../c.jpg?x=1", "https://host/d.jpg"]}), sink)
    web.files["list.parquet"] = sink.getvalue().to_pybytes()
    source = f"{web.home}/good/list.parquet"
    result = find_images(source, library, Wishes(allow_private=True))
    assert (result.source, result.from_parquet, result.allow_private) == (source, True, True)
    uris = result.rows["uri"].to_pylist()
    assert uris == [f"{web.home}/good/a%20b.jpg", f"{web.home}/c.jpg%3Fx%3D1", "https://host/d.jpg"]


def test_parquets_own_json_and_uuid_go_with_texts_and_bytes(folder: Path, library: LibraryFiles) -> None:
    coded = pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}']))
    unique = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"1" * 16], pa.binary(16)))
    write(folder / "1.parquet", url=["https://h/a.jpg"], said=coded, id=unique)
    write(folder / "2.parquet", url=["https://h/b.jpg"], said=["x"], id=[b"2"])
    rows = found(folder, library)[1]
    assert [(row["said"], row["id"]) for row in rows] == [('{"a": 1}', b"1" * 16), ("x", b"2")]
