"""Camera raw: previews, what sensors saw, and which way is up."""

import io
import struct
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from helpers.camera_raw import dng
from muster.errors import ImageError
from muster.storage.photos import rendered
from muster.storage.photos.decode import Photo, decode

pytest.importorskip("rawpy", reason="camera raw is read by rawpy, an extra")
SIZE = (1536, 1024)


def picture(size: tuple[int, int] = SIZE, level: int = 0) -> Image.Image:
    """Dark on the left and above: no turn of it looks like another."""
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    grey = 60 + 100 * x / size[0] + 60 * y / size[1] + level
    return Image.fromarray(np.stack([grey] * 3, axis=-1).clip(0, 255).astype(np.uint8))


def corners(image: Image.Image) -> list[int]:
    """Which is brighter than which: [left above, right above, left below, right below] in order of their light."""
    small = np.asarray(image.convert("L").resize((8, 8))).astype(int)
    return [*np.argsort([small[0, 0], small[0, -1], small[-1, 0], small[-1, -1]])]


def turned(image: Image.Image, orientation: int) -> Image.Image:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[274] = orientation
    image.save(out, "JPEG", exif=exif)
    return ImageOps.exif_transpose(Image.open(out))


def seen(photo: Photo) -> Image.Image:
    return Image.fromarray(photo.pixels)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize(("preview", "side", "shown"), [
    (None, 2000, 768),  # half of the sensor
    ((256, 171), 200, 200),
    ((256, 171), 2000, 768),  # a preview that is too small
    ((1200, 800), 2000, 1200),
    ((1200, 800), None, 1200),
    ((1200, 675), 2000, 768),  # one of another shape
])  # fmt: skip
def test_the_preview_if_it_is_large_enough(
    preview: tuple[int, int] | None, side: int | None, shown: int, orientation: int
) -> None:
    photo = decode(dng(picture(), orientation, preview and picture(preview)), side)
    size = SIZE if orientation < 5 else SIZE[::-1]
    assert (photo.size, photo.format, photo.orientation) == (size, "raw", orientation)
    assert (max(photo.pixels.shape), photo.scale) == (shown, shown / max(SIZE))
    assert corners(seen(photo)) == corners(turned(picture(), orientation))


def test_a_preview_that_is_upright_already_stays_so() -> None:
    photo = decode(dng(picture(), 6, turned(picture((1200, 800)), 6)))
    assert (photo.size, photo.pixels.shape[:2]) == (SIZE[::-1], (1200, 800))
    assert corners(seen(photo)) == corners(turned(picture(), 6))


def test_a_preview_that_is_no_picture_counts_nothing() -> None:
    data = dng(picture(), 1, picture((1200, 800)))
    begin, end = data.index(b"\xff\xd8\xff"), data.index(b"\xff\xd9")
    photo = decode(data[:begin] + bytes(end - begin) + data[end:])
    assert max(photo.pixels.shape) == 768


def test_facts_of_the_camera() -> None:
    photo = decode(dng(picture()), 100)
    assert (photo.camera, photo.taken_at) == ("Canon EOS 6D", datetime(2019, 6, 6, 7, 29, 51))


def test_it_is_what_the_sensor_saw() -> None:
    """Colours by LibRaw: white balance and brightness are its own, and no colour is another."""
    red = Image.new("RGB", SIZE, "black")
    red.paste("red", (0, 0, 700, 1024))
    pixels = decode(dng(red)).pixels
    assert pixels[100, 100].argmax() == 0
    assert pixels[100, 100, 0] > 200 > 20 > pixels[100, 700].max()


def test_pixels_behind_the_end_of_the_file_are_truncated() -> None:
    data, (width, height) = dng(picture((320, 240))), (320, 240)
    length = struct.pack("<HHII", 279, 4, 1, 2 * width * height)
    assert length in data
    with pytest.raises(ImageError) as caught:
        decode(data.replace(length, struct.pack("<HHII", 279, 4, 1, len(data))))
    assert (caught.value.kind, caught.value.format) == ("truncated", "raw")


def test_what_takes_too_much_memory_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dng(picture())
    monkeypatch.setattr(rendered, "MAX_MEMORY", 8 * SIZE[0] * SIZE[1] - 1)
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert (caught.value.kind, caught.value.size) == ("too_large", SIZE)


def test_real_files(data: Path) -> None:
    folder = data / "photos" / "formats2"
    photo = decode((folder / "canon_eos_6d.dng").read_bytes(), 1600)
    assert (photo.size, photo.pixels.shape[:2], photo.camera) == ((1224, 816), (683, 1024), "Canon EOS 6D")
    for name in ("IMG_1361.dng", "Canon-R6-pruned.CR3", "exiv2-canon-powershot-s40.crw"):
        with pytest.raises(ImageError) as caught:
            decode((folder / name).read_bytes(), 512)
        assert (caught.value.kind, caught.value.format) == ("truncated", "raw")
