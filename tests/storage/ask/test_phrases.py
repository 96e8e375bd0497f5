import re

import pytest

from muster.storage.ask import phrases


@pytest.mark.parametrize(
    ("how", "many", "bounds"),
    [
        ("", 2, (2, 2)),
        ("exactly", 2, (2, 2)),
        ("more than", 2, (3, None)),
        ("at least", 2, (2, None)),
        ("or more", 2, (2, None)),
        ("fewer than", 2, (0, 1)),
        ("or less", 2, (0, 2)),
    ],
)
def test_at_least_and_at_most(how: str, many: int, bounds: tuple[int, int | None]) -> None:
    assert phrases.bounds(how, many) == bounds


@pytest.mark.parametrize("word", ["photo", "Photos", "pictures", "pics", "images", "shot", "snaps", "photographs"])
def test_words_for_a_photo(word: str) -> None:
    assert re.fullmatch(phrases.PHOTOS, word.lower())


def test_numbers() -> None:
    assert (phrases.number("ten"), phrases.number("12")) == (10, 12)


@pytest.mark.parametrize(
    "name", [name for name, value in vars(phrases).items() if isinstance(value, str) and name.isupper()]
)
def test_a_phrase_is_a_regular_expression(name: str) -> None:
    re.compile(getattr(phrases, name))
