"""A roster as a CSV, as people and their spreadsheets save it."""

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PureWindowsPath
from urllib.parse import quote

import pyarrow as pa

from muster.errors import InputError
from muster.storage.files import read_regular
from muster.storage.gallery import dates
from muster.storage.gallery.entry import DATES, KNOWN, Columns, Entry, check_cell, columns_of, entry_of, is_known, key
from muster.storage.texts import WINDOWS, decoded, normal, unusual
from muster.storage.uris import filesystem_of, local_path, local_uri

SEPARATORS = ";,\t|"
_NAMED = re.compile(rf'"?sep=(.)"?[{re.escape(SEPARATORS)}]*(\r\n|\r|\n)', re.IGNORECASE)  # as Excel reads it
_QUOTES = str.maketrans("“”„", '"""')  # of a text processor
Row = tuple[int, Sequence[str]]  # number of its line, and its cells


def read(source: str, given: Mapping[str, str]) -> tuple[list[Entry], list[str]]:
    """The people, and what there is to say of how they were read. `given`: see `entry.columns_of`."""
    text, encoding = _text(source)
    remarks = [f"{source} was read as {WINDOWS}, with {unusual(text)!r}: if that looks wrong, save it as CSV UTF-8"]
    remarks = remarks if encoding == WINDOWS else []
    header, rows = _rows(source, text, given)
    columns = columns_of(source, header, given)
    if "person_id" not in columns.facts or not columns.images:
        if not any(header):
            raise InputError(f"roster {source} is empty: it needs columns person_id and image")
        raise InputError(
            f"roster {source} needs columns person_id and image; its first line has {', '.join(filter(None, header))}."
            " `columns` says what they are called there"
        )
    if columns.unknown and not given:  # it may be misspelt, and say that somebody's consent has ended
        raise InputError(
            f"roster {source}: unknown column {columns.unknown[0]!r}: {KNOWN} are known. With `columns`, which says"
            " what the roster calls them, others are left out"
        )
    places = {name: columns.facts[name] for name in DATES if name in columns.facts}
    orders = {name: dates.order_of(row[at] for _, row in rows if at < len(row)) for name, at in places.items()}
    photos = _Photos(source)
    people = [_entry(f"roster {source}, line {line}", header, columns, row, orders, photos) for line, row in rows]
    return _once(people, source), [*remarks, *columns.remarks(source), *photos.remarks()]


def _text(source: str) -> tuple[str, str]:
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
        return decoded(data)
    except ValueError as error:
        raise InputError(f"roster {source} cannot be read as text: {error}: save it as CSV UTF-8") from None


def _rows(source: str, text: str, given: Mapping[str, str]) -> tuple[Sequence[str], list[Row]]:
    """The names of the columns, and the rows; those without anything in them are left out."""
    named = _NAMED.match(text)
    text = text[named.end() :] if named else text
    if text.lstrip().startswith(("“", "„", "”")):
        text = text.translate(_QUOTES)
    separator = named[1] if named else _separator(text, given)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        rows: list[Row] = [(lines.line_num + bool(named), [_clean(cell) for cell in row]) for row in lines]
    except csv.Error as error:
        raise InputError(f"roster {source}, line {lines.line_num + bool(named)}: not CSV: {error}") from None
    (_, header), *rows = [row for row in rows if any(row[1])] or [(1, [])]
    return header, rows


def _clean(cell: str) -> str:
    """Without blanks at its ends, also those that do not break, and byte order marks, which joining files leaves."""
    return cell.strip("\ufeff").strip()


def _separator(text: str, given: Mapping[str, str]) -> str:
    """The one with which most columns of the header are known, of equals that with which there are most."""
    wanted = {key(name) for name in given.values()}

    def fits(separator: str) -> tuple[int, int]:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            header: Sequence[str] = next((row for row in rows if any(map(_clean, row))), [])
        except csv.Error:
            return -1, 0
        return sum(is_known(name) or key(name) in wanted for name in header), len(header)

    return max(SEPARATORS, key=fits)


