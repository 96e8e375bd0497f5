"""storage/photos/picture.py: what is said of a picture that does not do."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muster.errors import InputError
from muster.storage.photos.picture import from_anywhere, read_picture


def made(file: Path, width: int, height: int) -> Path:
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(file)
    return file


def test_a_picture_is_read_no_longer_than_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "a.png", 100, 60)
    monkeypatch.chdir(tmp_path)
    photo = read_picture("styles", "a.png", 50, 30)
    assert (photo.pixels.shape, photo.size) == ((30, 50, 3), (100, 60))
    assert len(photo.sha256) == 64
    assert from_anywhere("a.png") == str(tmp_path / "a.png")
    assert from_anywhere("s3://bucket/a.png") == "s3://bucket/a.png"


def test_a_picture_that_does_not_do_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    for file, says in {
        tmp_path / "none.png": "no such file: give another picture",
        tmp_path / "text.png": ": give another picture",
        tmp_path: "folder",
        made(tmp_path / "thin.png", 1, 90): r"has 1×90 pixels: a style needs at least 32 pixels on each side",
        made(tmp_path / "long.png", 640, 60): r"has 640×60 pixels: .* at a `side` of 200 too",
    }.items():
        with pytest.raises(InputError, match=f"`styles` {file}.*{says}"):
            read_picture("styles", str(file), 200, 32)
