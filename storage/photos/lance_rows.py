"""Rows of Lance data sets: folders `x.lance`, of which each row is found by its number. On this machine alone.

Read by pylance, an extra; without it nothing here is imported.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from muster.errors import ImageError, InputError
from muster.storage.photos.containers import Container, Items
from muster.storage.photos.first_bytes import LANCE
from muster.storage.photos.image_column import ImageColumn, image_column, images_of
from muster.storage.photos.listing import File
from muster.storage.photos.parquet_rows import Columns, Listed, fields_of, gathered, images_in, photo_rows
from muster.storage.photos.rows import with_user_columns
from muster.storage.photos.wishes import Wishes
from muster.storage.rust import no_panic
from muster.storage.uris import local_path


def _open(uri: str) -> Any:
    """The data set. Raises OSError or ArrowInvalid."""
    import lance

    path = local_path(uri)
    if path is None:
        raise pa.ArrowInvalid("Lance is read on this machine alone: download it, or write it as Parquet")
    try:
        with no_panic():
            return lance.dataset(path)
    except (ValueError, RuntimeError) as error:
        raise pa.ArrowInvalid(_short(error)) from None


def _list(file: File, wishes: Wishes) -> Items:
    """Raises InputError."""
    listed = Listed()
    try:
        data = _open(file.uri)
        columns = Columns(file.uri, data.schema, *images_in(file.uri, data.schema, wishes.column))
        read = {name: _sql(path) for name, path in columns.wanted.items()}
        table = gathered(columns, (_plain(columns, batch) for batch in _scan(data, read)), listed)
        lacking = None
        if columns.image:
            flags = [batch["lacks"] for batch in _scan(data, {"lacks": f"{_sql(columns.image.leaf)} IS NULL"})]
            lacking = np.concatenate([np.zeros(0, bool), *(f.to_numpy(zero_copy_only=False) for f in flags)])
    except (pa.ArrowException, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read {file.uri} as Lance: {_short(error)}") from None
    rows, users = photo_rows(columns, table, lacking, file.modified, listed)
    return Items(with_user_columns(rows, fields_of(users)), skipped=listed.skipped)


def _scan(data: Any, columns: dict[str, str]) -> Iterator[pa.RecordBatch]:
    """`columns`: name → SQL."""
    with no_panic():
        yield from data.scanner(columns=columns, scan_in_order=True).to_batches() if columns else ()


def _sql(path: str) -> str:
    return ".".join(f"`{part}`" for part in path.split("."))


def _plain(columns: Columns, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Under their plain types."""
    return pa.RecordBatch.from_pydict({each.name: batch[each.name].cast(each.type) for each in columns.schema})


def _short(error: Exception) -> str:
    """What it says, without the places in the code of Lance that stand behind it."""
    return str(error).partition(", /")[0]


class _Lance:
    def __init__(self, uri: str) -> None:
        self._data = _open(uri)
        self._rows = self._data.count_rows()
        image = image_column(self._data.schema)
        if image is None:
            raise pa.ArrowInvalid("no column of images")
        self._image: ImageColumn = image

    def read(self, key: str) -> bytes:
        row = int(key)
        if not 0 <= row < self._rows:
            raise ImageError("unreadable", f"its data set has {self._rows} rows")
        try:
            with no_panic():
                found = self._data.take([row], columns=[self._image.leaf])
        except (ValueError, RuntimeError) as error:
            raise pa.ArrowInvalid(_short(error)) from None
        data: bytes | None = images_of(found.to_batches()[0], self._image)[0].as_py()
        if data is None:
            raise ImageError("empty", "the row has no bytes")
        return data

    def close(self) -> None:
        self._data = None


CONTAINER = Container(suffixes=(LANCE,), list=_list, open=_Lance)
