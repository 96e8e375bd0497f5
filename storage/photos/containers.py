"""What a kind of file that holds images is: how its items are listed, and how one is read."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from muster.storage.photos.listing import File
from muster.storage.photos.wishes import Wishes


@dataclass
class Items:
    """What such a file holds. `rows`: uri, size, modified and columns of the user. `left_out`: kind → folders and
    images in it, as muster.storage.photos.left_out has them. `skipped`: suffix → what is no image in it."""

    rows: pa.Table
    left_out: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


class Opened(Protocol):
    """Threads may share one, but where its items are read in order."""

    def read(self, key: str) -> bytes:
        """The bytes of an image file. Raises ImageError, or UnreachableError where its bucket does not answer."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Container:
    """`suffixes`: of its files, in small letters, with their dots. `list`: of such a file; raises InputError naming it
    where it cannot be read at all. `open`: by its URI; raises OSError, pyarrow.ArrowException or UnreachableError.
    `beside_photos`: whether those in a folder count where it holds photos too, as videos do and archives do not.
    `in_order`: whether going back costs, so that one thread reads a shard's items, one after the other.
    """

    suffixes: tuple[str, ...]
    list: Callable[[File, Wishes], Items]
    open: Callable[[str], Opened]
    beside_photos: bool = False
    in_order: bool = False
