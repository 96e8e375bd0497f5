"""Label images: PNGs whose value at each pixel says what is there, beside photos of the same names."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from storage.errors import InputError

Labels = npt.NDArray[np.uint8]


def find_label_images(folder: Path) -> dict[str, Path]:
    """Name without extension → file, of every PNG in the folder; InputError where there is none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of label images")
    found = {path.stem: path for path in sorted(folder.glob("*.png"))}
    if not found:
        raise InputError(f"{folder} holds no label images (PNG files)")
    return found


def read_label_image(path: Path) -> Labels:
    """(H, W) uint8: grey values or indices of a palette, as they are stored; InputError where it is no such file."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.mode not in ("L", "P", "1"):
                raise InputError(f"{path} is no label image: its pixels are {image.mode}, not grey values or a palette")
            labels = np.array(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a label image: {error}") from None
    return labels.astype(np.uint8) * (255 if labels.dtype == bool else 1)
