"""Reads a question word by word: phrases of the grammar, names of the library, and dates."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from muster.storage.ask.names import Names, Reading
from muster.storage.ask.query import Field
from muster.storage.ask.tokens import Token
from muster.storage.search import dates
from muster.storage.search.meanings import LONGEST


class NotUnderstoodError(Exception):
    """`at`, `after`: the tokens that it is about. `among`: what a name might have been. `readings`: what it may be,
    where it may be several things."""

    def __init__(
        self, text: str, at: int, after: int, among: Sequence[Field] = (), readings: Sequence[Reading] = ()
    ) -> None:
        super().__init__(text)
        self.at, self.after, self.among, self.readings = at, after, among, readings


@dataclass(frozen=True, slots=True)
class Meant:
    """Words of a question, and what they were taken for."""

    words: str
    meaning: str


class Reader:
    """Reads from the token `at` on. `meant`: what was read."""

    def __init__(self, tokens: Sequence[Token], names: Names) -> None:
        self.tokens, self.names = tokens, names
        self.at = 0
        self.meant: list[Meant] = []
        # A sign, or a name in quotes, is in no phrase: there is no null character in one
        words = [f"\0{token.word}" if token.quoted or not token.word else token.word for token in tokens]
        self._text = " ".join(words)
        self._starts = [0]
        for word in words:
            self._starts.append(self._starts[-1] + len(word) + 1)

    @property
    def ended(self) -> bool:
        return self.at >= len(self.tokens)

    def take(self, phrase: str) -> re.Match[str] | None:
        """Read words that are this regular expression."""
        match = None if self.ended else re.compile(rf"(?:{phrase})(?= |$)").match(self._text, self._starts[self.at])
        if match is None or match.end() + 1 not in self._starts:
            return None
        self.at = self._starts.index(match.end() + 1)
        return match

    def ahead(self, phrase: str) -> bool:
        """Whether these words come next; they are not read."""
        first = self.at
        found = self.take(phrase) is not None
        self.at = first
        return found

    def comma(self) -> bool:
        if self.ended or not self.at or self.tokens[self.at].text != ",":
            return False
        self.at += 1
        return True

    def before(self) -> str:
        """The word that was read last."""
        return self.tokens[self.at - 1].word if self.at else ""

    def words(self, first: int) -> str:
        """As they were typed, from a token to what was read last."""
        return " ".join(token.text for token in self.tokens[first : self.at])

    def note(self, first: int, meaning: str) -> bool:
        self.meant.append(Meant(self.words(first), meaning))
        return True

    def stuck(self, text: str = "", first: int | None = None) -> NotUnderstoodError:
        """About the word that comes next, or the one at `first`."""
        at = self.at if first is None else first
        if at >= len(self.tokens):
            return NotUnderstoodError(text or "the question ends too early", at, at)
        return NotUnderstoodError(text or f"`{self.tokens[at].text}` is not understood here", at, max(at + 1, self.at))

    def ambiguous(self, first: int, after: int, readings: Sequence[Reading], date: str = "") -> NotUnderstoodError:
        words = " ".join(token.text for token in self.tokens[first:after])
        texts = " or ".join([*filter(None, [date]), *(reading.text for reading in readings)])
        return NotUnderstoodError(f"`{words}` may be {texts}", first, after, (), readings)

    # ---- names -------------------------------------------------------------------------------------------------------

    def name(self, among: Sequence[Field], kind: str = "") -> Reading:
        """The longest name that comes next. NotUnderstoodError where there is none, or it means several things."""
        if found := self.maybe_name(among, kind):
            return found
        self.take("the|an|a")
        if self.ended or not self.tokens[self.at].word:
            raise self.stuck()
        text = f"no `{self.tokens[self.at].text}` is known here"
        raise NotUnderstoodError(text, self.at, self.at + 1, among)

    def maybe_name(self, among: Sequence[Field], kind: str = "") -> Reading | None:
        """The same; None where there is none. An article is part of it, as of The Hague, or not, as of the dog."""
        first = self.at
        article = self.ahead("the|an|a|any|some")
        for at in (first, first + 1) if article else (first,):
            for after in range(min(len(self.tokens), at + LONGEST), at + (article and at == first), -1):
                some = self.tokens[at:after]
                if any(token.quoted or not token.word for token in some[1:]) or (some[0].quoted and len(some) > 1):
                    continue
                readings = self.names.find(" ".join(token.word for token in some), among, kind)
                if len(readings) > 1:
                    raise self.ambiguous(at, after, readings)
                if readings:
                    self.at = after
                    return readings[0]
        return None

    # ---- dates -------------------------------------------------------------------------------------------------------

    def date(self) -> dates.Dates | None:
        """The longest date that comes next: 2019, 3 May 2019, the 3rd of May 2019, summer."""
        at = self.at + self.ahead("the")
        for after in range(min(len(self.tokens), at + LONGEST), at, -1):
            some = self.tokens[at:after]
            text = " ".join(token.text for token in some if token.word != "of").replace(" ,", ",")
            if (
                some[0].word != "of"
                and not any(token.quoted for token in some)
                and not text.endswith(",")
                and (when := dates.dates(text))
            ):
                self.at = after
                return when
        return None
