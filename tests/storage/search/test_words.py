import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.storage.search.words import folded, nearest, parts


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("München", "munchen"),
        ("Straße", "strasse"),
        ("Łódź, Ørsted", "lodz orsted"),
        ("Saint-Denis_2.JPG", "saint denis 2 jpg"),
        ("Αθήνα", "αθηνα"),
        ("慕尼黑", "慕尼黑"),
        ("म्यूनिख", "म्यूनिख"),
        ("🐶 & Co", "co"),
    ],
)
def test_folded(text: str, plain: str) -> None:
    assert folded(text) == plain


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    assert folded(folded(text)) == folded(text)


@given(st.text(st.characters(codec="ascii")))
def test_ascii_is_folded_the_same_the_long_way(text: str) -> None:
    assert folded(text) == folded(f"{text} é").removesuffix("e").rstrip()


def test_parts() -> None:
    assert list(parts(["a", "b", "c"], 2)) == ["a", "a b", "b", "b c", "c"]


def slips(one: str, other: str) -> int:
    """Optimal string alignment, as its recursion is written."""
    if not one or not other:
        return len(one) + len(other)
    ways = [slips(one[1:], other) + 1, slips(one, other[1:]) + 1, slips(one[1:], other[1:]) + (one[0] != other[0])]
    if len(one) > 1 and len(other) > 1 and one[0] == other[1] and one[1] == other[0]:
        ways.append(slips(one[2:], other[2:]) + 1)
    return min(ways)


@given(st.text("ab", min_size=6, max_size=6), st.lists(st.text("ab", min_size=1, max_size=7), max_size=5))
def test_nearest_are_those_at_most_two_slips_away(word: str, known: list[str]) -> None:
    found = nearest(word, known, 9)
    assert sorted(found) == sorted({text for text in known if slips(word, text) <= 2})
    assert [slips(word, text) for text in found] == sorted(slips(word, text) for text in found)


def test_short_words_are_not_guessed() -> None:
    assert nearest("ab", ["ac"]) == []
    assert nearest("bob", ["rob", "bobby"]) == ["rob"]
    assert nearest("", ["a"]) == []


def test_a_word_of_ten_thousand_letters_takes_no_time() -> None:
    began = time.monotonic()
    assert nearest("a" * 10_000, ["b" * 10]) == []
    assert time.monotonic() - began < 1
