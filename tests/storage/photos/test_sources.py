"""What counts as an image of a source."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from muster.errors import InputError
from muster.storage.library import LibraryFiles, open_library
from muster.storage.photos.sources import Found, find_images


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return open_library(tmp_path / "library", create=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


def write(path: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def found(path: str | Path, library: LibraryFiles) -> tuple[Found, list[dict[str, Any]]]:
    result = find_images(str(path), library)
    return result, result.rows.to_pylist()


def refusal(path: str | Path, library: LibraryFiles) -> str:
    with pytest.raises(InputError) as refused:
        find_images(str(path), library)
    return str(refused.value)


def test_images_by_suffix(folder: Path, library: LibraryFiles) -> None:
    suffixes = "JPG jpeg jpe jfif mpo png webp heic HEIF hif avif tif tiff bmp gif"
    wanted = [f"a.{suffix}" for suffix in suffixes.split()]
    for name in [*wanted, "x.txt", "y.mp4", "z.MP4", "README"]:
        (folder / name).touch()
    write(folder / "roster.parquet", uri=["a"])
    result, rows = found(folder, library)
    assert [row["uri"] for row in rows] == sorted(str(folder / name) for name in wanted)
    assert result.skipped == {".txt": 1, ".mp4": 2, "": 1, ".parquet": 1}
    assert not result.from_parquet
    assert result.folder == result.source == str(folder)


def test_a_file_named_by_itself_counts(folder: Path, library: LibraryFiles) -> None:
    (folder / "README").write_bytes(b"abc")
    result, [row] = found(folder / "README", library)
    assert (row["uri"], row["size"], result.folder) == (str(folder / "README"), 3, None)


def test_folder_without_images(folder: Path, library: LibraryFiles) -> None:
    assert refusal(folder, library).startswith(f"no images in {folder}. Files ending in .jpg")
    assert refusal(folder, library).endswith("and any file named by itself")  # how to drop photos: the scan says it
    for name in ("a.txt", "b.txt", "c"):
        (folder / name).touch()
    assert "skipped files: 2 .txt, 1 without suffix" in refusal(folder, library)
    assert str(folder / "*.jpg") in refusal(folder / "*.jpg", library)


@pytest.mark.parametrize("log", ["_delta_log/00000000000000000000.json", "metadata/v1.metadata.json"])
def test_a_table_whose_log_says_which_rows_were_deleted(folder: Path, library: LibraryFiles, log: str) -> None:
    (folder / "data").mkdir()
    (folder / log).parent.mkdir()
    (folder / log).write_text("{}")
    path = write(folder / "data" / "part-0.parquet", uri=["/a.jpg"])
    assert "rows that were deleted are still in its files" in refusal(folder, library)
    if "delta" in log:
        assert "rows that were deleted are still in its files" in refusal(folder / "**" / "*.parquet", library)
    assert len(found(path, library)[1]) == 1  # who names a file means it
