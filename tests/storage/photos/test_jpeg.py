import io
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from muster.errors import ImageError
from muster.storage.photos import jpeg
from muster.storage.photos.decode import decode

END = b"\xff\xd9"
TRAILER = (
    b"\0\0\x01\x0a\x0e\0\0\0Image_UTC_Data1624390000000" + b"\xff\xf1\xff\x10" * 30 + b"SEFH\x6b\0\0\0SEFT"
)  # Samsung
KINDS = {
    "baseline": {},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "full colour": {"subsampling": 0, "quality": 100},
}
MODES = ("RGB", "L", "CMYK")


@cache
def whole(kind: str, mode: str = "RGB") -> bytes:
    """Noise over a ramp, 150×110: any bit that is missing shows."""
    noise = np.random.default_rng(0).integers(0, 80, (110, 150, 3))
    image = Image.fromarray((np.linspace(0, 170, 150)[None, :, None] + noise).astype(np.uint8)).convert(mode)
    file = io.BytesIO()
    image.save(file, "JPEG", **KINDS[kind])
    return file.getvalue()


def kind_of(data: bytes, side: int | None = None) -> str:
    try:
        decode(data, side)
    except ImageError as error:
        return error.kind
    return "ok"


@pytest.mark.parametrize("side", [None, 20])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behind", [
    b"", b"\xff", b"\0", b"\0" * 5000, TRAILER, TRAILER[:40],
    b"\xff\xd8\xff\xe0 a preview", b"text" * 2000, b"\xff\xe1\xff",
])  # fmt: skip
def test_without_the_end_marker(kind: str, mode: str, behind: bytes, side: int | None) -> None:
    data = whole(kind, mode)
    assert data.endswith(END)
    photo = decode(data[:-2] + behind, side)
    assert photo.size == (150, 110)
    expected = decode(data, side).pixels
    assert (photo.pixels == expected).all()


def test_the_first_of_several_pictures_without_the_end_marker() -> None:
    file = io.BytesIO()
    Image.open(io.BytesIO(whole("baseline"))).save(
        file, "MPO", save_all=True, append_images=[Image.new("RGB", (20, 20))]
    )
    data = file.getvalue()
    end = data.index(END)
    assert (decode(data[:end] + data[end + 2 :]).pixels == decode(data).pixels).all()
    assert kind_of(data[: end - 1] + data[end + 2 :]) != "ok"


@given(
    kind=st.sampled_from(list(KINDS)),
    mode=st.sampled_from(MODES),
    near=st.booleans(),
    place=st.floats(0, 1),
    side=st.sampled_from([None, 30]),
)
@settings(max_examples=300, deadline=None)
def test_a_file_that_is_cut_has_all_of_its_pixels_or_none(
    kind: str, mode: str, near: bool, place: float, side: int | None
) -> None:
    data = whole(kind, mode)
    cut = len(data) - int(place * 40) if near else int(place * len(data))
    if cut >= len(data) - 2:
        assert (decode(data[:cut], side).pixels == decode(data, side).pixels).all()
    elif cut > data.index(b"\xff\xda"):
        assert kind_of(data[:cut], side) == "truncated"
    else:
        assert kind_of(data[:cut], side) != "ok"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fill", [b"\0", b"\xff"])
@pytest.mark.parametrize("place", [0.5, 0.9, 0.99])
def test_a_broken_download_that_was_filled_up_is_truncated(kind: str, fill: bytes, place: float) -> None:
    data = whole(kind)
    cut = int(len(data) * place)
    assert kind_of(data[:cut] + fill * (len(data) - cut)) == "truncated"
    assert kind_of(data[:cut] + fill * 30_000) == "truncated"


def test_a_progressive_file_between_two_scans_is_truncated() -> None:
    """All that libjpeg is given there is well formed."""
    data = whole("progressive")
    scans = [at for at in range(len(data)) if data.startswith((b"\xff\xda", b"\xff\xc4"), at)]
    behind = [at for at in scans if at > data.index(b"\xff\xda")]
    assert len(behind) > 10
    assert {kind_of(data[:at]) for at in behind} == {"truncated"}


def test_a_colour_that_is_missing_is_truncated() -> None:
    """A scan for each component, as some scanners write: here only the first of three."""
    data = whole("progressive")
    header = data[: data.index(b"\xff\xda")].replace(b"\xff\xc2", b"\xff\xc0")
    scan = b"\xff\xda\0\x08\1\1\0\0\x3f\0"
    assert jpeg.with_end(header + scan + b"\x12" * 5000, False) is None


@pytest.mark.parametrize("data", [
    b"\xff\xd8" + b"\xff" * 1_000_000, b"\xff\xd8" + b"\xff\xd0" * 1_000_000, b"\xff\xd8" + b"\xff\xe0\0\2" * 1_000_000,
    b"\xff\xd8\xff\xc0\0\x0b\x08\0\x08\0\x08\1\1\x11\0\xff\xda\0\x08\1\1\0\0\0\0" + b"\xff" * 1_000_000 + b"\0",
    b"\xff\xd8\xff\xda\0\2", b"\xff\xd8\xff\xc0\0\2\xff\xda\0\3\1", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\0",
])  # fmt: skip
def test_no_file_keeps_it_busy(data: bytes) -> None:
    assert jpeg.with_end(data, False) is None
