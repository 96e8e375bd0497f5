from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.gallery.dates import Order, order_of, parsed

NONE = Order("", "")
DAY = date(2027, 7, 31)


@pytest.mark.parametrize(
    "text",
    [
        "2027-07-31", "2027/7/31", "2027.07.31", "20270731", "31.07.2027", "31. 7. 2027", "31/07/2027", "07/31/2027",
        "31-07-2027", "7-31-2027", "31 July 2027", "31. Juli 2027", "31-Jul-2027", "July 31, 2027", "Jul 31 2027",
        "31st july 2027", "2027-07-31 00:00:00", "2027-07-31T00:00:00Z", "31.07.2027 00:00", "7/31/2027 12:00:00 AM",
        "31\u00a0July\u00a02027", "2027-07-31 00:00:00+02:00", "2027-07-31 00:00:00.000",
    ],
)  # fmt: skip
def test_common_forms(text: str) -> None:
    assert parsed(text, NONE) == DAY


@pytest.mark.parametrize("text", ["1. März 2027", "1. Ma\u0308rz 2027", "1. Mrz 2027", "1 mar 2027", "March 1, 2027"])
def test_march(text: str) -> None:
    assert parsed(text, NONE) == date(2027, 3, 1)


@given(st.dates(date(1000, 1, 1)), st.sampled_from(["/", "-"]))
def test_the_other_dates_say_which_is_the_day(day: date, mark: str) -> None:
    by_day, by_month = (
        f"{day.day}{mark}{day.month}{mark}{day.year:04}",
        f"{day.month}{mark}{day.day}{mark}{day.year:04}",
    )
    assert parsed(by_day, order_of(["", "1/2/2027", "31/01/2027"])) == day
    assert parsed(by_month, order_of(["2027-01-01", "01/31/2027 00:00"])) == day
    if day.day > 12 or day.day == day.month:
        assert parsed(by_day, NONE) == parsed(by_month, NONE) == day
    else:
        with pytest.raises(ValueError, match=f"may be .*{day}.*, and no other date here says which"):
            parsed(by_day, NONE)


def test_a_column_that_contradicts_itself() -> None:
    order = order_of(["31/01/2027", "03/04/2027", "01/31/2027"])
    assert order == Order("31/01/2027", "01/31/2027")
    with pytest.raises(ValueError, match="2027-04-03 or 2027-03-04: in 31/01/2027 the day comes first, in 01/31/2027"):
        parsed("03/04/2027", order)
    assert parsed("31/01/2027", order) == parsed("01/31/2027", order) == date(2027, 1, 31)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("31.07.27", "its year has two digits"),
        ("31-Jul-27", "its year has two digits"),
        ("July 31, 27", "its year has two digits"),
        ("46599", "how a spreadsheet counts days"),
        ("31.02.2027", "there is no such day"),
        ("07.31.2027", "there is no such day"),
        ("2027-13-01", "there is no such day"),
        ("13/13/2027", "there is no such day"),
        ("31 Juno 2027", "juno is no month"),
        ("for ever", "write a date as 2027-07-31"),
        ("-", "write a date as 2027-07-31"),
        ("2027", "write a date as 2027-07-31"),
    ],
)
def test_what_is_no_date(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parsed(text, NONE)
