"""Zip archives, as Google Takeout and clouds give them: read where their members lie, and never unpacked.

Members are found by the central directory, as Python's zipfile reads it; one is read by its own header, so that a
worker needs no directory, and nothing but what its address names.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

from muster.errors import ImageError, InputError
from muster.storage.bytes_at import Bytes, open_bytes
from muster.storage.photos import members
from muster.storage.photos.containers import Container, Items
from muster.storage.photos.decode import MAX_FILE
from muster.storage.photos.listing import File
from muster.storage.photos.members import Member
from muster.storage.photos.wishes import Wishes

DIRECTORY = 1 << 30  # bytes of a central directory that are read: of some ten million members
_LOCAL = struct.Struct("<4s5H3I2H")  # APPNOTE 4.3.7: the header in front of each member
_EXTRA = 512  # bytes that are read for what the header may have more than the directory says
_ENCRYPTED = 1


def _list(file: File, wishes: Wishes) -> Items:
    opened = open_bytes(file.uri)
    try:
        return members.items(file, found(opened, file.uri), lambda member: data(opened, member, members.SIBLING))
    finally:
        opened.close()


def found(file: Bytes, uri: str) -> Iterator[Member]:
    """Its members by name, so that what belongs together stands together. InputError where it is no zip archive."""
    try:
        with zipfile.ZipFile(io.BufferedReader(_Seekable(file), 1 << 16)) as archive:
            infos = sorted(archive.infolist(), key=lambda info: info.orig_filename)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error, EOFError) as error:
        raise InputError(f"{uri} cannot be read as a zip archive: {error}") from None
    for info in infos:
        if max(info.file_size, info.compress_size, info.header_offset) > members.ANY:
            raise InputError(f"{uri} cannot be read as a zip archive: a member is larger than any disk")
        if not info.is_dir():  # by the name that its own header has
            yield Member(info.orig_filename, info.header_offset, info.compress_size, info.file_size)


def data(file: Bytes, member: Member, limit: int) -> bytes:
    """All of it, at most `limit` bytes. Raises ImageError; UnreachableError where its bucket does not answer."""
    if member.stored > limit:
        raise _too_large(limit)
    name = member.name.encode(errors="surrogateescape")
    read = members.read_at(file, member.offset, _LOCAL.size + 2 * len(name) + _EXTRA + member.stored)
    if len(read) < _LOCAL.size:
        raise ImageError("unreadable", members.CHANGED)
    signature, _, flags, method, *_, length, extra = _LOCAL.unpack_from(read)
    begin = _LOCAL.size + length + extra
    if signature != b"PK\3\4" or _name(read[_LOCAL.size : _LOCAL.size + length], flags) != member.name:
        raise ImageError("unreadable", members.CHANGED)
    if flags & _ENCRYPTED:
        raise ImageError("unsupported", "it is encrypted in its zip archive: unpack that, and name the folder")
    if len(read) < begin + member.stored:  # more in front of the data than is usual, or the archive is cut
        read = members.read_at(file, member.offset, begin + member.stored)
    if len(read) < begin + member.stored:
        raise ImageError("truncated", "its archive is cut short in the middle of it")
    return _unpacked(read[begin : begin + member.stored], method, limit)


def _name(data: bytes, flags: int) -> str:
    return data.decode("utf-8" if flags & 0x800 else "cp437", errors="replace")


def _too_large(limit: int) -> ImageError:
    return ImageError("too_large", f"unpacked it is too long (limit {limit >> 20} MiB)")


def _unpacked(data: bytes, method: int, limit: int) -> bytes:
    """At most `limit` bytes: a few kB may stand for any number."""
    if method == zipfile.ZIP_STORED:
        return data
    if method != zipfile.ZIP_DEFLATED:
        raise ImageError("unsupported", f"it is packed in a way that is not read (zip method {method})")
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        raise ImageError("corrupt", "it cannot be unpacked from its archive") from error
    if len(content) > limit:
        raise _too_large(limit)
    if not unpacker.eof:
        raise ImageError("truncated", "it is cut short in its archive")
    return content


class _Seekable(io.RawIOBase):
    """As Python's zipfile wants it."""

    def __init__(self, file: Bytes) -> None:
        super().__init__()
        self._file, self._at = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._file.size)[whence]
        if self._at < 0:
            raise ValueError("before its beginning")
        return self._at

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        if len(buffer) > DIRECTORY:
            raise ValueError("a directory that is too long")
        data = self._file.read_at(self._at, len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class _Zip:
    def __init__(self, uri: str) -> None:
        self._file = open_bytes(uri)

    def read(self, key: str) -> bytes:
        return data(self._file, members.of_key(key), MAX_FILE)

    def close(self) -> None:
        self._file.close()


CONTAINER = Container(suffixes=(".zip",), list=_list, open=_Zip)
