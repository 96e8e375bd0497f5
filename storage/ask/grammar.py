"""The grammar of questions: words → a query, or why not. docs/ask.md has it as a table.

A question is a head (what is asked: how many, who, where, when, which) and clauses (of which photos), in any order.
Every word belongs to one of them. What is left over, means several things, or is used where it says nothing makes the
question one that is not understood: an answer to another question would be a wrong one.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from muster.storage.ask.names import KINDS_OF_PLACES, Names, Reading
from muster.storage.ask.query import Condition, Dated, Field, Filter, Has, Named, Number, Query, Unit
from muster.storage.ask.tokens import Token
from muster.storage.search import dates
from muster.storage.search.meanings import LONGEST
from muster.storage.search.words import folded

PHOTOS = "(?:photo(?:graph)?s?|pictures?|pics?|images?|shots?|snaps?|snapshots?)"
_UNITS: dict[str, Unit] = {
    **dict.fromkeys(("people", "person", "persons"), "person"),
    **dict.fromkeys(("thing", "things", "object", "objects"), "thing"),
    **dict.fromkeys(("place", "places", "city", "cities", "town", "towns"), "place"),
    **dict.fromkeys(("country", "countries"), "country"),
    **{f"{unit}{s}": unit for unit in ("region", "day", "month", "year", "camera", "album", "keyword", "folder") for s in ("", "s")},
}  # fmt: skip
_UNIT = f"(?P<unit>{'|'.join(sorted(_UNITS, key=len, reverse=True))})"
_PLACES = ("place", "region", "country")
_TIMES = ("day", "month", "year")
_NUMBERS = {word: number for number, word in enumerate("one two three four five six seven eight nine ten".split(), 1)}
_NUMBER = rf"(?P<number>\d{{1,4}}|{'|'.join(_NUMBERS)})"
_SOME = "(?:(?:the|all|all of|my|our|any|a|an|some|these|those) )*"
_EDGE = "(?P<edge>first|last|oldest|newest|earliest|latest|most recent)"
_OLDEST = ("first", "oldest", "earliest")
# "the three newest photos", "my favourite pictures"
_SHOTS = rf"{_SOME}(?:(?:{_NUMBER} )?{_EDGE} (?:{_NUMBER.replace('number', 'many')} )?)?(?P<liked>(?:favou?rite|starred) )?{PHOTOS}"
_MOST = f"(?:the )?(?P<most>most|fewest|least)(?: of the)? {PHOTOS}"
_I_TAKE = rf"(?:take|took|taken|make|made|shoot)(?: (?:{_MOST}|{_SOME}{PHOTOS}))"
_I_SEE = "(?:photograph|photographed|shoot|capture|captured)"
_WAS = "(?:was|were|has|have|had|did)"

_COUNTED = "(?:(?:on|in|at|with) )?how many(?: different)?|(?:what is )?(?:the )?(?:total )?number of(?: different)?|count(?: up)?"
_SHOW = (
    "(?:(?:that|which|who|and) )?(?:"
    "show|shows|showing|have|has|having|contain|contains|containing|feature|features|featuring|with|of|are of|is of"
    ")(?: both| either)?"
)
_NOT = (
    "(?:(?:that|which|and|but) )*(?:"
    "without|with no|with neither|not with|not of|not showing|do not show|does not show|do not have|does not have"
    "|have no|has no|show no|shows no|showing no|no|not"
    ")(?: (?:any|a|an))?"
)
# What says nothing of which photos: every photo is there, was taken, and is in the collection.
_PADDING = (
    "(?:that |which )?(?:are there|is there|there are|there is|do i have|do we have|i have|we have"
    "|did i take|did we take|have i taken|have we taken|i took|we took|i have taken|i shot"
    "|(?:were|was|been) (?:taken|made|shot)|taken|made|shot|exist|please|altogether|in total|in all"
    "|(?:are|were)(?= on )|(?:are|were|is|was)(?= (?:in|at|from|before|after|since|between|during) )"
    rf"|(?:in|of) (?:my|the|this|our) (?:library|collection)|in (?:my|all my|our) {PHOTOS})"
)
_SCENES = {
    "night": "at night|by night|during the night|in the night|at night time",
    "day": "by day|during the day|in daylight|by daylight|in the daytime|at daytime",
}


class NotUnderstoodError(Exception):
    """`at`, `after`: the tokens that it is about. `among`: what a name might have been. `readings`: what it may be,
    where it may be several things."""

    def __init__(
        self, text: str, at: int, after: int, among: Collection[Field] = (), readings: Sequence[Reading] = ()
    ) -> None:
        super().__init__(text)
        self.at, self.after, self.among, self.readings = at, after, among, readings


@dataclass(frozen=True, slots=True)
class Meant:
    """Words of a question, and what they were taken for."""

    words: str
    meaning: str


def parse(tokens: Sequence[Token], names: Names) -> tuple[Query, list[Meant]]:
    """NotUnderstoodError where a word is left over, or may mean several things."""
    return _Parser(tokens, names).question()


class _Parser:
    """Reads tokens from `at` on. Each rule returns whether it took some."""

    def __init__(self, tokens: Sequence[Token], names: Names) -> None:
        self.tokens, self.names = tokens, names
        # A sign or a name in quotes is in no phrase: neither has a word with this mark
        words = [f"\0{token.word}" if token.quoted or not token.word else token.word for token in tokens]
        self.text = " ".join(words)
        self.starts = [0]
        for word in words:
            self.starts.append(self.starts[-1] + len(word) + 1)
        self.at = 0
        self.query = Query("count")
        self.meant: list[Meant] = []
        self.filters: list[Filter] = []
        self.with_people: list[str] = []
        self.subject = False  # somebody was named of whom verbs speak
        self.complete = False  # something was said of which photos, or that all are meant

    # ---- reading tokens ----------------------------------------------------------------------------------------------

    def take(self, phrase: str) -> re.Match[str] | None:
        """Read words that are this regular expression."""
        if self.at >= len(self.tokens):
            return None
        match = re.compile(rf"(?:{phrase})(?= |$)").match(self.text, self.starts[self.at])
        if match is None or match.end() + 1 not in self.starts:
            return None
        self.at = self.starts.index(match.end() + 1)
        return match

    def ahead(self, phrase: str) -> bool:
        """Whether these words come next; nothing is read."""
        first = self.at
        found = self.take(phrase) is not None
        self.at = first
        return found

    def words(self, first: int, after: int | None = None) -> str:
        return " ".join(token.text for token in self.tokens[first : self.at if after is None else after])

    def note(self, first: int, meaning: str) -> bool:
        self.meant.append(Meant(self.words(first), meaning))
        return True

    def stuck(self, text: str = "", among: Collection[Field] = (), first: int | None = None) -> NotUnderstoodError:
        at = self.at if first is None else first
        if at >= len(self.tokens):
            return NotUnderstoodError(text or "the question ends too early", len(self.tokens), len(self.tokens), among)
        text = text or f"`{self.tokens[at].text}` is not understood here"
        return NotUnderstoodError(text, at, max(at + 1, self.at), among)

    # ---- the question ------------------------------------------------------------------------------------------------

    def question(self) -> tuple[Query, list[Meant]]:
        self.take("please|tell me|can you tell me|do you know")
        for head in (self.counted, self.dated, self.units, self.shown, self.who, self.where, self.when, self.what, self.yes):
            if head():
                break
        else:
            raise self.stuck("that is no question that is known here")
        self.clauses()
        if not (self.complete or self.filters or self.query.most):
            raise self.stuck()
        return replace(self.query, filters=tuple(self.filters), but=tuple(self.with_people)), self.meant

    def counted(self) -> bool:
        """How many photos, people, days, …"""
        first = self.at
        if not self.take(_COUNTED):
            return False
        if self.shots():
            if self.query.oldest or self.query.newest:
                raise self.stuck("", first=self.at - 1)
            self.complete = True
            self.query = replace(self.query, asked="count", unit="photo")
            return self.note(first, "how many photos")
        if self.take(f"{_SOME}(?:favou?rites)"):
            self.like(self.at - 1)
            return self.note(first, "how many photos")
        unit = self.unit("count")
        if not unit:
            raise self.stuck(f"`{self.words(self.at, self.at + 1)}` cannot be counted" if self.at < len(self.tokens) else "")
        self.note(first, f"how many different ones: {unit}")
        self.complete = True
        self.predicate()
        return True

    def dated(self) -> bool:
        """What is the date of the oldest photo"""
        first = self.at
        if not self.take("(?:what|which) (?:is|was) the (?:date|day) of"):
            return False
        if not self.shots() or not (self.query.oldest or self.query.newest):
            raise self.stuck(first=first)
        self.complete = True
        edge = "first" if self.query.oldest else "last"
        self.query = replace(self.query, asked=edge, oldest=0, newest=0)
        return self.note(first, f"when the {edge} photo was taken")

    def units(self) -> bool:
        """Which year, in which city, what camera; who is the most photographed person"""
        first = self.at
        if match := self.take(rf"(?:which|what|who) (?:is|was) the (?P<most>most|least) (?:often )?photographed {_UNIT}"):
            self.query = replace(self.query, asked="groups", unit=_UNITS[match["unit"]], most=_most(match["most"]))
            return self.note(first, f"the {match['unit']} with the {self.query.most} photos")
        if not self.take("(?:(?:on|in|at|with|to|from) )?(?:which|what)"):
            return False
        if not self.unit("groups"):
            self.at = first
            return False
        self.note(first, f"each {self.query.unit}, and on how many photos")
        self.complete = self.query.unit != "thing"
        self.predicate()
        return True

    def unit(self, asked: str) -> Unit | None:
        """The noun that is counted or listed."""
        if not (match := self.take(rf"(?:of )?{_SOME}{_UNIT}")):
            return None
        unit = _UNITS[match["unit"]]
        self.query = replace(self.query, asked=asked, unit=unit)
        self.subject = unit == "person"
        if unit in _TIMES:
            self.after("of", self.date)
        return unit

    def shown(self) -> bool:
        """Which photos, show me all photos; photos per year; what is the oldest photo"""
        first = self.at
        asked = self.take("(?:which|what)(?: (?:is|are|was|were))?|(?:show|find|give|get)(?: me)?|list|display")
        if not self.shots() and not self.take(f"{_SOME}favou?rites"):
            self.at = first
            return False
        if self.tokens[self.at - 1].word in ("favourites", "favorites"):
            self.like(self.at - 1)
        self.query = replace(self.query, asked="photos", unit="photo")
        self.complete = True
        return self.note(first, "which photos") if asked else self.note(first, "photos")

    def who(self) -> bool:
        first = self.at
        if not self.take("(?:with )?(?:who|whom)(?: else)?"):
            return False
        self.query = replace(self.query, asked="groups", unit="person")
        self.note(first, "each person, and on how many photos")
        self.subject = True
        self.take("can be seen|is seen|is shown|was shown|(?:is|are|was|were|has been|have been)(?: photographed)?|appears?|appeared") or (
            self.predicate()
        )
        return True

    def where(self) -> bool:
        first = self.at
        if not self.take("where"):
            return False
        self.query = replace(self.query, asked="groups", unit="place")
        self.note(first, "each place, and how many photos")
        self.predicate()
        return True

    def when(self) -> bool:
        first = self.at
        if not self.take("when"):
            return False
        self.query = replace(self.query, asked="groups", unit="day")
        self.note(first, "each day, and how many photos")
        self.predicate()
        if self.query.oldest or self.query.newest:  # when was the first photo taken
            self.first_or_last("first" if self.query.oldest else "last")
        return True

    def what(self) -> bool:
        first = self.at
        if not self.take("what(?: else)?(?: things?)? (?:is|are|was|were|can be seen|can i see|appears?)(?: (?:seen|shown|there))?|what did i (?:photograph|shoot)"):
            return False
        self.query = replace(self.query, asked="groups", unit="thing")
        return self.note(first, "each thing, and on how many photos")

    def yes(self) -> bool:
        """Is there a photo, did Anna meet Bob, was Anna ever in Paris"""
        first = self.at
        self.query = replace(self.query, asked="yes")
        if self.take(f"(?:is|are|was|were) there|do (?:i|we) have|have (?:i|we) got|did (?:i|we) (?:ever )?take"):
            if not self.shots():
                raise self.stuck()
            return self.note(first, "whether there is a photo")
        if self.take("is|are"):  # is Anna on a photo with Bob
            self.note(first, "whether there is a photo")
            self.people()
            if not self.on_photos():
                raise self.stuck()
            return True
        if not self.ahead(_WAS):
            return False
        self.meant.append(Meant(self.words(first, first + 1), "whether there is a photo"))
        self.predicate()
        return True

    # ---- of whom the verb speaks -------------------------------------------------------------------------------------

    def predicate(self) -> None:
        """`was Anna`, `did I photograph`, `were photos`, `took the most photos`, or nothing."""
        first = self.at
        if self.take("(?:are|were|is|was) there|(?:is|are|was|were) (?:the )?most(?: often)? (?:used|photographed)"):
            if self.words(first).endswith(("used", "photographed")):
                self.superlative(self.at - 1, "most")
            self.complete |= self.shots()
            return
        if self.take("(?:did|have|do) (?:i|we)"):
            self.i_did(first)
            return
        if match := self.take(f"(?:has|have|had|took|with) {_MOST}"):
            self.superlative(self.at - 1, _most(match["most"]))
            return
        if not self.take(_WAS):
            return
        self.adverbs()
        if self.shots():  # when was the first photo of Anna taken
            self.complete = True
            return
        if self.query.unit in _TIMES and self.at == len(self.tokens):
            return
        if self.query.unit == "person" and self.query.asked != "yes" and self.subject:  # which people were with Bob
            self.take("photographed|seen|shown")
            return
        if self.take("photographed|shown|seen|used"):  # which places were photographed
            return
        self.people()

    def people(self) -> None:
        """Somebody's name as the subject."""
        self.listed(self.person, first=self.at, verb="is on the photo")
        self.subject = True

    def i_did(self, first: int) -> None:
        """Did I photograph Anna, did I take the most photos, did I use"""
        self.adverbs()
        begin = self.at
        if match := self.take(_I_TAKE):
            self.complete = True
            if match["most"]:
                self.superlative(begin, _most(match["most"]))
            return
        self.complete = True
        if self.query.unit == "camera" and self.take("use|used"):
            return
        if not self.take(_I_SEE):
            raise self.stuck("Muster does not know who you are, but what was photographed: ask for that", first=first)
        self.adverbs()
        if not self.listed(self.term, first=self.at, verb="is on the photo", needed=False) and self.query.asked == "yes":
            raise self.stuck()

    # ---- clauses -----------------------------------------------------------------------------------------------------

    def clauses(self) -> None:
        rules: Sequence[Callable[[], bool]] = (
            *(self.padding, self.adverbs, self.liked, self.without, self.scene, self.time, self.on_photos, self.per),
            *(self.in_, self.showing, self.verb),
        )
        joined = False
        while self.at < len(self.tokens):
            if any(rule() for rule in rules):
                joined = False
            elif not joined and (self.take("and|but") or self.comma()):
                joined = True
            elif joined and self.at < len(self.tokens) and self.tokens[self.at].word:
                self.reading(("person", "thing"))  # which is not known, else it would have been read
            else:
                raise self.stuck()
        if joined:
            raise self.stuck()

    def comma(self) -> bool:
        if self.at < len(self.tokens) and self.tokens[self.at].text == "," and self.at:
            self.at += 1
            return True
        return False

    def padding(self) -> bool:
        return self.take(_PADDING) is not None

    def adverbs(self) -> bool:
        """Most often, first, last, ever, together, alone"""
        first = self.at
        if self.take("ever|often|also"):
            if self.words(first) == "often" and self.query.most == "":
                self.at = first
                return False
            return True
        if match := self.take(f"(?:the )?(?P<most>most|least)(?: (?:often|frequently|common|commonly))?|{_MOST.replace('<most>', '<more>')}"):
            self.superlative(first, _most(match["most"] or match["more"]))
            return True
        if match := self.take("(?:for the )?(?P<edge>first|last)(?: time)?"):
            return self.first_or_last(match["edge"])
        if self.take("together|with each other|in one photo"):
            if not any(each.field == "person" for each in self.named()) or len(self.with_people) < 2:
                raise self.stuck(f"`{self.words(first)}` needs two people with `and` before it", first=first)
            return True
        if self.take("alone|by himself|by herself|by themselves"):
            return self.alone(first)
        return False

    def named(self) -> list[Named]:
        return [each for filter_ in self.filters for each in filter_.any_of if isinstance(each, Named)]

    def superlative(self, at: int, most: str) -> None:
        if self.query.asked != "groups" or self.query.most or self.query.unit == "day" and self.tokens[0].word == "when":
            raise self.stuck("`most` and `least` need one of: who, where, which day, month, year, camera, …", first=at)
        self.query = replace(self.query, most=most)
        self.meant.append(Meant(self.words(at, max(self.at, at + 1)), f"only those with the {most} photos"))

    def first_or_last(self, edge: str) -> bool:
        at = self.at - 1
        if self.query.asked != "groups" or self.query.unit != "day" or self.tokens[0].word != "when":
            raise self.stuck(first=at)
        self.query = replace(self.query, asked="first" if edge in _OLDEST else "last", oldest=0, newest=0)
        return self.note(at, f"the {self.query.asked} time only")

    def alone(self, first: int) -> bool:
        """Nobody else is on the photo."""
        if not self.with_people or any(len(each.any_of) > 1 for each in self.filters):
            raise self.stuck(f"`{self.words(first)}` needs a name before it", first=first)
        many = len(self.with_people)
        self.filters.append(Filter((Number("persons", many, many),)))
        return self.note(first, f"nobody else: {many} on the photo, by faces and tags")

    def shots(self) -> bool:
        """The (three) (newest) (favourite) photos"""
        first = self.at
        if not (match := self.take(_SHOTS)):
            return False
        if match["liked"]:
            self.like(first)
        if edge := match["edge"]:
            if match["number"] and match["many"]:
                raise self.stuck(first=first)
            number = match["number"] or match["many"] or "1"
            many = _NUMBERS.get(number) or int(number)
            if not many:
                raise self.stuck(first=first)
            edges = {"oldest" if edge in _OLDEST else "newest": many}
            self.query = replace(self.query, oldest=0, newest=0)
            self.query = replace(self.query, **edges)
            self.note(first, f"of all that are meant the {'oldest' if edge in _OLDEST else 'newest'} {many}")
        return True

    def liked(self) -> bool:
        first = self.at
        if self.take("(?:that |which )?(?:are|is) (?:a |my )?favou?rites?|(?:that (?:are|were) )?marked as (?:a )?favou?rites?|(?:that are )?starred"):
            self.like(first)
            return True
        return False

    def like(self, first: int) -> None:
        self.filters.append(Filter((Has("favourite"),)))
        self.note(first, "favourites")

    def without(self) -> bool:
        first = self.at
        if not self.take(_NOT):
            return False
        if self.take("(?:one|a person|people|persons|faces?|humans?|anyone|anybody|person|human)"):
            return self.nobody(first)
        return self.listed(self.term, first=first, verb="is not on the photo", negated=True)

    def nobody(self, first: int) -> bool:
        self.of_people(first)
        if "face" in self.words(self.at - 1):
            self.filters.append(Filter((Number("faces", 0, 0),)))
            return self.note(first, "no face was found")
        self.filters.append(Filter((Has("people"),), negated=True))
        return self.note(first, "no face was found, nobody is named, and no object `person`")

    def scene(self) -> bool:
        first = self.at
        for label, phrases in _SCENES.items():
            if self.take(phrases):
                readings = self.names.find(label, ("thing",))
                if not readings:
                    raise self.stuck(f"no photo is known to be taken by {label}", first=first)
                self.filters.append(Filter((readings[0].condition,)))
                return self.note(first, f"scene {label}")
        return False

    def per(self) -> bool:
        """Photos per year"""
        first = self.at
        if not (match := self.take(f"(?:per|by|for each|in each|for every|in every) {_UNIT}")):
            return False
        if self.query.unit != "photo" or self.query.asked not in ("count", "photos") or self.query.oldest or self.query.newest:
            raise self.stuck(first=first)
        self.query = replace(self.query, asked="groups", unit=_UNITS[match["unit"]])
        return self.note(first, f"how many photos of each {self.query.unit}")

    def on_photos(self) -> bool:
        """On the most photos, on photos, on the first photo"""
        first = self.at
        if match := self.take(f"(?:on|in) {_MOST}"):
            self.superlative(first, _most(match["most"]))
            return True
        if self.query.unit == "photo" and self.query.asked != "yes":
            return False
        if self.take("on|in") and self.shots():
            self.complete = True
            return True
        self.at = first
        return False

    # ---- when --------------------------------------------------------------------------------------------------------

    def time(self) -> bool:
        first = self.at
        if match := self.take("(?:from )?(?P<when>before|after|since|until|till|up to|between)|from(?= [^ ]+ (?:to|until) )"):
            return self.bounded(first, match["when"] or "from")
        return self.after("in|on|during|from|of|at", self.date) or False

    def bounded(self, first: int, word: str) -> bool:
        begin = self.date_read()
        end = None
        if begin and word in ("between", "from"):
            end = self.date_read() if self.take("and" if word == "between" else "to|until") else None
        if begin is None or begin.first is None or (word in ("between", "from") and (end is None or end.first is None)):
            raise self.stuck(f"`{self.words(first, self.at + 1)}` needs a date with its year", first=first)
        if end and end.first and begin.first and end.first < begin.first:
            raise self.stuck(f"`{self.words(first)}` ends before it begins", first=first)
        ends = {
            "before": dates.Dates(None, begin.first, text=f"before {begin.first}"),
            "after": dates.Dates(begin.after, None, text=f"from {begin.after} on"),
            "since": dates.Dates(begin.first, None, text=f"from {begin.first} on"),
        }
        last = end or begin
        until = dates.Dates(begin.first if end else None, last.after, text=f"{begin.text if end else ''} to {last.text}")
        when = ends.get(word, until)
        self.filters.append(Filter((Dated(when),)))
        return self.note(first, f"date {when.text.strip()}")

    def date(self) -> bool:
        """2019 or 2020"""
        first = self.at
        found: list[Condition] = []
        while when := self.date_read():
            found.append(Dated(when))
            if not self.take("or(?= )"):
                break
        if not found:
            return False
        if self.tokens[self.at - 1].word == "or":
            raise self.stuck()
        back = self.at
        if self.take("and") and self.date_read():
            raise self.stuck("no photo is of two dates: say `or`", first=back)
        self.at = back
        self.filters.append(Filter(tuple(found)))
        texts = [each.when.text for each in found if isinstance(each, Dated)]
        return self.note(first, f"date {' or '.join(texts)}")

    def date_read(self) -> dates.Dates | None:
        """The longest date that begins here."""
        self.take("the(?= )")
        for after in range(min(len(self.tokens), self.at + LONGEST), self.at, -1):
            some = self.tokens[self.at : after]
            if any(token.quoted for token in some):
                continue
            text = " ".join(token.text for token in some if token.word != "of").replace(" ,", ",")
            if text.endswith(",") or not (when := dates.dates(text)):
                continue
            self.at = after
            return when
        if self.at and self.tokens[self.at - 1].word == "the":
            self.at -= 1
        return None

    # ---- where, and in what --------------------------------------------------------------------------------------------

    def after(self, preposition: str, rule: Callable[[], bool]) -> bool:
        """What follows a preposition; without it nothing is read."""
        first = self.at
        if self.take(preposition) and rule():
            return True
        self.at = first
        return False

    def in_(self) -> bool:
        first = self.at
        if not self.take("in|at|from|inside|on"):
            return False
        if self.at == len(self.tokens) and self.query.asked in ("groups", "count") and self.query.unit not in ("photo", "person", "thing"):
            return True  # which countries was Bob in
        if match := self.take("(?:the |an? |my )?(?P<field>album|folder)(?: called| named)?"):
            field: Field = "album" if match["field"] == "album" else "folder"
            return self.filtered(first, [self.reading((field,))])
        return self.place(first)

    def place(self, first: int) -> bool:
        readings = [self.in_place()]
        while self.take("or(?: in| at| from)?"):
            readings.append(self.in_place())
        back = self.at
        if self.take("and") and self.try_reading(("place",)):
            raise self.stuck("no photo is of two places: say `or`", first=back)
        self.at = back
        return self.filtered(first, readings)

    def in_place(self) -> Reading:
        match = self.take(f"(?:the )?(?P<kind>{'|'.join(KINDS_OF_PLACES)})(?: of| called)?")
        return self.reading(("place",), KINDS_OF_PLACES[match["kind"]] if match else "")

    def filtered(self, first: int, readings: Sequence[Reading]) -> bool:
        self.filters.append(Filter(tuple(each.condition for each in readings)))
        return self.note(first, " or ".join(each.text for each in readings))

    # ---- names ---------------------------------------------------------------------------------------------------------

    def reading(self, among: Collection[Field], kind: str = "") -> Reading:
        """The longest name that begins here. NotUnderstoodError where there is none, or it means several things."""
        first = self.at
        if found := self.try_reading(among, kind):
            return found
        self.take("the|an|a")
        if self.at >= len(self.tokens):
            raise self.stuck(first=len(self.tokens))
        text = f"no `{self.tokens[self.at].text}` is known here"
        raise NotUnderstoodError(text, self.at, self.at + 1, among) if self.tokens[self.at].word else self.stuck()

    def try_reading(self, among: Collection[Field], kind: str = "") -> Reading | None:
        first = self.at
        for at in (first, first + 1) if self.take("the|an|a|any|some") else (first,):  # The Hague, the dog
            after = min(len(self.tokens), at + (1 if at < len(self.tokens) and self.tokens[at].quoted else LONGEST))
            for end in range(after, at, -1):
                some = self.tokens[at:end]
                if any(token.quoted or not token.word for token in some[1:]) or not some[0].word:
                    continue
                readings = self.names.find(folded(" ".join(token.word for token in some)), among, kind)
                if len(readings) > 1:
                    texts = " or ".join(reading.text for reading in readings)
                    text = f"`{self.words(at, end)}` may be {texts}"
                    raise NotUnderstoodError(text, at, end, among, readings)
                if readings:
                    self.at = end
                    return readings[0]
        self.at = first
        return None

    def person(self, needed: bool) -> tuple[Condition, str] | None:
        self.take("the person(?: called| named)?|somebody called|a person called")
        found = self.reading(("person",)) if needed else self.try_reading(("person",))
        return (found.condition, found.text) if found else None

    def term(self, needed: bool) -> tuple[Condition, str] | None:
        """What may be on a photo, or be known of it."""
        first = self.at
        if match := self.take("the (?P<field>person|thing|camera|keyword|tag)(?: called| named)?"):
            fields: dict[str, Field] = {"tag": "keyword", "person": "person", "thing": "thing", "camera": "camera"}
            found = self.reading((fields.get(match["field"], "keyword"),))
            return found.condition, found.text
        if self.take("(?:a |any )?(?:date|time)"):
            return Has("taken_at"), "a date"
        if self.take("(?:a |any )?(?:place|location|position|gps|coordinates|gps coordinates)"):
            return Has("place"), "a place"
        if self.take("(?:a |any )?camera"):
            return Has("camera"), "a camera"
        if number := self.number():
            return number, self.persons(number)
        if self.take("(?:any |some )?(?:people|persons|humans?)|an? (?:person|human)|someone|somebody|anyone|anybody"):
            self.of_people(first)
            return Has("people"), "somebody"
        if self.take("(?:an? |any |some )?faces?"):
            self.of_people(first)
            return Number("faces", 1, None), "a face"
        among: list[Field] = ["person", "thing", "camera"]
        if first and self.tokens[first - 1].word == "of":
            among[2] = "place"
        found = self.reading(among) if needed else self.try_reading(among)
        return (found.condition, found.text) if found else None

    def of_people(self, first: int) -> None:
        if not self.names.views.faces:
            raise self.stuck("no faces were found, or looked for, in this library", first=first)

    def number(self) -> Number | None:
        """Exactly two people, more than 3 faces, nobody"""
        first = self.at
        if self.take("nobody|no one|noone|no (?:people|persons|person|faces?|humans?)"):
            self.at = first
            return None
        how = "exactly|just|only|more than|at least|over|fewer than|less than|at most|up to|under"
        match = self.take(f"(?:(?P<how>{how}) )?{_NUMBER}(?P<more> or more| or fewer| or less)? (?P<of>people|persons|person|faces|face)")
        if not match:
            return None
        self.of_people(first)
        number = _NUMBERS.get(match["number"]) or int(match["number"])
        how = (match["how"] or "") + (match["more"] or "")
        bounds: dict[str, tuple[int, int | None]] = {
            **dict.fromkeys(("", "exactly", "just", "only"), (number, number)),
            **dict.fromkeys(("more than", "over"), (number + 1, None)),
            **dict.fromkeys(("at least", " or more"), (number, None)),
            **dict.fromkeys(("fewer than", "less than", "under"), (0, number - 1)),
            **dict.fromkeys(("at most", "up to", " or fewer", " or less"), (0, number)),
        }
        if how not in bounds or (bounds[how][1] or 0) < 0:
            raise self.stuck(first=first)
        return Number("faces" if match["of"].startswith("face") else "persons", *bounds[how])

    def persons(self, number: Number) -> str:
        many = f"{number.least} or more" if number.most is None else f"{number.least} to {number.most}"
        exact = f"exactly {number.least}" if number.least == number.most else many
        return f"{exact} {'faces' if number.column == 'faces' else 'people, by faces and tags'}"

    # ---- lists of names ------------------------------------------------------------------------------------------------

    def showing(self) -> bool:
        """With Anna and a dog; of Anna or Bob"""
        first = self.at
        if self.take("tagged(?: with| as)?|with the (?:keyword|tag)"):
            return self.filtered(first, [self.reading(("keyword",))])
        if self.take("(?:taken |shot |made )?(?:with|by|on)(?= the camera )"):
            self.take("the camera")
            return self.filtered(first, [self.reading(("camera",))])
        if not self.take(_SHOW):
            return False
        if self.at == len(self.tokens):
            raise self.stuck()
        if self.take("nobody|no one|noone|no (?:people|persons|person|faces?|humans?)"):
            return self.nobody(first)
        if self.take("(?:only|just)(?! (?:one|two|three|four|five|six|seven|eight|nine|ten|[0-9]+) )"):
            only = self.at - 1
            self.listed(self.person, first=first, verb="is on the photo")
            return self.alone(only)
        return self.listed(self.term, first=first, verb="is on the photo")

    def verb(self) -> bool:
        """What people do: meet others, visit places, be on photos."""
        first = self.at
        if not self.subject:
            return False
        if self.take("meet|met|see|seen with|be with|been with"):
            if self.at == len(self.tokens) and len(self.with_people) > 1:
                return self.note(first, "on one photo")
            return self.listed(self.person, first=first, verb="is on the photo")
        if self.take("(?:visit|visited|go|went|travel|travelled|been|come|came)(?: to| in)?"):
            if self.at == len(self.tokens) or self.ahead("together"):
                if self.query.unit in _PLACES:
                    return True
                raise self.stuck()
            return self.place(first)
        return self.take("appear|appears|appeared|be|been|photographed|pictured|seen|shown") is not None

    def listed(
        self,
        rule: Callable[[bool], tuple[Condition, str] | None],
        first: int,
        verb: str,
        negated: bool = False,
        needed: bool = True,
    ) -> bool:
        """Anna and Bob; Anna, Bob or a dog. Without Bob or Clara: neither. With `and` and `or` in one it is refused."""
        found = [rule(needed)]
        if found[0] is None:
            return False
        joined = set()
        while True:
            back = self.at
            comma = self.comma()
            word = self.take("and|or")
            if not (comma or word) or not (more := self._more(rule, back)):
                self.at = back
                break
            found.append(more)
            joined |= {word[0]} if word else set()
        if len(joined) > 1:
            raise self.stuck("`and` with `or` may mean two things: ask twice", first=first)
        terms = [each for each in found if each is not None]
        self._add([condition for condition, _ in terms], negated, "or" in joined, first)
        word = " or " if "or" in joined else " and "
        return self.note(first, f"{'not ' * negated}{(' and not ' if negated else word).join(text for _, text in terms)}")

    def _more(self, rule: Callable[[bool], tuple[Condition, str] | None], back: int) -> tuple[Condition, str] | None:
        """Another of a list; None where something else goes on here."""
        return rule(False) if self.at < len(self.tokens) else None

    def _add(self, conditions: Sequence[Condition], negated: bool, either: bool, first: int) -> None:
        people = [name for each in conditions if isinstance(each, Named) and each.field == "person" for name in each.values]
        if people and not self.names.views.faces and not self.names.find(folded(people[0]), ("person",)):
            raise self.stuck(first=first)
        if negated or either:
            self.filters.append(Filter(tuple(conditions), negated))
        else:
            self.filters.extend(Filter((each,)) for each in conditions)
        if not negated:
            if either and people and self.query.unit == "person":
                raise self.stuck("who with one `or` the other may mean two things: ask twice", first=first)
            self.with_people.extend(people)


def _most(word: str) -> str:
    return "most" if word == "most" else "least"
