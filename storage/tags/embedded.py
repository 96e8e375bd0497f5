"""XMP packets within an image file, found by walking its segments, chunks or boxes: pixels are not read."""

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import IO

from muster.storage.photos import heif, png
from muster.storage.photos.first_bytes import TIFF

MOST = 16 << 20  # bytes of a packet; those of programs that keep every stroke of a brush have a few million
PARTS = 1 << 16  # segments, chunks or boxes that are passed over at most
_STANDARD, _EXTENDED = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
_APP1, _SCAN, _END = 0xE1, 0xDA, 0xD9  # JPEG markers
_ALONE = (0x01, *range(0xD0, 0xD9))  # without a length
_PNG_KEYWORD = b"XML:com.adobe.xmp\0"
_XMP_TAG = 700  # of TIFF
_XMP_BOX = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # uuid, of Canon's raw files and MP4
_XMP_ITEM = b"application/rdf+xml\0"  # of HEIC and AVIF

Found = Iterator[bytes | str]  # packets, and remarks
_BROKEN = (struct.error, LookupError, ValueError, OverflowError, zlib.error)


def packets(file: IO[bytes]) -> tuple[list[bytes], list[str]]:
    """The packets of a file, in their order, and what was odd. Of a format that is not known here there are none.

    Reads JPEG (with extended XMP), PNG, WebP, TIFF and DNG, HEIC, AVIF, JPEG XL and CR3; see XMP part 3 (2020), 1.1.
    Raises OSError where the file cannot be read.
    """
    found, remarks = list[bytes](), list[str]()
    try:
        for each in _walker(file.read(12))(file):
            (found if isinstance(each, bytes) else remarks).append(each)  # type: ignore[arg-type]
    except _BROKEN:
        remarks.append("the file is broken where its tags are")
    return found, remarks


def _walker(head: bytes) -> Callable[[IO[bytes]], Found]:
    if head.startswith(b"\xff\xd8\xff"):
        return _in_jpeg
    if head.startswith(png.SIGNATURE):
        return _in_png
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _in_webp
    if head.startswith(TIFF):
        return _in_tiff
    if head[4:8] in (b"ftyp", b"JXL "):
        return _in_boxes
    return lambda file: iter(())


def _taken(file: IO[bytes], length: int) -> bytes | str:
    """The next bytes as a packet, or why they are none."""
    return file.read(length) if length <= MOST else f"XMP of {length >> 20} MiB is not read (limit {MOST >> 20})"


# ---- JPEG ------------------------------------------------------------------------------------------------------------


def _in_jpeg(file: IO[bytes]) -> Found:
    file.seek(2)
    extended: dict[bytes, dict[int, bytes]] = {}  # GUID → offset → part
    found = list[bytes]()
    for content in _app1(file):
        if content.startswith(_STANDARD):
            found.append(content[len(_STANDARD) :])
        elif content.startswith(_EXTENDED):
            guid, _, offset = struct.unpack_from(">32sII", content, len(_EXTENDED))
            extended.setdefault(guid, {})[offset] = content[len(_EXTENDED) + 40 :]
    yield from found
    for guid, parts in extended.items():
        if any(guid in packet for packet in found):  # others are what an older program left
            yield _joined(parts)


def _app1(file: IO[bytes]) -> Iterator[bytes]:
    """The contents of these segments, up to the pixels."""
    for _ in range(PARTS):
        marker = file.read(2)
        while marker[:1] == b"\xff" == marker[1:]:  # filling
            marker = b"\xff" + file.read(1)
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] in (_SCAN, _END):
            return
        if marker[1] in _ALONE:
            continue
        [length] = struct.unpack(">H", file.read(2))
        if marker[1] == _APP1:
            yield file.read(length - 2)
        else:
            file.seek(length - 2, 1)


def _joined(parts: dict[int, bytes]) -> bytes | str:
    if sum(map(len, parts.values())) > MOST:
        return f"extended XMP of more than {MOST >> 20} MiB is not read"
    end = 0
    for offset in sorted(parts):
        if offset != end:
            return "a part of its extended XMP is missing"
        end += len(parts[offset])
    return b"".join(parts[offset] for offset in sorted(parts))


# ---- PNG and WebP ----------------------------------------------------------------------------------------------------


def _in_png(file: IO[bytes]) -> Found:
    file.seek(len(png.SIGNATURE))
    for _ in range(PARTS):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        [length] = struct.unpack(">I", head[:4])
        after = file.tell() + length + 4
        if head[4:] == b"iTXt" and file.read(len(_PNG_KEYWORD)) == _PNG_KEYWORD:
            text = _taken(file, length - len(_PNG_KEYWORD))
            yield _unpacked(text) if isinstance(text, bytes) else text
        file.seek(after)


def _unpacked(text: bytes) -> bytes:
    """What stands behind the keyword of an iTXt chunk: flag, method, language, translated keyword, text."""
    packed = text[0]
    content = text[2:].split(b"\0", 2)[2]
    return zlib.decompressobj().decompress(content, MOST) if packed else content


