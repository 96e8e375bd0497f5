"""Who is to be enrolled: a CSV, a folder per person, or a Parquet manifest with a `person` column."""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any
from unicodedata import category, normalize
from urllib.parse import quote, unquote

import pyarrow as pa

from muster.errors import InputError
from muster.storage.files import read_regular
from muster.storage.library import LibraryFiles
from muster.storage.photos.listing import locate
from muster.storage.photos.names import name_of
from muster.storage.photos.sources import PARQUET, find_images
from muster.storage.uris import filesystem_of, local_path, local_uri, refusal

COLUMNS = ("person_id", "name", "group", "consent", "valid_until")  # and any number that begin with `image`
YES, NO = {"yes", "y", "true", "1", "x", "ja", "oui", "si", "sí"}, {"", "no", "n", "false", "0", "nein", "non"}
TEXT = (".csv", ".tsv", ".txt")
UNKNOWN, UNSURE = "UNKNOWN", "UNSURE"  # what stands in answers for a person_id
JOINERS = "\u200c\u200d"  # invisible, and part of how Persian, Hindi and Sinhala are written
Stamp = tuple[int | None, Any]  # size and time of a file, as its folder or Parquet file has them
_KINDS = f"a file ending in {', '.join(TEXT)} or {PARQUET}, or a folder with a folder for each person"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One person of a roster; `person_id`, `name` and `group` in NFC, without control characters. `images`: URIs, in
    order. `consent`: None where the roster does not speak of it."""

    person_id: str
    name: str
    images: tuple[str, ...]
    group: str | None = None
    consent: bool | None = None
    valid_until: date | None = None
    stamps: tuple[Stamp, ...] = ()  # of the images, where they are known


def read_roster(source: str, library: LibraryFiles | None) -> list[Entry]:
    """The people of a roster, in its order. `library`: None where there is none yet.

    Raises InputError that names the file, and the line, of what is wrong.
    """
    entries = _csv(source) if source.partition("?")[0].lower().endswith(TEXT) else _images(source, library)
    if not entries:
        raise InputError(f"roster {source} names nobody")
    if taken := {entry.person_id for entry in entries} & {UNKNOWN, UNSURE}:
        raise InputError(f"roster {source}: person_id {min(taken)} is what Muster says of nobody: give another")
    owners: dict[str, str] = {}
    for entry in entries:
        for uri in entry.images:
            if (reason := refusal(uri, source)) is not None:
                raise InputError(f"roster {source}, person_id {entry.person_id}: {reason}")
            if owners.setdefault(uri, entry.person_id) != entry.person_id:
                raise InputError(f"roster {source}: {uri} is listed for {owners[uri]} and for {entry.person_id}")
    return entries


def normal(text: str) -> str:
    """In NFC: a letter and its accent are one character, as most keyboards write them, and Macs' file names do not."""
    return normalize("NFC", text)


def _word(where: str, what: str, text: str) -> str:
    """Normal; InputError where it holds what nobody sees: controls, line breaks, marks of direction, half letters."""
    for character in text:
        if category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in JOINERS:
            raise InputError(f"{where}: {what} {text!r} has a control character, {character!r}: take it out")
    return normal(text)


# ---- CSV -------------------------------------------------------------------------------------------------------------


def _csv(source: str) -> list[Entry]:
    text = _text(source)
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        names = [name.strip().lower() for name in next(lines, [])]
        _check_columns(source, names)
        rows = [(lines.line_num, row) for row in lines if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"roster {source}, line {lines.line_num}: not CSV: {error}") from None
    return _once([_entry(f"roster {source}, line {number}", source, names, row) for number, row in rows], source)


def _text(source: str) -> str:
    """Also as Excel saves it: UTF-8 with a byte order mark, or UTF-16."""
    path = local_path(source)
    try:
        if path is not None:
            data = read_regular(os.path.expanduser(path))
        else:
            fs, name = filesystem_of(source)
            with fs.open_input_stream(name) as stream:
                data = bytes(stream.read())
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read roster {source}: {getattr(error, 'strerror', None) or error}") from None
    try:
        return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"roster {source} is not UTF-8 (byte {error.start}): save it as CSV UTF-8") from None


def _check_columns(source: str, names: Sequence[str]) -> None:
    known = f"{', '.join(COLUMNS)} and image, image2, … are known"
    if unknown := [name for name in names if name not in COLUMNS and not name.startswith("image")]:
        raise InputError(f"roster {source}: unknown column {unknown[0]!r}: {known}")
    if twice := [name for name, count in Counter(names).items() if count > 1 and name in COLUMNS]:
        raise InputError(f"roster {source} has column {twice[0]!r} twice")
    if "person_id" not in names or not any(name.startswith("image") for name in names):
        raise InputError(f"roster {source} needs columns person_id and image; its first line has {', '.join(names)}")


def _entry(where: str, source: str, names: Sequence[str], row: Sequence[str]) -> Entry:
    if len(row) > len(names) and any(cell.strip() for cell in row[len(names) :]):
        raise InputError(f"{where}: {len(row)} cells under {len(names)} columns: put texts with separators in quotes")
    row = [*row, *[""] * (len(names) - len(row))]  # Excel leaves out empty cells at the end
    cells = list(zip(names, (cell.strip() for cell in row), strict=False))
    facts = {name: cell for name, cell in cells if name in COLUMNS}
    if not facts.get("person_id"):
        raise InputError(f"{where}: no person_id")
    images = tuple(dict.fromkeys(_image(where, source, cell) for name, cell in cells if name not in COLUMNS and cell))
    person = _word(where, "person_id", facts["person_id"])
    return Entry(
        person_id=person,
        name=_word(where, "name", facts.get("name") or person),
        images=images,
        group=_word(where, "group", facts.get("group") or "") or None,
        consent=_consent(where, facts["consent"]) if "consent" in facts else None,
        valid_until=_date(where, facts.get("valid_until")),
    )


