"""Names are text, whatever type their column has."""

from decimal import Decimal
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import InputError
from muster.storage.photos.names import EXACT, name_of, names_of


@given(st.integers(1 - EXACT, EXACT - 1))
def test_whole_numbers_in_every_type(number: int) -> None:
    assert {name_of("x", kind(number)) for kind in (int, float, Decimal, str)} == {str(number)}


def test_as_pandas_writes_integers_of_which_one_is_missing() -> None:
    frame = pd.DataFrame({"person_id": [7, None, 12]})
    assert names_of("x", pa.Table.from_pandas(frame)["person_id"]) == ["7", None, "12"]


@pytest.mark.parametrize("value", [7.5, float("inf"), float(EXACT), Decimal("7.5")])
def test_other_numbers_are_refused(value: Any) -> None:
    with pytest.raises(InputError, match=r"person_id: .* is a number that is no name"):
        name_of("person_id", value)


@pytest.mark.parametrize(
    ("value", "name"), [(None, None), (float("nan"), None), ("", ""), (True, "True"), ("7.0", "7.0")]
)
def test_other_values(value: Any, name: str | None) -> None:
    assert name_of("x", value) == name
