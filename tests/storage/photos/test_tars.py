"""Members of tars, as others write them, whole and broken."""

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.damaged import damage, outcomes
from helpers.originals import picture
from muster.errors import ImageError, InputError
from muster.storage.library import LibraryFiles
from muster.storage.manifest import read_manifest, scan
from muster.storage.photos import members
from muster.storage.photos.reader import Reader
from muster.storage.photos.sources import Found, find_images
from muster.storage.photos.tars import CONTAINER
from muster.storage.uris import filesystem_of


def written(path: Path, files: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> str:
    with tarfile.open(path, "w", format=kind) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


def rows(uri: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = find_images(uri, None).rows.to_pylist()
    return found


def contents(uri: str) -> dict[str, bytes]:
    reader = Reader()
    return {members.of_key(row["uri"].partition("#member=")[2]).name: reader.read(row["uri"]) for row in rows(uri)}


NAMES = {
    "a.jpg": b"a",
    "folder/b c&d#%.jpg": b"bb" * 300,
    "ü" * 60 + "/" + "x" * 120 + ".png": b"c" * 512,
    "/etc/passwd.jpg": b"d",
    "../../out.jpg": b"e",
}


@pytest.mark.parametrize("kind", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_are_found_and_read(tmp_path: Path, kind: int) -> None:
    uri = written(tmp_path / "x.tar", NAMES, kind)
    assert contents(uri) == NAMES
    assert [row["size"] for row in rows(uri)] == [len(data) for data in NAMES.values()]


def test_members_of_a_tar_in_a_bucket(tmp_path: Path) -> None:
    uri = "fsspec+memory://tars/x.tar"
    fs, path = filesystem_of(uri)
    with fs.open_output_stream(path) as out:
        out.write(Path(written(tmp_path / "x.tar", NAMES)).read_bytes())
    reader = Reader()
    assert [reader.read(row["uri"], uri) for row in rows(uri)] == list(NAMES.values())


def test_what_lies_beside_a_photo_becomes_columns(tmp_path: Path) -> None:
    """As WebDataset has it: a sample is what is called the same up to the first dot."""
    files = {
        "s/1.jpg": b"a",
        "s/1.json": json.dumps({"person": "Ann", "size": 3, "box": [1, 2], "age": 5}).encode(),
        "s/1.txt": b" two\nlines\n",
        "s/2.left.jpg": b"b",
        "s/2.right.jpg": b"c",
        "s/2.cls": b"7",
        "s/2.json": json.dumps({"age": "old"}).encode(),
        "s/3.mp3": b"",
        "s/4.jpg": b"d",
        "s/4.json": b"[1]",
    }
    found = find_images(written(tmp_path / "x.tar", files), None)
    assert found.skipped == {".mp3": 1}
    columns = ("key", "person", "user_size", "box", "age", "txt", "cls")
    assert [tuple(row[name] for name in columns) for row in found.rows.to_pylist()] == [
        ("s/1", "Ann", 3, "[1, 2]", "5", "two\nlines", None),
        ("s/2", None, None, None, "old", None, "7"),
        ("s/2", None, None, None, "old", None, "7"),
        ("s/4", None, None, None, None, None, None),
    ]


def test_shards_whose_columns_differ(tmp_path: Path) -> None:
    written(tmp_path / "0.tar", {"1.jpg": b"a", "1.json": b'{"age": 5, "name": "x"}'})
    written(tmp_path / "1.tar", {"2.jpg": b"a", "2.json": b'{"age": "five"}'})
    written(tmp_path / "2.tar", {"3.txt": b"no photo"})
    assert [(row["age"], row["name"]) for row in rows(str(tmp_path))] == [("5", "x"), ("five", None)]


def test_what_is_left_out(tmp_path: Path) -> None:
    files = {"__MACOSX/._a.jpg": b"", "@eaDir/a.jpg": b"", "@eaDir/b.jpg": b"", ".hidden.jpg": b"", "a.jpg": b"a"}
    found = find_images(written(tmp_path / "x.tar", files), None)
    assert len(found.rows) == 1
    assert found.left_out == {"system folders": 1, "thumbnails": 1, "hidden": 1}


def test_links_and_folders_are_no_photos(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, kind in (("a.jpg", tarfile.SYMTYPE), ("b.jpg", tarfile.LNKTYPE), ("c.jpg", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    with pytest.raises(InputError, match="no images in"):
        find_images(str(tmp_path / "x.tar"), None)


def test_a_tar_that_is_cut_gives_what_is_whole(tmp_path: Path) -> None:
    data = Path(written(tmp_path / "x.tar", {"a.jpg": b"a" * 600, "b.jpg": b"b" * 600})).read_bytes()
    (tmp_path / "x.tar").write_bytes(data[: 512 + 1024 + 512 + 100])
    first, second = rows(str(tmp_path / "x.tar"))
    assert Reader().read(first["uri"]) == b"a" * 600
    with pytest.raises(ImageError) as error:
        Reader().read(second["uri"])
    assert error.value.kind == "truncated"


@pytest.mark.parametrize(("size", "kind"), [(10 << 30, "too_large"), (400 << 20, "truncated")])
def test_a_member_that_is_larger_than_its_tar(tmp_path: Path, size: int, kind: str) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.size = size
    (tmp_path / "x.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"\xff\xd8" * 600)
    [row] = rows(str(tmp_path / "x.tar"))
    with pytest.raises(ImageError) as error:
        Reader().read(row["uri"])
    assert (row["size"], error.value.kind) == (size, kind)


def test_a_tar_that_was_written_anew_is_no_other_photo(tmp_path: Path) -> None:
    uri = written(tmp_path / "x.tar", {"a.jpg": b"a" * 600, "b.jpg": b"b" * 600})
    _, second = rows(uri)
    written(tmp_path / "x.tar", {"a.jpg": b"a" * 60, "c.jpg": b"c" * 60, "b.jpg": b"b" * 600})
    with pytest.raises(ImageError, match="scan it again"):
        Reader().read(second["uri"])


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(picture() * 20)
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / 'x.tar'} cannot be read as a tar")):
        find_images(str(tmp_path / "x.tar"), None)


def test_a_key_that_names_no_member(tmp_path: Path) -> None:
    uri = written(tmp_path / "x.tar", {"a.jpg": b"a"})
    for key in ("a.jpg", "a.jpg&at=-1+2", "a.jpg&at=1+1", f"a.jpg&at=0+{1 << 40}"):
        with pytest.raises(ImageError):
            Reader().read(f"{uri}#member={key}")


def test_photos_come_before_archives(tmp_path: Path, library: LibraryFiles) -> None:
    written(tmp_path / "x.tar", {"a.jpg": b"a"})
    (tmp_path / "b.jpg").write_bytes(b"b")
    found: Found = find_images(str(tmp_path), library)
    assert [row["uri"] for row in found.rows.to_pylist()] == [str(tmp_path / "b.jpg")]
    assert found.skipped == {".tar": 1}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_is_a_refusal_or_a_row(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("damage") / "x.tar"
    written(path, {"a.jpg": b"a" * 99, "ü" * 80 + ".jpg": b"b", "c.json": b"{}"})
    damage(path, data)
    kinds = {"truncated", "unreadable", "too_large"}
    assert outcomes(CONTAINER, str(path)) <= kinds | {"refused", "read"}


def test_of_a_raw_file_and_its_jpeg_one_is_a_photo(tmp_path: Path) -> None:
    uri = written(tmp_path / "x.tar", {"IMG_1.CR2": b"a", "IMG_1.JPG": b"b", "IMG_2.dng": b"c"})
    found = find_images(uri, None)
    assert [row["key"] for row in found.rows.to_pylist()] == ["IMG_1", "IMG_2"]
    assert found.left_out == {"raw beside a photo": 1}


def test_a_size_that_no_disk_has_ends_the_tar(tmp_path: Path) -> None:
    info = tarfile.TarInfo("b.jpg")
    info.size = 1 << 80
    data = Path(written(tmp_path / "x.tar", {"a.jpg": b"a"})).read_bytes()
    (tmp_path / "x.tar").write_bytes(data[:1024] + info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert contents(str(tmp_path / "x.tar")) == {"a.jpg": b"a"}


def test_names_that_lead_too_deep_are_none(tmp_path: Path) -> None:
    uri = written(tmp_path / "x.tar", {"a/" * 30_000 + "b.jpg": b"b", "a/" * 2000 + "c.jpg": b"c", "d.jpg": b"d"})
    assert sorted(contents(uri).values()) == [b"c", b"d"]


def test_names_in_json_that_cannot_be_written(tmp_path: Path) -> None:
    [row] = rows(written(tmp_path / "x.tar", {"a.jpg": b"a", "a.json": b'{"\\ud800": 1, "b": "\\ud800"}'}))
    assert (row["?"], row["b"]) == (1, "?")


def test_json_with_other_names_in_each_sample_stays_text(tmp_path: Path) -> None:
    files = {}
    for number in range(members.COLUMNS + 10):
        files |= {
            f"{number:05d}.jpg": b"a",
            f"{number:05d}.json": b'{"id_%d": [1]}' % number,
            f"{number:05d}.txt": b"t",
        }
    found = rows(written(tmp_path / "x.tar", files))
    assert {key: found[7][key] for key in ("key", "txt", "json")} == {
        "key": "00007",
        "txt": "t",
        "json": '{"id_7": "[1]"}',
    }
    assert len(found[0]) < 15


def test_types_that_differ_between_scans_are_texts(tmp_path: Path, library: LibraryFiles) -> None:
    first = written(tmp_path / "i.tar", {"1.jpg": b"a", "1.json": b'{"label": 1, "sure": true}'})
    second = written(tmp_path / "s.tar", {"2.jpg": b"b", "2.json": b'{"label": "cat", "sure": 0.5}'})
    scan(library, [first, second])
    scan(library, [first])
    known = {row["key"]: (row["label"], row["sure"]) for row in read_manifest(library).to_pylist()}
    assert known == {"1": ("1", "true"), "2": ("cat", "0.5")}


def test_what_is_said_of_a_photo_is_renewed(tmp_path: Path, library: LibraryFiles) -> None:
    for label in ("cat", "dog"):
        scan(
            library, [written(tmp_path / "x.tar", {"1.jpg": picture(), "1.json": b'{"label": "%s"}' % label.encode()})]
        )
        [row] = read_manifest(library).to_pylist()
        assert row["label"] == label


def test_another_photo_at_the_same_place_is_not_taken_for_it(tmp_path: Path) -> None:
    uri = written(tmp_path / "x.tar", {"a.jpg": b"a" * 600})
    [row] = rows(uri)
    for other in (b"b" * 599, b"b" * 601):
        written(tmp_path / "x.tar", {"b.jpg": other})
        with pytest.raises(ImageError, match="scan it again"):
            Reader().read(row["uri"])
