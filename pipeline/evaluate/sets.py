"""Pairs of sets of photos, as YouTube Faces lists its videos: `split, first, second, same` on each line.

A set is a video, by the name of its file with or without its suffix, or a folder of its frames, by its last two names
(`Woody_Allen/3`). Source: splits.txt of Wolf, Hassner, Maoz, Face recognition in unconstrained videos with matched
background similarity, CVPR 2011.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from muster.arrays import I64, Bools
from muster.errors import InputError
from muster.pipeline.evaluate.common import file_names
from muster.storage.texts import file_name, normal
from muster.storage.uris import container_of, path_of, split_inside

COLUMNS = 4


class Pairs(NamedTuple):
    """`a`, `b`: (P,), numbers of sets. `same`: (P,), whether they are of one person. `folds`: (P,). `sets`: of each
    set the rows of its images."""

    a: I64
    b: I64
    same: Bools
    folds: I64
    sets: Sequence[Sequence[int]]


def is_list_of_sets(text: str) -> bool:
    """Whether a pairs file has this layout: LFW's has no commas."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    return first.count(",") >= COLUMNS - 1


def pairs_of(path: Path, text: str, images: pa.Table) -> Pairs:
    """Raises InputError where a line is no pair, or a set is not among `images`. The first may be names of columns."""
    named, number, rows = sets_of(images), dict[str, int](), list[tuple[int, int, bool, int]]()
    for line, cells in enumerate(map(_cells, text.splitlines()), 1):
        if not any(cells) or (not rows and not cells[0].isdigit()):
            continue
        try:
            fold, one, other, same = int(cells[0]), cells[1], cells[2], int(cells[3])
        except (ValueError, IndexError):
            raise InputError(f"`pairs` {path}, line {line}: expected `split, first, second, same`") from None
        for name in (one, other):
            if name not in named:
                raise InputError(f"`pairs` {path}, line {line}: set {name!r} is not among `images`")
        first, second = (number.setdefault(name, len(number)) for name in (one, other))
        rows.append((first, second, bool(same), fold))
    if not rows:
        raise InputError(f"`pairs` {path}: no line `split, first, second, same`")
    a, b, alike, folds = (np.array(column) for column in zip(*rows, strict=True))
    return Pairs(a, b, alike, np.unique(folds, return_inverse=True)[1].reshape(-1), [named[name] for name in number])


def _cells(line: str) -> list[str]:
    return [normal(cell.strip().replace("\\", "/")) for cell in line.split(",")]


def sets_of(images: pa.Table) -> dict[str, list[int]]:
    """The names of sets → the rows of their images."""
    found: dict[str, list[int]] = defaultdict(list)
    for row, (uri, name) in enumerate(zip(images["uri"].to_pylist(), file_names(images), strict=True)):
        for each in _names(uri, name):
            found[each].append(row)
    return found


def _names(uri: str, name: str) -> set[str]:
    inside = split_inside(uri)
    if inside is not None and inside.kind == "t":
        file = file_name(path_of(container_of(uri)))
        return {file, PurePosixPath(file).stem}
    parts = PurePosixPath(normal(path_of(name).replace("\\", "/"))).parts
    return {"/".join(parts[-3:-1])} if len(parts) > 2 else set()
