"""What counts as an image of a source."""

import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

from helpers.sources import found, refusal, write
from muster.errors import InputError
from muster.storage.library import LibraryFiles
from muster.storage.photos.sources import find_images
from muster.storage.photos.wishes import Wishes


def test_images_by_suffix(folder: Path, library: LibraryFiles) -> None:
    suffixes = "JPG jpeg jpe jfif mpo png webp heic HEIF hif avif tif tiff bmp gif"
    wanted = [f"a.{suffix}" for suffix in suffixes.split()]
    for name in [*wanted, "x.txt", "y.mp3", "z.MP3", "README"]:
        (folder / name).touch()
    write(folder / "roster.parquet", uri=["a"])
    result, rows = found(folder, library)
    assert [row["uri"] for row in rows] == sorted(str(folder / name) for name in wanted)
    assert result.skipped == {".txt": 1, ".mp3": 2, "": 1, ".parquet": 1}
    assert not result.from_parquet
    assert result.folder == result.source == str(folder)


JPEG = b"\xff\xd8\xff\xe0" + bytes(20)


@pytest.mark.parametrize("name", ["README", "a.xyz", "a.txt", "a.j"])
def test_a_photo_named_by_itself_counts(folder: Path, library: LibraryFiles, name: str) -> None:
    (folder / name).write_bytes(JPEG)
    result, [row] = found(folder / name, library)
    assert (row["uri"], row["size"], result.folder) == (str(folder / name), 24, None)


@pytest.mark.parametrize("data", [b"", b"abc", b"\x1f\x8b"])
def test_an_image_file_that_is_broken_stays_a_row(folder: Path, library: LibraryFiles, data: bytes) -> None:
    """It has its error where others have theirs, however it is named."""
    (folder / "a.jpg").write_bytes(data)
    assert len(found(folder / "a.jpg", library)[1]) == len(found(folder, library)[1]) == 1


def test_a_file_that_is_no_photo_is_refused(folder: Path, library: LibraryFiles) -> None:
    with tarfile.open(folder / "shard-000000.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("000.mov"))
    (folder / "secret.txt").write_text("a password")
    assert "no images in" in refusal(folder / "shard-000000.tar", library)
    assert "secret.txt is text" in refusal(folder / "secret.txt", library)
    assert "password" not in refusal(folder / "secret.txt", library)
    assert refusal(folder, library).startswith(f"no images in {folder}; left out: 1 .mov, 1 .txt")


def test_a_file_elsewhere_named_by_itself(library: LibraryFiles) -> None:
    fs = pafs.FileSystem.from_uri("fsspec+memory://single/")[0]
    fs.create_dir("/single")
    for name, data in {"photo": JPEG, "notes": b"abc", "empty.jpg": b""}.items():
        with fs.open_output_stream(f"/single/{name}") as out:
            out.write(data)
    assert len(found("fsspec+memory://single/photo", library)[1]) == 1
    assert len(found("fsspec+memory://single/empty.jpg", library)[1]) == 1
    assert "notes is text" in refusal("fsspec+memory://single/notes", library)
    assert found("fsspec+memory://single", library)[0].skipped == {"": 2}  # in buckets suffixes decide


def test_photos_whose_suffix_says_nothing(folder: Path, library: LibraryFiles) -> None:
    """Google Takeout cuts names off, and dots stand in names without a suffix."""
    photos = ["2019-05-01 12.30.15", "IMG_0123456789.", "IMG_0123456789.j", "a.jpg!d", "a.jpg_large", "no-suffix"]
    others = ["IMG_1.THM", "a.jpg.crdownload", "a.jpg_original", "a.jpg~", "a.mp3", "a.xmp"]
    for name in [*photos, *others]:
        (folder / name).write_bytes(JPEG)
    (folder / "notes").write_text("BM")
    (folder / "locked").symlink_to(folder / "gone")
    os.mkfifo(folder / "pipe")
    result, rows = found(folder, library)
    assert [row["uri"] for row in rows] == [str(folder / name) for name in photos]
    assert result.skipped == {
        "": 2, ".thm": 1, ".crdownload": 1, ".jpg_original": 1, ".jpg~": 1, ".mp3": 1, ".xmp": 1
    }  # fmt: skip


def test_what_lies_beside_a_photo_is_counted(folder: Path, library: LibraryFiles) -> None:
    """Pairs of raw and JPEG, and what programs note of a photo; of Live Photos see test_live.py."""
    for name in ("IMG_1.JPG", "IMG_1.NEF", "IMG_1.THM", "IMG_1.AAE", "IMG_1.xmp", "IMG_1.jpg.json"):
        (folder / name).write_bytes(JPEG)
    result, rows = found(folder, library)
    assert [row["uri"] for row in rows] == [str(folder / "IMG_1.JPG")]
    assert result.skipped == {".thm": 1, ".aae": 1, ".xmp": 1, ".json": 1}
    assert result.left_out == {"raw beside a photo": 1}


def test_a_raw_file_alone_is_a_photo(folder: Path, library: LibraryFiles) -> None:
    names = [
        "a/IMG_1.CR2",
        "b/IMG_1.JPG",
        "b/img_2.dng",
        "b/IMG_2.heic",
        "c/IMG_3.dng",
        "c/IMG_3.png",
        "d.raw",
        "d.ptx",
    ]
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"II*\0 and so on" if name != "d.ptx" else b"1 2 3")
    result, rows = found(folder, library)
    left_out = {"b/img_2.dng", "d.ptx"}
    assert {row["uri"] for row in rows} == {str(folder / name) for name in names if name not in left_out}
    assert (result.left_out, result.skipped) == ({"raw beside a photo": 1}, {".ptx": 1})


