"""Whom a text means: the number on the pages, an id, a name, or the beginning of one."""

import re
from collections.abc import Sequence

from muster.errors import InputError
from muster.storage.texts import normal
from muster.web.album import Person

LETTERS = 4  # of the beginning of an id
LISTED = 5  # people in a message


def find(people: Sequence[Person], text: str, library: str) -> Person:
    """One person. Sought by an id; by a name, as it is, then but for capitals; by the number on the people pages, `7`
    or `Person 7`, and the first letters of an id; by the first letters of a name. The first by which anybody is found
    counts.

    InputError where nobody is found, or several.
    """
    for fitting in _sought(people, text.strip()):
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            several = ", ".join(f"{_called(person)} ({person.cluster_id})" for person in fitting[:LISTED])
            more = f" or {len(fitting) - LISTED} more" if len(fitting) > LISTED else ""
            raise InputError(f"{text} may be {several}{more}: give more of the name or id, or `Person` and a number")
    raise InputError(
        f"library {library} has no person {text}: give a name, the number of a person page, the id that is its file"
        f" name, or the first {LETTERS} letters of that"
    )


def _sought(people: Sequence[Person], text: str) -> list[list[Person]]:
    number = re.fullmatch(r"(?:person\s*)?([0-9]{1,9})", text, re.IGNORECASE)
    name = normal(" ".join(text.split()))
    named = [(person, person.name.casefold()) for person in people if person.name]
    by_number = [person for person in people if number and person.number == int(number[1])]
    begins = [person for person, own in named if name and own.startswith(name.casefold())]
    by_id = [person for person in people if len(text) >= LETTERS and person.cluster_id.startswith(text.lower())]
    return [
        [person for person in people if person.cluster_id == text],
        [person for person in people if person.name and person.name == name],
        [person for person, own in named if own == name.casefold()],
        [*by_number, *(person for person in by_id if person not in by_number)],
        begins,
    ]


def _called(person: Person) -> str:
    return f"{person.name}, Person {person.number}" if person.name else f"Person {person.number}"
