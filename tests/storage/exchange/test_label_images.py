from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muster.errors import InputError
from muster.storage.exchange.label_images import read_label_image


def test_values_are_read_as_they_stand(tmp_path: Path) -> None:
    values = np.array([[0, 15, 255]], np.uint8)
    grey = Image.fromarray(values)
    grey.save(tmp_path / "grey.png")
    palette = grey.copy()
    palette.putpalette(list(range(255, -1, -1)) * 3)
    palette.save(tmp_path / "palette.png")
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bits.png")
    assert read_label_image(tmp_path / "grey.png").tolist() == values.tolist()
    assert read_label_image(tmp_path / "palette.png").tolist() == values.tolist()
    bits = read_label_image(tmp_path / "bits.png")
    assert (bits.dtype, bits.tolist()) == (np.uint8, [[1, 0]])


def test_what_is_no_label_image(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "photo.png")
    (tmp_path / "text.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    with pytest.raises(InputError, match=r"photo\.png: an image of mode RGB; labels are grey or palette"):
        read_label_image(tmp_path / "photo.png")
    with pytest.raises(InputError, match=r"text\.png: not an image that can be read"):
        read_label_image(tmp_path / "text.png")
    with pytest.raises(InputError, match=r"none\.png: not an image that can be read"):
        read_label_image(tmp_path / "none.png")
