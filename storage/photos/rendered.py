"""What a file of another format holds of a picture, for `muster.storage.photos.decode` to make a photo of; limits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from PIL import Image

from muster.arrays import Pixels
from muster.errors import ImageError

MAX_MEMORY = 1200 << 20  # bytes held while one image is decoded, estimated from its header before anything is allocated
LARGE = 256 << 20  # images that need more bytes than this are decoded one at a time, whatever the number of threads
_one_large = threading.Lock()
_most_pixels: ContextVar[float] = ContextVar("most_pixels", default=float("inf"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """`picture`: bytes of a JPEG, or (H, W, 3) uint8 RGB. `orientation`: EXIF 1..8, still to be applied; None: as the
    JPEG itself says. `stored`: how what the file has stored is turned, where that is something else. `size`: (width,
    height) of the full upright image; None: that of the picture. `exif`: what the camera wrote; without any, the JPEG's
    own counts. `profile`: ICC, of pixels; a JPEG has its own."""

    picture: bytes | Pixels
    orientation: int | None = None
    stored: int | None = None
    size: tuple[int, int] | None = None
    exif: Image.Exif = field(default_factory=Image.Exif)
    profile: bytes | None = None


@contextmanager
def pixels_at_most(count: int) -> Iterator[None]:
    """What this thread decodes meanwhile has no more pixels, or is too large."""
    token = _most_pixels.set(count)
    try:
        yield
    finally:
        _most_pixels.reset(token)


@contextmanager
def memory(size: tuple[int, int], need: int) -> Iterator[None]:
    """To decode an image of this size in, which takes at most `need` bytes. ImageError where that is too much."""
    most = _most_pixels.get()
    if need > MAX_MEMORY or size[0] * size[1] > most:
        text = f"{size[0]}×{size[1]} pixels need {need >> 20} MiB to decode (limit {MAX_MEMORY >> 20})"
        if size[0] * size[1] > most:
            text = f"{size[0]}×{size[1]} pixels are too many (limit {most / 1e6:g} million): make it smaller"
        error = ImageError("too_large", text)
        error.size = size
        raise error
    if need <= LARGE:
        yield
        return
    with _one_large:
        yield
