import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from helpers.profiles import ADOBE
from muster.errors import ImageError
from muster.storage.photos.decode import decode
from muster.storage.photos.png import CHUNKS, SIGNATURE, without_broken_chunks

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def whole() -> bytes:
    texts, file = PngInfo(), io.BytesIO()
    texts.add_text("Title", "before the pixels")
    Image.fromarray(PIXELS).save(file, "PNG", pnginfo=texts, icc_profile=ADOBE)
    data = file.getvalue()
    end = data.index(b"IEND") - 4
    return data[:end] + chunk(b"tEXt", b"Comment\0behind them") + data[end:]


WHOLE = whole()


@pytest.mark.parametrize("text", [b"before the pixels", b"behind them"])
def test_a_text_with_a_wrong_check_sum_costs_no_photo(text: bytes) -> None:
    photo = decode(WHOLE.replace(text, text[::-1]))
    assert (photo.pixels == PIXELS).all()
    assert photo.profile == ADOBE, "what is whole is kept"
    assert photo.sha256 != decode(WHOLE).sha256


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT"])
def test_a_wrong_check_sum_of_the_picture_is_corrupt(kind: bytes) -> None:
    at = WHOLE.index(kind) + 8
    with pytest.raises(ImageError) as caught:
        decode(WHOLE[:at] + bytes([WHOLE[at] ^ 1]) + WHOLE[at + 1 :])
    assert caught.value.kind == "corrupt"


@given(st.integers(0, len(WHOLE)), st.sampled_from([b"", b"\0", b"\0" * 300, b"trailer", b"\xff" * 40]))
@settings(max_examples=200, deadline=None)
def test_a_file_that_is_cut_has_all_of_its_pixels_or_none(cut: int, behind: bytes) -> None:
    end_of_pixels = WHOLE.index(b"tEXt", WHOLE.index(b"IDAT")) - 4
    try:
        pixels = decode(WHOLE[:cut] + behind).pixels
    except ImageError:
        assert cut < end_of_pixels
    else:
        assert cut >= end_of_pixels - 4, "its check sum may be another"
        assert (pixels == PIXELS).all()


def test_a_file_that_is_cut_between_two_parts_of_its_pixels_is_truncated() -> None:
    start = WHOLE.index(b"IDAT") - 4
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in PIXELS))
    parts = [chunk(b"IDAT", pixels[at : at + 500]) for at in range(0, len(pixels), 500)]
    assert len(parts) > 10
    for count in range(1, len(parts)):
        with pytest.raises(ImageError) as caught:
            decode(WHOLE[:start] + b"".join(parts[:count]))
        assert caught.value.kind == "truncated"
    assert (decode(WHOLE[:start] + b"".join(parts)).pixels == PIXELS).all()


def test_nothing_to_leave_out() -> None:
    assert without_broken_chunks(WHOLE) is None
    assert without_broken_chunks(WHOLE + b"trailer") is None
    assert without_broken_chunks(b"") is None
    assert without_broken_chunks(SIGNATURE + b"\0\0\0\0tEXt\0\0\0\0" * CHUNKS) is None
    assert without_broken_chunks(b"\xff\xd8\xff") is None


def test_the_pixels_of_a_real_file_without_its_end(data: Path) -> None:
    assert decode((data / "broken" / "pillow_truncated_end_chunk.png").read_bytes()).size == (128, 128)


def test_what_stands_behind_a_cut_is_not_taken_for_pixels() -> None:
    end_of_pixels = WHOLE.index(b"tEXt", WHOLE.index(b"IDAT")) - 4
    for cut, behind in ((15, b"trailer"), (12, b"trailer"), (45, b"\xff" * 40), (9, b"\0")):
        with pytest.raises(ImageError) as caught:
            decode(WHOLE[: end_of_pixels - cut] + behind)
        assert caught.value.kind == "truncated"
