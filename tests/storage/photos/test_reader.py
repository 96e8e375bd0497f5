"""Bytes of images inside Parquet files, and of other files through the same door."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.url_server import UrlServer
from helpers.clips import even, write_clip
from helpers.urls import quick, web
from muster.errors import ImageError
from muster.pipeline.run import TRANSIENT
from muster.storage.photos import reader, row_batches
from muster.storage.photos.reader import Reader
from muster.storage.photos.sources import find_images
from muster.storage.photos.wishes import Wishes
from muster.storage.uris import allowing_private, inside_uri, local_uri

__all__ = ["quick", "web"]
ROWS = 1000


def value(row: int) -> bytes:
    return b"%d|" % row * (1 + row % 7)


def write(path: Path | str, images: list[bytes | None], **options: int) -> str:
    table = pa.table({"image": pa.array(images, pa.binary()), "person": ["?"] * len(images)})
    pq.write_table(table, path, **options)
    return str(path)


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    """Batches of five rows, so that they end within row groups and row groups within files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_batches, "BATCH_BYTES", 100)
        yield


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("reader") / "x.parquet", [value(i) for i in range(ROWS)], row_group_size=150)


class Counting(Reader):
    """Counts how often the stream starts anew: each time costs reading a row group from its start."""

    seeks = 0

    def _seek(self, group: int) -> None:
        self.seeks += 1
        super()._seek(group)


@given(rows=st.lists(st.integers(0, ROWS - 1), max_size=20))
def test_any_order(parquet: str, rows: list[int]) -> None:
    read = Reader().read
    assert [read(inside_uri(parquet, "row", row)) for row in rows] == [value(row) for row in rows]


def test_rising_rows_are_read_in_one_go(parquet: str) -> None:
    counting = Counting()
    for row in range(ROWS):
        assert counting.read(inside_uri(parquet, "row", row)) == value(row)
    assert counting.seeks == 1


def test_threads_share_one_stream(parquet: str) -> None:
    counting = Counting()
    pending: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(4) as pool:
        for row in range(ROWS + 16):
            if row >= 16:
                assert pending.popleft().result() == value(row - 16)
            if row < ROWS:
                pending.append(pool.submit(counting.read, inside_uri(parquet, "row", row)))
    assert counting.seeks == 1


def test_files_take_turns(parquet: str, tmp_path: Path) -> None:
    other = write(tmp_path / "y.parquet", [b"a", b"b"])
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    read = Reader().read
    assert read(inside_uri(other, "row", 1)) == b"b"
    assert read(inside_uri(parquet, "row", 999)) == value(999)
    assert read(str(tmp_path / "photo.jpg")) == b"photo"
    assert read(inside_uri(other, "row", 0)) == b"a"


def test_files_that_look_like_inline_images(tmp_path: Path) -> None:
    (tmp_path / "x.parquet#row=0").write_bytes(b"real")
    write(tmp_path / "x.parquet", [b"inline"])
    assert Reader().read(local_uri(str(tmp_path / "x.parquet#row=0"))) == b"real"
    assert Reader().read(inside_uri(str(tmp_path / "x.parquet"), "row", 0)) == b"inline"


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    photo = os.path.join(tmp_path, os.fsdecode(b"\xff.jpg"))
    with open(photo, "wb") as out:
        out.write(b"photo")
    assert Reader().read(local_uri(photo)) == b"photo"
    path = os.path.join(tmp_path, os.fsdecode(b"\xff.parquet"))
    with open(path, "wb") as file:
        pq.write_table(pa.table({"image": [b"a"]}), file)
    assert Reader().read(inside_uri(local_uri(path), "row", 0)) == b"a"


def test_other_filesystems() -> None:
    fs = pafs.FileSystem.from_uri("fsspec+memory://reader/")[0]
    fs.create_dir("/reader")
    with fs.open_output_stream("/reader/x y.parquet") as out:
        pq.write_table(pa.table({"image": [b"a", b"b"]}), out)
    uri = "fsspec+memory://reader/x%20y.parquet#row=1"
    assert Reader().read(uri, uri) == b"b"


def test_one_bad_row_does_not_spoil_the_next(tmp_path: Path) -> None:
    uri = write(tmp_path / "x.parquet", [b"a", None, b"", b"d"])
    read = Reader().read
    assert read(inside_uri(uri, "row", 0)) == b"a"
    with pytest.raises(ImageError) as error:
        read(inside_uri(uri, "row", 1))
    assert error.value.kind == "empty"
    assert read(inside_uri(uri, "row", 2)) == b""
    with pytest.raises(ImageError, match="4 rows"):
        read(inside_uri(uri, "row", 4))
    assert read(inside_uri(uri, "row", 3)) == b"d"


