import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from helpers.originals import picture, turned
from helpers.profiles import PROPHOTO
from muster.errors import ImageError
from muster.storage.photos.shown import MOST_SIDE, as_jpeg, media_type


def kind(data: bytes, orientation: int = 1) -> str | None:
    file = io.BytesIO(data)
    found = media_type(file, orientation)
    assert file.tell() == 0
    return found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (picture(), "image/jpeg"),
        (picture(mode="L"), "image/jpeg"),
        (picture(progressive=True), "image/jpeg"),
        (picture(mode="CMYK"), None),
        (picture(kind="PNG"), "image/png"),
        (picture(kind="WEBP"), "image/webp"),
        (picture(kind="GIF", mode="P"), "image/gif"),
        (picture(kind="AVIF"), "image/avif"),
        (picture(kind="TIFF"), None),
        (picture(kind="BMP"), None),
        (picture(kind="HEIF"), None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", None),
        (b"<!doctype html><script>alert(1)</script>", None),
        (b"", None),
        (b"\xff\xd8\xff", None),
        (b"\xff\xd8" + b"\xff" * 100_000, None),
        (picture().replace(b"\xff\xc0", b"\xff\xc9"), None),  # arithmetic codes
    ],
    ids=lambda value: value[:4].hex() if isinstance(value, bytes) else str(value),
)
def test_what_browsers_show_as_it_is(data: bytes, expected: str | None) -> None:
    assert kind(data) == expected


@pytest.mark.parametrize(
    ("format", "expected"), [("JPEG", "image/jpeg"), ("PNG", None), ("WEBP", None), ("AVIF", None)]
)
def test_what_not_every_browser_turns_is_turned_here(format: str, expected: str | None) -> None:
    assert kind(turned(6, kind=format), 6) == expected


def test_a_long_header_before_the_pixels_is_passed_over() -> None:
    data = picture()
    app = b"\xff\xe2" + (65_535).to_bytes(2, "big") + bytes(65_533)
    assert kind(data[:2] + 40 * app + data[2:]) == "image/jpeg"
    assert kind(data[:2] + 5000 * (b"\xff\xe2\x00\x02") + data[2:]) is None  # as many as no camera writes


@given(st.binary(max_size=200))
def test_any_bytes_have_a_type_or_none(data: bytes) -> None:
    assert kind(data) in (None, "image/jpeg", "image/png", "image/gif", "image/webp", "image/avif")
    assert kind(b"\xff\xd8\xff" + data) in (None, "image/jpeg")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_stands_upright(orientation: int) -> None:
    made = Image.open(io.BytesIO(as_jpeg(turned(orientation, kind="TIFF" if orientation == 1 else "PNG"))))
    pixels = np.asarray(made).astype(int)
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}[
        orientation
    ]
    assert made.size == ((120, 80) if orientation < 5 else (80, 120))
    assert pixels[corner][0] > 180 > 100 > pixels[corner][1], "the red corner"
    assert not made.getexif()


def test_its_colours_are_srgb() -> None:
    plain, wide = (as_jpeg(picture(kind="TIFF", **more)) for more in ({}, {"icc_profile": PROPHOTO}))
    made = Image.open(io.BytesIO(wide))
    assert "icc_profile" not in made.info
    grey, brighter = (np.asarray(Image.open(io.BytesIO(data)))[-1, -1].astype(int) for data in (plain, wide))
    assert (brighter - grey > 10).all(), "grey of gamma 1.8 is brighter in sRGB"


def test_what_is_larger_than_any_screen_is_made_smaller() -> None:
    made = Image.open(io.BytesIO(as_jpeg(picture((MOST_SIDE + 904, 100), "TIFF"))))
    assert made.width == MOST_SIDE


@pytest.mark.parametrize("data", [b"", b"<svg/>", picture()[:300]])
def test_what_is_no_photo_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        as_jpeg(data)


@pytest.mark.parametrize("name", ["formats/samsung-one-ui-6.heic", "formats/cmyk.jpg"])
def test_phones_heic_and_cmyk_are_shown(data: Path, name: str) -> None:
    content = (data / "photos" / name).read_bytes()
    assert kind(content) is None
    assert min(Image.open(io.BytesIO(as_jpeg(content))).size) > 300
