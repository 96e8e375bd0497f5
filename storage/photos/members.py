"""Members of archives: which of them are photos, what lies beside these, and where each is found again.

As WebDataset has it, what is called the same up to the first dot is one sample: `0001.json`, `0001.txt` and `0001.cls`
say something of `0001.jpg`, and become columns of the user.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import pyarrow as pa

from muster.errors import ImageError, InputError
from muster.storage.bytes_at import Bytes
from muster.storage.photos.containers import Items
from muster.storage.photos.decode import MAX_FILE
from muster.storage.photos.first_bytes import IMAGE_SUFFIXES, suffix_of
from muster.storage.photos.left_out import Rules, without_pairs
from muster.storage.photos.listing import File, count_left_out
from muster.storage.photos.promotion import TEXTS, unite
from muster.storage.photos.rows import rows_of, with_user_columns
from muster.storage.uris import inside_uri

KIND = "member"
ANY = 1 << 60  # bytes: what claims to be larger lies
LONGEST = 4096  # characters of a name, as systems have it
COLUMNS = 1000  # that JSON beside photos may become
MOST = 5_000_000  # members of one archive: their names alone may take a gigabyte
SIBLING = 1 << 20  # bytes of a JSON or text beside a photo that are read
AT_ONCE = 1 << 14  # samples whose columns are made together
CHANGED = "its archive is not what was scanned any more: scan it again"
_KEY = re.compile(r"(.*)&at=(\d{1,18})\+(\d{1,18})", re.DOTALL)
_TEXTS = {".txt": "txt", ".text": "txt", ".cls": "cls", ".caption": "caption"}


class Member(NamedTuple):
    """`offset`: of its header. `stored`: bytes that it takes behind that; `size`: of the file that it is."""

    name: str
    offset: int
    stored: int
    size: int


def key_of(member: Member) -> str:
    """What stands in the address."""
    return f"{quote(member.name.encode(errors='surrogateescape'))}&at={member.offset}+{member.stored}"


def of_key(key: str) -> Member:
    """The member of an address; its size is not in there. Raises ImageError."""
    match = _KEY.fullmatch(key)
    if match is None:
        raise ImageError("unreadable", f"{KIND}={key} names no member of an archive")
    stored = int(match[3])
    if stored > MAX_FILE:
        raise ImageError("too_large", f"{stored >> 20} MiB is too long for a photo (limit {MAX_FILE >> 20} MiB)")
    return Member(unquote(match[1], errors="surrogateescape"), int(match[2]), stored, 0)


def items(file: File, found: Iterable[Member], read: Callable[[Member], bytes]) -> Items:
    """The photos of an archive. `found`: its members, those of one sample one after the other. `read`: all bytes of a
    small one.

    Raises InputError where there are more than MOST.
    """
    result = Items(rows_of([]))
    wanted = _wanted(_counted(file.uri, found), result)
    parts = {}
    for number, samples in enumerate(_chunks(groupby(wanted, key=lambda member: _sample(member.name)))):
        parts[f"{file.uri} ({number})"] = _rows(file, samples, read, result)
    if parts:
        result.rows = unite(parts, texts=True)
    return result


def read_at(file: Bytes, offset: int, length: int) -> bytes:
    """Raises ImageError, or UnreachableError."""
    try:
        return file.read_at(offset, length)
    except OSError as error:
        raise ImageError("unreadable", f"its archive cannot be read: {error.strerror or error}") from error


# ---- samples ---------------------------------------------------------------------------------------------------------


def _counted(uri: str, found: Iterable[Member]) -> Iterator[Member]:
    for number, member in enumerate(found):
        if number == MOST:
            raise InputError(f"{uri} has more than {MOST:,} members: make several archives of it")
        yield member


def _wanted(found: Iterable[Member], result: Items) -> Iterator[Member]:
    """Photos, and what says something of them; other members are counted."""
    rules, known = Rules(""), {"": False}  # folder → whether it is left out; the topmost of such folders is counted

    def is_left_out(folder: str) -> bool:
        if folder not in known:
            above = ""
            for name in folder.split("/"):
                inner = f"{above}/{name}".lstrip("/")
                if inner not in known:
                    kind = None if known[above] else rules.kind(inner, True)
                    result.left_out.update([kind] if kind else [])
                    known[inner] = known[above] or kind is not None
                above = inner
        return known[folder]

    for member in found:
        path = "/".join(part for part in member.name.split("/") if part not in ("", ".", ".."))
        suffix = suffix_of(member.name)
        if len(path) > LONGEST:
            result.skipped[suffix[:LONGEST]] += 1
            continue
        if is_left_out(path.rpartition("/")[0]):
            continue
        if kind := rules.kind(path, False):
            count_left_out(result.left_out, kind, path.rpartition("/")[2], folder=False)
        elif suffix in IMAGE_SUFFIXES or suffix == ".json" or suffix in _TEXTS:
            yield member
        else:
            result.skipped[suffix] += 1


def _sample(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _chunks(samples: Iterable[tuple[str, Iterator[Member]]]) -> Iterator[list[tuple[str, list[Member]]]]:
    listed = ((key, list(members)) for key, members in samples)
    while chunk := list(islice(listed, AT_ONCE)):
        yield chunk


def _rows(
    file: File, samples: Iterable[tuple[str, list[Member]]], read: Callable[[Member], bytes], result: Items
) -> pa.Table:
    files, said = [], list[dict[str, Any]]()
    for key, group in samples:
        photos = [member for member in group if suffix_of(member.name) in IMAGE_SUFFIXES]
        photos = without_pairs(photos, attrgetter("name"), result.left_out)
        if photos:
            columns = {"key": _text(key)} | _said(group, read)
            said += [columns] * len(photos)
            files += [File(inside_uri(file.uri, KIND, key_of(m)), m.size, file.modified) for m in photos]
    names = dict.fromkeys(name for columns in said for name in columns)
    if len(names) > COLUMNS:
        said = [_as_one(columns) for columns in said]
        names = dict.fromkeys(("key", *_TEXTS.values(), "json"))
    table = {name: _column([columns.get(name) for columns in said]) for name in names}
    return with_user_columns(
        rows_of(files), {name: (pa.field(name, c.type, metadata=TEXTS), c) for name, c in table.items()}
    )


def _as_one(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Of samples whose JSON has other names in each: it stays one text."""
    own = {name: columns.get(name) for name in ("key", *_TEXTS.values())}
    others = {name: value for name, value in columns.items() if name not in own}
    return {**own, "json": json.dumps(others, ensure_ascii=False) if others else None}


