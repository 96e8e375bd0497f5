from fractions import Fraction
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from helpers.clips import shown
from muster.errors import ImageError
from muster.storage.photos.decode import decode
from muster.storage.photos.frame import MAX_PIXELS, PEAK, WHITE, as_tiff, check_size, facts, pixels, tone_mapped

av = pytest.importorskip("av")


def frame(image):
    return av.VideoFrame.from_ndarray(image, format="rgb24")


def test_a_frame_is_its_pixels():
    image = shown(30)
    assert np.abs(pixels(frame(image)).astype(int) - image).max() <= 1
    assert np.abs(decode(as_tiff(frame(image), None, facts({}, 0))).pixels.astype(int) - image).max() <= 1


def test_pixels_that_are_wider_than_high_are_drawn_so():
    assert pixels(frame(shown(1)), Fraction(4, 3)).shape == (48, 85, 3)
    assert pixels(frame(shown(1)), Fraction(10**6)).shape == (48, 64, 3)


def test_colours_of_high_definition_are_not_those_of_television_before():
    small, large = (
        pixels(av.VideoFrame.from_ndarray(np.full((height * 3 // 2, 720), 90, np.uint8), format="yuv420p"))[0, 0]
        for height in (480, 720)
    )
    assert small.tolist() != large.tolist()


def test_a_frame_that_is_too_large_is_refused():
    check_size(8192, 4096)
    with pytest.raises(ImageError, match="limit 33 million") as refused:
        check_size(8192, 4097)
    assert refused.value.kind == "too_large"
    assert MAX_PIXELS == 8192 * 4096


def test_when_where_and_with_what_it_was_filmed_is_in_the_file():
    said = {
        "com.apple.quicktime.creationdate": "2023-05-01T14:00:58+0200",
        "creation_time": "2023-05-01T12:00:58.000000Z",
        "com.apple.quicktime.location.ISO6709": "+52.5200-013.4050+034.000/",
        "com.apple.quicktime.make": "Apple",
        "com.apple.quicktime.model": "iPhone 12",
    }
    photo = decode(as_tiff(frame(shown(0)), None, facts(said, 3.4)))
    assert f"{photo.taken_at}" == "2023-05-01 14:01:01"  # local time, to the second before
    assert (photo.latitude, photo.longitude) == (pytest.approx(52.52), pytest.approx(-13.405))
    assert photo.camera == "Apple iPhone 12"


@pytest.mark.parametrize("time", ["1904-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2023-13-01T00:00:00Z", "", "soon"])
def test_a_clock_that_was_never_set_says_nothing(time):
    assert decode(as_tiff(frame(shown(0)), None, facts({"creation_time": time}, 0))).taken_at is None


def test_the_place_of_an_android_is_read():
    photo = decode(as_tiff(frame(shown(0)), None, facts({"location": "-33.8568+151.2153/"}, 0)))
    assert (photo.latitude, photo.longitude) == (pytest.approx(-33.8568), pytest.approx(151.2153))


def test_text_that_no_tag_can_hold_stops_nothing():
    photo = decode(as_tiff(frame(shown(0)), None, facts({"com.android.model": "Ä\0€" * 1000}, 0)))
    assert photo.camera


def pq(light):
    """SMPTE ST 2084: cd/m² → 16 bits."""
    power = (np.asarray(light) / 10000) ** (2610 / 16384)
    return np.round(65535 * ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** (2523 / 32)).astype(np.uint16)


def test_of_pq_the_peak_is_white_paper_white_is_light_and_black_is_black():
    greys = tone_mapped(np.repeat(pq([0, WHITE, PEAK, 10000])[:, None, None], 3, 2), True)[:, 0]
    assert (greys[:, 0] == greys[:, 1]).all()
    assert greys[:, 0].tolist() == [0, pytest.approx(192, abs=2), 255, 255]  # ½ (1 + (203/1000)²) in sRGB is 192


def test_hlg_rises_from_black_to_white_and_greys_stay_grey():
    ramp = np.repeat(np.linspace(0, 65535, 64).astype(np.uint16)[:, None, None], 3, 2)
    greys = tone_mapped(ramp, False)[:, 0].astype(int)
    assert (np.diff(greys[:, 0]) >= 0).all()
    assert (greys[0, 0], greys[-1, 0]) == (0, 255)
    assert np.abs(greys - greys[:, :1]).max() <= 1


def test_a_frame_in_pq_is_tone_mapped():
    image = np.repeat(pq(np.full((48, 64), WHITE))[..., None], 3, 2)
    hdr = av.VideoFrame.from_ndarray(image, format="rgb48le").reformat(format="yuv420p10le", dst_colorspace=9)
    hdr.color_trc = 16
    assert pixels(hdr).mean() == pytest.approx(192, abs=4)
    hdr.color_trc = 1
    assert pixels(hdr).mean() < 170  # as it is coded


def test_a_tiff_of_a_frame_is_one_strip_which_is_read_at_once():
    file = Image.open(BytesIO(as_tiff(frame(shown(1)), None, facts({}, 0))))
    assert len(file.tile) == 1
