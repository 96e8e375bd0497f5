"""Rows of Arrow files, such as `datasets` of Hugging Face saves and caches: mapped into memory, and never read whole.

Both of Arrow's formats: the file format is the stream format between a mark and a footer. Files of this machine alone.
"""

import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate

import numpy as np
import pyarrow as pa

from muster.arrays import Bools
from muster.errors import ImageError, InputError
from muster.storage.files import open_regular
from muster.storage.photos.containers import Container, Items
from muster.storage.photos.image_column import ImageColumn, image_column, images_of
from muster.storage.photos.listing import File
from muster.storage.photos.parquet_rows import Columns, Listed, fields_of, gathered, images_in, photo_rows
from muster.storage.photos.rows import with_user_columns
from muster.storage.photos.wishes import Wishes
from muster.storage.uris import local_path

_MARK = b"ARROW1\0\0"


def _map(uri: str) -> pa.MemoryMappedFile:
    """At the beginning of the stream. Raises OSError or ArrowInvalid."""
    path = local_path(uri)
    if path is None:
        raise pa.ArrowInvalid("Arrow files are read on this machine alone: download it, or write it as Parquet")
    with open_regular(path) as opened:  # by its number: Arrow would open a pipe
        source = pa.memory_map(f"/dev/fd/{opened.fileno()}")
    if source.read(len(_MARK)) != _MARK:
        source.seek(0)
    return source


def _batches(uri: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Schema and rows, as they lie in the file. What they hold has to be validated before it is looked at."""
    _check_plain(_map(uri))
    reader = pa.ipc.open_stream(_map(uri))
    try:
        _names(reader.schema)
    except UnicodeDecodeError:
        raise pa.ArrowInvalid("the name of a column is not UTF-8") from None
    return reader.schema, iter(reader)


def _names(fields: Iterable[pa.Field]) -> list[str]:
    """Of columns, and of what they are made of. Raises UnicodeDecodeError."""
    parts = ((each.name, each.type) for each in fields)
    return [
        name
        for own, kind in parts
        for name in (own, *(_names(map(kind.field, range(kind.num_fields))) if pa.types.is_nested(kind) else ()))
    ]


def _check_plain(source: pa.MemoryMappedFile) -> None:
    """ArrowInvalid where batches are compressed: Arrow unpacks them whole, whatever they say that they take."""
    for message in pa.ipc.MessageReader.open_stream(source):
        if message.type in ("record batch", "dictionary") and _is_compressed(message.metadata.to_pybytes()):
            raise pa.ArrowInvalid("its batches are compressed: write them without compression, or as Parquet")


def _is_compressed(metadata: bytes) -> bool:
    """By Arrow's Message.fbs: Message.header is field 2, DictionaryBatch.data 1, RecordBatch.compression 3."""
    try:
        message = _follow(metadata, 0)
        kind = metadata[_field(metadata, message, 1)]
        batch = _follow(metadata, _field(metadata, message, 2))
        if kind == 2:  # DictionaryBatch
            batch = _follow(metadata, _field(metadata, batch, 1))
        return _field(metadata, batch, 3) != 0
    except (struct.error, IndexError) as error:
        raise pa.ArrowInvalid("a message of it is damaged") from error


def _follow(table: bytes, at: int) -> int:
    """Where an offset of a flatbuffer leads."""
    offset: int = struct.unpack_from("<I", table, at)[0]
    return at + offset


def _field(buffer: bytes, table: int, number: int) -> int:
    """Where a field of a flatbuffer's table stands; 0 where it is left out."""
    names = table - struct.unpack_from("<i", buffer, table)[0]
    size, slot = struct.unpack_from("<H", buffer, names)[0], 4 + 2 * number
    offset: int = struct.unpack_from("<H", buffer, names + slot)[0] if slot < size else 0
    return table + offset if offset else 0


def _list(file: File, wishes: Wishes) -> Items:
    """Raises InputError."""
    listed = Listed()
    try:
        schema, batches = _batches(file.uri)
        columns = Columns(file.uri, schema, *images_in(file.uri, schema, wishes.column))
        table = gathered(columns, map(columns.kept, map(_validated, batches)), listed)
        lacking = columns.image and _lacking(file.uri, columns.image)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {file.uri} as Arrow: {error}") from None
    rows, users = photo_rows(columns, table, lacking, file.modified, listed)
    return Items(with_user_columns(rows, fields_of(users)), skipped=listed.skipped)


def _validated(batch: pa.RecordBatch) -> pa.RecordBatch:
    batch.validate(full=True)
    return batch


def _lacking(uri: str, image: ImageColumn) -> Bools:
    """Which rows have no bytes. Raises as `gathered` does, whose rows these are."""
    parts = [images_of(batch, image).is_null().to_numpy(zero_copy_only=False) for batch in _batches(uri)[1]]
    return np.concatenate([np.zeros(0, bool), *parts])


class _Arrow:
    def __init__(self, uri: str) -> None:
        schema, batches = _batches(uri)
        image = image_column(schema)
        if image is None:
            raise pa.ArrowInvalid("no column of images")
        self._image, self._batches = image, list(batches)
        self._starts = [0, *accumulate(len(batch) for batch in self._batches)]
        self._checked = np.zeros(len(self._batches), bool)

    def read(self, key: str) -> bytes:
        row = int(key)
        if not 0 <= row < self._starts[-1]:
            raise ImageError("unreadable", f"its file has {self._starts[-1]} rows")
        number = bisect_right(self._starts, row) - 1
        images = images_of(self._batches[number], self._image)
        if not self._checked[number]:
            images.validate(full=True)
            self._checked[number] = True
        data: bytes | None = images[row - self._starts[number]].as_py()
        if data is None:
            raise ImageError("empty", "the row has no bytes")
        return data

    def close(self) -> None:
        self._batches = []


CONTAINER = Container(suffixes=(".arrow",), list=_list, open=_Arrow)
