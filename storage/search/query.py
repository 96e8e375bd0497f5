"""What is typed into the search box, as terms: `anna -bob "New York" camera:pixel 2019-05..2019-07`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from muster.errors import InputError

FIELDS = (
    *("person", "place", "date", "object", "scene", "camera", "folder", "file", "tag", "album"),
    *("looks", "similar", "is"),
)
OTHER_NAMES = {"in": "folder", "name": "file", "who": "person", "where": "place", "when": "date", "keyword": "tag"}
MOST_TERMS = 64

_QUOTES = '"“”„«»'
_ESCAPED = re.compile(rf"\\([\\{_QUOTES}])")
_TERM = re.compile(
    rf"""(?P<minus>-)?
    (?:(?P<field>{"|".join((*FIELDS, *OTHER_NAMES))}):\s*)?
    (?: [{_QUOTES}](?P<quoted>(?:\\.|[^{_QUOTES}\\])*)(?:[{_QUOTES}]|\\?$)
      | (?P<word>[^\s{_QUOTES}]\S*) )""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Term:
    """A word, or what stands in quotes. `field`: where it is looked up; "": everywhere. `negated`: photos without."""

    text: str
    field: str = ""
    quoted: bool = False
    negated: bool = False

    @property
    def plain(self) -> bool:
        """Whether it may go on with the name or date that the word before it begins."""
        return not (self.field or self.quoted or self.negated)

    def __str__(self) -> str:
        """As it is typed."""
        text = '"' + re.sub(rf"([\\{_QUOTES}])", r"\\\1", self.text) + '"' if self.quoted else self.text
        return f"{'-' * self.negated}{self.field}{':' * bool(self.field)}{text}"


def parsed(text: str) -> tuple[Term, ...]:
    """The terms of a query; empty quotes are none. A quote that is not closed goes to the end.

    InputError where there are more than MOST_TERMS.
    """
    terms = tuple(filter(lambda term: term.text.strip(), map(_term, _TERM.finditer(text))))
    if len(terms) > MOST_TERMS:
        raise InputError(f"a search of {len(terms)} words: give at most {MOST_TERMS}")
    return terms


def _term(match: re.Match[str]) -> Term:
    field = (match["field"] or "").lower()
    quoted = match["quoted"] is not None
    text = _ESCAPED.sub(r"\1", match["quoted"]) if quoted else match["word"]
    return Term(text, OTHER_NAMES.get(field, field), quoted, bool(match["minus"]))


def written(terms: Iterable[Term]) -> str:
    """As it is typed: `parsed(written(parsed(text))) == parsed(text)`."""
    return " ".join(map(str, terms))
