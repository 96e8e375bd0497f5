"""Tars, such as WebDataset's shards: members are found by their headers alone, and read where they lie.

An item's address has the offset of its header and the length of its data: reading one takes one request and no index.
POSIX.1-2001 (ustar and pax), and GNU tar's long names and numbers.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from muster.errors import ImageError, InputError
from muster.storage.bytes_at import Bytes, open_bytes
from muster.storage.photos import members
from muster.storage.photos.containers import Container, Items
from muster.storage.photos.listing import File
from muster.storage.photos.members import Member
from muster.storage.photos.wishes import Wishes

BLOCK = 512
LONGEST = 1 << 16  # bytes of a name, or of pax records, that are read
_REGULAR = (b"0", b"\0", b"7")
_RECORD = re.compile(rb"(\d{1,6}) ")


class _Header(NamedTuple):
    name: str
    size: int
    kind: bytes


def _header(block: bytes) -> _Header | None:
    """None where it is none: its checksum, in which its own field counts as blanks, is another."""
    try:
        if len(block) < BLOCK or _number(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * ord(" "):
            return None
        size = _number(block[124:136])
    except ValueError:
        return None
    name, prefix = block[:100].partition(b"\0")[0], b""
    if block[257:263] == b"ustar\0":  # GNU tar's own format has times in this place
        prefix = block[345:500].partition(b"\0")[0]
    return _Header(_text(prefix + b"/" + name if prefix else name), size, block[156:157])


def _number(field: bytes) -> int:
    """Octal digits, or GNU's binary form of large ones. ValueError where it is neither, or negative."""
    if field[0] & 0x80:
        number = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    else:
        number = int(field.strip(b" \0") or b"0", 8)
    if not 0 <= number <= members.ANY:
        raise ValueError(number)
    return number


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


class _Window:
    """Reads ahead: headers of small members come with what lies between them, those of large ones alone."""

    def __init__(self, file: Bytes) -> None:
        self._file, self._start, self._data = file, 0, b""

    def read(self, offset: int, length: int) -> bytes:
        begin = offset - self._start
        if not 0 <= begin <= len(self._data) - length:
            self._start, begin = offset, 0
            self._data = self._file.read_at(offset, max(length, self._file.ahead))
        return self._data[begin : begin + length]


def _members(window: _Window, uri: str) -> Iterator[Member]:
    """Regular files, in their order. It ends where the tar does, or where it is cut or damaged: what was found until
    then counts. InputError where it begins with no header."""
    at, long_name, records = 0, "", dict[str, str]()
    while len(block := window.read(at, BLOCK)) == BLOCK:
        header = _header(block)
        if header is None:
            if at == 0 and block.strip(b"\0"):
                raise InputError(f"{uri} cannot be read as a tar archive: it begins like none")
            return
        size = header.size
        if header.kind == b"L":
            long_name = _text(window.read(at + BLOCK, min(size, LONGEST)).rstrip(b"\0"))
        elif header.kind == b"x":
            records = _pax(window.read(at + BLOCK, min(size, LONGEST)))
        elif header.kind not in (b"K", b"g"):  # of a link, and of all members: neither matters to a photo
            size = int(records.get("size", size))
            name = records.get("path") or long_name or header.name
            if header.kind in _REGULAR and not name.endswith("/") and "GNU.sparse.major" not in records:
                yield Member(name, at, size, size)
            long_name, records = "", {}
        at += BLOCK + -(-size // BLOCK) * BLOCK


def _pax(data: bytes) -> dict[str, str]:
    """Each record is its length in digits, a blank, keyword, "=", value and a line feed."""
    found, at = dict[str, str](), 0
    while (match := _RECORD.match(data, at)) and int(match[1]) > len(match[0]):
        keyword, _, value = data[match.end() : at + int(match[1]) - 1].partition(b"=")
        found[_text(keyword)] = _text(value)
        at += int(match[1])
    if not re.fullmatch(r"\d{1,18}", found.get("size", "0"), re.ASCII):
        del found["size"]
    return found


def _list(file: File, wishes: Wishes) -> Items:
    opened = open_bytes(file.uri)
    try:
        window = _Window(opened)
        found = _members(window, file.uri)
        return members.items(file, found, lambda member: window.read(member.offset + BLOCK, member.size))
    finally:
        opened.close()


class _Tar:
    def __init__(self, uri: str) -> None:
        self._file = open_bytes(uri)

    def read(self, key: str) -> bytes:
        member = members.of_key(key)
        data = members.read_at(self._file, member.offset, BLOCK + member.stored)
        header = _header(data[:BLOCK])
        if header is None or header.kind not in _REGULAR or header.size != member.stored:
            raise ImageError("unreadable", members.CHANGED)
        if len(data) < BLOCK + member.stored:
            raise ImageError("truncated", "its archive is cut short in the middle of it")
        return data[BLOCK:]

    def close(self) -> None:
        self._file.close()


CONTAINER = Container(suffixes=(".tar",), list=_list, open=_Tar)
