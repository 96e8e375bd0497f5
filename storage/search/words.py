"""How search compares texts: without case, accents and punctuation, in words; and which known text is nearest."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from unicodedata import category, normalize

import numpy as np

from muster.arrays import I64

_LETTERS = str.maketrans({"ø": "o", "đ": "d", "ł": "l", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"})
_PLAIN = str.maketrans({chr(code): chr(code).lower() if chr(code).isalnum() else " " for code in range(128)})


def folded(text: str) -> str:
    """Lower case without accents of Latin, Greek and Cyrillic letters; all but letters and digits as one space."""
    if text.isascii():
        return " ".join(text.translate(_PLAIN).split())
    bare = "".join(
        c for c in normalize("NFKD", normalize("NFKD", text).casefold()) if not "\u0300" <= c < "\u0370"
    ).translate(_LETTERS)
    return " ".join(
        "".join(c if c.isalnum() or category(c)[0] == "M" else " " for c in normalize("NFKC", bare)).split()
    )


def parts(words: Sequence[str], most: int = 5) -> Iterator[str]:
    """Every run of up to `most` of these words, such as "anna", "maria" and "anna maria"."""
    for first in range(len(words)):
        for end in range(first + 1, min(len(words), first + most) + 1):
            yield " ".join(words[first:end])


def nearest(word: str, known: Iterable[str], most: int = 3, first: Collection[str] = ()) -> list[str]:
    """The known texts that are fewest slips away: letters too many, missing, wrong, or two that changed places.

    At most one slip in three letters, and two in all; the nearest first; of equals those of `first`, then
    those that begin with the same letter.
    All texts are compared at once.
    """
    allowed = min(2, len(word) // 3)
    fitting = sorted({text for text in known if text and abs(len(text) - len(word)) <= allowed})
    if not allowed or not fitting:
        return []
    slips = _slips(word, fitting)

    def key(i: int) -> tuple[int, bool, bool, int]:
        return int(slips[i]), fitting[i] not in first, fitting[i][0] != word[0], len(fitting[i])

    return [fitting[i] for i in sorted(np.flatnonzero(slips <= allowed).tolist(), key=key)[:most]]


def _slips(word: str, texts: Sequence[str]) -> I64:
    """Optimal string alignment distance of a word to each text (Boytsov 2011, "Indexing methods for approximate
    dictionary searching", section 2.1)."""
    lengths = np.array([len(text) for text in texts])
    width = int(lengths.max())
    letters = np.array(texts, f"<U{width}").view(np.uint32).reshape(len(texts), width).T.copy()
    codes = [ord(letter) for letter in word]
    rows = [np.repeat(np.arange(width + 1, dtype=np.int16)[:, None], len(texts), 1)]
    for i, code in enumerate(codes):
        row = np.empty_like(rows[-1])
        row[0] = i + 1
        for j in range(width):
            least = np.minimum(rows[-1][j + 1], row[j]) + 1
            np.minimum(least, rows[-1][j] + (letters[j] != code), out=row[j + 1])
            if i and j:
                swapped = (letters[j] == codes[i - 1]) & (letters[j - 1] == code)
                np.minimum(row[j + 1], rows[-2][j - 1] + 1, out=row[j + 1], where=swapped)
        rows = [rows[-1], row]
    return rows[-1][lengths, np.arange(len(texts))].astype(np.int64)
