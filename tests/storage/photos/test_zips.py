"""Zip archives, as clouds give them, whole and broken."""

import re
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.damaged import damage, outcomes
from helpers.originals import picture
from muster.errors import ImageError, InputError
from muster.storage.photos import zips
from muster.storage.photos.decode import MAX_FILE
from muster.storage.photos.reader import Reader
from muster.storage.photos.sources import find_images
from muster.storage.uris import filesystem_of

NAMES = {
    "Takeout/Google Photos/a.jpg": b"a" * 5000,
    "b c&d#%.jpg": bytes(range(256)),
    "ü" * 60 + ".png": b"c",
    "../../out.jpg": b"e",
}

BY_NAME = sorted(NAMES)


def written(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return str(path)


def uris(uri: str) -> list[str]:
    found: list[str] = find_images(uri, None).rows["uri"].to_pylist()
    return found


def kind(uri: str) -> str:
    with pytest.raises(ImageError) as error:
        Reader().read(uri)
    return error.value.kind


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_found_and_read(tmp_path: Path, method: int) -> None:
    uri = written(tmp_path / "x.zip", NAMES, method)
    reader = Reader()
    assert [reader.read(each) for each in uris(uri)] == [NAMES[name] for name in BY_NAME]
    assert find_images(uri, None).rows["size"].to_pylist() == [len(NAMES[name]) for name in BY_NAME]


def test_members_of_a_zip_in_a_bucket(tmp_path: Path) -> None:
    uri = "fsspec+memory://zips/x.zip"
    fs, path = filesystem_of(uri)
    with fs.open_output_stream(path) as out:
        out.write(Path(written(tmp_path / "x.zip", NAMES)).read_bytes())
    assert [Reader().read(each, uri) for each in uris(uri)] == [NAMES[name] for name in BY_NAME]


def test_more_in_front_of_the_data_than_is_usual(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("a.jpg")
        info.extra = b"\xfe\xca" + (3000).to_bytes(2, "little") + bytes(3000)
        archive.writestr(info, b"abc")
    [uri] = uris(str(tmp_path / "x.zip"))
    assert Reader().read(uri) == b"abc"


def test_a_takeouts_own_json_is_no_column(tmp_path: Path) -> None:
    files = {"a.jpg": b"a", "a.json": b'{"title": "a.jpg", "photoTakenTime": {}}', "b.jpg": b"b", "b.json": b'{"x": 1}'}
    assert find_images(written(tmp_path / "x.zip", files), None).rows.column_names[3:] == ["key", "x"]


def test_a_bomb_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "MAX_FILE", 1 << 20)
    [uri] = uris(written(tmp_path / "x.zip", {"a.jpg": bytes(2 << 20)}))
    assert (tmp_path / "x.zip").stat().st_size < 5000
    assert kind(uri) == "too_large"
    assert MAX_FILE > 1 << 20


def _with_flags(path: Path, flags: int, method: int | None = None) -> None:
    """In both headers of the first member."""
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        begin = data.index(signature)
        data[begin + at] |= flags
        if method is not None:
            data[begin + at + 2] = method
    path.write_bytes(data)


def test_an_encrypted_member(tmp_path: Path) -> None:
    uri = written(tmp_path / "x.zip", {"a.jpg": b"a"})
    _with_flags(tmp_path / "x.zip", 1)
    assert kind(uris(uri)[0]) == "unsupported"


def test_a_method_that_is_not_read(tmp_path: Path) -> None:
    uri = written(tmp_path / "x.zip", {"a.jpg": b"a"})
    _with_flags(tmp_path / "x.zip", 0, zipfile.ZIP_LZMA)
    assert kind(uris(uri)[0]) == "unsupported"


def test_a_zip_that_was_written_anew(tmp_path: Path) -> None:
    uri = written(tmp_path / "x.zip", {"a.jpg": b"a" * 500, "b.jpg": bytes(range(256))})
    old = uris(uri)
    written(tmp_path / "x.zip", {"b.jpg": bytes(range(256))})
    assert [kind(each) for each in old] == ["unreadable", "unreadable"]


@pytest.mark.parametrize("data", [b"", b"PK\5\6", b"PK\3\4" + bytes(50)])
def test_what_is_no_zip_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'x.zip'} cannot be read as a zip")):
        find_images(str(tmp_path / "x.zip"), None)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_is_a_refusal_or_a_row(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("damage") / "x.zip"
    written(path, {"a.jpg": picture(), "b.jpg": b"b" * 300, "c.json": b"{}"})
    damage(path, data)
    kinds = {"truncated", "unreadable", "too_large", "corrupt", "unsupported"}
    assert outcomes(zips.CONTAINER, str(path)) <= kinds | {"refused", "read"}


def test_a_json_that_is_broken_says_nothing(tmp_path: Path) -> None:
    path = Path(
        written(tmp_path / "x.zip", {"a.jpg": b"a", "a.json": b'{"x": 1}', "b.jpg": b"b", "b.json": b'{"x": 2}'})
    )
    path.write_bytes(path.read_bytes().replace(b"PK\3\4", b"PK\3\5", 2).replace(b"PK\3\5", b"PK\3\4", 1))
    assert find_images(str(path), None).rows["x"].to_pylist() == [None, 2]


def test_a_text_that_unpacks_to_more_than_it_says(tmp_path: Path) -> None:
    path = Path(written(tmp_path / "x.zip", {"a.jpg": b"a", "a.txt": bytes(4 << 20)}))
    data = path.read_bytes().replace((4 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    path.write_bytes(data)
    assert "txt" not in find_images(str(path), None).rows.to_pylist()[0]


def test_a_member_that_is_larger_than_any_disk_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.jpg", b"a")
        archive.filelist[0].file_size = 1 << 63
    with pytest.raises(InputError, match="larger than any disk"):
        find_images(str(tmp_path / "x.zip"), None)
