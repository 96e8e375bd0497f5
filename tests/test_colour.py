from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, _imagingcms

from helpers.profiles import ADOBE, WIDE
from muster import colour
from muster.arrays import Pixels
from muster.colour import in_srgb

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(seed: int = 0) -> Pixels:
    """Of colours that every one of the spaces has."""
    return np.random.default_rng(seed).integers(60, 200, (24, 32, 3), dtype=np.uint8)


def seen_with(profile: bytes, pixels: Pixels) -> Pixels:
    """The numbers that mean these sRGB colours in another space."""
    target = ImageCms.ImageCmsProfile(_imagingcms.profile_frombytes(profile))
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), target, "RGB", "RGB")
    return np.asarray(transform.apply(Image.fromarray(pixels)))


@pytest.mark.parametrize("name", WIDE)
def test_wide_colours_come_back(name: str) -> None:
    original = picture()
    stored = seen_with(WIDE[name], original)
    assert np.abs(stored.astype(int) - original).mean() > 4
    assert np.abs(in_srgb(stored, WIDE[name]).astype(int) - original).mean() < 1


@pytest.mark.parametrize("profile", [
    None, SRGB, b"", b"no profile", ADOBE[:200], ADOBE[:-100],
    b"\0" * (colour.MAX_PROFILE + 1), ADOBE + b"\0" * colour.MAX_PROFILE,
    ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(),
    ADOBE.replace(b"mntrRGB ", b"mntrGRAY"), ADOBE.replace(b"mntrRGB ", b"prtrCMYK"),
])  # fmt: skip
def test_pictures_that_stay_as_they_are(profile: bytes | None) -> None:
    pixels = picture()
    assert in_srgb(pixels, profile) is pixels


@given(st.integers(0, len(ADOBE)), st.binary(max_size=40))
@settings(max_examples=100, deadline=None)
def test_no_profile_is_an_error(at: int, noise: bytes) -> None:
    pixels = picture()
    assert in_srgb(pixels, ADOBE[:at] + noise + ADOBE[at + len(noise) :]).shape == pixels.shape


def test_threads_get_what_one_gets() -> None:
    work = [(picture(i), list(WIDE.values())[i % 3]) for i in range(60)]
    alone = [in_srgb(*each) for each in work]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: in_srgb(*each), work))
    assert all((one == other).all() for one, other in zip(alone, together, strict=True))


def test_a_profile_is_understood_once() -> None:
    colour._transform.cache_clear()
    for i in range(5):
        in_srgb(picture(i), bytes(bytearray(ADOBE)))
    assert colour._transform.cache_info().misses == 1
