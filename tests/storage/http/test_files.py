import os
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.url_server import UrlServer
from helpers.urls import private, quick, web
from muster.errors import UnreachableError
from muster.storage.http import files
from muster.storage.http.addresses import private_addresses
from muster.storage.http.files import HttpFile, HttpFiles

__all__ = ["private", "quick", "web"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(offset=st.integers(0, 2000), length=st.integers(0, 2000), most=st.integers(100, 3000))
@pytest.mark.usefixtures("private")
def test_parts_are_those_of_the_file(
    web: UrlServer, monkeypatch: pytest.MonkeyPatch, offset: int, length: int, most: int
) -> None:
    monkeypatch.setattr(files, "MOST", most)
    opened = HttpFile(f"{web.home}/good/a.jpg")
    assert opened.size == len(web.data)
    assert opened.read_at(offset, length) == web.data[offset : offset + length]
    assert opened.seek(-min(length, opened.size), os.SEEK_END) == opened.tell()
    assert opened.read() == web.data[len(web.data) - min(length, opened.size) :]


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize(
    ("path", "error", "text"),
    [
        ("missing/a.bin", FileNotFoundError, "no such file"),
        ("forbidden/a.bin", PermissionError, "does not give it"),
        ("never/a.bin", UnreachableError, "busy"),
        ("stall/a.bin", UnreachableError, "in time"),
        ("noranges/a.bin", OSError, "gives no parts of files"),
    ],
)
def test_what_cannot_be_opened(web: UrlServer, path: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        HttpFile(f"{web.home}/{path}")


@pytest.mark.usefixtures("quick")
def test_what_was_allowed_when_it_was_opened_stays_so_in_other_threads(web: UrlServer) -> None:
    with pytest.raises(PermissionError, match="private network"):
        HttpFile(f"{web.home}/good/a.jpg")
    with private_addresses(True):
        opened = HttpFile(f"{web.home}/good/a.jpg")
    with ThreadPoolExecutor(2) as pool:
        assert pool.submit(opened.read_at, 0, 9).result() == web.data[:9]


@pytest.mark.usefixtures("private")
def test_arrow_reads_parquet_by_parts(web: UrlServer) -> None:
    sink = pa.BufferOutputStream()
    table = pa.table({"a": list(range(50_000)), "b": [os.urandom(8) for _ in range(50_000)]})
    pq.write_table(table, sink, row_group_size=1000)
    web.files["t.parquet"] = sink.getvalue().to_pybytes()
    fs = pafs.PyFileSystem(HttpFiles())
    url = f"{web.home}/good/t.parquet"
    info = fs.get_file_info(url)
    assert (info.size, info.type, info.mtime_ns) == (
        len(web.files["t.parquet"]),
        pafs.FileType.File,
        1793700000 * 10**9,
    )
    parquet = pq.ParquetFile(fs.open_input_file(url), pre_buffer=False)
    assert parquet.read_row_group(3).equals(table.slice(3000, 1000))
    assert fs.get_file_info(f"{web.home}/missing/t.parquet").type == pafs.FileType.NotFound


@pytest.mark.usefixtures("private")
def test_a_server_does_not_list_its_files_and_nothing_is_written(web: UrlServer) -> None:
    fs = pafs.PyFileSystem(HttpFiles())
    with pytest.raises(OSError, match="does not list its files"):
        fs.get_file_info(pafs.FileSelector(f"{web.home}/"))
    with pytest.raises(OSError, match="nothing is written"):
        fs.open_output_stream(f"{web.home}/a.jpg")
    with pytest.raises(OSError, match="nothing is written"):
        fs.delete_file(f"{web.home}/a.jpg")
