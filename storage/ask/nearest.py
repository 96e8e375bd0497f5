"""Questions that can be answered, nearest to one that cannot."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from muster.storage.ask.grammar import parse
from muster.storage.ask.names import Names
from muster.storage.ask.query import Field
from muster.storage.ask.reader import NotUnderstoodError
from muster.storage.ask.tokens import Token, tokens
from muster.storage.search.words import folded

SHOWN = 3
ALL: tuple[Field, ...] = ("person", "thing", "place", "camera", "keyword", "album", "folder")
_BEFORE_NAMES = ("of", "with", "without", "in", "from", "at", "on", "the", "a", "an", "and", "or", ",")
# Of each a question of its kind; {} is somebody who is asked for, or is on most photos.
EXAMPLES = (
    "how many photos are there of {}?",
    "how many people are on photos with {}?",
    "on how many days was {} photographed?",
    "which photos show {}?",
    "who is most often with {}?",
    "what is most often on photos with {}?",
    "where was {}?",
    "when did I first photograph {}?",
    "in which year did I take the most photos of {}?",
    "was {} ever photographed at night?",
    "photos of {} per year",
    "which camera took the most photos?",
    "how many photos are there?",
)


def nearest_questions(words: Sequence[Token], names: Names, error: NotUnderstoodError) -> tuple[str, ...]:
    """At most SHOWN, each of which is understood."""
    found: dict[str, None] = {}
    for question in _candidates(words, names, error):
        if question not in found and " " in question and _understood(question, names):
            found[question] = None
        if len(found) == SHOWN:
            break
    return tuple(found)


def _understood(question: str, names: Names) -> bool:
    try:
        parse(tokens(question), names)
    except (NotUnderstoodError, ValueError):
        return False
    return True


def _candidates(words: Sequence[Token], names: Names, error: NotUnderstoodError) -> Iterator[str]:
    texts = [f'"{word.text}"' if word.quoted else word.text for word in words]
    before, after = texts[: error.at], texts[error.after :]
    bare = before
    while bare and bare[-1].lower() in _BEFORE_NAMES:
        bare = bare[:-1]
    for reading in error.readings:
        yield _joined([*bare, reading.said, *after])
    wrong = folded(" ".join(word.word for word in words[error.at : error.after]))
    for reading in names.find(wrong, ALL):  # a name, but not of what may stand here
        yield _joined([*bare, reading.said, *after])
    for name in [] if error.readings else names.near(wrong, error.among):
        yield _joined([*before, name if name.isalnum() else f'"{name}"', *after])
    yield _joined([*texts, "together"])
    yield _joined(["photos of", *texts])
    yield _joined([*bare, *after])
    yield _joined([*before, *after])
    yield _joined(bare)
    yield from _examples(words, names)


def _examples(words: Sequence[Token], names: Names) -> Iterator[str]:
    """The nearest by their words."""
    people = [name for word in words for name in names.called(word.word)] or names.most_photographed()
    asked = [word.word for word in words]

    def likeness(example: str) -> float:
        return -SequenceMatcher(None, asked, folded(example).split()).ratio()

    for example in sorted(EXAMPLES, key=likeness):
        if people or "{}" not in example:
            yield example.replace(
                "{}", people[0] if people and people[0].isalnum() else f'"{people[0]}"' if people else ""
            )


def _joined(texts: Sequence[str]) -> str:
    return " ".join(texts).replace(" ,", ",") + "?"
