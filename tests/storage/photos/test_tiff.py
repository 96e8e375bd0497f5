"""Files written tag by tag, as cameras and scanners write them: Pillow writes no page that is a copy of another."""

import io
import struct
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.errors import ImageError
from muster.storage.photos import decode as images
from muster.storage.photos.decode import decode
from muster.storage.photos.tiff import MAX_PAGES, numbers_in, photo_page

SHORT, LONG, TEXT = 3, 4, 2
Page = Mapping[int, int | str]
FORMS = [("<", False), (">", False), ("<", True)]  # Pillow reads no other
SENSOR = {262: 32803, 33421: 2}


def page(width: int, height: int, level: int, **tags: int | str) -> dict[int, int | str]:
    """A grey page; its other tags as `_254=1`."""
    own: dict[int, int | str] = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1, 278: height, 0: level}
    return own | {int(name[1:]): value for name, value in tags.items()}


def tiff(pages: Sequence[Page], below: Sequence[Page] = (), order: str = "<", large: bool = False) -> bytes:
    """`below`: children of the first page (SubIFDs)."""
    size, place = (8, "Q") if large else (4, "I")
    mark = struct.pack(f"{order}HHH", 43, 8, 0) if large else struct.pack(f"{order}H", 42)
    content = (b"II" if order == "<" else b"MM") + mark
    at_first = len(content)
    content += bytes(size)

    def directory(tags: dict[int, int | str]) -> tuple[int, int]:
        """Where it begins, and where it says what follows."""
        nonlocal content
        level = int(tags.pop(0, 0))
        tags[273], tags[279] = len(content), int(tags[256]) * int(tags[257])
        content += bytes([level]) * int(tags[279])
        entries = b""
        for tag, value in sorted(tags.items()):
            if isinstance(value, str):
                kind, count, data = TEXT, len(value) + 1, value.encode() + b"\0"
            elif value > 65535 or tag in (273, 279, 330):
                kind, count, data = LONG, 1, struct.pack(f"{order}I", value)
            else:
                kind, count, data = SHORT, 1, struct.pack(f"{order}H", value)
            if len(data) > size:
                data, content = struct.pack(order + place, len(content)), content + data
            entries += struct.pack(f"{order}HH{place}", tag, kind, count) + data.ljust(size, b"\0")
        start = len(content)
        content += struct.pack(order + ("Q" if large else "H"), len(tags)) + entries + bytes(size)
        return start, len(content) - size

    children = [directory(dict(child)) for child in below]
    tail = at_first
    for i, each in enumerate(pages):
        tags = dict(each)
        if i == 0 and children:
            tags[330] = children[0][0]
        start, end = directory(tags)
        content = content[:tail] + struct.pack(order + place, start) + content[tail + size :]
        tail = end
    return content


@pytest.mark.parametrize(("order", "large"), FORMS)
@pytest.mark.parametrize(("pages", "size", "level"), [
    ([page(30, 20, 9)], (30, 20), 9),
    ([page(30, 20, 9, _254=1), page(300, 200, 50)], (300, 200), 50),
    ([page(30, 20, 9, _254=1), page(40, 50, 2, _254=0), page(300, 200, 50), page(400, 300, 7, _254=1)], (300, 200), 50),
    ([page(30, 20, 9, _254=1), page(300, 300, 3, _254=4), page(300, 200, 50)], (300, 200), 50),  # 4: of transparency
    ([page(30, 20, 9), page(300, 200, 50)], (30, 20), 9),  # pages of a document
    ([page(300, 200, 50), page(30, 20, 9, _254=1)], (300, 200), 50),
])  # fmt: skip
def test_the_photo_of_a_tiff(pages: list[Page], size: tuple[int, int], level: int, order: str, large: bool) -> None:
    photo = decode(tiff(pages, order=order, large=large))
    assert photo.size == size
    assert (photo.pixels == level).all()


def test_what_is_below_a_page_is_a_pyramid() -> None:
    assert decode(tiff([page(300, 200, 50)], [page(30, 20, 9, _254=1)])).size == (300, 200)
    assert photo_page(tiff([page(30, 20, 9, _254=1)], [page(300, 200, 50)])) is None


@pytest.mark.parametrize(("order", "large"), FORMS)
@pytest.mark.parametrize(("pages", "below"), [
    ([page(30, 20, 9, _254=1)], [page(300, 200, 50) | SENSOR]),  # NEF
    ([page(30, 20, 9, _254=1), page(30, 20, 9, _254=1)], [page(300, 200, 50) | SENSOR]),  # ARW
    ([page(30, 20, 9, _254=1), page(60, 40, 9)], [page(300, 200, 50) | SENSOR]),
    ([page(30, 20, 9, _254=1), page(300, 200, 50) | SENSOR], []),
    ([page(300, 200, 50) | SENSOR, page(30, 20, 9, _254=1)], []),  # PEF
    ([page(30, 20, 9, _254=1) | {50706: 1}], [page(300, 200, 50) | {262: 34892}]),  # DNG
    ([page(30, 20, 9) | {50706: 1}], []),
    ([page(30, 20, 9, _254=1)], []),
])  # fmt: skip
def test_camera_raw(pages: list[Page], below: list[Page], order: str, large: bool) -> None:
    """What lies below is no picture of a sensor either: to LibRaw it is damage, or nothing that it knows."""
    data = tiff(pages, below, order, large)
    assert photo_page(data) is None
    with pytest.raises(ImageError) as caught:
        decode(data)
    assert (caught.value.kind, caught.value.format) in {("unsupported", "raw"), ("corrupt", "raw")}


