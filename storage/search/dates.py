"""Dates as people type them: 2019, 2019-05, 2019-05-03, may 2019, 3 may 2019, summer 2019, may, 2019-05..2020-02.

Times are those of the photos, local and without a zone. A season is that of the north: spring begins on 1 March, summer
on 1 June, autumn on 1 September, winter on 1 December of the year that is named. A month or season alone is that of any
year.
"""

import re
from dataclasses import dataclass, field
from datetime import date, timedelta

MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}  # the month that each begins in
_MONTH = {name: number for number, word in enumerate(MONTHS, 1) for name in (word, word[:3])} | {"sept": 9}
_YEAR = r"(?P<year>(?:1[89]|20|21)\d\d)"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_NAME = rf"(?P<month>{'|'.join(sorted(_MONTH, key=len, reverse=True))})\.?"
_FORMS = tuple(
    re.compile(form)
    for form in (
        *(_YEAR, rf"{_YEAR}-(?P<month>\d\d?)", rf"{_YEAR}-(?P<month>\d\d?)-(?P<day>\d\d?)"),
        *(rf"{_NAME} {_YEAR}", rf"{_YEAR} {_NAME}", rf"{_DAY}\.? {_NAME} {_YEAR}", rf"{_NAME} {_DAY},? {_YEAR}"),
        *(rf"(?P<season>{'|'.join(SEASONS)}) {_YEAR}", rf"{_YEAR} (?P<season>{'|'.join(SEASONS)})"),
    )
)


@dataclass(frozen=True, slots=True)
class Dates:
    """Days from `first` until before `after`, None: without an end; or, where there are some, these months (1 to 12) of
    any year. `text`: in words."""

    first: date | None = None
    after: date | None = None
    months: tuple[int, ...] = ()
    text: str = field(default="", compare=False)


def dates(text: str) -> Dates | None:
    """What a text says; None where it is no date."""
    text = " ".join(text.casefold().split())
    if ".." in text:
        return _between(*(part.strip() for part in text.split("..", 1)))
    if found := _span(text):
        return found
    if text in _MONTH:
        return Dates(months=(_MONTH[text],), text=f"any {MONTHS[_MONTH[text] - 1].capitalize()}")
    if text in SEASONS:
        return Dates(months=tuple((SEASONS[text] + i - 1) % 12 + 1 for i in range(3)), text=f"any {text}")
    return None


def _between(begin: str, end: str) -> Dates | None:
    """From the first day of the one to the last of the other, whichever comes first; one of them may be missing."""
    first, last = _span(begin), _span(end)
    if (begin and not first) or (end and not last) or not (first or last):
        return None
    if first and last and first.first and last.first and last.first < first.first:
        first, last = last, first
    text = f"{first.text if first else ''} – {last.text if last else ''}".strip()
    return Dates(first.first if first else None, last.after if last else None, text=text)


def _span(text: str) -> Dates | None:
    for form in _FORMS:
        if match := form.fullmatch(text):
            try:
                return _of(**match.groupdict())
            except ValueError:  # a month or day that there is not
                return None
    return None


def _of(year: str, month: str = "", day: str = "", season: str = "") -> Dates:
    number = int(_MONTH.get(month, month) or 1)
    if day:
        when = date(int(year), number, int(day))
        return Dates(when, when + timedelta(days=1), text=f"{when.day} {when:%B %Y}")
    if season:
        return Dates(*_months(int(year), SEASONS[season], 3), text=f"{season} {year}")
    first, after = _months(int(year), number, 1 if month else 12)
    return Dates(first, after, text=f"{first:%B %Y}" if month else year)


def _months(year: int, month: int, many: int) -> tuple[date, date]:
    end = year * 12 + month - 1 + many
    return date(year, month, 1), date(end // 12, end % 12 + 1, 1)
