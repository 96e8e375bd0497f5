"""A question in words: nothing that is typed is left out but spaces, and what stands at its end."""

from collections.abc import Iterator
from dataclasses import dataclass
from unicodedata import category

from muster.errors import InputError
from muster.storage.search.words import folded

MOST_LETTERS = 1000
QUOTES = '"“”„«»'
_INSIDE = "'’-._\u200c\u200d·"  # of a word, between its letters: Jean-Luc, O'Neil, 2019-05, IMG_12
_WRITTEN_OUT = {
    **{f"{word} s": (word, "is") for word in ("what", "who", "where", "when", "there", "which")},
    **{f"{word} t": (word[:-1], "not") for word in ("don", "didn", "isn", "wasn", "aren", "weren", "doesn", "haven")},
    "i ve": ("i", "have"),
}


@dataclass(frozen=True, slots=True)
class Token:
    """`text`: as it was typed. `word`: as words are compared, "" for a sign. `quoted`: it is a name alone."""

    text: str
    word: str
    quoted: bool = False


def tokens(question: str) -> list[Token]:
    """InputError where it is empty or longer than MOST_LETTERS."""
    if len(question) > MOST_LETTERS:
        raise InputError(f"a question of {len(question):,} letters: ask in at most {MOST_LETTERS:,}")
    if not question.strip():
        raise InputError("say what to ask: how many photos are there?")
    found = list(_split(question.strip().rstrip("?!.… \t\n")))
    return [each for token in found for each in _written_out(token)]


def _split(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
        elif text[at] in QUOTES:
            end = next((n for n in range(at + 1, len(text)) if text[n] in QUOTES), len(text))
            yield Token(text[at + 1 : end], folded(text[at + 1 : end]), quoted=True)
            at = end + 1
        else:
            end = _word_end(text, at)
            yield Token(text[at:end], "and" if text[at:end] == "&" else folded(text[at:end]))
            at = end


def _word_end(text: str, at: int) -> int:
    """Where a word ends that begins here; a sign is a word alone."""
    end = at
    while end < len(text) and (
        _letter(text[end]) or (end > at and text[end] in _INSIDE and _letter(text[end + 1 : end + 2]))
    ):
        end += 1
    return max(end, at + 1)


def _letter(character: str) -> bool:
    return character.isalnum() or (character != "" and category(character)[0] == "M")


def _written_out(token: Token) -> list[Token]:
    """Without contractions: what's → what is."""
    words = () if token.quoted else _WRITTEN_OUT.get(token.word, ())
    return [Token(word, word) for word in words] or [token]
