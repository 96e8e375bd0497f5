"""Photoshop documents, written section by section."""

import struct

import numpy as np
import pytest
from PIL import Image

from muster.errors import ImageError
from muster.storage.photos.decode import decode


def psd(
    pixels: np.ndarray, *, resources: dict[int, bytes] | None = None, layers: int = 0, bits: int = 8, version: int = 1
) -> bytes:
    """`pixels`: (H, W, channels) uint8; three or four are RGB. `layers`: as their number is written."""
    height, width, channels = pixels.shape
    mode = 3 if channels >= 3 else 1
    head = b"8BPS" + struct.pack(">H6xHIIHH", version, channels, height, width, bits, mode)
    inner = b"".join(
        b"8BIM" + struct.pack(">HHI", number, 0, len(content)) + content + b"\0" * (len(content) % 2)
        for number, content in (resources or {}).items()
    )
    layer = struct.pack(">Ih", 2, layers) if layers else b""
    content = pixels.transpose(2, 0, 1).tobytes()
    return head + bytes(4) + _with_length(inner) + _with_length(layer) + b"\0\0" + content


def _with_length(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


PIXELS = np.random.default_rng(0).integers(0, 255, (20, 30, 4), dtype=np.uint8)


def failure(data: bytes) -> ImageError:
    with pytest.raises(ImageError) as caught:
        decode(data)
    return caught.value


def test_the_composite() -> None:
    for channels in (1, 3):
        photo = decode(psd(PIXELS[..., :channels]))
        assert (photo.size, photo.format) == ((30, 20), "psd")
        assert (photo.pixels == PIXELS[..., :channels]).all()


def test_transparency_is_over_white_and_a_saved_selection_is_none() -> None:
    assert (decode(psd(PIXELS, layers=1)).pixels == PIXELS[..., :3]).all()
    assert (decode(psd(PIXELS)).pixels == PIXELS[..., :3]).all()
    over_white = np.asarray(Image.new("RGB", (30, 20), "white")).copy()
    image = Image.fromarray(PIXELS)
    white = Image.fromarray(over_white)
    white.paste(image.convert("RGB"), mask=image.getchannel("A"))
    assert (decode(psd(PIXELS, layers=-1)).pixels == np.asarray(white)).all()


def test_the_camera_is_in_its_resources() -> None:
    exif = Image.Exif()
    exif[272], exif[274] = "EOS 6D", 6
    photo = decode(psd(PIXELS[..., :3], resources={1058: exif.tobytes().removeprefix(b"Exif\0\0")}))
    assert (photo.camera, photo.orientation, photo.size) == ("EOS 6D", 6, (20, 30))


def test_what_is_not_read() -> None:
    layers_only = psd(PIXELS, resources={1057: b"\0\0\0\1\0" + bytes(9)})
    assert (failure(layers_only).kind, "export it as JPEG" in str(failure(layers_only))) == ("unsupported", True)
    assert decode(psd(PIXELS, resources={1057: b"\0\0\0\1\1" + bytes(9)})).size == (30, 20)
    assert failure(psd(PIXELS, bits=16)).kind == "unsupported"
    assert failure(psd(PIXELS, version=2)).kind == "unsupported"
    assert failure(psd(PIXELS)[:-100]).kind == "truncated"
    assert failure(psd(PIXELS)[:40]).kind in ("corrupt", "truncated")
