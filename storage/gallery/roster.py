"""Who is to be enrolled: a CSV, a folder per person, or a Parquet manifest with a `person` column."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from muster.errors import InputError
from muster.storage.gallery import dates, roster_csv
from muster.storage.gallery.entry import DATES, Entry, columns_of, entry_of, is_image, is_missing, word
from muster.storage.library import LibraryFiles
from muster.storage.photos.listing import locate
from muster.storage.photos.rows import SCHEMA
from muster.storage.photos.sources import PARQUET, find_images
from muster.storage.texts import normal
from muster.storage.uris import path_of, refusal

TEXT = (".csv", ".tsv", ".txt")
UNKNOWN, UNSURE = "UNKNOWN", "UNSURE"  # what stands in answers for a person_id
_KINDS = f"a file ending in {', '.join(TEXT)} or {PARQUET}, or a folder with a folder for each person"


@dataclass(frozen=True)
class Roster:
    """`people`: in its order. `remarks`: how it was read, where that may not be what was meant."""

    people: list[Entry]
    remarks: list[str]


def read_roster(source: str, library: LibraryFiles | None, columns: Mapping[str, str] | None = None) -> Roster:
    """The people of a roster. `library`: None where there is none yet. `columns`: name that we know → its name there.

    Raises InputError that names the file, and the line, of what is wrong.
    """
    is_text = source.partition("?")[0].lower().endswith(TEXT)
    people, remarks = roster_csv.read(source, columns or {}) if is_text else _images(source, library, columns or {})
    if not people:
        raise InputError(f"roster {source} names nobody")
    names = {each.person_id for each in people}
    if taken := names & {UNKNOWN, UNSURE}:
        raise InputError(f"roster {source}: person_id {min(taken)} is what Muster says of nobody: give another")
    owners: dict[str, str] = {}
    for person in people:
        for uri in person.images:
            if (reason := refusal(uri, source)) is not None:
                raise InputError(f"roster {source}, person_id {person.person_id}: {reason}")
            if owners.setdefault(uri, person.person_id) != person.person_id:
                raise InputError(f"roster {source}: {uri} is listed for {owners[uri]} and for {person.person_id}")
    return Roster(people, remarks + list(_alike(names)))


def _alike(names: Collection[str]) -> Iterator[str]:
    written: dict[str, list[str]] = {}
    for name in sorted(names):
        written.setdefault(name.casefold(), []).append(name)
    for some in written.values():
        if len(some) > 1:
            yield f"person_ids that differ in case alone are several people: {', '.join(some)}"


# ---- folders and Parquet ---------------------------------------------------------------------------------------------


def _images(source: str, library: LibraryFiles | None, given: Mapping[str, str]) -> tuple[list[Entry], list[str]]:
    place = locate(source)
    if place.file is not None and not source.partition("?")[0].lower().endswith(PARQUET):
        excel = source.lower().endswith((".xlsx", ".xls", ".ods", ".numbers"))
        save = ". Save the sheet as CSV UTF-8 in the program that made it" if excel else ""
        raise InputError(f"roster {source}: a roster is {_KINDS}{save}")
    found = find_images(source, library)
    if found.outside:
        raise InputError(
            f"roster {source}: {found.outside[0]} is a link that leads out of it, and is not followed: put the photos"
            " in its place, or name them in a CSV"
        )
    if found.from_parquet:
        return _from_rows(source, found.rows, given)
    if given:
        raise InputError(f"`columns`: roster {source} is a folder, and has none")
    people: dict[str, list[dict[str, Any]]] = {}
    for row in found.rows.to_pylist():
        people.setdefault(_folder(source, place.uri, row["uri"]), []).append(row)
    return [Entry(person_id=person, name=person, **_photos(mine)) for person, mine in people.items()], []


def _folder(source: str, root: str, uri: str) -> str:
    """The name of the folder below `root` that an image lies in."""
    home, path = path_of(root), path_of(uri)
    parts = PurePosixPath(path.removeprefix(home.rstrip("/") + "/")).parts
    if len(parts) < 2 or not path.startswith(home.rstrip("/") + "/"):
        raise InputError(f"roster {source}: {uri} is in no person's folder: make a folder for each person")
    try:
        parts[0].encode()
    except UnicodeEncodeError:
        raise InputError(f"roster {source}: the name of folder {parts[0]!r} is not UTF-8: rename it") from None
    return word(f"roster {source}", "folder", parts[0])


def _photos(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """`images` and `stamps` of an entry."""
    stamps = {row["uri"]: (row["size"], row["modified"]) for row in rows}
    return {"images": tuple(stamps), "stamps": tuple(stamps.values())}


def _from_rows(source: str, table: pa.Table, given: Mapping[str, str]) -> tuple[list[Entry], list[str]]:
    header = [name for name in table.column_names if name not in SCHEMA.names]
    columns = columns_of(source, header, given)
    if any(map(is_image, given)):
        raise InputError(f"`columns`: roster {source} is a Parquet file: its photos are in `uri` or `image`")
    if "person_id" not in columns.facts and "person" in columns.unknown:
        columns.unknown.remove("person")
        columns.facts["person_id"] = header.index("person")
    if "person_id" not in columns.facts:
        raise InputError(f"roster {source} has no column person or person_id; a roster is {_KINDS}")
    columns.unknown.extend(header[number] for number in columns.images)
    names = {known: header[number] for known, number in columns.facts.items()}
    rows = table.select([*SCHEMA.names, *dict.fromkeys(names.values())]).to_pylist()  # others may be no Python's
    column = names.pop("person_id")
    orders = {
        known: dates.order_of(row[names[known]] for row in rows if isinstance(row[names[known]], str))
        for known in DATES
        if known in names
    }
    people: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        person = word(f"roster {source}, {row['uri']}", column, row[column])
        if not person:
            raise InputError(f"roster {source}: {row['uri']} has no {column}")
        people.setdefault(person, []).append(row)
    entries = []
    for person, mine in people.items():
        where = f"roster {source}, {column} {person}"
        facts = _said_of_all(where, mine, names)
        entries.append(entry_of(where, {"person_id": person, **facts}, orders, **_photos(mine)))
    return entries, columns.remarks(source)


def _said_of_all(where: str, rows: Sequence[dict[str, Any]], names: Mapping[str, str]) -> dict[str, Any]:
    """What a person's rows say of them, one like the other. `names`: of its columns."""
    facts: dict[str, Any] = {}
    for known, name in names.items():
        values = [_comparable(row[name]) for row in rows]
        facts[known] = values[0]
        if any(value != values[0] for value in values):
            raise InputError(f"{where}: rows differ in {name}")
    return facts


def _comparable(value: Any) -> Any:
    return None if is_missing(value) else normal(value).strip() if isinstance(value, str) else value
