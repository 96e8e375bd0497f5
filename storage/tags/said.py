"""What a file says of a photo, as it is written: places not worked out yet, and each file by itself."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from math import isfinite
from typing import Any

from muster.storage.texts import normal

LONGEST, LONGEST_TEXT = 1000, 10_000  # letters of a name or word, and of a description
MANY = 1000  # names, words or regions of a file; a crowd of more is read as far
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_LINES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Area:
    """A region as it is written. `box`: x0, y0, x1, y1 as parts of the picture, x to the right, y down, or None where
    there is none, or one of no size; in pixels where `pixels`. `applied_to`: width and height of the picture that it
    was drawn in."""

    origin: str
    name: str | None
    type: str
    box: Box | None
    pixels: bool = False
    applied_to: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Said:
    """Everything that is said; empty or None where nothing is. `position`: latitude and longitude, degrees."""

    areas: Sequence[Area] = ()
    keywords: Sequence[str] = ()
    people: Sequence[str] = ()
    title: str | None = None
    description: str | None = None
    taken_at: datetime | None = None
    position: tuple[float, float] | None = None
    rating: int | None = None
    favourite: bool = False
    remarks: Sequence[str] = ()

    def __bool__(self) -> bool:
        return self != _NOTHING


_NOTHING = Said()


def merged(said: Iterable[Said]) -> Said:
    """Of each fact what the first says that says something; all remarks."""
    several = list(said)
    facts: dict[str, Any] = {}
    for name in (field.name for field in fields(Said)):
        values = (getattr(each, name) for each in several)
        facts[name] = next(filter(None, values), getattr(_NOTHING, name))
    facts["remarks"] = tuple(dict.fromkeys(remark for each in several for remark in each.remarks))
    return Said(**facts)


def name_of(text: object) -> str | None:
    """A name or word: in NFC, on one line, without control characters, cut after LONGEST letters; None for nothing."""
    if not isinstance(text, str):
        return None
    return " ".join(normal(_CONTROL.sub(" ", text[: 4 * LONGEST])).split())[:LONGEST].strip() or None


def text_of(text: object) -> str | None:
    """The same of a text that may have several lines."""
    if not isinstance(text, str):
        return None
    lines = _LINES.sub(" ", text[: 4 * LONGEST_TEXT].replace("\r\n", "\n").replace("\r", "\n"))
    return normal(lines).strip()[:LONGEST_TEXT].strip() or None


def names_of(texts: Iterable[object]) -> tuple[str, ...]:
    """Each once, whatever its case; at most MANY."""
    found: dict[str, str] = {}
    for text in texts:
        if (name := name_of(text)) is not None:
            found.setdefault(name.casefold(), name)
            if len(found) == MANY:
                break
    return tuple(found.values())


def position_of(latitude: float | None, longitude: float | None) -> tuple[float, float] | None:
    """None where they are no place on earth, or 0, 0: which is what programs write that know none."""
    if latitude is None or longitude is None or latitude == longitude == 0:
        return None
    valid = isfinite(latitude) and isfinite(longitude) and abs(latitude) <= 90 and abs(longitude) <= 180
    return (latitude, longitude) if valid else None
