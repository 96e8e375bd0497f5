"""Clauses of a question: of which photos it is. Each method is a rule, which returns whether it has read something."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from muster.storage.ask import phrases
from muster.storage.ask.names import KINDS_OF_PLACES, Names, Reading
from muster.storage.ask.query import Condition, Dated, Field, Filter, Has, Named, Number, Query, Scene
from muster.storage.ask.reader import Reader
from muster.storage.ask.tokens import Token
from muster.storage.search.dates import Dates

Term = tuple[Condition, str]  # and its meaning in words
_OF_FACES: Sequence[Condition] = (Has("people"), Number("faces", 1, None))
_KNOWN: Sequence[tuple[str, Condition, str]] = (
    (f"{phrases.A}(?:date|time)", Has("taken_at"), "a date"),
    (f"{phrases.A}(?:place|location|position|gps|gps coordinates|coordinates)", Has("place"), "a place"),
    (f"{phrases.A}camera", Has("camera"), "a camera"),
    (phrases.SOMEBODY, Has("people"), "a face, or somebody named"),
    (f"{phrases.A}faces?", Number("faces", 1, None), "a face"),
)
_ONE_EACH = {"date", "scene", "camera", "town", "region", "country"}  # of which a photo has one at most


class Clauses(Reader):
    """`query`: without its filters. `subject`: somebody was named of whom verbs speak. `passive`: was photographed; who
    photographed is not known. `wanting`: of somebody who was named it is not yet said what is asked. `complete`: the
    question may end here without a filter. `lists`: it was said who or what is shown. `chosen`: by a list with `or`.
    `joint`: where a list with `and` begins of which it has to be said that all are on one photo; `together`: it is.
    `denied`: how many filters there were when a `not` ended, which may be said of what comes behind too. `each`: `per`
    unit."""

    def __init__(self, tokens: Sequence[Token], names: Names) -> None:
        super().__init__(tokens, names)
        self.query = Query("count")
        self.filters: list[Filter] = []
        self.people: list[Named] = []  # who have to be on the photos
        self.either = False  # any of them
        self.only: Filter | None = None  # nobody else
        self.opening = ""  # the first word of the head
        self.subject = self.passive = self.wanting = self.complete = False
        self.together = self.lists = self.chosen = self.each = False
        self.joint: int | None = None
        self.denied: int | None = None

    def clauses(self) -> None:
        rules: Sequence[Callable[[], bool]] = (
            *(self.padding, self.adverb, self.liked, self.without, self.scene, self.bounded, self.dated),
            *(self.on_photos, self.per, self.inside, self.showing, self.went, self.verb),
        )
        joined = False
        while not self.ended:
            if joined and self.ahead("which|how many|what|who|where|when"):
                raise self.stuck("one question at a time")
            if self.query.asked == "yes" and (joined or self.ahead("and(?! without| with no)")):
                raise self.stuck("on one photo, or each on some, is not clear: ask twice")
            if rule := next((rule for rule in rules if rule()), None):
                self.wanting &= rule in (self.padding, self.adverb, self.went)
                joined = False
            elif not joined and (self.take("and|but") or self.comma()):
                joined = True
            else:
                first = self.at
                if joined:
                    self.name(("person", "thing"))  # which names what was not known, as a rule
                raise self.stuck(first=first)
        if joined:
            raise self.stuck()

    def add(self, more: Filter, first: int) -> None:
        """A photo has one date, place, scene and camera: where two are asked for, either may be meant."""
        if not all(_compatible(other, more) for other in self.filters):
            raise self.stuck("no photo is of both: say `or` between them, or ask twice", first=first)
        self.filters.append(more)

    # ---- words that name nothing -------------------------------------------------------------------------------------

    def padding(self) -> bool:
        """Words that leave all photos in. `taken` does so behind `photos` alone: nobody knows what Anna has taken."""
        taken = "|taken|made|shot" * bool(self.passive or re.fullmatch(phrases.PHOTOS, self.before()))
        return self.take(phrases.PADDING + taken) is not None

    def adverb(self) -> bool:
        """Most often, first, last, ever, together, alone"""
        first = self.at
        if self.take("ever|also"):
            return True
        if match := self.take(f"{phrases.MOST_PHOTOS}|{phrases.MOST_OFTEN}"):
            return self.superlative(first, match["photos"] or match["often"])
        if match := self.take("(?:for the )?(?P<edge>first|last)(?: time)?"):
            return self.first_or_last(first, "first" if match["edge"] == "first" else "last")
        if self.take("together|with each other"):
            if len(self.people) < 2 or self.either:
                raise self.stuck(f"`{self.words(first)}` needs two people with `and` before it", first=first)
            self.wanting, self.together = False, True
            return True
        return self.alone(first) if self.take("alone|by himself|by herself|by themselves") else False

    def superlative(self, first: int, word: str) -> bool:
        if self.query.asked != "groups" or self.query.most or self.opening == "when":
            raise self.stuck("`most` and `least` are of who, where, or which year, city, camera, …", first=first)
        most: Literal["most", "least"] = "most" if word == "most" else "least"
        self.query = replace(self.query, most=most)
        return self.note(first, f"those with the {'most' if most == 'most' else 'fewest'} photos")

    def first_or_last(self, first: int, edge: Literal["first", "last"]) -> bool:
        if self.query.asked != "groups" or self.opening != "when":
            raise self.stuck(first=first)
        self.query = replace(self.query, asked=edge, oldest=0, newest=0)
        return self.note(first, f"the {edge} time")

    def alone(self, first: int) -> bool:
        """Nobody else is on the photo."""
        many = len(self.people)
        if not many or self.either or self.query.unit == "person":  # who is with Anna alone: the two, or nobody
            raise self.stuck(f"`{self.words(first)}` needs a name before it, and is not for who", first=first)
        self.of_photos(first)
        self.only = Filter((Number("persons", many, many),))
        self.filters.append(self.only)
        self.wanting = False
        return self.note(first, "nobody else is on it, by faces and tags")

    def liked(self) -> bool:
        first = self.at
        return self.like(first) if self.take(phrases.LIKED) else False

    def like(self, first: int) -> bool:
        self.filters.append(Filter((Has("favourite"),)))
        return self.note(first, "favourites")

    def per(self) -> bool:
        """Per year, for each person. `by day` may be another thing than by night."""
        first = self.at
        if not (match := self.take(f"(?:per|by(?! day)|for each|in each|for every|in every) {phrases.UNIT}")):
            return False
        several = self.query.oldest or self.query.newest
        if self.query.unit != "photo" or self.query.asked not in ("count", "photos") or several:
            raise self.stuck(first=first)
        self.query, self.each = replace(self.query, asked="groups", unit=phrases.UNITS[match["unit"]]), True
        return self.note(first, f"how many of each {self.query.unit}")

    def shots(self, every: bool = False) -> bool:
        """The three newest favourite photos. `every`: `all photos` are what is asked for."""
        first = self.at
        if not (match := self.take(phrases.SHOTS)):
            return False
        if not every:
            self.some(first)
        if match["edge"] and (self.filters or self.query.oldest or self.query.newest):  # is Bob on the first photo
            raise self.stuck(f"of which photos this is `{self.words(first)}` is not clear", first=first)
        if match["liked"]:
            self.like(first)
        if match["edge"]:
            given = match["number"] or match["many"]
            if (match["number"] and match["many"]) or given == "0" or (not given and match["noun"].endswith("s")):
                raise self.stuck(f"`{self.words(first)}`: say how many", first=first)
            many, early = phrases.number(given or "1"), match["edge"] in phrases.FIRST
            self.query = replace(self.query, oldest=many * early, newest=many * (not early))
            side = "oldest" if early else "newest"
            self.note(first, f"of all that are meant the {side}{f' {many}' * (many > 1)}")
        elif match[0].startswith("the ") and not match["noun"].endswith("s"):
            raise self.stuck(f"`{self.words(first)}`: say which photo", first=first)
        return True

    def some(self, first: int) -> None:
        """Who is on all photos, and whether all of them, or the photos of Bob, were taken at night, is not whether
        there is one."""
        definite = "the|all|my|our|these|those" if self.query.asked == "yes" else "all"
        if re.search(rf"\b(?:{definite})\b", self.words(first).lower()):
            raise self.stuck(f"whether `{self.words(first)}` is of each photo, or of one, is not clear", first=first)

    def on_photos(self) -> bool:
        """On the most photos, on photos, on the first photo"""
        first = self.at
        if match := self.take(f"(?:on|in) {phrases.MOST_PHOTOS}"):
            return self.superlative(first, match["photos"])
        if (self.query.unit != "photo" or self.query.asked == "yes") and self.take("on|in") and self.shots():
            self.complete = True
            return True
        self.at = first
        return False

    # ---- when --------------------------------------------------------------------------------------------------------

    def scene(self) -> bool:
        first = self.at
        for label, words in phrases.SCENES.items():
            if self.take(words):
                if not self.names.scene(label):
                    raise self.stuck(f"no photo is known as one of the {label}", first=first)
                self.add(Filter((Scene((label,)),)), first)
                return self.note(first, f"scene {label}")
        return False

    def bounded(self) -> bool:
        """Before May 2019, since 2018, between 2018 and 2020, from 3 May 2019 to 5 June 2019"""
        first = self.at
        if match := self.take("(?:from )?(?P<when>before|after|since|until|till|up to|between)"):
            word, begin = match["when"], self.date()
            end = self.date() if word == "between" and begin and self.take("and") else None
        elif self.take("from") and (begin := self.date()) and self.take("to|until|till"):
            word, end = "between", self.date()
        else:
            self.at = first
            return False
        if begin is None or begin.first is None or (word == "between" and (end is None or end.first is None)):
            raise self.stuck(f"`{self.words(first)}` needs a date with its year behind it", first=first)
        when = _bounds(word, begin, end or begin)
        if when.first and when.after and when.first >= when.after:
            raise self.stuck(f"`{self.words(first)}` ends before it begins", first=first)
        self.add(Filter((Dated(when),)), first)
        return self.note(first, f"date {when.text}")

    def dated(self) -> bool:
        """In 2019 or 2020, on 3 May 2019"""
        first = self.at
        if not (match := self.take("in|on|during|from|of|at")):
            return False
        found: list[Dates] = []
        begin = self.at
        while when := self.date():
            found.append(when)
            if readings := self.names.find(" ".join(t.word for t in self.tokens[begin : self.at]), _named(match[0])):
                raise self.ambiguous(begin, self.at, readings, f"date {when.text}")  # May, and who is called so
            if not self.take("or"):
                break
            begin = self.at
        if not found:
            self.at = first
            return False
        if self.before() == "or":
            raise self.stuck()
        if len({bool(each.months) for each in found}) > 1:  # in May or June 2019
            raise self.stuck(f"`{self.words(first)}`: say the year of each", first=first)
        self.add(Filter(tuple(map(Dated, found))), first)
        return self.note(first, f"date {' or '.join(each.text for each in found)}")

    # ---- where, and in what ------------------------------------------------------------------------------------------

    def inside(self) -> bool:
        """In Lisbon or Paris, in the album Italy"""
        first = self.at
        if not self.take("in|at|from|inside|on"):
            return False
        if (
            self.ended
            and self.query.asked in ("groups", "count")
            and self.query.unit not in ("photo", "person", "thing")
            and self.opening not in ("where", "when")
        ):
            return True  # which countries was Bob in
        if match := self.take("(?:the |an? |my )?(?P<field>album|folder)(?: called| named)?"):
            return self.named(first, [self.name(("album" if match["field"] == "album" else "folder",))])
        return self.place(first)

    def place(self, first: int) -> bool:
        readings = [self.one_place()]
        back = self.at
        if self.comma() and (around := self.maybe_name(("place",))):  # Lisbon, Portugal
            return self.named(first, readings) and self.named(back, [around])
        self.at = back
        while self.take("or(?: in| at| from)?"):
            readings.append(self.one_place())
        back = self.at
        if self.take("and") and self.maybe_name(("place",)):
            raise self.stuck("no photo is of two places: say `or`", first=back)
        self.at = back
        return self.named(first, readings)

    def one_place(self) -> Reading:
        match = self.take(f"(?:the )?(?P<kind>{'|'.join(KINDS_OF_PLACES)})(?: of| called)?")
        return self.name(("place",), KINDS_OF_PLACES[match["kind"]] if match else "")

    def named(self, first: int, readings: Sequence[Reading]) -> bool:
        self.add(Filter(tuple(each.condition for each in readings)), first)
        return self.note(first, " or ".join(each.text for each in readings))

    # ---- who and what ------------------------------------------------------------------------------------------------

    def showing(self) -> bool:
        """With Anna and a dog, of Anna or Bob, with two people"""
        first = self.at
        if self.take("tagged(?: with| as)?|with the (?:keyword|tag)"):
            return self.named(first, [self.name(("keyword",))])
        joined = self.before() == "and" or self.ahead("and")
        if not self.take(phrases.SHOWING):
            return False
        if joined and self.lists:  # of Anna and of Bob
            raise self.stuck(
                "one photo, or photos of each, is not clear: name all in one list, or ask twice", first=first
            )
        self.lists = True
        begin = self.at
        if self.take(phrases.NOBODY):
            return self.nobody(first, begin)
        if self.take(phrases.ONLY):
            return self.listed(first, self.person) and self.alone(first)
        return self.listed(first, self.term)

    def without(self) -> bool:
        first = self.at
        if not (match := self.take(phrases.WITHOUT)):
            return False
        begin, plain = self.at, re.search("without|with no", match[0]) is not None
        self.of_photos(first, plain)
        if self.take(f"(?:a )?{phrases.PEOPLE}|one|anyone|anybody"):
            self.nobody(first, begin)
        else:
            self.listed(first, self.unwanted, negated=True)
        if len(self.filters[-1].any_of) > 1 and not self.chosen and "without" not in match[0]:
            raise self.stuck("not both, neither, or not the first alone, is not clear: say `or`", first=first)
        if plain:
            return True
        self.denied = len(self.filters)
        return True

    def of_photos(self, first: int, plain: bool = True) -> None:
        """What is said of a whole photo (who is not on it, how many are) says nothing of a day, a place or a person:
        who is on a photo without Bob may be with Bob on another. `plain`: said by `without`, and not by a verb, which
        may speak of them."""
        if self.query.unit == "photo" and self.query.asked != "yes":
            return
        words = [each.word for each in self.tokens[:first] if not each.quoted]
        photos = any(re.fullmatch(phrases.PHOTOS, word) and word != "photograph" for word in words)  # a verb too
        if not (photos or plain if self.query.asked == "yes" else photos and plain):
            raise self.stuck("that can be said of photos alone: ask for `photos` with or without", first=first)

    def unless_named(self, begin: int, text: str) -> None:
        """Words of the grammar may be a name too: Nobody, People."""
        for at in range(begin, self.at):
            if called := self.names.find(" ".join(token.word for token in self.tokens[at : self.at]), ("person",)):
                raise self.ambiguous(at, self.at, called, text)

    def nobody(self, first: int, begin: int) -> bool:
        self.unless_named(begin, "nobody")
        self.need_faces(first)
        self.of_photos(first)
        self.not_chosen(first)
        if self.before().startswith("face"):
            self.filters.append(Filter((Number("faces", 0, 0),)))
            return self.note(first, "no face was found")
        self.filters.append(Filter((Has("people"),), negated=True))
        return self.note(first, "no face was found, and nobody is named")

    def verb(self) -> bool:
        """Of people who were named: meet others, visit places, appear"""
        first = self.at
        if not self.subject:
            return False
        if self.take("meet|met|be with|been with"):
            met = len(self.people) > 1 and not self.either  # where did Anna and Bob meet
            if self.listed(first, self.person, needed=not met):
                return True
            self.together = met
            return met
        if self.take(phrases.VISITED):
            back = self.at
            if self.query.unit in phrases.PLACES and not self.maybe_name(("place",)):
                return True  # which cities did Anna visit
            self.at = back
            return self.place(first)
        return self.take("appear|appears|appeared" + "|photographed|pictured|seen|shown" * self.passive) is not None

    def went(self) -> bool:
        """Been, went: it has yet to be said where, or that it was photographed."""
        match = self.take(phrases.WENT) if self.subject else None
        self.passive |= match is not None and match[0] == "been"
        return match is not None

    def listed(
        self,
        first: int,
        rule: Callable[[bool], Term | None],
        negated: bool = False,
        needed: bool = True,
        apart: bool = False,
    ) -> bool:
        """Anna and Bob; Anna, Bob or a dog. Without Bob or Clara: neither. `and` with `or` may mean two things.
        `apart`: those with `and` between them may be so on photos of their own."""
        begin, found = self.at, [rule(needed)]
        joined: set[str] = set()
        while found[-1] is not None:
            back = self.at
            comma, word = self.comma(), self.take("and|or")
            found.append(rule(False) if comma or word else None)
            if found[-1] is None:
                self.at = back
            elif word:
                joined.add(word[0])
        terms = [each for each in found if each is not None]
        if not terms:
            return False
        if len(joined) > 1:
            raise self.stuck("`and` with `or` may mean two things: ask twice", first=first)
        self.not_chosen(first)
        self.chosen = "or" in joined
        if len(terms) > 1 and not negated and not self.chosen and (apart or self.query.asked == "yes"):
            self.joint = begin
        self.hold([condition for condition, _ in terms], negated, "or" in joined, first)
        between = " and not " if negated else f" {' or '.join(joined) or 'and'} "
        return self.note(first, f"{'not ' * negated}{between.join(text for _, text in terms)}")

    def hold(self, conditions: Sequence[Condition], negated: bool, either: bool, first: int) -> None:
        """Photos where all of them hold, either of them, or none."""
        for some in [tuple(conditions)] if negated or either else [(each,) for each in conditions]:
            self.add(Filter(some, negated), first)
        people = [each for each in conditions if isinstance(each, Named) and each.field == "person" and not negated]
        self.people += people
        self.either |= either and bool(people)

    def not_chosen(self, first: int) -> None:
        """Of Anna or Bob with Clara: whether both are with Clara, or Bob, is not clear."""
        if self.chosen:
            raise self.stuck("of which side of `or` this is said is not clear: ask twice", first=first)

    def person(self, needed: bool) -> Term | None:
        self.take("the person(?: called| named)?")
        return _term(self.name(("person",)) if needed else self.maybe_name(("person",)))

    def term(self, needed: bool) -> Term | None:
        """What may be on a photo, or be known of it."""
        first = self.at
        if match := self.take("the (?P<field>person|thing|camera|keyword|tag)(?: called| named)?"):
            fields: dict[str, Field] = {"person": "person", "thing": "thing", "camera": "camera"}
            return _term(self.name((fields.get(match["field"], "keyword"),)))
        if match := self.take(phrases.NUMBER_OF_PEOPLE) or self.take(phrases.NUMBER_OR_MORE):
            self.need_faces(first)
            self.of_photos(first)
            return _number(phrases.bounds(match["how"] or "", phrases.number(match["number"])), match["of"])
        for words, condition, text in _KNOWN:
            if self.take(words):
                self.need_faces(first) if condition in _OF_FACES else None
                self.unless_named(first, text)
                return condition, text
        among: Sequence[Field] = _named(self.before()) if self.before() == "of" else ("person", "thing", "camera")
        return _term(self.name(among) if needed else self.maybe_name(among))

    def unwanted(self, needed: bool) -> Term | None:
        """What is not on a photo. Of one without a camera nobody knows that it was not this one."""
        first = self.at
        found = self.term(needed)
        if found and (isinstance(found[0], Number) or (isinstance(found[0], Named) and found[0].field == "camera")):
            raise self.stuck(first=first)
        return found

    def need_faces(self, first: int) -> None:
        if not self.names.views.faces:
            raise self.stuck("no faces were found, or looked for, in this library", first=first)


def _term(reading: Reading | None) -> Term | None:
    return None if reading is None else (reading.condition, reading.text)


def _number(bounds: tuple[int, int | None], noun: str) -> Term:
    least, most = bounds
    text = f"exactly {least}" if least == most else f"{least} or more" if most is None else f"at most {most}"
    one = most == 1
    if noun.startswith("face"):
        return Number("faces", least, most), f"{text} {'face' if one else 'faces'}"
    return Number("persons", least, most), f"{text} {'person' if one else 'people'}, by faces and tags"


def _named(preposition: str) -> Sequence[Field]:
    """Of what a name may be, behind a preposition."""
    return ("person", "thing", "place") if preposition == "of" else ("place",)


def _bounds(word: str, begin: Dates, end: Dates) -> Dates:
    """A day that is named belongs to `since`, `until` and `between`, and not to `before` and `after`."""
    if word == "before":
        return Dates(None, begin.first, text=f"before {begin.text}")
    if word == "after":
        return Dates(begin.after, None, text=f"after {begin.text}")
    if word == "since":
        return Dates(begin.first, None, text=f"from {begin.text} on")
    if word == "between":
        return Dates(begin.first, end.after, text=f"{begin.text} to {end.text}, both included")
    return Dates(None, end.after, text=f"to {end.text}, which is included")


def _compatible(one: Filter, other: Filter) -> bool:
    """Whether one photo may be of both, as it has to be."""
    kinds, more = ({_kind(each) for each in filter_.any_of} for filter_ in (one, other))
    if one.negated or other.negated or not kinds & more & _ONE_EACH:
        return True
    [a, b] = [each.any_of[0].when if isinstance(each.any_of[0], Dated) else None for each in (one, other)]
    if a is None or b is None or len(one.any_of) + len(other.any_of) > 2:
        return False
    if a.months or b.months:  # in May, in 2019
        return bool(a.months) != bool(b.months)
    begin, end = (a, b) if b.first is None else (b, a)  # after 2018, before 2020
    return end.first is None and begin.after is None and bool(begin.first and end.after and begin.first < end.after)


def _kind(each: Condition) -> str:
    """What a condition is about; of places a town, a region or a country."""
    if isinstance(each, Named):
        return each.kinds[0] if each.kinds else each.field
    return "date" if isinstance(each, Dated) else "scene" if isinstance(each, Scene) else ""