def test_canon_raw() -> None:
    data = tiff([page(300, 200, 50)])
    moved = data[:8] + b"CR\2\0" + data[8:]  # the offsets are wrong then, and nobody comes to follow them
    assert photo_page(moved) is None


def test_facts_and_orientation_of_another_page() -> None:
    small, full = page(30, 20, 9, _254=1), page(300, 200, 50)
    first = decode(tiff([small | {271: "Nikon", 306: "2020:02:03 04:05:06", 274: 6}, full]))
    assert (first.camera, first.taken_at, first.size) == ("Nikon", datetime(2020, 2, 3, 4, 5, 6), (300, 200))
    own = decode(tiff([small | {271: "Nikon"}, full | {271: "Epson", 274: 6}]))
    assert (own.camera, own.size, own.orientation) == ("Epson", (200, 300), 6)


def test_memory_is_that_of_the_page_which_is_used() -> None:
    data = tiff([page(30, 20, 9, _254=1), page(300, 200, 50)])
    for tag, value in ((256, 300), (257, 200)):
        entry = struct.pack("<HHIH", tag, SHORT, 1, value)
        assert entry in data
        data = data.replace(entry, struct.pack("<HHIH", tag, SHORT, 1, 60_000))
    with pytest.raises(ImageError) as caught:
        decode(data, 100)
    assert caught.value.kind == "too_large"


def test_directories_that_are_named_without_end_take_no_memory() -> None:
    """65,535 tags that name the directory that they are in once took 51 GB, of a file of 800 kB."""
    for place in (8, 0):  # the same one each, or others
        tags = b"".join(struct.pack("<HHII", 34665, 4, 1, place or 10 + 12 * i) for i in range(65535))
        data = b"II*\0\x08\0\0\0\xff\xff" + tags + bytes(4)
        assert numbers_in(data) > 0
        with pytest.raises(ImageError):
            decode(data)


def test_no_chain_is_followed_for_ever() -> None:
    data = tiff([page(30, 20, 9, _254=1)] * (MAX_PAGES + 5) + [page(300, 200, 50)])
    assert photo_page(data) is None
    once = tiff([page(30, 20, 9, _254=1)])
    first = struct.unpack("<I", once[4:8])[0]
    loop = once[:-4] + struct.pack("<I", first)
    assert photo_page(loop) is None


def test_numbers_of_all_pages_that_are_read() -> None:
    filler = "x" * images.MAX_NUMBERS  # shorter files are not looked at
    data = tiff([page(30, 20, 9, _254=1) | {270: filler}, page(300, 200, 50)])
    assert numbers_in(data, 2) > numbers_in(data, 1) > 0


@given(st.binary(max_size=120), st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"]))
@settings(max_examples=200, deadline=None)
def test_any_bytes(noise: bytes, magic: bytes) -> None:
    assert photo_page(magic + noise) in (None, *range(MAX_PAGES))
    assert np.int64(numbers_in(magic + noise * 3000, MAX_PAGES)) >= 0


# ---- kinds of numbers ------------------------------------------------------------------------------------------------

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
RGB = np.stack([GREY, GREY.T, GREY[::-1]], axis=-1)
DEEP = RGB.astype(np.uint16) * 257
PLANES = DEEP.transpose(2, 0, 1).copy()


def of(numbers: np.ndarray[Any, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, numbers, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("numbers", "photometric"),
    [
        (255 - GREY, "miniswhite"),
        (65535 - GREY.astype(np.uint16) * 257, "miniswhite"),
        (4095 - GREY.astype(np.uint16) * 16, "miniswhite"),
        (1 - GREY.astype(np.float32) / 255, "miniswhite"),
        (GREY.astype(np.uint32) * 16843009, "minisblack"),
        (GREY.astype(np.int32) - 128, "minisblack"),
        (GREY.astype(np.float32) - 9, "minisblack"),
    ],
)
def test_grey_of_any_numbers(numbers: np.ndarray[Any, Any], photometric: str) -> None:
    data = of(numbers, photometric=photometric)
    assert np.abs(decode(data).pixels[:, :, 1].astype(int) - GREY).max() <= 1


@pytest.mark.parametrize("options", [{"photometric": "rgb"}, {"photometric": "rgb", "tile": (16, 16)}])
def test_sixteen_bits_of_colours(options: Mapping[str, Any]) -> None:
    for data in (of(DEEP, **options), of(PLANES, planarconfig="separate", compression="zlib", **options)):
        assert np.abs(decode(data).pixels.astype(int) - RGB).max() <= 1


@pytest.mark.parametrize(
    "data",
    [
        of(PLANES, photometric="rgb", planarconfig="separate"),
        of(GREY.astype(np.int8), photometric="minisblack"),
        of(GREY.astype(">u2"), photometric="miniswhite", byteorder=">"),
        of(RGB.astype(np.float32), photometric="rgb"),
        of(GREY.astype(np.float64), photometric="minisblack"),
        of(GREY.astype(np.float16), photometric="minisblack"),
        of(DEEP[:, :, :2], photometric="minisblack", extrasamples=["unassalpha"], planarconfig="contig"),
    ],
)
def test_what_pillow_does_not_know_is_neither_noise_nor_damage(data: bytes) -> None:
    with pytest.raises(ImageError) as error:
        decode(data)
    assert error.value.kind == "unsupported"
