from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.search.dates import MONTHS, Dates, dates

DAYS = st.dates(date(1800, 1, 1), date(2199, 12, 31))


@pytest.mark.parametrize(
    ("text", "first", "after"),
    [
        ("2019", (2019, 1, 1), (2020, 1, 1)),
        ("2019-05", (2019, 5, 1), (2019, 6, 1)),
        ("2019-12", (2019, 12, 1), (2020, 1, 1)),
        ("2020-2-29", (2020, 2, 29), (2020, 3, 1)),
        ("May 2019", (2019, 5, 1), (2019, 6, 1)),
        ("2019 sept.", (2019, 9, 1), (2019, 10, 1)),
        ("3rd  May 2019", (2019, 5, 3), (2019, 5, 4)),
        ("may 3, 2019", (2019, 5, 3), (2019, 5, 4)),
        ("summer 2019", (2019, 6, 1), (2019, 9, 1)),
        ("winter 2019", (2019, 12, 1), (2020, 3, 1)),
        ("2019-05..2020-02", (2019, 5, 1), (2020, 3, 1)),
        ("2020..2019", (2019, 1, 1), (2021, 1, 1)),
        ("summer 2019..may 2020", (2019, 6, 1), (2020, 6, 1)),
    ],
)
def test_spans(text: str, first: tuple[int, int, int], after: tuple[int, int, int]) -> None:
    assert dates(text) == Dates(date(*first), date(*after))


def test_spans_without_an_end() -> None:
    assert dates("2010..") == Dates(first=date(2010, 1, 1))
    assert dates("..2010") == Dates(after=date(2011, 1, 1))


def test_months_and_seasons_of_any_year() -> None:
    assert dates("may") == Dates(months=(5,))
    assert dates("Winter") == Dates(months=(12, 1, 2))


@pytest.mark.parametrize(
    "text", ["", "..", "2019-13", "2019-02-30", "31 april 2019", "0", "1234", "x..2019", "2019..x", "mayor"]
)
def test_no_dates(text: str) -> None:
    assert dates(text) is None


@given(DAYS)
def test_a_day_in_every_form_is_that_day(day: date) -> None:
    month = MONTHS[day.month - 1]
    for text in (day.isoformat(), f"{day.day} {month} {day.year}", f"{month[:3]} {day.day} {day.year}"):
        assert dates(text) == Dates(day, day + timedelta(days=1))


@given(DAYS, DAYS)
def test_a_range_holds_both_its_days(one: date, other: date) -> None:
    found = dates(f"{one}..{other}")
    assert found == Dates(min(one, other), max(one, other) + timedelta(days=1))


@given(st.text())
def test_any_text_is_a_date_or_none(text: str) -> None:
    found = dates(text)
    assert found is None or found.first or found.after or found.months
