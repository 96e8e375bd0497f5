"""Label images: PNGs whose value at each pixel says what is there, beside photos of the same names."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from muster.arrays import U8
from muster.errors import InputError
from muster.storage.files import open_regular


def read_label_image(file: Path) -> U8:
    """(H, W): grey or palette values as they are; InputError where the file is no such image."""
    try:
        with warnings.catch_warnings(), open_regular(file) as data, Image.open(data) as image:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            mode, pixels = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"`labels` {file}: not an image that can be read: {error}") from None
    if mode not in ("1", "L", "P"):
        raise InputError(f"`labels` {file}: an image of mode {mode}; labels are grey or palette values of 8 bits")
    return pixels.astype(np.uint8)
