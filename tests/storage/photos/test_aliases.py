"""A file that is reached under two names is one photo, and a copy or a hard link of it is another."""

import os
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from muster.storage.library import LibraryFiles
from muster.storage.manifest import ScanResult, read_manifest, scan
from muster.storage.photos.aliases import other_names
from muster.storage.photos.sources import SCHEMA
from muster.storage.photos.wishes import Wishes
from muster.storage.uris import local_uri


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of photos, beside which there is `link`, which leads to it."""
    for number, name in enumerate(("a.jpg", "sub/b.jpg", "sub/deep/c.jpg")):
        put(tmp_path / "photos" / name, 1000 + number)
    (tmp_path / "link").symlink_to("photos")
    return tmp_path


def put(path: Path, time: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    os.utime(path, (time, time))


def names(library: LibraryFiles, place: Path) -> list[str]:
    return sorted(os.path.relpath(uri, place) for uri in read_manifest(library)["uri"].to_pylist())


def counts(result: ScanResult) -> tuple[int, int, int, int, int]:
    return result.new, result.changed, result.gone, result.unchanged, result.duplicates


PHOTOS = ["photos/a.jpg", "photos/sub/b.jpg", "photos/sub/deep/c.jpg"]


@pytest.mark.parametrize("other", ["link", "link/sub", "photos/../link", "link/sub/deep/c.jpg", "link/**/*.jpg"])
def test_a_folder_by_its_path_and_by_a_link(place: Path, library: LibraryFiles, other: str) -> None:
    both = scan(library, [str(place / "photos"), f"{place}/{other}"])
    assert (both.new, both.found) == (3, 3)
    assert both.duplicates == {"link/sub": 2, "link/sub/deep/c.jpg": 1}.get(other, 3)
    assert names(library, place) == PHOTOS
    again = scan(library, [f"{place}/{other}"])
    assert (again.new, again.changed, again.gone, again.moved) == (0, 0, 0, 0)
    assert names(library, place) == PHOTOS


def test_the_first_name_stays(place: Path, library: LibraryFiles) -> None:
    scan(library, [str(place / "link")])
    known = [name.replace("photos", "link") for name in PHOTOS]
    assert names(library, place) == known
    assert counts(scan(library, [str(place / "photos")])) == (0, 0, 0, 3, 0)
    put(place / "photos" / "sub" / "new" / "d.jpg", 5)
    assert counts(scan(library, [str(place / "photos")])) == (1, 0, 0, 3, 0)
    assert names(library, place) == sorted([*known, "link/sub/new/d.jpg"])
    (place / "link").unlink()  # then it is under the other
    assert counts(scan(library, [str(place / "photos")])) == (0, 0, 0, 4, 0)
    assert names(library, place) == sorted([*PHOTOS, "photos/sub/new/d.jpg"])


def test_a_new_folder_beside_those_that_are_known(place: Path, library: LibraryFiles) -> None:
    """It is called as they are, though no file in it or above it was seen before."""
    (place / "photos" / "a.jpg").unlink()
    scan(library, [str(place / "photos")])
    put(place / "photos" / "other" / "d.jpg", 9)
    assert counts(scan(library, [str(place / "link")])) == (1, 0, 0, 2, 0)
    assert names(library, place) == ["photos/other/d.jpg", *PHOTOS[1:]]


def test_what_goes_from_a_folder_goes_by_either_name(place: Path, library: LibraryFiles) -> None:
    scan(library, [str(place / "photos")])
    (place / "photos" / "sub" / "b.jpg").unlink()
    put(place / "photos" / "a.jpg", 5)
    assert counts(scan(library, [str(place / "link")])) == (0, 1, 1, 1, 0)
    assert names(library, place) == ["photos/a.jpg", "photos/sub/deep/c.jpg"]


def test_what_cannot_be_listed_stays_by_either_name(place: Path, library: LibraryFiles) -> None:
    put(place / "elsewhere" / "d.jpg", 7)
    (place / "photos" / "out").symlink_to(place / "elsewhere")
    scan(library, [str(place / "photos")], Wishes(follow_links=True))
    result = scan(library, [str(place / "link")])
    assert result.links_out == {str(place / "link"): 1}
    assert names(library, place) == sorted([*PHOTOS, "photos/out/d.jpg"])


def test_a_library_that_has_two_of_every_photo_is_mended(place: Path, library: LibraryFiles) -> None:
    """As older versions of Muster left it, and as it is where a copy of a folder is replaced by a link to it."""
    (place / "link").unlink()
    shutil.copytree(place / "photos", place / "link")
    assert counts(scan(library, [str(place / "photos"), str(place / "link")])) == (6, 0, 0, 0, 0)
    shutil.rmtree(place / "link")
    (place / "link").symlink_to("photos")
    assert counts(scan(library, [str(place / "photos"), str(place / "link")])) == (0, 0, 3, 3, 3)
    assert names(library, place) == PHOTOS


def test_a_bind_mount_is_the_folder(place: Path, library: LibraryFiles) -> None:
    (place / "mount").mkdir()
    try:
        subprocess.run(["mount", "--bind", place / "photos", place / "mount"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this user may not mount")
    try:
        assert counts(scan(library, [str(place / "photos"), str(place / "mount")])) == (3, 0, 0, 0, 3)
        assert counts(scan(library, [str(place / "mount")])) == (0, 0, 0, 3, 0)
        assert names(library, place) == PHOTOS
    finally:
        subprocess.run(["umount", place / "mount"], check=True)


def test_a_link_to_a_photo_that_is_found_too(place: Path, library: LibraryFiles) -> None:
    (place / "photos" / "Best").mkdir()
    (place / "photos" / "Best" / "1.jpg").symlink_to("../sub/b.jpg")
    (place / "photos" / "Best" / "broken.jpg").symlink_to("nothing.jpg")
    assert counts(scan(library, [str(place / "photos")])) == (4, 0, 0, 0, 1)
    assert names(library, place) == sorted([*PHOTOS, "photos/Best/broken.jpg"])
    assert counts(scan(library, [str(place / "photos")])) == (0, 0, 0, 4, 1)


def test_a_link_that_leads_out_is_the_only_name_here(place: Path, library: LibraryFiles) -> None:
    (place / "best").mkdir()
    (place / "best" / "1.jpg").symlink_to("../photos/a.jpg")
    assert counts(scan(library, [str(place / "best")], Wishes(follow_links=True))) == (1, 0, 0, 0, 0)
    assert names(library, place) == ["best/1.jpg"]
    assert counts(scan(library, [str(place / "photos")])) == (2, 0, 0, 1, 0)
    assert names(library, place) == ["best/1.jpg", *PHOTOS[1:]]


@pytest.mark.parametrize("of_a_folder", [True, False])
def test_a_link_that_came_later_names_no_other_photos(place: Path, library: LibraryFiles, of_a_folder: bool) -> None:
    """Whoever may write one folder must not choose what the photos of another are called, nor where they are read."""
    put(place / "theirs" / "sub" / "b.jpg", 7)
    scan(library, [str(place / "theirs")])
    led = place / "theirs" / ("sub" if of_a_folder else "sub/b.jpg")
    shutil.rmtree(led) if of_a_folder else led.unlink()
    led.symlink_to(place / "photos" / led.relative_to(place / "theirs"))
    assert counts(scan(library, [str(place / "photos")])) == (3, 0, 0, 0, 0)
    assert names(library, place) == [*PHOTOS, "theirs/sub/b.jpg"]


def test_a_row_that_names_no_possible_file_stops_no_scan(place: Path, library: LibraryFiles) -> None:
    pq.write_table(pa.table({"uri": ["file:///x%00y/a.jpg", "/a.jpg"]}), place / "rows.parquet")
    scan(library, [str(place / "rows.parquet")])
    assert counts(scan(library, [str(place / "photos")])) == (3, 0, 0, 0, 0)


def test_copies_and_hard_links_are_photos_of_their_own(place: Path, library: LibraryFiles) -> None:
    (place / "photos" / "copy").mkdir()
    os.link(place / "photos" / "a.jpg", place / "photos" / "copy" / "a.jpg")
    assert counts(scan(library, [str(place / "photos")])) == (4, 0, 0, 0, 0)


def test_names_that_are_not_utf_8(place: Path, library: LibraryFiles) -> None:
    folder = os.fsencode(place) + b"/l\xe4nk"
    os.symlink(b"photos", folder)
    (place / "photos" / "p.parquet#row=1").write_bytes(b"x")  # an image that is named like one in a Parquet file
    sources = [str(place / "photos"), os.fsdecode(folder)]
    assert counts(scan(library, sources)) == (3, 0, 0, 0, 3)
    assert counts(scan(library, sources[1:])) == (0, 0, 0, 3, 0)


def test_images_of_a_parquet_file_by_two_names(place: Path, library: LibraryFiles) -> None:
    pq.write_table(pa.table({"image": [b"1", b"2"]}), place / "photos" / "t.parquet")
    sources = [str(place / "photos" / "t.parquet"), str(place / "link" / "t.parquet")]
    assert counts(scan(library, sources)) == (2, 0, 0, 0, 2)
    assert names(library, place) == ["photos/t.parquet#row=0", "photos/t.parquet#row=1"]


def test_nothing_is_looked_at_where_no_file_is_like_another(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scan of what is known must not wait for a disk that it does not search."""
    rows = pa.table(
        {"uri": [local_uri(str(place / name)) for name in PHOTOS], "size": [1, 1, 2], "modified": [1, 2, 1]}
    )
    rows = rows.cast(SCHEMA)
    monkeypatch.setattr("muster.storage.photos.aliases.inode", None)
    assert other_names(rows, rows.slice(1)) == ({}, {})


def test_the_real_path_goes_first_also_where_a_parquet_file_names_the_link(place: Path, library: LibraryFiles) -> None:
    """Whoever wrote the file does not choose what the photos of a folder are called: links can be led elsewhere."""
    pq.write_table(pa.table({"uri": [str(place / "link" / "a.jpg")]}), place / "hostile.parquet")
    assert scan(library, [str(place / "hostile.parquet"), str(place / "photos")]).found == 3
    assert names(library, place) == PHOTOS
