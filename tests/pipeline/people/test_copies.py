import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import muster as face_of
from helpers.clustered import ANN, FACES, made
from helpers.fixtures import Outcome
from muster.errors import InputError, MusterError, NotYetError
from muster.pipeline.people.copies import copy_photos
from muster.storage.library import LibraryFiles

Muster = Callable[..., Outcome]
NAMES = ["a/1.jpg", "b/1.jpg", "c/1.jpg", "ü #1 50%.jpg", "\udcff.jpg", "a" * 251 + ".jpg", "none/2.jpg"]


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40 + number, 30)).save(path, "JPEG")
    os.utime(path, ns=(10**18, 10**18 + number * 1001))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        picture(tmp_path / "photos" / name, number)
    return tmp_path / "photos"


@pytest.fixture
def library(tmp_path: Path, photos: Path) -> LibraryFiles:
    """Everything shows Ann, but for one photo of nobody."""
    return made(tmp_path / "L", {"none/2.jpg": None}, photos)


def test_originals_are_copied_by_their_names_with_their_times(
    library: LibraryFiles, photos: Path, tmp_path: Path, snapshot: Callable[[Path], object]
) -> None:
    before = snapshot(photos)
    facts = copy_photos(library, ANN, tmp_path / "out", False, None)
    written = {path.name: path for path in (tmp_path / "out").iterdir()}
    assert written.keys() == {"1.jpg", "1-2.jpg", "1-3.jpg", *NAMES[3:6]}
    content = {path.read_bytes(): path.stat().st_mtime_ns for path in written.values()}
    assert content == {(photos / name).read_bytes(): (photos / name).stat().st_mtime_ns for name in NAMES[:6]}
    assert facts == {
        "out": str(tmp_path / "out"),
        "person": ANN,
        "number": 1,
        "name": "",
        "photos": 6,
        "linked": 0,
        "left_out": [],
        "library": library.uri,
    }
    assert snapshot(photos) == before
    assert all(path.stat().st_nlink == 1 for path in written.values())


def test_hard_links(library: LibraryFiles, photos: Path, tmp_path: Path) -> None:
    (photos / "c/1.jpg").rename(tmp_path / "elsewhere.jpg")
    (photos / "c/1.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    facts = copy_photos(library, ANN, tmp_path / "out", True, None)
    assert (facts["photos"], facts["linked"]) == (6, 6)
    written = {path.stat().st_ino: path for path in (tmp_path / "out").iterdir()}
    assert written.keys() == {(photos / name).stat().st_ino for name in NAMES[:6]}
    assert not any(path.is_symlink() for path in written.values())


def test_a_disk_that_takes_no_links_is_said(
    library: LibraryFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_disk(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    with pytest.raises(
        MusterError, match=r"none of the 6 photos of Person 1 .* cannot be linked: Invalid cross-device"
    ):
        copy_photos(library, ANN, tmp_path / "out", True, None)
    assert not (tmp_path / "out").exists()


def test_what_is_gone_or_changed_is_named(muster: Muster, library: LibraryFiles, photos: Path, tmp_path: Path) -> None:
    (photos / NAMES[0]).unlink()
    picture(photos / NAMES[3], 77)
    outcome = muster("copy", "1", "--out", tmp_path / "out", "-l", library.uri)
    assert (outcome.code, outcome.out) == (0, f"{tmp_path / 'out'}: 4 photos of Person 1\n")
    lines = sorted(outcome.err.splitlines())
    assert lines == [
        f"muster: left out {photos / NAMES[0]}: {photos / NAMES[0]}: no such file",
        f"muster: left out {photos / NAMES[3]}: {photos / NAMES[3]} is another file than when it was looked at",
    ]
    for name in NAMES:
        (photos / name).unlink(missing_ok=True)
    none = muster("copy", "1", "--out", tmp_path / "none", "-l", library.uri)
    assert (none.code, none.out, (tmp_path / "none").exists()) == (1, "", False)
    assert none.error.startswith("muster: none of the 6 photos of Person 1 can be read: ")


def test_exact_copies_are_one_photo_and_rows_of_a_parquet_file_are_written_out(tmp_path: Path) -> None:
    picture(tmp_path / "photos/1.jpg", 1)
    picture(tmp_path / "photos/again/1.jpg", 1)
    picture(tmp_path / "2.jpg", 2)
    picture(tmp_path / "3.jpg", 3)
    two, three = ((tmp_path / name).read_bytes() for name in ("2.jpg", "3.jpg"))
    pq.write_table(pa.table({"image": [two]}), tmp_path / "rows.parquet")
    pq.write_table(pa.table({"image": [three], "file": ["x/../ann/3"]}), tmp_path / "named.parquet")
    library = made(tmp_path / "L", {}, tmp_path / "photos", tmp_path / "rows.parquet", tmp_path / "named.parquet")
    for hard_links, linked in ((False, 0), (True, 1)):
        facts = copy_photos(library, ANN, tmp_path / f"out {linked}", hard_links, None)
        assert (facts["photos"], facts["linked"]) == (3, linked)
        written = {path.name: path.read_bytes() for path in (tmp_path / f"out {linked}").iterdir()}
        assert written == {"1.jpg": (tmp_path / "photos/1.jpg").read_bytes(), "rows-0.jpg": two, "3.jpg": three}


def test_nothing_is_written_over_nor_into_the_library(library: LibraryFiles, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/1.jpg").write_text("mine")
    with pytest.raises(InputError, match="is there already, and is not overwritten"):
        copy_photos(library, ANN, tmp_path / "full", False, None)
    with pytest.raises(InputError, match="lies in the library"):
        copy_photos(library, ANN, tmp_path / "L" / "out", False, None)
    assert (tmp_path / "full/1.jpg").read_text() == "mine"


def test_a_library_that_is_not_clustered(library: LibraryFiles, tmp_path: Path) -> None:
    library.remove(f"clusters/{FACES.fingerprint}/clusters.parquet")
    with pytest.raises(NotYetError):
        copy_photos(library, ANN, tmp_path / "out", False, None)


def test_copy_by_python(library: LibraryFiles, tmp_path: Path) -> None:
    assert face_of.open(library.uri).copy("ab12", tmp_path / "out")["photos"] == 6