def test_file_that_vanished_or_changed(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as error:
        Reader().read(inside_uri(str(tmp_path / "x.parquet"), "row", 0))
    assert error.value.kind == "not_found"
    pq.write_table(pa.table({"other": [1]}), tmp_path / "x.parquet")
    with pytest.raises(ImageError) as error:
        Reader().read(inside_uri(str(tmp_path / "x.parquet"), "row", 0))
    assert error.value.kind == "unreadable"


def test_damage_inside_the_file(tmp_path: Path) -> None:
    """Row groups after the damaged one can still be read."""
    path = tmp_path / "x.parquet"
    write(path, [os.urandom(50) for _ in range(40)], row_group_size=20)
    column = pq.read_metadata(path).row_group(0).column(0)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset
    data[start : start + 400] = b"\xff" * 400
    path.write_bytes(data)
    read = Reader().read
    with pytest.raises(ImageError) as error:
        read(inside_uri(str(path), "row", 3))
    assert error.value.kind == "unreadable"
    assert len(read(inside_uri(str(path), "row", 30))) == 50


def test_memory_is_bounded_by_pages_not_by_row_groups(tmp_path: Path) -> None:
    images: list[bytes | None] = [os.urandom(1 << 16) for _ in range(512)]
    uri = write(tmp_path / "x.parquet", images, data_page_size=1 << 18, write_batch_size=4)
    assert pq.read_metadata(uri).num_row_groups == 1
    read, before = Reader().read, pa.total_allocated_bytes()
    held = []
    for row, image in enumerate(images):
        assert read(inside_uri(uri, "row", row)) == image
        held.append(pa.total_allocated_bytes() - before)
    assert max(held) < 8 << 20 < os.path.getsize(uri) // 4


@pytest.mark.parametrize("name", ["image", "img"])
def test_images_of_hugging_face(tmp_path: Path, name: str) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [None if i % 7 == 3 else {"bytes": value(i), "path": f"{i}.jpg"} for i in range(100)]
    uri = str(tmp_path / "x.parquet")
    pq.write_table(pa.table({name: pa.array(rows, kind)}), uri, row_group_size=30)
    counting = Counting()
    for row in range(100):
        if row % 7 == 3:
            with pytest.raises(ImageError, match="no bytes"):
                counting.read(inside_uri(uri, "row", row))
        else:
            assert counting.read(inside_uri(uri, "row", row)) == value(row)
    assert counting.seeks == 1


def test_columns_that_are_called_as_parts_of_it(tmp_path: Path) -> None:
    """Arrow reads them, too."""
    table = pa.table({"image.width": [3, 4], "image": [b"a", b"b"], "image.name": ["x", "y"]})
    pq.write_table(table, tmp_path / "x.parquet")
    assert Reader().read(inside_uri(str(tmp_path / "x.parquet"), "row", 1)) == b"b"


@pytest.mark.parametrize("uri", ["ftp://127.0.0.1:1/a.jpg", "file://host/a.jpg", "hf://datasets/a.jpg"])
def test_what_is_not_read_is_a_final_error(uri: str) -> None:
    with pytest.raises(ImageError) as error:
        Reader().read(uri, "/m.parquet")
    assert error.value.kind == "unsupported"
    assert error.value.kind not in TRANSIENT


@pytest.mark.parametrize(
    ("uris", "threads"),
    [
        ([], 0),
        (["file:///a.jpg", "file:///b.jpg"], 4),
        ([inside_uri("/a.parquet", "row", 0), inside_uri("/a.parquet", "row", 1)], 0),
        ([inside_uri("s3://bucket/a.parquet", "row", 0)], 1),
        (["s3://bucket/a.jpg"], 16),
        (["https://host/a.jpg", "https://host/b.jpg", "/b.jpg"], 8),
        ([f"https://{number}.org/a.jpg" for number in range(20)], reader.WEB_THREADS),
        (["https://host/a.tar#member=b.jpg&at=512+9"], 16),
        ([inside_uri("/a.parquet", "row", 0), "file:///b.jpg", "s3://bucket/a.jpg"], 16),
    ],
)
def test_threads_that_are_worth_while(uris: list[str], threads: int) -> None:
    assert Reader(uris).threads == threads


@pytest.mark.usefixtures("quick")
def test_files_of_web_servers_are_read_where_their_source_allows_it(web: UrlServer) -> None:
    """A server that is away costs its own images an error, and the shard nothing."""
    read, source = Reader([f"{web.home}/good/a.jpg"]).read, "/list.parquet"
    assert read(f"{web.home}/good/a.jpg", allowing_private(source)) == web.data
    for where, kind in ((source, "private"), (allowing_private(source), "unreadable")):
        with pytest.raises(ImageError) as error:
            read("http://127.0.0.1:1/a.jpg" if kind == "unreadable" else f"{web.home}/good/a.jpg", where)
        assert error.value.kind == kind
    table = pa.table({"image": pa.array([b"a", b"b"])})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    web.files["x.parquet"] = sink.getvalue().to_pybytes()
    inside = inside_uri(f"{web.home}/good/x.parquet", "row", 1)
    assert Reader([inside]).read(inside, allowing_private(source)) == b"b"
    with pytest.raises(ImageError) as error:
        Reader([inside]).read(inside, source)
    assert error.value.kind not in TRANSIENT or error.value.kind == "permission"


def test_whatever_is_far_is_told() -> None:
    assert Reader(["https://host/a.jpg"]).far
    assert not Reader(["s3://bucket/a.jpg", "/a.jpg", "https://host/a.tar#member=b.jpg"]).far


@pytest.mark.parametrize(
    "address",
    [
        "x.arrow#member=foo",
        "x.arrow#t=abc",
        f"x.arrow#row={'9' * 5000}",
        "x.arrow#item=-1",
        "a\0.mp4#t=1",
        "\0.tar#member=a",
    ],
)
def test_what_a_row_may_say_is_an_error_of_its_image(tmp_path: Path, address: str) -> None:
    with pa.ipc.new_stream(tmp_path / "x.arrow", pa.schema({"image": pa.binary()})) as file:
        file.write_table(pa.table({"image": [b"a"]}))
    with pytest.raises(ImageError):
        Reader().read(f"{tmp_path}/{address}", "/m.parquet")


def test_threads_may_share_a_video(tmp_path: Path) -> None:
    """FFmpeg's decoders are not to be used by two at once."""
    pytest.importorskip("av")
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, even(50))
    uris = find_images(str(tmp_path), None, Wishes(fps=25)).rows["uri"].to_pylist()
    reader = Reader(uris)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(reader.read, uris))
    assert together == [Reader().read(uri) for uri in uris]
    assert len(uris) == 100
