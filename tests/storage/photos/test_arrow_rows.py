"""Rows of Arrow files, as `datasets` and pyarrow write them, whole and broken."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pytest

from benchmarks import hostile
from muster.errors import ImageError, InputError, MissingError
from muster.storage.photos.reader import Reader
from muster.storage.photos.sources import Found, find_images

BYTES = [bytes([i]) * (i + 1) for i in range(10)]


def table(**more: Any) -> pa.Table:
    image = [{"bytes": data, "path": None} for data in BYTES]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    return pa.table({"image": pa.array(image, kind), "person": [f"p{i % 3}" for i in range(10)], **more})


def written(path: Path, rows: pa.Table, at_once: int = 4, file: bool = False, options: Any = None) -> str:
    new = pa.ipc.new_file if file else pa.ipc.new_stream
    with new(path, rows.schema, options=options) as writer:
        writer.write_table(rows, max_chunksize=at_once)
    return str(path)


def found(uri: str | Path) -> tuple[Found, list[dict[str, Any]]]:
    result = find_images(str(uri), None)
    return result, result.rows.to_pylist()


@pytest.mark.parametrize("file", [False, True])
def test_rows_are_found_and_read_in_any_order(tmp_path: Path, file: bool) -> None:
    uri = written(tmp_path / "x.arrow", table(), file=file)
    rows = found(uri)[1]
    assert [(row["uri"], row["person"]) for row in rows] == [(f"{uri}#row={i}", f"p{i % 3}") for i in range(10)]
    assert {row["modified"] for row in rows} != {None}
    reader = Reader([row["uri"] for row in rows])
    for i in [3, 9, 0, 4, 3]:
        assert reader.read(f"{uri}#row={i}") == BYTES[i]
    assert reader.threads == 4, "no row is behind another"


def test_plain_bytes_and_texts_of_other_kinds(tmp_path: Path) -> None:
    rows = pa.table({
        "image": pa.array(BYTES, pa.large_binary()),
        "person": pa.array([f"p{i % 2}" for i in range(10)]).dictionary_encode(),
        "tags": pa.array([["a", "b"]] * 10),
    })  # fmt: skip
    uri = written(tmp_path / "x.arrow", rows)
    result, listed = found(uri)
    assert result.rows.schema.field("person").type == pa.string()
    assert listed[3]["tags"] == ["a", "b"]
    assert Reader().read(listed[7]["uri"]) == BYTES[7]


def test_rows_that_name_files(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    structs = pa.array([{"bytes": b"x", "path": "in.jpg"}, {"bytes": None, "path": "a.jpg"}, None], kind)
    uri = written(tmp_path / "x.arrow", pa.table({"image": structs}))
    rows = found(uri)[1]
    assert [row["uri"] for row in rows] == [f"{uri}#row=0", str(tmp_path / "a.jpg"), f"{uri}#row=2"]
    assert [row["image_path"] for row in rows] == ["in.jpg", "a.jpg", None]
    with pytest.raises(ImageError) as caught:
        Reader().read(f"{uri}#row=2")
    assert caught.value.kind == "empty"
    uri = written(tmp_path / "y.arrow", pa.table({"uri": ["b.jpg", None, ""]}))
    assert [row["uri"] for row in found(uri)[1]] == [str(tmp_path / "b.jpg")]


def test_a_folder_of_datasets(tmp_path: Path) -> None:
    """As save_to_disk writes it; and caches of it, which are the same rows again."""
    for name in ("train/data-00000-of-00001.arrow", "train/cache-0a1b2c3d4e5f6789.arrow", "test/data.arrow"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        written(tmp_path / name, table())
    (tmp_path / "train" / "state.json").write_text("{}")
    result, rows = found(tmp_path)
    assert len(rows) == 20
    assert (result.left_out, result.skipped) == ({"caches of datasets": 1}, {".json": 1})
    assert len(found(tmp_path / "train" / "cache-0a1b2c3d4e5f6789.arrow")[1]) == 10, "what is named counts"


def test_what_is_refused(tmp_path: Path) -> None:
    packed = written(tmp_path / "packed.arrow", table(), options=pa.ipc.IpcWriteOptions(compression="zstd"))
    other = written(tmp_path / "other.arrow", pa.table({"a": [1]}))
    (tmp_path / "text.arrow").write_text("no Arrow file at all, but a text")
    (tmp_path / "empty.arrow").write_bytes(b"")
    pyarrow.feather.write_feather(table(), tmp_path / "feather.arrow", compression="lz4")
    for uri, said in (
        (packed, "compressed"),
        (str(tmp_path / "feather.arrow"), "compressed"),
        (other, "no usable column"),
        (str(tmp_path / "text.arrow"), "cannot read .*text.arrow as Arrow"),
        (str(tmp_path / "empty.arrow"), "cannot read .*empty.arrow as Arrow"),
    ):
        with pytest.raises(InputError, match=said):
            find_images(uri, None)


def test_a_row_that_is_not_there_any_more(tmp_path: Path) -> None:
    uri = written(tmp_path / "x.arrow", table())
    with pytest.raises(ImageError, match="10 rows"):
        Reader().read(f"{uri}#row=10")
    (tmp_path / "x.arrow").unlink()
    with pytest.raises(ImageError) as caught:
        Reader().read(f"{uri}#row=1")
    assert caught.value.kind == "not_found"
    written(tmp_path / "x.arrow", pa.table({"a": [1]}))
    with pytest.raises(ImageError) as caught:
        Reader().read(f"{uri}#row=0")
    assert caught.value.kind == "unreadable"


def mutants(data: bytes) -> Iterator[bytes]:
    for seed in range(150):
        choose = random.Random(seed)
        yield choose.choice([hostile.flip, hostile.cut, hostile.splice])(data, data[::-1], choose)


def test_hostile_files_have_rows_or_a_refusal(tmp_path: Path) -> None:
    """Arrow checks nothing of itself: offsets are validated before they are followed."""
    whole = Path(written(tmp_path / "x.arrow", table(tags=pa.array([["a"]] * 10)))).read_bytes()
    outcomes = set()
    for number, mutant in enumerate(mutants(whole)):
        path = tmp_path / f"{number}.arrow"
        path.write_bytes(mutant)
        try:
            rows = found(path)[1]
        except (InputError, MissingError):
            outcomes.add("refused")
            continue
        reader = Reader()
        for row in rows:
            try:
                reader.read(row["uri"])
                outcomes.add("read")
            except ImageError:
                outcomes.add("row")
    assert {"refused", "read"} <= outcomes
