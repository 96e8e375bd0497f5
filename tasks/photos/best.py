"""Which of several copies of one picture is the one to keep, and why. A proposal: nothing is ever deleted."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

T = TypeVar("T")

ALIKE = 0.98  # pixels of the largest from which on a copy is as large: edges are cut where JPEGs are turned
FORMATS = {"heic": 0, "tiff": 0, "jpeg": 1, "png": 2}  # what cameras and scanners write before what is made of it
CLEAR = 0.95  # of the clearest faces from which on others are as clear
EQUAL = "as good as the others"
LOWER = 3  # webp, gif, …
PASSING = re.compile(
    r"(?i)(^|[\\/])\.?(downloads?|t[ée]l[ée]chargements|descargas|whatsapp[^\\/]*|telegram[^\\/]*|messenger|received"
    r"|sent|te?mp|cache|thumb(nail)?s|trash[^\\/]*|[^\\/]*recycle[^\\/]*)[\\/]"
)
CHANGED = re.compile(
    r"(?i)([-_ ](edited|edit|bearbeitet|modifié|modificato|editado|copy|kopie|copie|small|resized|thumb(nail)?)\b"
    r"|\(\d+\)|\bcopy of\b|\bkopie von\b|[\\/]img_e\d+)[^\\/]*$"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """What is known of one file. `pixels`: its width times height. `facts`: how many of date, camera and place it
    says. `size`: in bytes; `modified`: when its file was; both None where that is not known."""

    image_id: str
    uri: str
    pixels: int
    format: str
    facts: int
    size: int | None
    modified: datetime | None


def best(copies: Sequence[Copy]) -> tuple[Copy, str]:
    """The copy to keep, and what it is ahead of others by, in words: "largest, with date, camera or place".

    Each criterion leaves some of those that the ones before it left; those that left out any are the reason. The order
    of the copies does not count.
    """
    left, reasons = list(copies), list[str]()
    for reason, keep in CRITERIA:
        if len(kept := keep(left)) < len(left):
            left = kept
            reasons.append(reason)
    return min(left, key=lambda copy: (copy.uri, copy.image_id)), ", ".join(reasons) or EQUAL


def _largest(copies: Sequence[Copy]) -> list[Copy]:
    most = max(copy.pixels for copy in copies)
    return [copy for copy in copies if copy.pixels >= ALIKE * most]


def _greatest(items: Sequence[T], key: Callable[[T], float]) -> list[T]:
    keys = [key(item) for item in items]
    return [item for item, each in zip(items, keys, strict=True) if each == max(keys)]


def _by(key: Callable[[Copy], float]) -> Callable[[Sequence[Copy]], list[Copy]]:
    return lambda copies: _greatest(copies, key)


CRITERIA: tuple[tuple[str, Callable[[Sequence[Copy]], list[Copy]]], ...] = (
    ("largest", _largest),
    ("in a camera's format", _by(lambda copy: -FORMATS.get(copy.format, LOWER))),
    ("with date, camera or place", _by(lambda copy: copy.facts)),
    ("not named as a copy or edit", _by(lambda copy: CHANGED.search(copy.uri) is None)),
    ("in no folder of downloads", _by(lambda copy: PASSING.search(copy.uri) is None)),
    ("least compressed", _by(lambda copy: copy.size or 0)),
    ("oldest file", _by(lambda copy: -copy.modified.timestamp() if copy.modified else float("-inf"))),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One photo of a moment. `faces`: the sum of the qualities of its faces. `sharpness`: as
    muster.tasks.photos.likeness has it; 0 where it is not known."""

    image_id: str
    uri: str
    faces: float
    sharpness: float


def best_shot(shots: Sequence[Shot]) -> tuple[Shot, str]:
    """The photo of a moment to show first, and why, as `best` has it. Faces in view and in focus count before the
    scenery: of those whose faces are as clear, it is the sharpest."""
    left, reasons = list(shots), list[str]()
    clear = CLEAR * max(shot.faces for shot in shots)
    for reason, key in (
        ("not named as a copy or edit", lambda shot: CHANGED.search(shot.uri) is None),
        ("clearest faces", lambda shot: shot.faces >= clear),
        ("sharpest", lambda shot: shot.sharpness),
    ):
        if len(kept := _greatest(left, key)) < len(left):
            left = kept
            reasons.append(reason)
    return min(left, key=lambda shot: (shot.uri, shot.image_id)), ", ".join(reasons) or EQUAL
