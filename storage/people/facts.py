"""What a user says of people and photos: facts, as they stand in a ledger (storage/people/ledger.py).

A fact names a face by content, the SHA-256 of its file and its box, and never by an id that another model or folder
changes. A person is named by a `person_id` of 12 hex digits: that of the cluster which the person was made from.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from typing import Any, Union, get_args
from unicodedata import category

from muster.errors import InputError
from muster.storage.texts import normal

PERSON = re.compile(r"[0-9a-f]{12}")
MOST_LETTERS = 200  # of a name
JOINERS = "\u200c\u200d"  # within words of Persian, and in emoji
FAR = 1e7  # pixels: no photo has as many in a row
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class PhotoRef:
    """A photo by its content. `size`: width and height, full and upright. `phash` and `name` (of its file) find it
    again where a program has written into the file since; None and "": not known."""

    sha256: str
    size: tuple[int, int] = (0, 0)
    phash: int | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class FaceRef:
    """A face by its content. `box`: [x0, y0, x1, y1], in pixels of the full-size upright photo."""

    photo: PhotoRef
    box: Box


@dataclass(frozen=True, slots=True)
class Is:
    """These faces are this person."""

    person: str
    faces: tuple[FaceRef, ...]


@dataclass(frozen=True, slots=True)
class IsNot:
    """None of these faces is this person."""

    person: str
    faces: tuple[FaceRef, ...]


@dataclass(frozen=True, slots=True)
class Shows:
    """The cluster that has most of these faces is this person; of each by itself nothing is said. Best first: the
    first few are taken for the person's own."""

    person: str
    faces: tuple[FaceRef, ...]


@dataclass(frozen=True, slots=True)
class Same:
    """`other` is `person`, and goes by that person's id and name from now on."""

    person: str
    other: str


@dataclass(frozen=True, slots=True)
class Different:
    """These are two people."""

    person: str
    other: str


@dataclass(frozen=True, slots=True)
class Named:
    """The person is called so; "": has no name any more."""

    person: str
    name: str


@dataclass(frozen=True, slots=True)
class Hidden:
    """Pages do not show the person. Taken back where they are to again."""

    person: str


@dataclass(frozen=True, slots=True)
class Cover:
    """This face stands for the person."""

    person: str
    face: FaceRef


@dataclass(frozen=True, slots=True)
class Born:
    """`date`: 1990, 1990-05 or 1990-05-31; "": not known."""

    person: str
    date: str


@dataclass(frozen=True, slots=True)
class Missed:
    """Here is a face that no model has found."""

    face: FaceRef


@dataclass(frozen=True, slots=True)
class Favourite:
    """Taken back where the photo is none any more."""

    photo: PhotoRef


@dataclass(frozen=True, slots=True)
class TakeBack:
    """What an edit says counts no more: of these faces, or, where `faces` is empty, all of it. What takes back may be
    taken back."""

    edit: str
    faces: tuple[FaceRef, ...] = ()