def _image(where: str, source: str, name: str) -> str:
    """The URI of an image named in a CSV: relative names are relative to the CSV's folder."""
    if re.match(r"[A-Za-z]:[\\/]|\\\\", name):
        raise InputError(f"{where}: {name} is a path of a Windows machine: give names relative to the roster")
    if re.match("file:/", name, re.IGNORECASE) and (path := local_path(name)) is not None:
        return local_uri(os.path.abspath(path))
    if "://" in name:
        return name
    home = local_path(source)
    if home is None:
        base, question, query = source.partition("?")
        return f"{base.rpartition('/')[0]}/{quote(name.replace(chr(92), '/'))}{question}{query}"
    folder = os.path.dirname(os.path.abspath(os.path.expanduser(home)))
    name = os.path.expanduser(name)
    if "\\" in name and not os.path.exists(os.path.join(folder, name)):
        name = PureWindowsPath(name).as_posix()
    paths = [os.path.join(folder, form) for form in (name, normalize("NFC", name), normalize("NFD", name))]
    return local_uri(os.path.abspath(next(filter(os.path.exists, paths), paths[0])))


def _consent(where: str, value: Any) -> bool:
    word = str("" if value is None else value).strip().lower()
    if word not in YES | NO:
        raise InputError(f"{where}: consent {value!r}: write yes or no")
    return word in YES


def _date(where: str, value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    if value is None or value == "" or isinstance(value, date):
        return value or None
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise InputError(f"{where}: valid_until {value!r}: write a date as 2027-07-31") from None


def _once(entries: Iterable[Entry], source: str) -> list[Entry]:
    entries = list(entries)
    if twice := [name for name, count in Counter(entry.person_id for entry in entries).items() if count > 1]:
        raise InputError(
            f"roster {source} has person_id {twice[0]} more than once: give a person one line, with more photos in"
            " columns image2, image3, …"
        )
    return entries


# ---- folders and Parquet ---------------------------------------------------------------------------------------------


def _images(source: str, library: LibraryFiles | None) -> list[Entry]:
    place = locate(source)
    if place.file is not None and not source.partition("?")[0].lower().endswith(PARQUET):
        raise InputError(f"roster {source}: a roster is {_KINDS}")
    found = find_images(source, library)
    if found.outside:
        raise InputError(
            f"roster {source}: {found.outside[0]} is a link that leads out of it, and is not followed: put the photos"
            " in its place, or name them in a CSV"
        )
    rows = found.rows.to_pylist()
    if found.from_parquet:
        return list(_from_rows(source, rows))
    people: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        people.setdefault(_folder(source, place.uri, row["uri"]), []).append(row)
    return [Entry(person_id=person, name=person, **_photos(mine)) for person, mine in people.items()]


def _folder(source: str, root: str, uri: str) -> str:
    """The name of the folder below `root` that an image lies in."""
    home, path = local_path(root), local_path(uri)
    if home is None or path is None:
        home, path = (unquote(each.partition("?")[0]) for each in (root, uri))
    parts = PurePosixPath(path.removeprefix(home.rstrip("/") + "/")).parts
    if len(parts) < 2 or not path.startswith(home.rstrip("/") + "/"):
        raise InputError(f"roster {source}: {uri} is in no person's folder: make a folder for each person")
    try:
        parts[0].encode()
    except UnicodeEncodeError:
        raise InputError(f"roster {source}: the name of folder {parts[0]!r} is not UTF-8: rename it") from None
    return _word(f"roster {source}", "folder", parts[0])


def _photos(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`images` and `stamps` of an entry."""
    stamps = {row["uri"]: (row["size"], row["modified"]) for row in rows}
    return {"images": tuple(stamps), "stamps": tuple(stamps.values())}


def _from_rows(source: str, rows: Sequence[dict[str, Any]]) -> Iterator[Entry]:
    column = next((name for name in ("person_id", "person") if rows and name in rows[0]), None)
    if column is None:
        raise InputError(f"roster {source} has no column person or person_id; a roster is {_KINDS}")
    people: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        where = f"roster {source}, {row['uri']}"
        name = name_of(f"{where}, {column}", row[column])
        if not name:
            raise InputError(f"roster {source}: {row['uri']} has no {column}")
        people.setdefault(_word(where, column, name), []).append(row)
    for person, mine in people.items():
        where = f"roster {source}, {column} {person}"
        facts = _said_of_all(where, mine)
        yield Entry(
            person_id=person,
            name=_word(where, "name", name_of(f"{where}, name", facts.get("name")) or person),
            group=_word(where, "group", name_of(f"{where}, group", facts.get("group")) or "") or None,
            consent=_consent(where, facts["consent"]) if "consent" in facts else None,
            valid_until=_date(where, facts.get("valid_until")),
            **_photos(mine),
        )


def _said_of_all(where: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a person's rows say of them, one like the other."""
    facts: dict[str, Any] = {}
    for name in COLUMNS[1:]:
        if name in rows[0]:
            values = [normal(row[name]) if isinstance(row[name], str) else row[name] for row in rows]
            facts[name] = values[0]
            if any(value != facts[name] for value in values):
                raise InputError(f"{where}: rows differ in {name}")
    return facts
