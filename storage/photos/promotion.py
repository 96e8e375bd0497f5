"""One type for columns of one name: tables of several files, and of several scans, are put together by it.

As pyarrow's permissive promotion and DuckDB's `union_by_name` do, but only as far as no value changes.
"""

from collections.abc import Callable, Mapping

import pyarrow as pa

from muster.errors import InputError

_DIGITS = {8: 3, 16: 5, 32: 10, 64: 20}  # of an integer of so many bits
_UNITS = ("s", "ms", "us", "ns")
_MOST = 76  # digits of a decimal


TEXTS = {b"muster.folders": b""}  # metadata of a column whose values are texts: names of folders, JSON in an archive


def unite(tables: Mapping[str, pa.Table], texts: bool = False) -> pa.Table:
    """All rows, with the columns of all. `tables`: where they come from → rows; at least one.

    Numbers in the names of folders, and in JSON, become texts where others are: whether all are numbers, a part of them
    cannot tell. `texts`: so do all others. Raises InputError where a column has two types that cannot be made one
    without a loss.
    """
    seen: dict[str, tuple[pa.DataType, str]] = {}
    named = {column.name for table in tables.values() for column in table.schema if column.metadata == TEXTS}
    for name, table in tables.items():
        for column in table.schema:
            known, where = seen.setdefault(column.name, (column.type, name))
            if column.type != known:
                kind = common(known, column.type)
                if kind is None and (texts or column.name in named):
                    kind = _as_texts(known, column.type) or _as_texts(column.type, known)
                if kind is None:
                    raise InputError(
                        f"column {column.name!r} is {known} in {where}, but {column.type} in {name}:"
                        " give it one type, or another name in one of them"
                    )
                seen[column.name] = (kind, where if kind == known else name)
    kinds = {column: kind for column, (kind, _) in seen.items()}
    rows = pa.concat_tables([_cast(name, table, kinds) for name, table in tables.items()], promote_options="default")
    schema = pa.schema([column.with_metadata(TEXTS if column.name in named else None) for column in rows.schema])
    return pa.Table.from_arrays(rows.columns, schema=schema)


def _cast(name: str, table: pa.Table, kinds: Mapping[str, pa.DataType]) -> pa.Table:
    for number, field in enumerate(table.schema):
        kind = kinds[field.name]
        if field.type != kind and not pa.types.is_null(field.type):
            try:
                column = table[field.name].cast(kind)
            except pa.ArrowException as error:
                raise InputError(
                    f"column {field.name!r} is {field.type} in {name}, and not all of it can be {kind} as elsewhere"
                    f" ({error}): give it one type"
                ) from None
            table = table.set_column(number, field.name, column)
    return table


def common(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both; None where there is none. Of some values it may hold none: a cast tells,
    as of integers of more than 53 bits in floats."""
    if a == b or pa.types.is_null(b):
        return a
    if pa.types.is_null(a):
        return b
    return next((kind for rule in _RULES if (kind := rule(a, b) or rule(b, a)) is not None), None)


def _integers(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    if not (pa.types.is_integer(a) and pa.types.is_integer(b)):
        return None
    if pa.types.is_signed_integer(a) == pa.types.is_signed_integer(b):
        return max(a, b, key=lambda kind: kind.bit_width)
    return pa.int64()


def _floats(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    if not pa.types.is_floating(a):
        return None
    if pa.types.is_integer(b):
        return pa.float64()
    return max(a, b, key=lambda kind: kind.bit_width) if pa.types.is_floating(b) else None


def _decimals(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    if not pa.types.is_decimal(a) or not (pa.types.is_decimal(b) or pa.types.is_integer(b)):
        return None
    whole, scale = (b.precision - b.scale, b.scale) if pa.types.is_decimal(b) else (_DIGITS[b.bit_width], 0)
    scale = max(a.scale, scale)
    digits = max(a.precision - a.scale, whole) + scale
    return (pa.decimal128 if digits <= 38 else pa.decimal256)(digits, scale) if digits <= _MOST else None


def _times(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """The finer unit; instants of two zones are in UTC. A date is its midnight, as DuckDB has it."""
    if pa.types.is_date(a) and pa.types.is_date(b):
        return pa.date32()
    if not pa.types.is_timestamp(a):
        return None
    if pa.types.is_date(b):
        return a if a.tz is None else None
    if not pa.types.is_timestamp(b) or (a.tz is None) != (b.tz is None):
        return None
    return pa.timestamp(_finer(a, b), a.tz if a.tz == b.tz else "UTC")


def _clocks(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    if pa.types.is_duration(a) and pa.types.is_duration(b):
        return pa.duration(_finer(a, b))
    if not (pa.types.is_time(a) and pa.types.is_time(b)):
        return None
    unit = _finer(a, b)
    return pa.time32(unit) if unit == "ms" else pa.time64(unit)


def _finer(a: pa.DataType, b: pa.DataType) -> str:
    return max(a.unit, b.unit, key=_UNITS.index)


def _as_texts(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    return pa.string() if _is_number(a) and (_is_number(b) or _is_text(b)) else None


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _texts(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """As Parquet has them: wherever pandas, Polars or `datasets` wrote them, the same texts, or the same bytes."""
    if pa.types.is_dictionary(a):
        return common(a.value_type, b)
    if _is_text(a) and _is_text(b):
        return pa.string()
    return pa.binary() if _is_bytes(a) and _is_bytes(b) else None


def _is_text(kind: pa.DataType) -> bool:
    return any(check(kind) for check in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))


def _is_bytes(kind: pa.DataType) -> bool:
    known = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(check(kind) for check in known)


def _nested(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    if pa.types.is_map(a) and pa.types.is_map(b):
        key, item = common(a.key_type, b.key_type), common(a.item_type, b.item_type)
        return pa.map_(key, item) if key is not None and item is not None else None
    if pa.types.is_struct(a) and pa.types.is_struct(b):
        return _structs(a, b)
    if _is_list(a) and _is_list(b):
        item = common(a.value_type, b.value_type)
        return None if item is None else pa.list_(item)
    return None


def _is_list(kind: pa.DataType) -> bool:
    known = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list, pa.types.is_list_view)
    return any(check(kind) for check in known)


def _structs(a: pa.DataType, b: pa.DataType) -> pa.DataType | None:
    """The fields of both; those that only one has are null in the other."""
    kinds = {field.name: field.type for field in a}
    for field in b:
        kind = common(kinds.get(field.name, pa.null()), field.type)
        if kind is None:
            return None
        kinds[field.name] = kind
    return pa.struct(kinds.items())


_RULES: tuple[Callable[[pa.DataType, pa.DataType], pa.DataType | None], ...] = (
    _integers,
    _floats,
    _decimals,
    _times,
    _clocks,
    _texts,
    _nested,
)