def _entry(
    where: str,
    header: Sequence[str],
    columns: Columns,
    row: Sequence[str],
    orders: Mapping[str, dates.Order],
    photos: "_Photos",
) -> Entry:
    row = [*row, *[""] * (len(header) - len(row))]  # Excel leaves out empty cells at the end
    if any(row[len(header) :]):
        raise InputError(f"{where}: {len(row)} cells under {len(header)} columns: put texts with separators in quotes")
    if stray := [cell for name, cell in zip(header, row, strict=False) if cell and not name]:
        raise InputError(f"{where}: {stray[0]!r} stands in a column without a name: give it one, or take it out")
    facts = {name: row[number] for name, number in columns.facts.items()}
    if not facts["person_id"]:
        raise InputError(f"{where}: no person_id")
    for name, cell in [*facts.items(), *(("image", row[number]) for number in columns.images)]:
        check_cell(where, name, cell)
    images = dict.fromkeys(photos.uri(where, row[number]) for number in columns.images if row[number])
    return entry_of(where, facts, orders, list(images))


def _once(people: Sequence[Entry], source: str) -> list[Entry]:
    if twice := [name for name, count in Counter(each.person_id for each in people).items() if count > 1]:
        raise InputError(
            f"roster {source} has person_id {twice[0]} more than once: give a person one line, with more photos in"
            " columns image2, image3, …"
        )
    return list(people)


# ---- images ----------------------------------------------------------------------------------------------------------


class _Photos:
    """The images that a CSV names; relative names are relative to its folder, and found as the disk has them."""

    def __init__(self, source: str) -> None:
        self._source = source
        path = local_path(source)
        self._folder = None if path is None else os.path.dirname(os.path.abspath(os.path.expanduser(path)))
        self._names: dict[tuple[str, Callable[[str], str]], dict[str, list[str]]] = {}
        self._guessed: list[str] = []

    def remarks(self) -> list[str]:
        """What was found though it is written otherwise."""
        if not self._guessed:
            return []
        return [f"{len(self._guessed)} names differ in case or blanks from those on disk, such as {self._guessed[0]}"]

    def uri(self, where: str, name: str) -> str:
        path = local_path(name)
        if path is None:
            return name
        if path != name:  # a URI
            return local_uri(self._on_disk(os.path.abspath(path)))
        if self._folder is None:
            base, question, query = self._source.partition("?")
            return f"{base.rpartition('/')[0]}/{quote(name.replace(chr(92), '/'))}{question}{query}"
        path = os.path.join(self._folder, os.path.expanduser(name))
        if "\\" in name and not os.path.lexists(path):
            if re.match(r"[A-Za-z]:[\\/]|\\", name):
                raise InputError(f"{where}: {name} is a path of a Windows machine: give names relative to the roster")
            path = os.path.join(self._folder, PureWindowsPath(name).as_posix())
        return local_uri(self._on_disk(os.path.abspath(path)))

    def _on_disk(self, path: str) -> str:
        """Each part of it as its folder has it: letters and accents in another form (Macs'), or else in another case,
        or with other blanks, where that is one file only. As it was given where there is none."""
        folder, name = os.path.split(path)
        if os.path.lexists(path) or not name:
            return path
        folder = self._on_disk(folder)
        for form in (normal, _loosely):
            alike = self._names_in(folder, form).get(form(name), [])
            if len(alike) == 1:
                self._guessed += [path] if form is _loosely else []
                return os.path.join(folder, alike[0])
        return os.path.join(folder, name)

    def _names_in(self, folder: str, form: Callable[[str], str]) -> dict[str, list[str]]:
        if (folder, form) not in self._names:
            names: dict[str, list[str]] = {}
            for name in _listed(folder):
                names.setdefault(form(name), []).append(name)
            self._names[folder, form] = names
        return self._names[folder, form]


def _loosely(name: str) -> str:
    return " ".join(normal(name).casefold().split())


def _listed(folder: str) -> Iterable[str]:
    try:
        return os.listdir(folder)
    except (OSError, ValueError):
        return ()