def test_what_is_left_out_is_found_out(folder: Path, library: LibraryFiles) -> None:
    for name in ("a.jpg", "b.png", "@eaDir/c.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(JPEG)
    result = find_images(str(folder), library, Wishes(exclude=["*.png"]))
    assert result.rows.num_rows == 1
    assert result.left_out == {"excluded": 1, "thumbnails": 1}
    with pytest.raises(InputError, match="left out: 2 excluded, 1 folder of thumbnails"):
        find_images(str(folder), library, Wishes(exclude=["*.png", "a.*"]))


def test_folder_without_images(folder: Path, library: LibraryFiles) -> None:
    assert refusal(folder, library).startswith(f"no images in {folder}. Files ending in .jpg")
    assert refusal(folder, library).endswith(
        "and any photo or folder named by itself"
    )  # how to drop photos: the scan says it
    for name in ("a.txt", "b.txt", "c"):
        (folder / name).touch()
    assert "left out: 2 .txt, 1 without a suffix" in refusal(folder, library)
    assert str(folder / "*.jpg") in refusal(folder / "*.jpg", library)


@pytest.mark.parametrize(
    "log", ["_delta_log/00000000000000000000.json", "metadata/v1.metadata.json", ".hoodie/hoodie.properties"]
)
def test_a_table_whose_log_says_which_rows_were_deleted(folder: Path, library: LibraryFiles, log: str) -> None:
    (folder / "data").mkdir()
    (folder / "year=2020").mkdir()
    (folder / log).parent.mkdir()
    (folder / log).write_text("{}")
    path = write(folder / "data" / "part-0.parquet", uri=["/a.jpg"])
    assert "rows that were deleted are still in its files" in refusal(folder, library)
    write(folder / "year=2020" / "part-1.parquet", uri=["/b.jpg"])
    if "metadata" not in log:
        for part in ("**/*.parquet", "year=2020", "year=*/*.parquet"):
            assert "rows that were deleted are still in its files" in refusal(folder / part, library)
    assert len(found(path, library)[1]) == 1  # who names a file means it


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="Linux alone has such files")
def test_what_claims_to_be_empty_is_not_read(folder: Path, library: LibraryFiles) -> None:
    """/proc/kmsg claims it too, and whoever reads it waits for the next message of the kernel."""
    with subprocess.Popen(["sleep", "60"], env={"GIF89a": "begins as a photo"}) as process:
        (folder / "link").symlink_to(f"/proc/{process.pid}/environ")
        (folder / "a.jpg").touch()
        try:
            found_there = find_images(str(folder), library, Wishes(follow_links=True))
        finally:
            process.kill()
    assert found_there.rows["uri"].to_pylist() == [str(folder / "a.jpg")]


def test_parquet_goes_before_archives_but_for_what_describes_one(folder: Path, library: LibraryFiles) -> None:
    """img2dataset writes 00000.parquet beside 00000.tar; an archive that comes later is no reason to drop rows."""
    pq.write_table(pa.table({"image": [JPEG, JPEG]}), folder / "train.parquet")
    with zipfile.ZipFile(folder / "extra.zip", "w") as archive:
        archive.writestr("logo.jpg", JPEG)
    result, rows = found(folder, library)
    assert (len(rows), result.skipped) == (2, {".zip": 1})
    (folder / "train.parquet").rename(folder / "extra.parquet")
    result, rows = found(folder, library)
    assert ([row["key"] for row in rows], result.skipped) == (["logo"], {".parquet": 1})
