"""Live Photos: the still is the photo; a Motion Photo is read as its still."""

import io
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image

from helpers.clips import even, write_clip
from helpers.originals import picture
from muster.storage.photos.decode import decode
from muster.storage.photos.left_out import said
from muster.storage.photos.live import LONGEST
from muster.storage.photos.sources import find_images

pytest.importorskip("av")


def names(folder: Path) -> list[str]:
    return [uri.removeprefix(f"{folder}/") for uri in find_images(str(folder), None).rows["uri"].to_pylist()]


def test_the_clip_of_a_live_photo_is_left_out_and_counted(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.JPG").write_bytes(picture())
    write_clip(tmp_path / "img_1.mov", even(25))
    write_clip(tmp_path / "IMG_2.mov", even(25))  # no still of that name
    found = find_images(str(tmp_path), None)
    assert sorted(names(tmp_path)) == ["IMG_1.JPG", "IMG_2.mov#t=0"]
    assert said(found.left_out, found.skipped) == ["1 clip of a Live Photo"]


def test_a_film_under_the_name_of_a_photo_is_one(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.jpg").write_bytes(picture())
    write_clip(tmp_path / "IMG_1.mp4", [0, LONGEST + 1])
    assert len(names(tmp_path)) == 3


def test_a_clip_in_another_folder_or_a_broken_one_hangs_on_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "IMG_1.jpg").write_bytes(picture())
    write_clip(tmp_path / "a" / "IMG_1.mp4", even(25))
    (tmp_path / "IMG_1.mov").write_bytes(b"no video")
    assert sorted(names(tmp_path)) == ["IMG_1.jpg", "IMG_1.mov#t=0", "a/IMG_1.mp4#t=0"]


@pytest.mark.parametrize("suffix", [".jpg", ".heic"])
def test_a_motion_photo_is_read_as_its_still(tmp_path: Path, suffix: str) -> None:
    """Google appends the clip to a JPEG; Samsung to a HEIC, in a box `mpvd` of its own."""
    clip = write_clip(tmp_path / "clip.mp4", even(25)).read_bytes()
    (tmp_path / "clip.mp4").unlink()
    still = picture()
    if suffix == ".heic":
        out = io.BytesIO()
        pillow_heif.from_pillow(Image.open(io.BytesIO(still))).save(out)
        still, clip = out.getvalue(), (len(clip) + 8).to_bytes(4, "big") + b"mpvd" + clip
    (tmp_path / f"PXL_1.MP{suffix}").write_bytes(still + clip)
    assert names(tmp_path) == [f"PXL_1.MP{suffix}"]
    assert (decode(still + clip).pixels == decode(still).pixels).all()
