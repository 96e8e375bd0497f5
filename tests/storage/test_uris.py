"""Names in tables lead back to the file, whatever it is called."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.uris import exists, filesystem_of, inline_uri, local_path, local_uri, split_inline

names = st.binary(min_size=1).filter(lambda b: not {0, ord("/")} & set(b)).map(os.fsdecode)


@given(names)
def test_every_local_name_comes_back(name: str) -> None:
    path = "/photos/" + name
    uri = local_uri(path)
    assert local_path(uri) == path
    assert split_inline(uri) is None
    uri.encode()  # fits into a table


@given(names, st.integers(0, 10**9))
def test_inline_images_come_back(name: str, row: int) -> None:
    parquet = local_uri(f"/photos/{name}.parquet")
    assert split_inline(inline_uri(parquet, row)) == (parquet, row)


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("/a/b c%20#?.jpg", "/a/b c%20#?.jpg"),
        ("/a/x.parquet#row=3", "file:///a/x.parquet%23row%3D3"),
        ("/a/x.jpg#row=3", "/a/x.jpg#row=3"),
        (os.fsdecode(b"/a/\xff.jpg"), "file:///a/%FF.jpg"),
    ],
)
def test_plain_where_possible(path: str, uri: str) -> None:
    assert local_uri(path) == uri


def test_other_filesystems() -> None:
    assert local_path("s3://bucket/a.jpg") is None
    assert split_inline("s3://bucket/x.parquet?region=eu#row=12") == ("s3://bucket/x.parquet?region=eu", 12)
    fs, path = filesystem_of("fsspec+memory://uris/a%20b%23.jpg")
    assert path == "/uris/a b#.jpg"
    assert filesystem_of("fsspec+memory://uris/c.jpg")[0] is fs
    with fs.open_output_stream(path) as out:
        out.write(b"x")
    assert exists("fsspec+memory://uris/a%20b%23.jpg")
    assert not exists("fsspec+memory://uris/other.jpg")


def test_exists(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").touch()
    assert exists(str(tmp_path / "x.parquet"))
    assert exists(str(tmp_path / "x.parquet#row=5"))
    assert not exists(str(tmp_path / "y.parquet#row=5"))
