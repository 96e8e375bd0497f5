"""An index from texts to photos: which groups of photos a text names, such as a person's, a place's or a folder's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from muster.arrays import I64, Bools
from muster.storage.search.words import folded, parts

Part = Literal["no", "else", "also"]
I32 = np.ndarray[tuple[int, ...], np.dtype[np.int32]]


@dataclass(frozen=True)
class Field:
    """`name`: of the field, as it is typed. `values`: what each group is, in words. `rows`, `starts`: group g holds the
    photos rows[starts[g]:starts[g + 1]]. `whole`, `part`: folded text → the groups that are called so, or whose names
    have it among their words."""

    name: str
    values: Sequence[str]
    rows: I32
    starts: I64
    whole: Mapping[str, tuple[int, ...]]
    part: Mapping[str, tuple[int, ...]]

    def find(self, text: str) -> tuple[int, ...]:
        """The groups of a folded text. Where some are called so, those that have it as a part are not meant."""
        return self.whole.get(text) or self.part.get(text, ())

    def mark(self, groups: Iterable[int], photos: Bools) -> None:
        """Set `photos` (N,) true where one of these groups has them."""
        for group in groups:
            photos[self.rows[self.starts[group] : self.starts[group + 1]]] = True

    @property
    def known(self) -> Iterable[str]:
        """Texts by which photos are found."""
        return (*self.whole, *(text for text in self.part if " " not in text))


def field_of(
    name: str,
    values: Sequence[str],
    pairs: tuple[I64, I64],
    names: Sequence[Iterable[str]] = (),
    part: Part = "no",
) -> Field:
    """`pairs`: rows and groups, of equal length; negative groups count for nothing. `names`: what each of `values` is
    called, the value itself where empty. `part`: whether a group is found by some words of its names: not at all, where
    none is called so, or in any case."""
    rows, groups = pairs
    rows, groups = rows[groups >= 0], groups[groups >= 0]
    order = np.argsort(groups, kind="stable")
    starts = np.searchsorted(groups[order], np.arange(len(values) + 1))
    whole: dict[str, dict[int, None]] = {}
    partly: dict[str, dict[int, None]] = {}
    for group, texts in enumerate(names or [[value] for value in values]):
        for text in filter(None, map(folded, texts)):
            (partly if part == "also" else whole).setdefault(text, {})[group] = None
            if part != "no":
                for some in parts(text.split()):
                    partly.setdefault(some, {})[group] = None
    return Field(name, values, rows[order].astype(np.int32), starts, _fixed(whole), _fixed(partly))


def _fixed(groups: Mapping[str, Iterable[int]]) -> dict[str, tuple[int, ...]]:
    return {text: tuple(each) for text, each in groups.items()}
