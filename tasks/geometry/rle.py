"""Masks as run lengths, down the columns: COCO's compressed form, which pycocotools writes and reads."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from pycocotools import mask as coco

from muster.arrays import I64, U8

Rle = Mapping[str, Any]  # {"size": [height, width], "counts": str}, as in COCO's annotation files


def encode(mask: np.ndarray[Any, Any]) -> Rle:
    """(H, W) bool or uint8, set where it is not 0."""
    return _text(coco.encode(np.asfortranarray(mask != 0, np.uint8)))


def decode(rle: Rle) -> U8:
    """(H, W) uint8, 0 and 1, in Fortran order.

    Not by pycocotools, whose decode warns of a deprecation under NumPy 2.
    """
    lengths = _lengths(rle["counts"])
    flat = np.repeat(np.arange(len(lengths), dtype=np.uint8) & 1, lengths)
    return flat.reshape(rle["size"], order="F")


def _lengths(counts: str) -> I64:
    """The lengths of runs, clear and set in turn, from their compressed form (rleFrString in pycocotools' maskApi.c).

    A number is little-endian groups of 5 bits from "0" on, 32 added where another group follows, the last one signed.
    From the fourth on it is the difference to the number two before.
    """
    group = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((group & 32) == 0) + 1
    sizes = np.diff(ends, prepend=0)
    shift = 5 * _ranges(np.zeros_like(sizes), sizes)
    lengths = np.add.reduceat((group & 31) << shift, ends - sizes)
    lengths -= np.where(group[ends - 1] & 16, 1 << 5 * sizes, 0)
    for turn in (1, 2):
        lengths[turn::2] = np.cumsum(lengths[turn::2])
    return lengths


def area(rle: Rle) -> int:
    """Pixels that are set."""
    return int(coco.area(rle))


def box(rle: Rle) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1: the smallest box that holds all pixels set, in pixels of the mask; zeros where none is."""
    x, y, width, height = coco.toBbox(rle).tolist()
    return x, y, x + width, y + height


def resized(rle: Rle, height: int, width: int) -> Rle:
    """The mask at another size: each pixel that of the old one under its centre. No (height, width) array is made."""
    h, w = rle["size"]
    if (h, w) == (height, width):
        return rle
    columns = np.diff(decode(rle).T.astype(np.int8), axis=1, prepend=0, append=0)  # (w, h + 1)
    column, starts = np.nonzero(columns == 1)
    ends = np.nonzero(columns == -1)[1]
    starts, ends = _first(starts, h, height), _first(ends, h, height)
    left = starts < ends
    each = np.bincount(column[left], minlength=w)  # runs of each old column
    old = (2 * np.arange(width) + 1) * w // (2 * width)  # column under each new one
    runs = _ranges(np.cumsum(each)[old] - each[old], each[old])
    offset = np.repeat(np.arange(width), each[old]) * height
    edges = np.stack([starts[left][runs] + offset, ends[left][runs] + offset], 1).ravel()
    return _from_edges(edges, height, width)


def _first(position: I64, old: int, new: int) -> I64:
    """The first of `new` pixels whose centre lies at or beyond `position` in `old`."""
    return -((old - 2 * position * new) // (2 * old))


def _ranges(first: I64, count: I64) -> I64:
    """first[0], first[0] + 1, … (count[0] of them), first[1], …"""
    total = np.cumsum(count)
    return np.arange(total[-1]) + np.repeat(first - total + count, count)


def _from_edges(edges: I64, height: int, width: int) -> Rle:
    """`edges`: where runs begin and end, down the columns, ascending; a run may begin where another ends."""
    same = np.flatnonzero(edges[1:] == edges[:-1])
    edges = np.delete(edges, np.concatenate([same, same + 1]))
    counts = np.diff(edges, prepend=0, append=height * width).tolist()
    counts = counts if counts[-1] else counts[:-1]
    return _text(coco.frPyObjects({"size": [height, width], "counts": counts}, height, width))


def _text(rle: dict[str, Any]) -> Rle:
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
