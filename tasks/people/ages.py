"""How old somebody is on a photo, and how old a photo is, in the bands that errors are counted by."""

from datetime import date

UNKNOWN = "not known"
AGES = ("0-5", "6-12", "13-17", "18 and over")  # years that are complete
_FROM = (0, 6, 13, 18)
TIMES = ("under 1 year", "1 to 3 years", "over 3 years")
YEAR = 365.2425  # days, of the Gregorian calendar


def age_band(born: date | None, at: date | None) -> str:
    """One of AGES; UNKNOWN where a date is, or somebody was not born yet: the clock of a camera was wrong."""
    if born is None or at is None or at < born:
        return UNKNOWN
    years = at.year - born.year - ((at.month, at.day) < (born.month, born.day))
    return next(name for name, first in zip(reversed(AGES), reversed(_FROM), strict=True) if years >= first)


def time_band(photo: date | None, question: date | None) -> str:
    """One of TIMES between two photos, whichever was first; UNKNOWN where a date is."""
    if photo is None or question is None:
        return UNKNOWN
    years = abs((question - photo).days) / YEAR
    return TIMES[0] if years < 1 else TIMES[1] if years <= 3 else TIMES[2]
