"""Any part of a file is read, wherever it lies."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.url_server import UrlServer
from helpers.urls import private, quick, web
from muster.storage.bytes_at import open_bytes
from muster.storage.uris import filesystem_of

__all__ = ["private", "quick", "web"]
DATA = bytes(range(256)) * 40


def local(folder: Path) -> str:
    (folder / "a.bin").write_bytes(DATA)
    return str(folder / "a.bin")


def remote(folder: Path) -> str:
    uri = "fsspec+memory://bytes_at/a.bin"
    fs, path = filesystem_of(uri)
    with fs.open_output_stream(path) as out:
        out.write(DATA)
    return uri


@pytest.mark.parametrize("place", [local, remote])
def test_parts_of_a_file(place: Callable[[Path], str], tmp_path: Path) -> None:
    file = open_bytes(place(tmp_path))
    assert file.size == len(DATA)
    assert file.read_at(300, 20) == DATA[300:320]
    assert file.read_at(len(DATA) - 3, 20) == DATA[-3:]
    assert file.read_at(len(DATA) + 5, 20) == b""
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda at: file.read_at(at, 7), range(500))) == [DATA[at : at + 7] for at in range(500)]
    file.close()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for uri in (str(tmp_path), str(tmp_path / "nothing"), "fsspec+memory://bytes_at/nothing"):
        with pytest.raises(OSError, match=r"\S"):
            open_bytes(uri)


@pytest.mark.usefixtures("private")
def test_a_file_of_a_web_server_is_read_in_parts(web: UrlServer) -> None:
    web.files["a.bin"] = DATA
    file = open_bytes(f"{web.home}/good/a.bin")
    assert (file.size, file.read_at(300, 20), file.read_at(len(DATA) - 3, 20)) == (len(DATA), DATA[300:320], DATA[-3:])
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda at: file.read_at(at, 7), range(50))) == [DATA[at : at + 7] for at in range(50)]
    with pytest.raises(OSError, match="gives no parts of files"):
        open_bytes(f"{web.home}/noranges/a.bin")
