"""PNGs that other programs show, and one that none does."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from muster.errors import ImageError
from muster.storage.photos.decode import decode
from muster.storage.photos.png import without_damaged_remarks

PIXELS = np.random.default_rng(3).integers(0, 256, (20, 30, 3), np.uint8)
START, HEADER = 8, 33  # where the header begins and ends


def png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


def chunk(name: bytes, content: bytes, wrong: bool = False) -> bytes:
    checksum = zlib.crc32(name + content) ^ wrong
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def with_chunks(*chunks: bytes, at: int = HEADER) -> bytes:
    data = png()
    return b"".join([data[:at], *chunks, data[at:]])


PROFILE = b"ICC Profile\0\0" + zlib.compress(b"x" * 500)


@pytest.mark.parametrize(
    ("name", "content"),
    [(b"iCCP", PROFILE), (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0<x/>"), (b"tEXt", b"a\0b"), (b"gAMA", b"\0\0\xb1\x8f")],
)
def test_a_remark_with_a_wrong_checksum_costs_no_picture(name: bytes, content: bytes) -> None:
    data = with_chunks(chunk(name, content, wrong=True), chunk(b"tEXt", b"c\0d"))
    assert (decode(data).pixels == PIXELS).all()
    assert decode(data).sha256 != decode(png()).sha256  # it is that of the file


def test_what_is_right_beside_it_stays() -> None:
    exif = Image.Exif()
    exif[0x0132] = "2020:02:03 04:05:06"
    block = chunk(b"eXIf", exif.tobytes()[6:])
    assert decode(with_chunks(chunk(b"tEXt", b"a\0b", wrong=True), block)).taken_at is not None


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[: HEADER - 1] + bytes([data[HEADER - 1] ^ 1]) + data[HEADER:],
        lambda data: data[:HEADER] + chunk(b"PLTE", b"\0" * 3, wrong=True) + data[HEADER:],
        lambda data: data[:HEADER] + chunk(b"tEXt", b"a\0b", wrong=True)[:-6],
    ],
)
def test_what_a_picture_needs_must_be_right(change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ImageError) as error:
        decode(change(png()))
    assert error.value.kind in ("corrupt", "truncated")


@given(st.binary(max_size=300))
def test_any_bytes(noise: bytes) -> None:
    mended = without_damaged_remarks(b"\x89PNG\r\n\x1a\n" + noise)
    assert len(mended) <= len(noise) + 8
    assert without_damaged_remarks(png()) == png()


def test_endless_chunks_are_not_walked_through() -> None:
    data = with_chunks(chunk(b"tEXt", b"", wrong=True) * 5000)
    assert len(data) - len(without_damaged_remarks(data)) == 12 * 999  # after the header
