"""A zip archive is a folder: what lies beside a photo in it is found as if it had been unpacked."""

import os
import zipfile
from pathlib import Path

import pytest

from muster.storage.photos.sources import find_images
from muster.storage.tags import tree


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "t.ZIP"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("a.jpg", "x/ü&#.jpg", "x/b.json", "x/y/c.txt"):
            file.writestr(name, name)
    return path


def test_folders_of_an_archive(archive: Path) -> None:
    assert [sorted(tree.names(f"{archive}{inner}")) for inner in ("", "/x", "/x/y")] == [
        ["a.jpg"],
        ["b.json", "ü&#.jpg"],
        ["c.txt"],
    ]
    assert [tree.is_folder(f"{archive}{inner}") for inner in ("/x", "/x/y", "/z", "/x/b.json")] == [
        True,
        True,
        False,
        False,
    ]
    assert tree.folders(str(archive.parent)) == ["t.ZIP"]


def test_files_of_an_archive(archive: Path) -> None:
    with tree.opened(f"{archive}/x/b.json") as file:
        assert file.read() == b"x/b.json"
    with pytest.raises(FileNotFoundError):
        tree.opened(f"{archive}/x/none.json")


def test_paths_and_addresses(archive: Path) -> None:
    uris = find_images(str(archive), None).rows["uri"].to_pylist()
    assert [tree.path_of(uri) for uri in uris] == [f"{archive}/a.jpg", f"{archive}/x/ü&#.jpg"]
    assert [tree.uri_of(tree.path_of(uri) or "") for uri in uris] == uris
    assert tree.path_of("/a/b.jpg") == "/a/b.jpg"
    for elsewhere in ("s3://bucket/a.jpg", "s3://bucket/x.zip#member=a&at=0+1", "/x.tar#member=a&at=0+1", "/a.mp4#t=1"):
        assert tree.path_of(elsewhere) is None


def test_what_a_file_is_known_by(archive: Path) -> None:
    first = tree.known_by(f"{archive}/x/b.json")
    assert first == tree.known_by(f"{archive}/x/b.json") != tree.known_by(f"{archive}/x/y/c.txt")
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x/b.json", "other")
    os.utime(archive, ns=(1, 1))
    assert tree.known_by(f"{archive}/x/b.json") != first
    assert tree.known_by(f"{archive}/a.jpg") == tree.known_by(str(archive.parent / "none")) == ()


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no archive")
    (tmp_path / "b.zip").mkdir()
    (tmp_path / "b.zip/c.json").write_bytes(b"{}")
    with pytest.raises(OSError, match="zip archive"):
        tree.names(str(tmp_path / "a.zip"))
    assert not tree.is_folder(str(tmp_path / "a.zip/x"))
    assert tree.names(str(tmp_path / "b.zip")) == ["c.json"]
    with tree.opened(str(tmp_path / "b.zip/c.json")) as file:
        assert file.read() == b"{}"


def test_what_is_too_large_for_a_photo_has_no_path() -> None:
    for key in (f"a.tif&at=0+{1 << 40}", "no key"):
        assert tree.path_of(f"/a/t.zip#member={key}") is None
