from datetime import date

import pytest

from helpers.asked import views_of
from muster.storage.ask.names import Names
from muster.storage.ask.reader import NotUnderstoodError, Reader
from muster.storage.ask.tokens import tokens

NAMES = Names(views_of({"people": ["Anna", "Anna Maria", "The Boss"], "objects": ["dog"]}))


def reader(question: str) -> Reader:
    return Reader(tokens(question), NAMES)


def test_phrases_are_whole_words() -> None:
    words = reader("how many photosets")
    assert not words.take("how man")
    assert words.take("how many")
    assert not words.take("photos")
    assert (words.at, words.before(), words.ended) == (2, "many", False)
    assert not reader("jean-luc").take("jean")  # a part of a word that was typed as one


def test_what_is_quoted_is_no_phrase() -> None:
    assert not reader('"how many"').take("how many")
    assert not reader("- how").take("how")


def test_to_look_ahead_reads_nothing() -> None:
    words = reader("how many")
    assert words.ahead("how")
    assert words.at == 0


@pytest.mark.parametrize(
    ("question", "text", "words"),
    [
        ("anna maria anna", "person Anna Maria", 2),
        ('"anna" maria', "person Anna", 1),
        ("the boss", "person The Boss", 2),
        ("the dog", "thing dog", 2),
        ("DOGS", "thing dog", 1),
    ],
)
def test_the_longest_name(question: str, text: str, words: int) -> None:
    found = reader(question)
    assert found.name(("person", "thing")).text == text
    assert found.at == words


@pytest.mark.parametrize(
    ("question", "text"),
    [("zorro", "no `zorro` is known here"), ("the", "ends too early"), ("- anna", "`-` is not understood here")],
)
def test_no_name(question: str, text: str) -> None:
    with pytest.raises(NotUnderstoodError, match=text):
        reader(question).name(("person",))


@pytest.mark.parametrize(
    ("question", "first", "words"),
    [
        ("2019 anna", date(2019, 1, 1), 1),
        ("May 3, 2019, anna", date(2019, 5, 3), 4),
        ("the 3rd of May 2019", date(2019, 5, 3), 5),
        ("May 2019", date(2019, 5, 1), 2),
        ("2019-05-03", date(2019, 5, 3), 1),
        ("summer", None, 1),
    ],
)
def test_the_longest_date(question: str, first: date | None, words: int) -> None:
    found = reader(question)
    when = found.date()
    assert when is not None
    assert (when.first, found.at) == (first, words)


@pytest.mark.parametrize("question", ["anna", "20199", '"2019"', "31 february 2019", "the anna"])
def test_no_date(question: str) -> None:
    found = reader(question)
    assert (found.date(), found.at) == (None, 0)
