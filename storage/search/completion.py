"""What a query may go on with: names of people, places, labels, cameras and marks that begin as its last word does."""

from collections.abc import Iterator

from muster.storage.people.facts import PERSON
from muster.storage.search.index import Index
from muster.storage.search.query import Term, parsed, written
from muster.storage.search.words import folded

ORDER = ("person", "object", "scene", "place", "album", "tag", "camera")
LEAST = 2  # letters from which on something is proposed, but of people


def completions(index: Index, text: str, most: int = 8) -> list[str]:
    """Whole queries, in which the last word is a name that begins with it; people first, then those on most photos.
    Ids of people without a name are not proposed."""
    terms = parsed(text)
    if not terms or text[-1:].isspace():
        return []
    *before, last = terms
    names = dict.fromkeys(_names(index, last.field, folded(last.text)))
    named = [Term(name, last.field, not name.isalnum(), last.negated) for name in list(names)[:most]]
    return [written([*before, term]) for term in named]


def _names(index: Index, wanted: str, beginning: str) -> Iterator[str]:
    for name in ORDER:
        if not beginning or wanted not in ("", name) or (len(beginning) < LEAST and name != "person"):
            continue
        found = [
            (int(field.starts[group] - field.starts[group + 1]), value)
            for field in index.fields.get(name, ())
            for group, value in enumerate(field.values)
            if folded(value).startswith(beginning) and field.find(folded(value)) and not PERSON.fullmatch(value)
        ]
        yield from (value for _, value in sorted(found))
