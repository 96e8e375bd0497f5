"""Columns of one name and several types become one, and no value changes."""

from datetime import date, datetime
from decimal import Decimal
from itertools import product
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import InputError
from muster.storage.photos.promotion import TEXTS, common, unite

NUMBERS = {
    pa.int8(): (-128, 127),
    pa.int32(): (-(2**31), 2**31 - 1),
    pa.int64(): (-(2**63), 2**63 - 1),
    pa.uint8(): (0, 255),
    pa.uint32(): (0, 2**32 - 1),
    pa.uint64(): (0, 2**64 - 1),
}
TYPES = [
    *NUMBERS,
    *(pa.null(), pa.bool_(), pa.float32(), pa.float64(), pa.decimal128(5, 2), pa.decimal128(38, 10)),
    *(pa.timestamp("s"), pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.timestamp("ns", "Europe/Berlin")),
    *(pa.date32(), pa.date64(), pa.time32("s"), pa.time32("ms"), pa.time64("ns"), pa.duration("s"), pa.duration("us")),
    *(pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())),
    *(pa.binary(), pa.large_binary(), pa.binary(3), pa.binary_view()),
    *(pa.list_(pa.null()), pa.list_(pa.int32()), pa.large_list(pa.float32()), pa.list_(pa.int64(), 3)),
    *(pa.struct([("a", pa.int32())]), pa.struct([("a", pa.int64()), ("b", pa.string())])),
    *(pa.map_(pa.string(), pa.int32()), pa.map_(pa.string(), pa.float64())),
]


def united(*columns: pa.Array) -> pa.ChunkedArray:
    return unite({f"{number}.parquet": pa.table({"x": column}) for number, column in enumerate(columns)})["x"]


@given(st.data())
def test_no_number_changes(data: st.DataObject) -> None:
    """Or the two are refused."""
    columns = []
    for _ in range(2):
        kind = data.draw(st.sampled_from([*NUMBERS, pa.float32(), pa.float64()]))
        values = st.integers(*NUMBERS[kind]) if kind in NUMBERS else st.floats(width=kind.bit_width, allow_nan=False)
        columns.append(pa.array(data.draw(st.lists(values | st.none(), max_size=5)), kind))
    try:
        values = united(*columns).to_pylist()
    except InputError:
        return
    assert values == [value for column in columns for value in column.to_pylist()]


@given(a=st.sampled_from(TYPES), b=st.sampled_from(TYPES), c=st.sampled_from(TYPES))
def test_in_any_order(a: pa.DataType, b: pa.DataType, c: pa.DataType) -> None:
    """So that what one scan could put together, the next can too, whichever shard comes first."""
    whole = [kind and common(kind, c) for kind in [common(a, b)]] + [
        kind and common(a, kind) for kind in [common(b, c)]
    ]
    assert common(a, b) == common(b, a)
    if None not in whole and not any(map(pa.types.is_decimal, (a, b, c))):  # of which a bound of the digits is enough
        assert whole[0] == whole[1]


@pytest.mark.parametrize(("a", "b"), [pair for pair in product(TYPES, TYPES) if common(*pair) is not None])
def test_what_has_one_type_can_be_cast(a: pa.DataType, b: pa.DataType) -> None:
    assert united(pa.nulls(1, a), pa.nulls(2, b)).null_count == 3


