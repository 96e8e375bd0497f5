"""A person of a roster, and what its columns say of them, whatever file they stand in."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from unicodedata import category, normalize

from muster.errors import InputError
from muster.storage.gallery import dates
from muster.storage.photos.names import name_of
from muster.storage.texts import normal

NO_GROUP = "no group"  # what those without one are called where errors are counted
COLUMNS = ("person_id", "name", "group", "born", "consent", "valid_until")  # and any number of _IMAGE
DATES = ("born", "valid_until")
KNOWN = f"{', '.join(COLUMNS)} and image, image2, …"
YES, NO = {"yes", "y", "true", "1", "x", "ja", "oui", "si", "sí"}, {"", "no", "n", "false", "0", "nein", "non"}
JOINERS = "\u200c\u200d"  # invisible, and part of how Persian, Hindi and Sinhala are written
Stamp = tuple[int | None, Any]  # size and time of a file, as its folder or Parquet file has them
_FAULTS = re.compile(r"#(N/A|NV|NAME\?|(REF|VALUE|DIV/0|NULL|NUM|BEZUG|WERT|ZAHL)!)|#{3,}")  # Excel's, also in German
_IMAGE = re.compile(r"images?(file|filename|name|path|uri|url)?\d*")  # not `image consent`, which is to be looked at
_ROUNDED = re.compile(r"\d([.,]\d+)?E\+\d+", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One person of a roster; `person_id`, `name` and `group` in NFC, without control characters. `images`: URIs, in
    order. `consent`: None where the roster does not speak of it."""

    person_id: str
    name: str
    images: tuple[str, ...]
    group: str | None = None
    born: date | None = None
    consent: bool | None = None
    valid_until: date | None = None
    stamps: tuple[Stamp, ...] = ()  # of the images, where they are known


def entry_of(
    where: str,
    facts: Mapping[str, Any],
    orders: Mapping[str, dates.Order],
    images: Sequence[str],
    stamps: Sequence[Stamp] = (),
) -> Entry:
    """`facts`: cells of COLUMNS that the roster has. `orders`: of day and month in each of DATES. InputError names
    `where` what is wrong stands."""
    person = word(where, "person_id", facts["person_id"])
    if _ROUNDED.fullmatch(person):
        raise InputError(f"{where}: person_id {person} was rounded by a spreadsheet: write that column as text there")
    return Entry(
        person_id=person,
        name=word(where, "name", facts.get("name")) or person,
        images=tuple(images),
        group=_group(where, facts.get("group")),
        consent=_consent(where, facts["consent"]) if "consent" in facts else None,
        born=_born(where, _date(where, "born", facts.get("born"), orders)),
        valid_until=_date(where, "valid_until", facts.get("valid_until"), orders),
        stamps=tuple(stamps),
    )


def _group(where: str, value: Any) -> str | None:
    group = word(where, "group", value)
    if group == NO_GROUP:
        raise InputError(
            f"{where}: those without a group are shown as {group!r}: leave the cell empty, or call it otherwise"
        )
    return group or None


def word(where: str, what: str, value: Any) -> str:
    """As text in NFC, see `name_of`. InputError where it holds what nobody sees: controls, line breaks, marks of
    direction, half letters; or what a spreadsheet writes for what it does not know."""
    text = (name_of(f"{where}, {what}", value) or "").strip()
    check_cell(where, what, text)
    for character in text:
        if category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in JOINERS:
            raise InputError(f"{where}: {what} {text!r} has a control character, {character!r}: take it out")
    return normal(text)


def is_missing(value: Any) -> bool:
    """Also as pandas writes it into columns of numbers."""
    return value is None or value == "" or value != value


def check_cell(where: str, what: str, text: str) -> None:
    if _FAULTS.fullmatch(text):
        raise InputError(f"{where}: {what} is {text}: a formula of the spreadsheet failed there, write the value")


def _consent(where: str, value: Any) -> bool:
    text = (name_of(f"{where}, consent", value) or "").strip().lower()
    if text not in YES | NO:
        raise InputError(f"{where}: consent {value!r}: write yes or no")
    return text in YES


def _born(where: str, born: date | None) -> date | None:
    if born is not None and born > date.today():
        raise InputError(f"{where}: born {born} is to come: write the date of birth")
    return born


def _date(where: str, name: str, value: Any, orders: Mapping[str, dates.Order]) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date) or is_missing(value):
        return value or None
    try:
        return dates.parsed(str(value), orders[name])
    except ValueError as error:
        raise InputError(f"{where}: {name} {value!r}: {error}") from None


# ---- columns ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Columns:
    """Where a roster's columns stand, by number. `facts`: of COLUMNS; `images`: in order. By name: `ignored`, because
    the user has named another, and `unknown`."""

    facts: dict[str, int]
    images: list[int]
    ignored: list[str]
    unknown: list[str]

    def remarks(self, source: str) -> list[str]:
        left_out = ", ".join(self.ignored + self.unknown)
        return [f"columns of {source} that were left out: {left_out}"] if left_out else []


def key(name: str) -> str:
    """By which names of columns are compared: `Person ID`, `person-id` and `PERSON_ID` are one."""
    return re.sub(r"[\W_]+", "", normalize("NFKC", name)).casefold()


_KEYS = {key(name): name for name in COLUMNS}


def is_known(name: str) -> bool:
    return key(name) in _KEYS or is_image(name)


def is_image(name: str) -> bool:
    return _IMAGE.fullmatch(key(name)) is not None


def columns_of(source: str, header: Sequence[str], given: Mapping[str, str]) -> Columns:
    """`given`: name that we know → name in the roster; all others are called as we know them. Columns without a name
    are not looked at."""
    mapped = {_KEYS.get(key(name), key(name)): _number(source, header, name, there) for name, there in given.items()}
    facts = {name: number for name, number in mapped.items() if name in COLUMNS}
    images = [number for name, number in mapped.items() if name not in COLUMNS]
    columns = Columns(facts, images, [], [])
    for number, name in enumerate(header):
        known = _KEYS.get(key(name), key(name))
        if number in mapped.values() or not name.strip():
            continue
        if known in mapped:
            columns.ignored.append(name)
        elif known in facts:
            raise InputError(f"roster {source} has column {known!r} twice")
        elif known in COLUMNS:
            facts[known] = number
        elif is_image(name):
            images.append(number)
        else:
            columns.unknown.append(name)
    return columns


def _number(source: str, header: Sequence[str], name: str, there: str) -> int:
    if not is_known(name):
        raise InputError(f"`columns` {name}: {KNOWN} are known")
    found = [n for n, each in enumerate(header) if each == there] or [
        n for n, each in enumerate(header) if key(each) == key(there)
    ]
    if len(found) != 1:
        what = f"{len(found)} columns" if found else "no column"
        names = ", ".join(filter(None, header))
        raise InputError(f"`columns` {name}={there}: roster {source} has {what} of that name; it has {names}")
    return found[0]
