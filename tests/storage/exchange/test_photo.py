import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.exchange import photo
from muster.storage.exchange.photo import LeftOut, common_folder, file_of, name_of, parts_of, public_uri


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("/a/b/1.jpg", ("a", "b", "1.jpg")),
        ("/a/50% off?.jpg", ("a", "50% off?.jpg")),
        ("file:///a/%ff%20.jpg", ("a", "\udcff .jpg")),  # as Python spells it: so it leads there
        ("s3://b/%ff.jpg", ("b", "\ufffd.jpg")),
        ("s3://bucket/b%20c/1.jpg?region=x", ("bucket", "b c", "1.jpg")),
        ("s3://key:secret@bucket/1.jpg", ("bucket", "1.jpg")),
        ("/a/lfw.parquet#row=7", ("a", "lfw.parquet", "7")),
        ("s3://bucket/lfw.parquet?region=x#row=7", ("bucket", "lfw.parquet", "7")),
        ("gs://bucket/%2e%2e/%2Fetc/a%00.jpg", ("bucket", "etc", "a_.jpg")),
    ],
)
def test_names(uri: str, name: tuple[str, ...]) -> None:
    assert name_of(uri) == name


@given(st.text())
def test_no_name_leads_out_of_a_folder(text: str) -> None:
    for parts in (parts_of(text), name_of(text), name_of(f"s3://b/{text}")):
        assert not {"", ".", ".."} & set(parts)
        assert not any("/" in part or "\0" in part for part in parts)


def test_what_names_have_in_common() -> None:
    assert common_folder([]) == ()
    assert common_folder([("a", "b", "1.jpg")]) == ("a", "b")
    assert common_folder([("a", "b", "1.jpg"), ("a", "bc", "2.jpg")]) == ("a",)
    assert common_folder([("a", "b", "1.jpg"), ("a", "b", "1.jpg", "2.jpg")]) == ("a", "b")
    assert common_folder([("a", "1.jpg"), ("b", "1.jpg")]) == ()


def test_no_password_is_published() -> None:
    assert public_uri("s3://key:secret@bucket/a@b.jpg") == "s3://bucket/a@b.jpg"
    for uri in ("/a@b/c.jpg", "s3://bucket/a@b.jpg", "file:///a@b"):
        assert public_uri(uri) == uri


@pytest.mark.parametrize(
    "name",
    [
        "a" * 251 + ".jpg",  # .json is a letter longer
        "b/" + "ä" * 126 + ".jpg",  # of 256 bytes
        "c" * 300 + "/1.jpg",
        "/".join(["d" * 200] * 30) + ".jpg",
        "1.json/2.jpg",  # a folder of the name of a file
    ],
)
def test_a_name_that_cannot_be_written_costs_one_file(tmp_path: Path, name: str) -> None:
    for each, there in (("1.jpg", True), (name, False), ("2.jpg", True)):
        found = file_of(tmp_path, photo(each), ".json")
        assert isinstance(found, LeftOut) is not there
        if isinstance(found, LeftOut):
            assert found.photo == photo(name)
            assert found.error.startswith("no file of its name can be written: ")
        else:
            found.close()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["1.json", "2.json"]


def test_names_that_are_not_utf8_are_written_as_they_are(tmp_path: Path) -> None:
    found = file_of(tmp_path, photo("\udcff.jpg"), ".json")
    assert not isinstance(found, LeftOut)
    found.close()
    assert [path.name for path in tmp_path.iterdir()] == ["\udcff.json"]


def test_a_full_disk_ends_the_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(OSError, match="No space"):
        file_of(tmp_path, photo("1.jpg"), ".json")
