import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import MusterError
from muster.storage.disk import Folder
from muster.storage.tags import beside
from muster.storage.tags.elements import SidecarError


@pytest.mark.parametrize(
    ("photo", "names", "sidecar"),
    [
        ("a.jpg", [], "a.jpg.xmp"),
        ("a.jpg", ["a.jpg.xmp", "a.xmp"], "a.jpg.xmp"),
        ("a.jpg", ["a.xmp"], "a.xmp"),
        ("A.JPG", ["a.jpg.XMP", "a.xmp"], "a.jpg.XMP"),
        ("A.JPG", ["A.XMP", "A.MOV", "A.AAE"], "A.XMP"),
        ("a.jpg", ["a.xmp", "a.HEIC"], "a.jpg.xmp"),  # whose is it?
        ("a.jpg", ["a.xmp", "A.CR2"], "a.jpg.xmp"),  # the raw file's
        ("é.jpg", ["e\u0301.xmp"], "e\u0301.xmp"),  # as Macs write it
        ("a", ["a.xmp"], "a.xmp"),
        ("a.jpg", ["A.JPG.XMP"], "A.JPG.XMP"),
        ("a.jpg", ["a.xmp", "a"], "a.jpg.xmp"),
        ("a.jpg", ["A.JPG", "A.JPG.xmp"], "a.jpg.xmp"),
        ("A.JPG", ["a.jpg", "A.JPG.xmp", "a.jpg.xmp"], "A.JPG.xmp"),
        ("a.b.jpg", ["a.xmp"], "a.b.jpg.xmp"),
    ],
)
def test_which_sidecar_is_a_photos(photo: str, names: list[str], sidecar: str) -> None:
    assert beside.Names([photo, *names]).sidecar_of(photo) == sidecar


def test_a_sidecar_is_written_replaced_and_removed(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    assert beside.read(folder, "x/a.xmp") is None
    assert beside.put(folder, "x/a.xmp", None, b"1")
    (tmp_path / "x/a.xmp").chmod(0o640)
    there = beside.read(folder, "x/a.xmp")
    assert there == beside.Sidecar(b"1", 0o640)
    before = os.stat(tmp_path / "x/a.xmp")
    assert not beside.put(folder, "x/a.xmp", there, b"1")
    assert os.stat(tmp_path / "x/a.xmp") == before
    assert beside.put(folder, "x/a.xmp", there, b"22")
    assert beside.read(folder, "x/a.xmp") == beside.Sidecar(b"22", 0o640)
    assert beside.put(folder, "x/a.xmp", there, None)
    assert os.listdir(tmp_path / "x") == []


def test_links_pipes_and_what_is_huge_are_refused(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    (tmp_path / "link.xmp").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "pipe.xmp")
    with open(tmp_path / "huge.xmp", "wb") as file:
        file.truncate(beside.MOST + 1)
    for name, error in {"link.xmp": MusterError, "pipe.xmp": MusterError, "huge.xmp": SidecarError}.items():
        with pytest.raises(error):
            beside.read(folder, name)


@given(
    st.sets(
        st.sampled_from(
            [f"{a}{b}{c}" for a in "aAb" for b in ("", ".jpg", ".JPG", ".png") for c in ("", ".xmp", ".XMP")]
        )
    )
)
def test_two_photos_never_have_one_sidecar(names: set[str]) -> None:
    photos = [name for name in names if not name.lower().endswith(".xmp")]
    found = [beside.Names(names).sidecar_of(photo) for photo in photos]
    assert len(set(found)) == len(found)