def _in_webp(file: IO[bytes]) -> Found:
    file.seek(12)
    for _ in range(PARTS):
        head = file.read(8)
        if len(head) < 8:
            return
        [length] = struct.unpack("<I", head[4:])
        after = file.tell() + length + length % 2
        if head[:4] == b"XMP ":
            yield _taken(file, length)
        file.seek(after)


# ---- TIFF ------------------------------------------------------------------------------------------------------------


def _in_tiff(file: IO[bytes]) -> Found:
    """Tag 700 of the first directory, also of files above 4 GB."""
    file.seek(0)
    head = file.read(16)
    order, large = "<>"[head[:2] == b"MM"], b"+" in head[2:4]
    word, entry = ("Q", f"{order}HHQQ") if large else ("I", f"{order}HHII")
    [at] = struct.unpack_from(f"{order}{word}", head, 8 if large else 4)
    file.seek(at)
    [count] = struct.unpack(f"{order}{'Q' if large else 'H'}", file.read(8 if large else 2))
    size = struct.calcsize(entry)
    for tag, _, length, offset in struct.iter_unpack(entry, _whole(file.read(min(count, PARTS) * size), size)):
        if tag == _XMP_TAG:
            file.seek(offset)
            yield _taken(file, length)


def _whole(data: bytes, size: int) -> bytes:
    return data[: len(data) - len(data) % size]


# ---- HEIC, AVIF, JPEG XL, CR3 ----------------------------------------------------------------------------------------


def _in_boxes(file: IO[bytes]) -> Found:
    """ISO/IEC 14496-12: boxes of length and type."""
    at = 0
    for _ in range(PARTS):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        length, kind, skipped = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1:
            length, skipped = int.from_bytes(head[8:16], "big"), 16
        file.seek(at + skipped)
        if kind == b"meta":
            yield from _of_items(file, file.read(min(max(length - skipped, 0), heif.MOST)))
        elif kind == b"xml ":
            yield _taken(file, length - skipped)
        elif kind == b"uuid" and file.read(16) == _XMP_BOX:
            yield _taken(file, length - skipped - 16)
        elif kind == b"brob" and file.read(4) == b"xml ":
            yield "its XMP is packed by Brotli, and is not read"
        if length < skipped:  # to the end of the file
            return
        at += length


def _of_items(file: IO[bytes], meta: bytes) -> Found:
    """The items of `meta` (ISO/IEC 14496-12, 8.11) that are XMP."""
    inside = dict(heif.boxes(meta[4:]))
    wanted = set(_xmp_items(inside.get(b"iinf", b"")))
    for item, places in _places(inside.get(b"iloc", b"")) if wanted else ():
        if item in wanted:
            length = sum(size for _, _, size in places)
            if length > MOST:
                yield f"XMP of {length >> 20} MiB is not read (limit {MOST >> 20})"
                continue
            yield b"".join(_part(file, inside.get(b"idat", b""), *place) for place in places)


def _part(file: IO[bytes], own: bytes, method: int, at: int, length: int) -> bytes:
    """`method`: 0: of the file, 1: of the box `idat`."""
    if method == 1:
        return own[at : at + length]
    file.seek(at)
    return file.read(length) if method == 0 else b""


def _xmp_items(infos: bytes) -> Iterator[int]:
    if not infos:
        return
    for kind, info in heif.boxes(infos[6 if infos[0] == 0 else 8 :]):
        wide = 4 if info[:1] == b"\3" else 2  # bytes of the item's number
        rest = info[4 + wide + 2 :]  # type, name, type of content
        if (
            kind == b"infe"
            and info[0] >= 2
            and rest[:4] == b"mime"
            and _XMP_ITEM in rest[4:].partition(b"\0")[2] + b"\0"
        ):
            yield int.from_bytes(info[4 : 4 + wide], "big")


def _places(table: bytes) -> Iterator[tuple[int, list[tuple[int, int, int]]]]:
    """Item → method, offset and length of each of its extents."""
    if not table:
        return
    version, sizes = table[0], [half for byte in table[4:6] for half in (byte >> 4, byte & 15)]
    reader = _Numbers(table, 6)
    wide = 4 if version == 2 else 2
    for _ in range(min(reader.next(wide), PARTS)):
        item = reader.next(wide)
        method = reader.next(2) & 15 if version else 0
        reader.next(2)
        base = reader.next(sizes[2])
        places = []
        for _ in range(reader.next(2)):
            reader.next(sizes[3] if version else 0)
            places.append((method, base + reader.next(sizes[0]), reader.next(sizes[1])))
        yield item, places


class _Numbers:
    def __init__(self, data: bytes, at: int) -> None:
        self._data, self._at = data, at

    def next(self, width: int) -> int:
        """IndexError behind the end."""
        if self._at + width > len(self._data):
            raise IndexError("the box ends")
        self._at += width
        return int.from_bytes(self._data[self._at - width : self._at], "big")
