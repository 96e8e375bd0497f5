import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import InputError
from muster.storage.ask.tokens import MOST_LETTERS, QUOTES, tokens


def words(question: str) -> list[str]:
    return [token.word or token.text for token in tokens(question)]


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Who is with Anna?", ["who", "is", "with", "anna"]),
        ("what's on Anna's photo ?!", ["what", "is", "on", "anna s", "photo"]),
        ("Didn’t I", ["did", "not", "i"]),
        ("Jean-Luc, O'Neil & Émile", ["jean luc", ",", "o neil", "and", "emile"]),
        ("May 3, 2019-05", ["may", "3", ",", "2019 05"]),
        ("-bob anna/clara (x)", ["-", "bob", "anna", "/", "clara", "(", "x", ")"]),
        ("photos of 李娜 and अनुष्का", ["photos", "of", "李娜", "and", "अनुष्का"]),
        ("🐶 -", ["🐶", "-"]),
    ],
)
def test_words_and_signs(question: str, found: list[str]) -> None:
    assert words(question) == found


def test_what_is_quoted_is_one_name() -> None:
    found = tokens('photos of "how many", „Anna Maria“')
    assert [(token.text, token.quoted) for token in found[2:]] == [
        ("how many", True),
        (",", False),
        ("Anna Maria", True),
    ]
    assert [token.text for token in tokens('of "Anna')] == ["of", "Anna"]  # not closed: to the end


@pytest.mark.parametrize("question", ["", " \n", "x" * (MOST_LETTERS + 1), "how many photos? " * 700])
def test_what_is_no_question(question: str) -> None:
    with pytest.raises(InputError, match=r"ask"):
        tokens(question)
    assert len(tokens("x" * MOST_LETTERS)) == 1


@given(st.text(max_size=60))
def test_no_letter_is_left_out(question: str) -> None:
    if not question.strip():
        return
    kept = "".join(token.text for token in tokens(question)).replace(" ", "")
    left = [c for c in question if not c.isspace() and c not in QUOTES]
    if not any(c in "'’" for c in question):  # contractions are written out
        assert sum(c not in "?!.…" and not c.isspace() for c in kept) == sum(c not in "?!.…" for c in left)
