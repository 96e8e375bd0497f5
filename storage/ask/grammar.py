"""The grammar of questions: words → a query, or why not. docs/ask.md has it as a table.

A question is a head (what is asked: how many, who, where, when, which) and clauses (of which photos), in any order.
Every word belongs to one of them. What is left over, means several things, or is used where it says nothing makes the
question one that is not understood: an answer to another question would be a wrong one.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Literal

from muster.storage.ask import phrases
from muster.storage.ask.clauses import Clauses
from muster.storage.ask.names import Names
from muster.storage.ask.query import Dated, Filter, Has, Named, Number, Query, Unit
from muster.storage.ask.reader import Meant
from muster.storage.ask.sql import plural
from muster.storage.ask.tokens import Token


def parse(tokens: Sequence[Token], names: Names) -> tuple[Query, list[Meant]]:
    """NotUnderstoodError where a word is left over, or may mean several things."""
    return _Question(tokens, names).read()


class _Question(Clauses):
    def read(self) -> tuple[Query, list[Meant]]:
        self.take("(?:please )?(?:tell me|can you tell me|do you know)|please")
        self.opening = "" if self.ended else self.tokens[self.at].word
        heads = (
            self.counted,
            self.day_of,
            self.units,
            self.shown,
            self.who,
            self.where,
            self.when,
            self.what,
            self.yes,
        )
        if not any(head() for head in heads):
            raise self.stuck("that is no question that is known here")
        self.clauses()
        self.check()
        named = [each.any_of[0] for each in self.filters if not each.negated]
        # Who is on the first photo of Anna: she is one of them
        others = not (self.query.oldest or self.query.newest) or any(each.word == "else" for each in self.tokens)
        but = [each.values for each in named if isinstance(each, Named) and each.field == self.query.unit and others]
        return replace(self.query, filters=tuple(self.filters), but=tuple(chain.from_iterable(but))), self.meant

    def check(self) -> None:
        """Whether that was all of a question."""
        unsaid = self.wanting and self.query.asked not in ("first", "last")
        others = [each for filter_ in self.filters if filter_ is not self.only for each in filter_.any_of]
        # How many days there are in May the calendar says, and no photo
        said = any(not (isinstance(each, Dated) and self.query.unit in phrases.TIMES) for each in others)
        if unsaid or not (self.complete or said or self.query.most):
            raise self.stuck()
        if self.people and any(isinstance(each, Number) or each == Has("people") for each in others):
            raise self.stuck("whether those who are named count among the people is not clear: say `alone`, or no name")
        if self.only and self.only != Filter((Number("persons", len(self.people), len(self.people)),)):
            raise self.stuck("who is alone, and with whom, is not clear")
        if (self.query.oldest or self.query.newest) and self.query.asked in ("yes", "first", "last"):
            raise self.stuck("`first` and `last` of photos are for who, what, where, when and which")
        if self.denied is not None and len(self.filters) > self.denied:
            raise self.stuck("whether `not` is said of all behind it is not clear: say `without`, or put it last")
        if self.joint is not None and not self.together:
            raise self.stuck("on one photo, or each on some, is not clear: say `together`, or ask for each", self.joint)
        for each in () if self.query.unit == "place" else self.filters:
            same = any(isinstance(one, Named) and one.field == self.query.unit for one in each.any_of)
            if same and not each.negated and (self.each or len(each.any_of) > 1):
                raise self.stuck("what is with one `or` the other, or for each, may mean two things: ask twice")
        if self.query.unit == "person" and not self.names.people():
            raise self.stuck("no people are known in this library")
        if self.query.unit == "thing" and not self.names.things():
            raise self.stuck("nothing is known of what photos of this library show")

    # ---- heads -------------------------------------------------------------------------------------------------------

    def counted(self) -> bool:
        """How many photos, people, days, …"""
        first = self.at
        if not self.take(phrases.COUNTED):
            return False
        self.complete = True
        if self.take(f"{phrases.SOME}favou?rites"):
            return self.like(first)
        if self.shots(every=True):
            if self.query.oldest or self.query.newest:
                raise self.stuck(first=first)
            self.note(first, "how many photos")
            return self.shot_of()
        if not self.unit("count"):
            raise self.stuck("" if self.ended else f"`{self.tokens[self.at].text}` cannot be counted")
        self.note(first, f"how many {plural(self.query.unit)}")
        self.complete = self.query.unit not in phrases.TIMES
        self.predicate()
        return True

    def day_of(self) -> bool:
        """What is the date of the oldest photo"""
        first = self.at
        if not self.take("(?:what|which) (?:is|was) the (?:date|day) of"):
            return False
        if not self.shots() or not (self.query.oldest or self.query.newest):
            raise self.stuck()
        self.complete = True
        self.one_photo(first)
        edge: Literal["first", "last"] = "first" if self.query.oldest else "last"
        self.query = replace(self.query, asked=edge, oldest=0, newest=0)
        return self.note(first, f"when the {edge} photo was taken")

    def units(self) -> bool:
        """Which year, in which city, what camera; who is the most photographed person"""
        first = self.at
        if match := self.take(
            rf"(?:which|what|who) (?:is|was) the (?P<most>most|least) (?:often )?photographed {phrases.UNIT}"
        ):
            self.query = Query("groups", phrases.UNITS[match["unit"]])
            return self.superlative(first, match["most"])
        if not self.take("(?:(?:on|in|at|with|to|from) )?(?:which|what)") or not self.unit("groups"):
            self.at = first
            return False
        self.complete = self.query.unit not in ("thing", *phrases.TIMES)
        self.note(first, f"{plural(self.query.unit)}, and how many photos of each")
        self.predicate()
        return True

    def unit(self, asked: Literal["count", "groups"]) -> Unit | None:
        """The noun that is counted or listed, of its own time: which month of 2019."""
        if not (match := self.take(f"{phrases.SOME}{phrases.UNIT}")):
            return None
        unit = phrases.UNITS[match["unit"]]
        self.query = Query(asked, unit)
        self.subject = unit == "person"
        if unit in phrases.TIMES and self.ahead("of"):
            self.dated()
        return unit

    def shown(self) -> bool:
        """Which photos, show me all photos, photos; what is the oldest photo"""
        first = self.at
        match = self.take(phrases.LISTED)
        if self.take(f"{phrases.SOME}favou?rites"):
            self.like(first)
        elif not self.shots(every=True):
            self.at = first
            return False
        elif match and match["is"] and not (self.query.oldest or self.query.newest):
            raise self.stuck(first=first)  # which are photos
        self.query = replace(self.query, asked="photos")
        self.complete = True
        self.note(first, "which photos")
        return self.shot_of()

    def shot_of(self) -> bool:
        """How many photos is Anna on, on how many photos does Anna appear; not what photos Anna did take."""
        first = self.at
        if not self.take("is|are|was|were|do|does|did") or not self.listed(
            first, self.person, needed=False, apart=True
        ):
            self.at = first
            return True
        shown = self.take("appear|shown|seen")
        self.together |= shown is not None and self.take("together") is not None
        if not self.take("on|in") and not shown and self.opening not in ("on", "in"):
            raise self.stuck()
        return True

    def who(self) -> bool:
        first = self.at
        if not (match := self.take("(?P<with>with )?(?:who|whom)(?: else)?")):
            return False
        self.query = Query("groups", "person")
        self.note(first, "people, and how many photos of each")
        if match["with"]:  # with whom was Anna in Lisbon
            if not self.take("is|are|was|were"):
                raise self.stuck()
            return self.named_people()
        self.subject = True
        if not self.take(phrases.IS_ON):
            self.predicate()
        return True

    def where(self) -> bool:
        first = self.at
        if not self.take("where"):
            return False
        self.query = Query("groups", "place")
        self.note(first, "places, and how many photos of each")
        self.predicate()
        return True

    def when(self) -> bool:
        first = self.at
        if not self.take("when"):
            return False
        self.query = Query("groups", "day")
        self.note(first, "days, and how many photos of each")
        self.predicate()
        if self.query.oldest or self.query.newest:  # when was the first photo taken
            self.one_photo(first)
            self.first_or_last(self.at - 1, "first" if self.query.oldest else "last")
        return True

    def one_photo(self, first: int) -> None:
        if self.query.oldest + self.query.newest > 1:
            raise self.stuck("one photo has a date: ask which photos, and not when", first=first)

    def what(self) -> bool:
        first = self.at
        if not self.take(phrases.WHAT):
            return False
        self.query = Query("groups", "thing")
        return self.note(first, "things, and how many photos of each")

    def yes(self) -> bool:
        """Is there a photo, is Anna on a photo, did Anna meet Bob, was Anna ever in Paris, did I photograph Anna"""
        first = self.at
        self.query = Query("yes")
        if self.take("(?:is|are|was|were) there|do (?:i|we) have|have (?:i|we) got|did (?:i|we) (?:ever )?take"):
            if not self.shots():
                raise self.stuck()
            self.complete, self.together = True, not self.before().endswith("s")  # a photo of Anna and Bob is one
        elif self.take("is|are"):
            self.named_people()
            if not self.on_photos():
                raise self.stuck()
            self.wanting = False
        elif self.ahead(phrases.WAS):
            self.predicate()
        else:
            return False
        return self.note(first, "whether there is such a photo")

    # ---- of whom the verb speaks -------------------------------------------------------------------------------------

    def predicate(self) -> None:
        """`was Anna`, `did I photograph`, `were photos`, `took the most photos`, or nothing."""
        first = self.at
        took = "|took" * (self.query.unit == "camera")  # who else took a photo nobody knows
        if match := self.take(f"(?:has|have|had|with{took}) {phrases.MOST_PHOTOS}"):
            self.superlative(first, match["photos"])
        elif match := self.take(f"(?:is|are|was|were) {phrases.MOST_OFTEN} (?:used|photographed)"):
            self.superlative(first, match["often"])
        elif self.take("(?:are|were|is|was) there"):
            self.complete |= self.shots()
        elif self.take("(?:did|have|do) (?:i|we)"):
            self.i_did(first)
        elif self.query.unit in ("thing", "keyword") and self.take("is|are"):
            pass  # which thing is on the most photos
        elif match := self.take(phrases.WAS):
            self.passive = match[0] in ("was", "were")
            self.was()

    def was(self) -> None:
        """Behind was, were, has, have or did."""
        self.take("ever")
        first = self.at
        if match := self.take(phrases.MOST_PHOTOS):  # where were the most photos taken
            self.superlative(first, match["photos"])
        elif self.shots():  # when was the first photo of Anna taken
            self.complete = True
        elif self.query.unit == "person" and self.query.asked != "yes":  # which people were with Bob
            self.take("photographed|seen|shown") if self.passive else None
            if self.ended and not self.passive:  # which people have
                raise self.stuck()
        elif not (self.passive and self.take("photographed|shown|seen|used")):  # which cameras were used
            self.named_people()

    def named_people(self) -> bool:
        """Who the subject is. It has to be said what of them, but for where they were: in which year was Anna …"""
        self.listed(self.at, self.person, apart=True)
        self.subject = True
        self.wanting = self.query.unit not in ("place", "person") and self.opening not in ("in", "on", "at")
        return True

    def i_did(self, first: int) -> None:
        """Did I photograph Anna, did I take the most photos of Anna, did I use"""
        self.adverb()
        begin = self.at
        if match := self.take(phrases.I_TAKE):
            if not match["photos"]:
                self.some(begin)
            self.complete = True
            if match["photos"]:
                self.superlative(begin, match["photos"])
            return
        if self.query.unit == "camera" and self.take("use|used"):
            return
        if not self.take(phrases.I_SEE):
            raise self.stuck("who you are is not known, but what was photographed is: ask for that", first=first)
        self.complete = self.query.asked != "yes"
        self.adverb()
        self.listed(self.at, self.term, needed=False, apart=True)
