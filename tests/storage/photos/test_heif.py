import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from muster.storage.photos import heif
from muster.storage.photos.decode import decode
from muster.storage.photos.pixels import upright


def box(kind: bytes, content: bytes, long: bool = False) -> bytes:
    if long:
        return b"\0\0\0\1" + kind + (16 + len(content)).to_bytes(8, "big") + content
    return (8 + len(content)).to_bytes(4, "big") + kind + content


def file(properties: list[tuple[bytes, int]], wide: bool, version: int, long: bool, item: int = 2) -> bytes:
    """Boxes of a picture whose primary item has these, behind another item and a property that it has not."""
    width = 2 if version == 0 else 4

    def entry(name: int, places: list[int]) -> bytes:
        values = [place | (0x8000 if wide else 0x80) for place in places]
        return (
            name.to_bytes(width, "big") + bytes([len(places)]) + b"".join(v.to_bytes(1 + wide, "big") for v in values)
        )

    ipco = box(b"ipco", box(b"irot", b"\3") + b"".join(box(kind, bytes([value])) for kind, value in properties))
    wanted = entry(1, [1]) + entry(item, list(range(2, 2 + len(properties))))
    ipma = box(b"ipma", bytes([version, 0, 0, wide]) + (2).to_bytes(4, "big") + wanted)
    pitm = box(b"pitm", bytes([version, 0, 0, 0]) + item.to_bytes(width, "big"))
    return (
        box(b"ftyp", b"heicmif1")
        + box(b"meta", b"\0\0\0\0" + pitm + box(b"iprp", ipco + ipma), long)
        + box(b"mdat", b"x")
    )


@given(
    properties=st.lists(st.tuples(st.sampled_from([b"irot", b"imir", b"ispe"]), st.integers(0, 3)), max_size=4),
    wide=st.booleans(),
    version=st.integers(0, 1),
    long=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_turns_and_mirrors_in_their_order(
    properties: list[tuple[bytes, int]], wide: bool, version: int, long: bool
) -> None:
    picture = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    expected = picture
    for kind, value in properties:
        if kind == b"irot":
            expected = np.rot90(expected, value)
        elif kind == b"imir":
            expected = expected[:, ::-1] if value & 1 else expected[::-1]
    found = heif.orientation(file(properties, wide, version, long))
    assert (upright(picture, found) == expected).all()


@pytest.mark.parametrize("by_exif", range(1, 9))
@pytest.mark.parametrize("applied", range(1, 9))
def test_the_column_is_what_was_applied_whatever_exif_says(applied: int, by_exif: int) -> None:
    """pillow_heif writes irot and imir for the EXIF value, which is then changed in the file."""
    exif = Image.Exif()
    exif[0x0112] = applied
    content = io.BytesIO()
    y, x = np.mgrid[:48, :64]
    stored = Image.fromarray(np.stack([4 * x, 5 * y, 0 * x], -1).astype(np.uint8))
    stored.save(content, "HEIF", quality=95, exif=exif.tobytes())
    data = content.getvalue()
    for tag in (b"\x12\x01\x03\0\1\0\0\0", b"\x01\x12\0\x03\0\0\0\1"):  # the value in two bytes behind it
        value = by_exif.to_bytes(2, "little" if tag[0] == 0x12 else "big")
        at = data.find(tag)
        data = data[: at + 8] + value + data[at + 10 :] if at >= 0 else data
    photo = decode(data)
    assert photo.orientation == applied
    assert np.abs(photo.pixels.astype(int) - upright(np.asarray(stored), applied)).mean() < 4


def test_real_files(data: Path) -> None:
    photos = data / "photos" / "formats"
    assert heif.orientation((photos / "arrow.heic").read_bytes()) == 6
    assert heif.orientation((photos / "IMG_2682.heic").read_bytes()) == 1


@given(st.binary(max_size=60), st.integers(0, 400))
@settings(max_examples=200, deadline=None)
def test_any_bytes(noise: bytes, at: int) -> None:
    whole = file([(b"irot", 1), (b"imir", 1)], True, 0, False)
    assert heif.orientation(whole[:at] + noise + whole[at + len(noise) :]) in range(1, 9)
    assert heif.orientation(noise) in range(1, 9)
