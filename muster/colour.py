"""Pictures for people, in sRGB: what every browser takes a JPEG without a profile for."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms, _imagingcms

from muster.arrays import Pixels

MAX_PROFILE = 1 << 20  # bytes; photos carry some hundred, and images wait for their tasks with theirs in memory
UNSEEN = 3  # levels: a profile that moves no colour of the grid by more is sRGB, of whichever maker
_SRGB = ImageCms.createProfile("sRGB")
_GRID = np.stack(np.meshgrid(*[np.linspace(0, 255, 9)] * 3), axis=-1).astype(np.uint8).reshape(27, 27, 3)


def in_srgb(pixels: Pixels, profile: bytes | None) -> Pixels:
    """uint8 RGB (H, W, 3) in the colours of an ICC profile → the same picture in sRGB.

    Itself without a profile, and where the profile is sRGB, of another kind than RGB, or broken. Safe in threads.
    """
    transform = None if profile is None or len(profile) > MAX_PROFILE else _transform(profile)
    return pixels if transform is None else np.asarray(transform.apply(Image.fromarray(pixels)))


@lru_cache(maxsize=32)
def _transform(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(_imagingcms.profile_frombytes(profile))
        # Without a cache of the last pixel, which threads would share.
        found = ImageCms.buildTransform(source, _SRGB, "RGB", "RGB", flags=ImageCms.Flags.NOCACHE)
        moved = np.asarray(found.apply(Image.fromarray(_GRID))).astype(int) - _GRID
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return found if np.abs(moved).max() > UNSEEN else None