@pytest.mark.parametrize(
    ("a", "b", "kind", "values"),
    [
        (pa.array([1], pa.int32()), pa.array([2**40]), pa.int64(), [1, 2**40]),
        (pa.array([2**53]), pa.array([0.5]), pa.float64(), [2.0**53, 0.5]),
        (pa.array([1, None]), pa.array([2.0, None], pa.float32()), pa.float64(), [1.0, None, 2.0, None]),
        (pa.array([7], pa.uint64()), pa.array([-7]), pa.int64(), [7, -7]),
        (pa.array([[]], pa.list_(pa.null())), pa.array([["x"], None]), pa.list_(pa.string()), [[], ["x"], None]),
        (pa.array([[1]]), pa.array([[0.5]]), pa.list_(pa.float64()), [[1.0], [0.5]]),
        (pa.nulls(1), pa.array(["x"]), pa.string(), [None, "x"]),
        (pa.array(["x"]), pa.array(["y"]).dictionary_encode(), pa.string(), ["x", "y"]),
        (pa.array([b"x"]), pa.array([b"yy"], pa.binary(2)), pa.binary(), [b"x", b"yy"]),
        (
            pa.array([datetime(2020, 1, 1)], pa.timestamp("us")),
            pa.array([datetime(2021, 1, 1)], pa.timestamp("ns")),
            pa.timestamp("ns"),
            [datetime(2020, 1, 1), datetime(2021, 1, 1)],
        ),
        (
            pa.array([0], pa.timestamp("us", "Europe/Berlin")),
            pa.array([1], pa.timestamp("us", "+00:00")),
            pa.timestamp("us", "UTC"),
            None,
        ),
        (
            pa.array([date(2020, 1, 2)]),
            pa.array([datetime(2021, 1, 1)], pa.timestamp("us")),
            pa.timestamp("us"),
            [datetime(2020, 1, 2), datetime(2021, 1, 1)],
        ),
        (
            pa.array([Decimal("1.25")]),
            pa.array([10**6], pa.int32()),
            pa.decimal128(12, 2),
            [Decimal("1.25"), Decimal("1000000.00")],
        ),
        (
            pa.array([{"a": 1}]),
            pa.array([{"a": 0.5, "b": "x"}]),
            pa.struct([("a", pa.float64()), ("b", pa.string())]),
            [{"a": 1.0, "b": None}, {"a": 0.5, "b": "x"}],
        ),
    ],
)
def test_kinds(a: pa.Array, b: pa.Array, kind: pa.DataType, values: list[Any] | None) -> None:
    column = united(a, b)
    assert column.type == kind
    assert values is None or column.to_pylist() == values


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (pa.array(["x"]), pa.array([1])),
        (pa.array([True]), pa.array([1])),
        (pa.array(["x"]), pa.array([b"x"])),
        (pa.array([0], pa.timestamp("us")), pa.array([0], pa.timestamp("us", "UTC"))),  # of which zone?
        (pa.array([Decimal("1.25")]), pa.array([0.1])),
        (pa.array([["x"]]), pa.array([[1]])),
    ],
)
def test_what_cannot_be_one_names_both_files(a: pa.Array, b: pa.Array) -> None:
    with pytest.raises(InputError, match=r"column 'x' is .* in 0.parquet, but .* in 1.parquet: give it one type"):
        united(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (pa.array([2**53 + 1]), pa.array([0.5])),
        (pa.array([2**63], pa.uint64()), pa.array([-1])),
        (pa.array([datetime(1, 1, 1)], pa.timestamp("us")), pa.array([0], pa.timestamp("ns"))),
    ],
)
def test_a_value_that_would_change_is_refused(a: pa.Array, b: pa.Array) -> None:
    with pytest.raises(InputError, match=r"column 'x' is .* in 0.parquet, and not all of it can be .* one type"):
        united(a, b)


def test_numbers_in_names_of_folders_become_texts() -> None:
    """Where some are: which type they have depends on which of them were scanned together."""
    number, text = (
        pa.table([pa.array([value])], schema=pa.schema([pa.field("x", kind, metadata=TEXTS)]))
        for value, kind in {7: pa.int64(), "anna": pa.string()}.items()
    )
    both = unite({"0.parquet": number, "1.parquet": text})
    assert both["x"].to_pylist() == ["7", "anna"]
    assert unite({"the library": pa.table({"x": [8]}), "the sources": both})["x"].to_pylist() == ["8", "7", "anna"]
    assert unite({"the library": pa.table({"x": ["8"]}), "the sources": number})["x"].to_pylist() == ["8", "7"]
    assert unite({"0.parquet": number, "1.parquet": number})["x"].to_pylist() == [7, 7]
    assert unite({"0": pa.table({"x": [7]}), "1": pa.table({"x": ["y"]})}, texts=True)["x"].to_pylist() == ["7", "y"]
