"""JPEG XL: headers bit by bit, pixels, and the JPEGs that are in them."""

import io
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from muster.errors import ImageError
from muster.storage.photos import rendered
from muster.storage.photos.decode import decode
from muster.storage.photos.jxl import Header, codestream, header

pytest.importorskip("pillow_jxl", reason="JPEG XL is read by pillow-jxl-plugin, an extra")
pytestmark = pytest.mark.filterwarnings("ignore:Using JPEG reconstruction")


def picture(mode: str = "RGB", size: tuple[int, int] = (300, 200)) -> Image.Image:
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    return Image.fromarray(np.stack([x % 256, y % 256, (x + y) // 2 % 256], -1).astype(np.uint8)).convert(mode)


def jxl(image: Image.Image, **options: Any) -> bytes:
    import pillow_jxl  # noqa: F401  (Pillow knows the format from then on)

    out = io.BytesIO()
    image.save(out, "JXL", effort=1, **options)
    return out.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA"])
def test_pixels(mode: str) -> None:
    photo = decode(jxl(picture(mode), lossless=True))
    assert (photo.size, photo.format, photo.scale) == ((300, 200), "jxl", 1)
    assert (photo.pixels == np.asarray(picture(mode).convert("RGB"))).all()


def test_grey_of_16_bits_and_of_floats() -> None:
    levels = np.tile(np.linspace(0, 1, 256), (64, 1))
    for values in ((levels * 65535).astype(np.uint16), levels.astype(np.float32)):
        pixels = decode(jxl(Image.fromarray(values), lossless=True)).pixels
        assert np.abs(pixels[32, :, 0].astype(int) - levels[0] * 255).max() <= 16
        assert (np.diff(pixels[32, :, 0].astype(int)) >= 0).all()


def test_it_is_shrunk() -> None:
    photo = decode(jxl(picture(size=(1200, 800))), 300)
    assert (photo.size, photo.pixels.shape, photo.scale) == ((1200, 800), (200, 300, 3), 0.25)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_in_it_comes_out_as_it_was(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274], exif[306] = orientation, "2020:01:02 03:04:05"
    picture().save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "a.jxl").write_bytes(jxl(Image.open(tmp_path / "a.jpg"), exif=exif.tobytes()))
    packed, plain = (decode((tmp_path / name).read_bytes()) for name in ("a.jxl", "a.jpg"))
    assert (packed.pixels == plain.pixels).all()
    assert (packed.size, packed.orientation) == (plain.size, plain.orientation)
    assert packed.taken_at == datetime(2020, 1, 2, 3, 4, 5)


def test_a_real_photo(data: Path) -> None:
    photo = decode((data / "photos" / "formats2" / "Reagan.jxl").read_bytes())
    assert (photo.size, photo.camera, photo.taken_at and photo.taken_at.year) == ((200, 130), "NIKON D1X", 2004)


# ---- headers


@given(width=st.integers(1, 2000), height=st.integers(1, 2000))
def test_sizes_of_any_form(width: int, height: int) -> None:
    """Sides in multiples of 8, in one of seven ratios, or each by itself."""
    stream = _stream(width, height)
    assert header(stream) == Header((width, height), 1, 0)


def _stream(width: int, height: int) -> bytes:
    """SizeHeader in the shortest form that the encoder chooses, and all_default."""
    bits = [(1, 1)] if width % 8 == height % 8 == 0 and max(width, height) <= 256 else [(0, 1)]
    small = bits[0][0]

    def side(value: int) -> list[tuple[int, int]]:
        if small:
            return [(value // 8 - 1, 5)]
        number = next(i for i, width in enumerate((9, 13, 18, 30)) if value <= 1 << width)
        return [(number, 2), (value - 1, (9, 13, 18, 30)[number])]

    ratios = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
    ratio = next((n for n, (a, b) in ratios.items() if height * a // b == width), 0)
    bits += [*side(height), (ratio, 3), *([] if ratio else side(width)), (1, 1)]
    value, at = 0, 0
    for number, length in bits:
        value |= number << at
        at += length
    return b"\xff\x0a" + value.to_bytes(at // 8 + 8, "little")


@pytest.mark.parametrize("size", [(8, 8), (256, 64), (257, 3), (1920, 1080), (1000, 999)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_headers_as_libjxl_writes_them(size: tuple[int, int], mode: str) -> None:
    assert header(codestream(jxl(picture(mode, size)))) == Header(size, 1, len(mode) - 3)


@pytest.mark.parametrize(("cut", "kind"), [(0.5, "corrupt"), (0.02, "corrupt")])
def test_a_cut_codestream(cut: float, kind: str) -> None:
    data = jxl(picture())
    with pytest.raises(ImageError) as caught:
        decode(data[: int(len(data) * cut)])
    assert caught.value.kind == kind


def test_cut_boxes(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.jpg")
    data = jxl(Image.open(tmp_path / "a.jpg"))
    for end in (40, len(data) // 2, len(data) - 1):
        with pytest.raises(ImageError) as caught:
            decode(data[:end])
        assert caught.value.kind == "truncated"


def test_what_takes_too_much_memory_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _stream(200_000, 100_000)
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert (caught.value.kind, caught.value.size) == ("too_large", (200_000, 100_000))
    monkeypatch.setattr(rendered, "MAX_MEMORY", 300 * 200 * 24 - 1)
    with pytest.raises(ImageError, match="pixels need"):
        decode(jxl(picture()))


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_mark(content: bytes) -> None:
    for data in (b"\xff\x0a" + content, b"\0\0\0\x0cJXL \r\n\x87\n" + content):
        with pytest.raises(ImageError):
            decode(data)
