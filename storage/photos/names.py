"""What stands in a column that names people or kinds, as text."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pyarrow as pa

from muster.errors import InputError

FILES = ("file", "file_name", "image_path")  # columns that hold an image's name; as COCO and Hugging Face have it
EXACT = 1 << 53  # from here on a float no longer tells a whole number from the next


def name_of(where: str, value: Any) -> str | None:
    """None where there is no value. A whole number is written as one, whatever the column's type: where one value is
    missing, pandas writes integers as floats, and 7.0 is nobody's name. InputError for any other float."""
    if value is None or value != value:
        return None
    if isinstance(value, float | Decimal):
        whole = value.is_integer() if isinstance(value, float) else value == value.to_integral_value()
        if not whole or (isinstance(value, float) and abs(value) >= EXACT):
            raise InputError(f"{where}: {value} is a number that is no name: write the column as text")
        return str(int(value))
    return str(value)


def labels_of(where: str, row: Iterable[Any]) -> tuple[str, ...]:
    """The names in a list; what is no name is left out."""
    return tuple(filter(None, (name_of(where, value) for value in row)))


def file_column(rows: pa.Table) -> str:
    """The column that says how each image is called: the first of FILES that holds texts, else `uri`."""
    texts = [name for name in FILES if name in rows.column_names and pa.types.is_string(rows[name].type)]
    return [*texts, "uri"][0]


def names_of(where: str, values: pa.ChunkedArray) -> list[str | None]:
    """The names in an Arrow column."""
    return [name_of(where, value) for value in values.to_pylist()]
