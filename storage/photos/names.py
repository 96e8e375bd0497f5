"""What stands in a column that names people or kinds, as text."""

from decimal import Decimal
from typing import Any

from muster.errors import InputError

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


def names_of(where: str, values: Any) -> list[str | None]:
    """The names in an Arrow column."""
    return [name_of(where, value) for value in values.to_pylist()]
