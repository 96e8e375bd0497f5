"""Rows of what a scan finds: each names an image, with what a user says of it."""

from collections.abc import Container, Iterable, Mapping

import pyarrow as pa

from muster.storage.photos.listing import File

SCHEMA = pa.schema({"uri": pa.string(), "size": pa.int64(), "modified": pa.timestamp("us", "UTC")})
RESERVED = ("image_id", "uri", "size", "modified", "source")  # a user column of this name is kept as user_<name>


def rows_of(files: Iterable[File]) -> pa.Table:
    uris, sizes, times = zip(*rows, strict=True) if (rows := list(files)) else ((), (), ())
    return pa.table([pa.array(c, t) for c, t in zip((uris, sizes, times), SCHEMA.types, strict=True)], schema=SCHEMA)


def with_user_columns(rows: pa.Table, columns: Mapping[str, tuple[pa.Field, pa.ChunkedArray]]) -> pa.Table:
    """Those of a user beside ours; one that has a name of ours gets another."""
    for name, (kind, values) in columns.items():
        rows = rows.append_column(kind.with_name(free_name(name, {*RESERVED, *rows.schema.names})), values)
    return rows


def free_name(name: str, taken: Container[str]) -> str:
    while name in taken:
        name = f"user_{name}"
    return name
