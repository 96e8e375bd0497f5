"""Dates as people and spreadsheets write them. What may be two days is decided by the other dates, or not at all."""

import re
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

from muster.storage.texts import normal

_ENGLISH = "january february march april may june july august september october november december"
_GERMAN = "januar februar märz april mai juni juli august september oktober november dezember"
_TIME = re.compile(r"[T ]+\d{1,2}:\d\d(:\d\d([.,]\d+)?)?( ?[AP]M)?( ?(Z|UTC|[+-]\d\d:?\d\d))?$", re.IGNORECASE)
_DAY_OR_MONTH_FIRST = re.compile(r"(\d{1,2})([/-])(\d{1,2})\2(\d{4})")
_FORMS = (
    re.compile(r"(?P<year>\d{4})([./-])(?P<month>\d{1,2})\2(?P<day>\d{1,2})"),
    re.compile(r"(?P<day>\d{1,2})\. ?(?P<month>\d{1,2})\. ?(?P<year>\d{4})"),
    re.compile(r"(?P<day>\d{1,2})(?:st|nd|rd|th|\.)?[ -]*(?P<month>[a-zä]{3,})\.?,?[ -]*(?P<year>\d{4})"),
    re.compile(r"(?P<month>[a-zä]{3,})\.? (?P<day>\d{1,2})(?:st|nd|rd|th)?,? (?P<year>\d{4})"),
)
_SHORT_YEAR = re.compile(
    r"\d{1,2}([./-]) ?\d{1,2}\1 ?\d{2}|\d{1,2}[. -]+[a-zä]{3,}[. -]+\d{2}|[a-zä]{3,}\.? \d{1,2}, ?\d{2}"
)
_OTHER_NAMES = {"mrz": "märz", "maerz": "märz", "jänner": "januar"}
_HOW = "write a date as 2027-07-31"


class Order(NamedTuple):
    """What the dates of a column that name day and month by numbers show of which comes first: one of each, or "".

    Both, where the column contradicts itself."""

    day_first: str
    month_first: str


def order_of(texts: Iterable[str]) -> Order:
    """By those in which only one of two numbers can be a month."""
    shown = {"day": "", "month": ""}
    for text in texts:
        if found := _DAY_OR_MONTH_FIRST.fullmatch(_without_time(text)):
            first, second = int(found[1]), int(found[3])
            if first > 12 >= second:
                shown["day"] = shown["day"] or text
            elif second > 12 >= first:
                shown["month"] = shown["month"] or text
    return Order(shown["day"], shown["month"])


def parsed(text: str, order: Order) -> date:
    """The day that is written; ValueError, which says why and what to do, where that is no date, or may be two."""
    plain = _without_time(text)
    if found := _DAY_OR_MONTH_FIRST.fullmatch(plain):
        return _by_order(int(found[1]), int(found[3]), int(found[4]), order)
    if re.fullmatch(r"\d{8}", plain):
        return _date(int(plain[:4]), int(plain[4:6]), int(plain[6:]))
    for form in _FORMS:
        if found := form.fullmatch(plain):
            return _date(int(found["year"]), _month(found["month"]), int(found["day"]))
    if _SHORT_YEAR.fullmatch(plain):
        raise ValueError(f"its year has two digits: {_HOW}")
    if re.fullmatch(r"\d{5}([.,]\d+)?", plain):
        raise ValueError(f"that is how a spreadsheet counts days: show the column as dates there, or {_HOW}")
    raise ValueError(_HOW)


def _without_time(text: str) -> str:
    return _TIME.sub("", " ".join(normal(text).split())).lower()


def _by_order(first: int, second: int, year: int, order: Order) -> date:
    if first > 12 or second > 12 or first == second:
        return _date(year, *((first, second) if second > 12 else (second, first)))
    by_day, by_month = date(year, second, first), date(year, first, second)
    if order.day_first and order.month_first:
        raise ValueError(
            f"it may be {by_day} or {by_month}: in {order.day_first} the day comes first, in {order.month_first} the"
            f" month; {_HOW}"
        )
    if not (order.day_first or order.month_first):
        raise ValueError(f"it may be {by_day} or {by_month}, and no other date here says which: write the one it is")
    return by_day if order.day_first else by_month


def _month(text: str) -> int:
    """By its number, or its English or German name, at least three letters of it."""
    if text.isdecimal():
        return int(text)
    for names in (_ENGLISH, _GERMAN):
        for number, name in enumerate(names.split(), 1):
            if name.startswith(_OTHER_NAMES.get(text, text)):
                return number
    raise ValueError(f"{text} is no month: {_HOW}")


def _date(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        raise ValueError(f"there is no such day: {_HOW}") from None
