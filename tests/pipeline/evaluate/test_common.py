from pathlib import Path

import pyarrow as pa
import pytest

from muster.errors import InputError
from muster.pipeline.evaluate.common import file_names, scanned, short_names
from muster.storage.manifest import read_manifest


def test_a_library_that_is_named_is_kept_and_another_is_thrown_away(album: Path, tmp_path: Path) -> None:
    with scanned(str(album), str(tmp_path / "L")) as library:
        assert read_manifest(library).num_rows == 26
    assert read_manifest(library).num_rows == 26
    with scanned(str(album), "") as library:
        assert read_manifest(library).num_rows == 26
        assert Path(library.uri).is_dir()
    assert not Path(library.uri).exists()


def test_short_names_are_the_last_parts_of_any_system_s() -> None:
    uris = ["/a/Zoe\u0308.jpg", "s3://b/Zo%C3%AB.jpg?region=eu", "/a/50%20.jpg"]
    assert short_names(pa.table({"uri": uris})) == ["Zoë.jpg", "Zoë.jpg", "50%20.jpg"]
    files = ["Ann\\1.jpg", "b/2%20.jpg", None]
    assert short_names(pa.table({"uri": uris, "file": files})) == ["1.jpg", "2%20.jpg", ""]


def test_a_folder_that_is_missing_is_nothing_of_the_user_s_library(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No such file or directory$"), scanned(str(tmp_path / "none"), ""):
        pass


def test_images_are_called_as_their_labels_call_them() -> None:
    assert file_names(pa.table({"uri": ["/a/1.jpg", "s3://b/2.jpg"]})) == ["/a/1.jpg", "s3://b/2.jpg"]
    assert file_names(pa.table({"uri": ["/rows.parquet#row=0", "/3.jpg"], "file": ["Ann/1.jpg", None]})) == [
        "Ann/1.jpg",
        "",
    ]
    for column in ("file_name", "image_path"):  # as COCO and Hugging Face have it
        assert file_names(pa.table({"uri": ["/rows.parquet#row=0"], "file": [7], column: ["a/1.jpg"]})) == ["a/1.jpg"]
