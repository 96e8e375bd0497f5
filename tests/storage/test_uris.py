"""Names in tables lead back to the file, whatever it is called."""

import os
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.uris import (
    Inside,
    container_of,
    exists,
    filesystem_of,
    inside_uri,
    local_path,
    local_uri,
    place_of,
    refusal,
    split_inside,
    unread,
)

names = st.binary(min_size=1).filter(lambda b: not {0, ord("/")} & set(b)).map(os.fsdecode)


@given(names)
def test_every_local_name_comes_back(name: str) -> None:
    path = "/photos/" + name
    uri = local_uri(path)
    assert local_path(uri) == path
    assert split_inside(uri) is None
    uri.encode()  # fits into a table


@given(
    names, st.sampled_from([(".parquet", "row", "12"), (".tar", "member", "a%20b.jpg&at=0+7"), (".mp4", "t", "1.5")])
)
def test_what_is_inside_a_file_comes_back(name: str, item: tuple[str, str, str]) -> None:
    suffix, kind, key = item
    container = local_uri(f"/photos/{name}{suffix}")
    assert split_inside(inside_uri(container, kind, key)) == (container, kind, key)
    assert container_of(inside_uri(container, kind, key)) == container_of(container) == container


def test_items_have_an_order_in_their_file() -> None:
    keys = {"3": 3, "12.4": 12.4, "a%261.jpg&at=512+9": 512, "a.jpg": 0, "1.jpg": 0}
    assert {key: Inside("x", "item", key).place for key in keys} == keys


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
    assert split_inside("s3://bucket/x.parquet?region=eu#row=12") == ("s3://bucket/x.parquet?region=eu", "row", "12")
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


@pytest.mark.parametrize(
    "uri",
    [
        "file:///a/b%20c.jpg",
        "file:/a/b%20c.jpg",  # of Java: Spark, Hadoop
        "file://localhost/a/b%20c.jpg",  # of RFC 8089
        "FILE:/a/b%20c.jpg",
        "File://LocalHost/a/b%20c.jpg",
        "file:////a/b%20c.jpg",
    ],
)
def test_every_form_of_a_local_uri(uri: str) -> None:
    assert local_path(uri) == "/a/b c.jpg"
    assert place_of(uri) == ""
    assert unread(uri) is None


@given(names)
def test_every_name_comes_back_from_every_form(name: str) -> None:
    quoted = quote("/photos/" + name, errors="surrogateescape")
    for form in ("file:", "file://", "file://localhost", "FILE://"):
        assert local_path(form + quoted) == "/photos/" + name


@pytest.mark.parametrize("name", ["file:x.jpg", "file:", "files:/a", "a/file:/b", "file"])
def test_names_that_begin_like_a_uri(name: str) -> None:
    assert local_path(name) == name


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("ftp://host/a.jpg", "ftp:// is not read"),
        ("hf://datasets/a/b.jpg", "hf:// is not read"),
        ("s3a://bucket/a.jpg", "s3a:// is not read: .* s3://"),
        ("file://host/a.jpg", "another machine"),
    ],
)
def test_what_is_not_read_is_said(uri: str, reason: str) -> None:
    assert re.match(f".*{reason}", unread(uri) or "")
    assert refusal(uri, "/m.parquet") == unread(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "/a.jpg",
        "http://h/a.jpg",
        "HTTPS://h/a.jpg?x=1",
        "s3://b/a.jpg",
        "gs://b/a",
        "hdfs://h/a",
        "abfss://c@a/x",
        "fsspec+http://h/a",
    ],
)
def test_what_may_be_read(uri: str) -> None:
    assert unread(uri) is None
