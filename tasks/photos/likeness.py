"""How alike two photos look: the correlation of small grey pictures of them, made from their previews.

A perceptual hash finds candidates among a million; this says which of them are the same picture, or the same scene.
The correlation is Pearson's, of the 32×32 grey values: it does not change with brightness and contrast. The small
picture is resampled with a triangle filter from at least twice its size: of 170 photos, resized, squeezed, recompressed
and converted copies are then .994 and more alike. With Pillow's BOX, which the hash has, and the edges that JPEG adds
where a preview is decoded at a fraction of its size, some were .85.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image

from muster.arrays import F32, U8

SIDE = 32
FLAT, SAME_GREY = 2.0, 8.0  # grey levels: up to this deviation a picture is a blank, and blanks are told by their level
SHIFT = 4  # sixteenths of a picture that a camera may have moved between two photos of a scene
BLOCK = 1 << 14  # pairs at once

Greys = np.ndarray[Any, np.dtype[np.uint8]]


def grey(jpeg: bytes, side: int = SIDE) -> U8:
    """(side, side) grey values of a JPEG, squeezed to a square; decoded at the smallest fraction of its size that has
    twice as many.

    Raises ValueError where it is none.
    """
    height, width = simplejpeg.decode_jpeg_header(jpeg)[:2]
    pixels = simplejpeg.decode_jpeg(jpeg, "GRAY", min_height=2 * side, min_width=2 * side)[..., 0]
    scale = next((n / 8 for n in range(1, 17) if _is_of(pixels.shape, height, width, n)), 1.0)
    box = (0, 0, width * scale, height * scale)  # the last column and row may be there in part
    return np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR, box))


def _is_of(shape: tuple[int, ...], height: int, width: int, eighths: int) -> bool:
    return shape == (-(-height * eighths // 8), -(-width * eighths // 8))


def sharpness(jpeg: bytes) -> float:
    """The mean square of the differences between neighbouring pixels, of a JPEG decoded to 256 pixels or more a side.

    To compare photos of one scene by. Raises ValueError where it is none.
    """
    pixels = simplejpeg.decode_jpeg(jpeg, "GRAY", min_height=256, min_width=256)[..., 0].astype(np.float32)
    steps = [np.diff(pixels, axis=axis) for axis in (0, 1) if pixels.shape[axis] > 1]
    return float(sum((step**2).mean() for step in steps))


def upright(greys: Greys, orientation: int) -> Greys:
    """Pictures (N, S, S), turned as EXIF orientation 1..8 asks for (storage.photos.pixels.upright)."""
    if orientation >= 5:
        greys = greys.swapaxes(1, 2)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return greys[:, ::rows, ::columns]


def likeness(one: Greys, other: Greys) -> F32:
    """(N,): the correlation -1..1 of each of pictures (N, S, S) with that of the others.

    Of two blanks it is 1 where they are of one grey, else 0, and so it is of a blank and a picture.
    """
    parts = [_likeness(one[at : at + BLOCK], other[at : at + BLOCK]) for at in range(0, len(one), BLOCK)]
    return np.concatenate([np.empty(0, np.float32), *parts])


def _likeness(one: Greys, other: Greys) -> F32:
    left, right = (each.reshape(len(each), -1).astype(np.float32) for each in (one, other))
    means = [each.mean(1) for each in (left, right)]
    blanks = [each.std(1) <= FLAT for each in (left, right)]
    same_blank = blanks[0] & blanks[1] & (abs(means[0] - means[1]) <= SAME_GREY)
    correlation = _correlation(left, right)
    return np.where(blanks[0] | blanks[1], same_blank, correlation).astype(np.float32)


def _correlation(left: F32, right: F32) -> F32:
    """(N,): Pearson's, of the rows of (N, D)."""
    left, right = (each - each.mean(1, keepdims=True) for each in (left, right))
    length = np.sqrt(np.einsum("ij,ij->i", left, left) * np.einsum("ij,ij->i", right, right))
    return np.einsum("ij,ij->i", left, right) / np.maximum(length, 1e-6)


def scene_likeness(one: Greys, other: Greys) -> F32:
    """(N,): the best correlation of pictures (N, 32, 32) with others, moved against each other by up to a quarter.

    What both show is compared, at half the size: in 16×16, by up to `SHIFT` either way.
    """
    parts = [_moved(one[at : at + BLOCK], other[at : at + BLOCK]) for at in range(0, len(one), BLOCK)]
    return np.concatenate([np.empty(0, np.float32), *parts])


def _moved(one: Greys, other: Greys) -> F32:
    left, right = (
        each.reshape(len(each), SIDE // 2, 2, SIDE // 2, 2).mean((2, 4), dtype=np.float32) for each in (one, other)
    )
    best = np.full(len(one), -1, np.float32)
    for down, across in _shifts():
        cut = [_overlap(left, down, across), _overlap(right, -down, -across)]
        flat = [each.reshape(len(each), -1) for each in cut]
        best = np.maximum(best, _correlation(flat[0], flat[1]))
    return best


def _shifts() -> Iterable[tuple[int, int]]:
    steps = range(-SHIFT, SHIFT + 1)
    return ((down, across) for down in steps for across in steps)


def _overlap(pictures: F32, down: int, across: int) -> F32:
    rows, columns = pictures.shape[1:]
    return pictures[:, max(0, down) : rows + min(0, down), max(0, across) : columns + min(0, across)]