def _said(group: Iterable[Member], read: Callable[[Member], bytes]) -> dict[str, Any]:
    """Columns, by what lies beside a photo. What is no JSON object, broken or too long says nothing."""
    found = dict[str, Any]()
    for member in group:
        suffix = suffix_of(member.name)
        if suffix in IMAGE_SUFFIXES or member.size > SIBLING:
            continue
        try:
            text = read(member).decode("utf-8-sig", errors="replace")
        except ImageError:  # it is broken, and its photo may be whole
            continue
        if suffix in _TEXTS:
            found[_TEXTS[suffix]] = text.strip()
        else:
            found |= _object(text)
    return found


def _object(text: str) -> Mapping[str, Any]:
    """Google Takeout's own JSON is read by `muster tags`, as it says of a photo what tags say."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict) or "photoTakenTime" in value:
        return {}
    return {_text(name): _plain(each) for name, each in value.items() if name}


def _plain(value: Any) -> Any:
    """Lists and objects stay JSON: of a million samples no two need be alike."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _column(values: list[Any]) -> pa.Array:
    """Texts, where they are not of one kind."""
    kinds = {type(value) for value in values if value is not None}
    try:
        if len(kinds) <= 1 or kinds == {int, float}:
            return pa.array([float(v) if v is not None and len(kinds) == 2 else v for v in values])
    except (pa.ArrowException, OverflowError, UnicodeError):  # a number of more than 64 bits; half a surrogate pair
        pass
    return pa.array([None if v is None else _text(v if isinstance(v, str) else json.dumps(v)) for v in values])


def _text(text: str) -> str:
    """Half a surrogate pair, which JSON may name, cannot be written."""
    return text.encode(errors="replace").decode()
