"""What photos may be narrowed down to on a page, and how the page tells its script which of them shows what."""

import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial

from muster.web.album import Photo

Labels = Mapping[str, Set[str]]  # image_id → what the photo shows, in words; no key where nothing is known


MARKS = string.ascii_letters  # of the most frequent labels: one byte each; the rest take those from À on


@dataclass(frozen=True)
class Chip:
    """`mark`: the character that stands for `words` on the page. `count`: of the photos that show it."""

    words: str
    mark: str
    count: int


@dataclass(frozen=True)
class Filters:
    """`chips`: most frequent first. `photos`: what all photos show that the chips count; `pages`: what those of each
    page show. `encode`: what these photos show. All as `_encode` has it."""

    chips: Sequence[Chip]
    photos: str
    pages: Sequence[str]
    encode: Callable[[Iterable[Photo]], str]


def filters_of(pages: Sequence[Sequence[Photo]], labels: Labels) -> Filters:
    """Of photos spread over pages; one that is on several counts once."""
    photos = list({photo.image_id: photo for page in pages for photo in page}.values())
    counts = Counter(words for photo in photos for words in labels.get(photo.image_id, ()))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    chips = [Chip(words, _mark(number), count) for number, (words, count) in enumerate(ordered)]
    encode = partial(_encode, labels=labels, marks={chip.words: chip.mark for chip in chips})
    return Filters(chips, encode(photos), [encode(page) for page in pages], encode)


def _mark(number: int) -> str:
    return MARKS[number] if number < len(MARKS) else chr(ord("À") + number - len(MARKS))


def _encode(photos: Iterable[Photo], labels: Labels, marks: Mapping[str, str]) -> str:
    """`AD5 C` = five photos show what the chips A and D say, one what C says; those that show nothing are left out.

    Short, because a page holds it for each of 200 people.
    """
    shown = Counter(
        "".join(sorted(marks[words] for words in labels[photo.image_id]))
        for photo in photos
        if labels.get(photo.image_id)
    )
    return " ".join(f"{each}{count}" if count > 1 else each for each, count in sorted(shown.items()))