Fact = Union[Is, IsNot, Shows, Same, Different, Named, Hidden, Cover, Born, Missed, Favourite, TakeBack]  # noqa: UP007
_KINDS: Mapping[str, Callable[..., Fact]] = {
    "is": Is,
    "is_not": IsNot,
    "shows": Shows,
    "same": Same,
    "different": Different,
    "named": Named,
    "hidden": Hidden,
    "cover": Cover,
    "born": Born,
    "missed": Missed,
    "favourite": Favourite,
    "take_back": TakeBack,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
assert set(_NAMES) == set(get_args(Fact))


def kind_of(fact: Fact) -> str:
    """Such as "is_not"."""
    return _NAMES[type(fact)]


def faces_of(fact: Fact) -> tuple[FaceRef, ...]:
    """The faces that it names."""
    match fact:
        case Is() | IsNot() | Shows() | TakeBack():
            return fact.faces
        case Cover() | Missed():
            return (fact.face,)
    return ()


def photos_of(fact: Fact) -> tuple[PhotoRef, ...]:
    """The photos that it names."""
    return (fact.photo,) if isinstance(fact, Favourite) else tuple(face.photo for face in faces_of(fact))


def people_of(fact: Fact) -> tuple[str, ...]:
    """The people that it names."""
    match fact:
        case Same() | Different():
            return fact.person, fact.other
        case Missed() | Favourite() | TakeBack():
            return ()
    return (fact.person,)


def checked_name(name: str) -> str:
    """A person's name in NFC, without blanks around it and without marks that nobody sees. InputError where it is too
    long, has control characters, or nothing to be seen."""
    seen = "".join(
        c for c in name if category(c) != "Cf" or c in JOINERS
    )  # marks of direction come with what is pasted
    clean = normal(" ".join(seen.split()))
    if len(clean) > MOST_LETTERS:
        raise InputError(f"a name of {len(clean):,} letters: give one of at most {MOST_LETTERS}")
    if not all(c.isprintable() or c in JOINERS for c in clean):
        raise InputError(f"the name {clean!r} has control characters: leave them out")
    if name.strip() and not any(category(c)[0] in "LNPS" for c in clean):
        raise InputError(f"the name {name[:MOST_LETTERS]!r} has no letter: give one that can be read")
    return clean


def checked_date(text: str) -> str:
    """A day, month or year of birth as ISO 8601 writes it, or "". InputError where it is none."""
    parts = text.strip().split("-") if text.strip() else []
    try:
        if parts and not (re.fullmatch(r"[0-9]{4}(-[0-9]{2}){0,2}", text.strip())):
            raise ValueError
        numbers = [*map(int, parts), 1, 1][:3]
        if parts and not 1 <= date(*numbers).year <= date.max.year:
            raise ValueError
    except ValueError:
        raise InputError(f"{text!r} is no date of birth: write 1990, 1990-05 or 1990-05-31") from None
    return text.strip()


# ---- as JSON ---------------------------------------------------------------------------------------------------------


def to_json(facts: Sequence[Fact]) -> dict[str, Any]:
    """`photos`, each once, and `facts`, which name them by their numbers."""
    photos: dict[PhotoRef, int] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, PhotoRef):
            return photos.setdefault(value, len(photos))
        if isinstance(value, FaceRef):
            return {"photo": plain(value.photo), "box": [round(float(x), 2) for x in value.box]}
        return [plain(each) for each in value] if isinstance(value, tuple) else value

    said = [{"kind": kind_of(fact)} | {f.name: plain(getattr(fact, f.name)) for f in fields(fact)} for fact in facts]
    known = [{f.name: getattr(p, f.name) for f in fields(p)} | {"size": list(p.size)} for p in photos]
    return {"photos": known, "facts": said}


def from_json(content: Mapping[str, Any]) -> tuple[Fact, ...]:
    """What `to_json` was given. ValueError, TypeError or LookupError where it is nothing that it returns."""
    photos = [_photo(**each) for each in content["photos"]]
    return tuple(_fact(photos, **each) for each in content["facts"])


def _fact(photos: Sequence[PhotoRef], *, kind: str, **values: Any) -> Fact:
    def face(value: Mapping[str, Any]) -> FaceRef:
        return FaceRef(_numbered(photos, value["photo"]), _box(value["box"]))

    for name, value in values.items():
        if name == "faces":
            values[name] = tuple(map(face, value))
        elif name == "face":
            values[name] = face(value)
        elif name == "photo":
            values[name] = _numbered(photos, value)
        elif not isinstance(value, str) or not _VALID.get(name, bool)(value):
            raise ValueError(f"{name} {value!r}")
    return _KINDS[kind](**values)


_VALID: Mapping[str, Callable[[str], Any]] = {
    "person": PERSON.fullmatch,
    "other": PERSON.fullmatch,
    "name": lambda value: checked_name(value) == value,
    "date": lambda value: checked_date(value) == value,
}


def _numbered(photos: Sequence[PhotoRef], number: Any) -> PhotoRef:
    if type(number) is not int or number < 0:
        raise ValueError(f"photo {number!r}")
    return photos[number]


def _photo(sha256: str, size: Sequence[int], phash: int | None, name: str) -> PhotoRef:
    width, height = size
    whole = all(type(each) is int and abs(each) <= 2**63 for each in (width, height, phash or 0))
    if not (whole and max(width, height) < FAR and isinstance(sha256, str) and isinstance(name, str)):
        raise ValueError(f"photo {sha256!r}")
    return PhotoRef(sha256, (width, height), phash, name)


def _box(value: Sequence[float]) -> Box:
    x0, y0, x1, y1 = map(float, value)
    if not all(abs(each) < FAR for each in (x0, y0, x1, y1)) or x0 >= x1 or y0 >= y1:
        raise ValueError(f"box {value!r}")
    return x0, y0, x1, y1
