"""What the columns of a Parquet file take in memory, by the headers of their pages, before any page is read.

The footer may say anything. A page's header may not: Arrow makes room for the size it names, and refuses a page that
holds more. What remains is what a page stands for: a value that many rows share is in it once, by an entry of a
dictionary, or by a prefix (DELTA_BYTE_ARRAY).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

WINDOW, LONGEST = 1 << 12, 16 << 20  # bytes of a header: read at first, and at most (as Arrow)
DICTIONARY_PAGE = 2


class Source(Protocol):
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def read(self, size: int, /) -> bytes: ...


class Page(NamedTuple):
    """`size`: its bytes; `packed`: as they are stored. `values`: of a page of data, nulls too."""

    size: int
    packed: int
    values: int
    dictionary: bool


@dataclass(frozen=True)
class Column:
    """One column of one row group. `raw`: bytes of its values, a shared one counted once; `shared`: of the largest
    page with values that rows may share; `most`: of all values, if each were as large as that. `largest`: bytes of one
    of its pages; `packed`: of that one, as it is stored.
    """

    path: str
    raw: int
    shared: int
    most: int
    largest: int
    packed: int


def column(source: Source, file: pq.ParquetFile, group: int, number: int) -> Column:
    """Raises ArrowInvalid where the pages are not as the footer says, and what reading raises."""
    facts, schema = file.metadata.row_group(group).column(number), file.schema.column(number)
    try:
        pages = list(_pages(source, facts))
    except (IndexError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise pa.ArrowInvalid(f"the pages of column {facts.path_in_schema} are damaged") from error
    width = schema.length if schema.physical_type == "FIXED_LEN_BYTE_ARRAY" else 8
    values = sum(page.values for page in pages)
    raw = sum(page.size for page in pages) + values * width
    largest = max(pages, key=lambda page: page.size, default=Page(0, 0, 0, False))
    shared = 0
    if schema.physical_type == "BYTE_ARRAY":
        shared = max((p.size for p in pages if p.dictionary or "DELTA_BYTE_ARRAY" in facts.encodings), default=0)
    return Column(
        path=facts.path_in_schema,
        raw=raw,
        shared=shared,
        most=raw + values * shared,
        largest=largest.size,
        packed=largest.packed,
    )


def _pages(source: Source, facts: pq.ColumnChunkMetaData) -> Iterator[Page]:
    """As far as Arrow reads them."""
    at = min(filter(None, (facts.dictionary_page_offset, facts.data_page_offset)))
    end, values = at + facts.total_compressed_size, facts.num_values
    while at < end and values > 0:
        header, length = _header(source, at)
        size, packed = header[2], header[3]
        if size < 0 or packed < 0:
            raise ValueError(size, packed)
        inner = header.get(5) or header.get(8) or {}
        count = inner.get(1, 0)
        yield Page(size, packed, count, header[1] == DICTIONARY_PAGE)
        values -= count
        at += length + packed


def _header(source: Source, at: int) -> tuple[dict[int, Any], int]:
    """The PageHeader of parquet.thrift at this place, by field number, and its length."""
    window = WINDOW
    while True:
        source.seek(at)
        data = source.read(window)
        try:
            return _struct(data, 0)
        except IndexError:
            if len(data) < window or window >= LONGEST:
                raise
            window *= 16


# ---- Thrift's compact protocol ---------------------------------------------------------------------------------------


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Fields by number, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while kind := data[at]:
        at += 1
        if kind >> 4:
            number += kind >> 4
        else:
            number, at = _integer(data, at)
        fields[number], at = _value(data, at, kind & 15)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (1, 2):  # a field that is true or false has no value of its own
        return kind == 1, at
    if kind == 3:
        return data[at], at + 1
    if kind in (4, 5, 6):
        return _integer(data, at)
    if kind == 7:
        return None, at + 8
    if kind == 8:
        length, at = _varint(data, at)
        return None, at + length
    if kind == 12:
        return _struct(data, at)
    raise ValueError(f"a header has no field of type {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
        if byte < 128:
            return value, at


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return value >> 1 ^ -(value & 1), at
