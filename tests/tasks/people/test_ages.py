from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.tasks.people.ages import AGES, TIMES, UNKNOWN, age_band, time_band


@pytest.mark.parametrize(
    ("at", "band"),
    [
        (date(2012, 2, 28), UNKNOWN),
        (date(2012, 2, 29), "0-5"),
        (date(2018, 2, 28), "0-5"),
        (date(2018, 3, 1), "6-12"),
        (date(2025, 2, 28), "6-12"),
        (date(2025, 3, 1), "13-17"),
        (date(2030, 2, 28), "13-17"),
        (date(2030, 3, 1), "18 and over"),
        (None, UNKNOWN),
    ],
)
def test_birthdays(at: date | None, band: str) -> None:
    assert age_band(date(2012, 2, 29), at) == band
    assert age_band(None, at) == UNKNOWN


@given(st.dates(date(1950, 1, 1), date(2050, 1, 1)), st.integers(0, 20_000), st.integers(0, 20_000))
def test_nobody_grows_younger(born: date, first: int, more: int) -> None:
    bands = [AGES.index(age_band(born, born + timedelta(days=days))) for days in (first, first + more)]
    assert bands == sorted(bands)


def test_time_between_photos() -> None:
    day = date(2020, 1, 1)
    for days, band in ((0, 0), (365, 0), (366, 1), (1095, 1), (1096, 2)):
        assert time_band(day, day + timedelta(days=days)) == TIMES[band]
        assert time_band(day + timedelta(days=days), day) == TIMES[band]
    assert time_band(None, day) == time_band(day, None) == UNKNOWN
