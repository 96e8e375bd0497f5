"""Which words of a query say what photos look like: "children in the snow" of `anna children in the snow 2019`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from muster.storage.search.meanings import Meaning
from muster.storage.search.query import Term
from muster.storage.search.words import folded

LOOKS = "looks"
THINGS = {"object", "scene"}
# Prepositions, articles and the like, which name nothing alone
SMALL = frozenset(
    (
        *("a", "an", "and", "at", "behind", "beside", "between", "by", "for", "from", "her", "his"),
        *("in", "into", "its", "near", "of", "off", "on", "onto", "over", "some", "the"),
        *("their", "through", "to", "under", "with"),
    )
)
TIMES = "..2018, 2018..2019 and 2019.. are times"
# Words that turn a query round, which an embedding hardly sees, and what is typed instead
TURNING = {
    **dict.fromkeys(("but", "except", "no", "not", "without"), "-word leaves photos out"),
    **dict.fromkeys(("after", "before", "since", "until"), TIMES),
    "or": "search for each by itself",
}
SPANNING = {"between", "to"}


@dataclass(frozen=True)
class Segment:
    """Words that stand together, from number `begin` to before `end` of the query's, and all that they mean here."""

    begin: int
    end: int
    first: Term
    text: str
    means: Sequence[Meaning]

    @property
    def small(self) -> bool:
        return self.first.plain and folded(self.text) in SMALL

    @property
    def unknown(self) -> bool:
        """Whether it names nothing here, though it might."""
        return self.first.plain and not self.means and bool(folded(self.text)) and not self.small

    @property
    def fits(self) -> bool:
        """Whether it may be part of a description: it names nothing, or things and scenes alone."""
        things = bool(self.means) and self.called <= THINGS
        return self.small or self.unknown or (self.first.plain and things)

    @property
    def filters(self) -> bool:
        return bool(self.means) and not self.fits

    @property
    def called(self) -> frozenset[str]:
        """The fields of all that it means."""
        return frozenset(meaning.field for meaning in self.means)


@dataclass(frozen=True)
class Description:
    """Segments number `first` to before `after`, which say together what photos look like. `text`: in words."""

    first: int
    after: int
    text: str


def turning(segments: Sequence[Segment]) -> Mapping[int, str]:
    """The segments that search does not understand, by number, and what is typed instead: words of logic that name
    nothing but files and folders. "to" and "between" are such before a date and between words that filter."""
    found = {}
    for n, each in enumerate(segments):
        word = folded(each.text)
        if not each.first.plain or each.called - {"file", "folder"}:
            continue
        after = segments[n + 1] if n + 1 < len(segments) else None
        if word in TURNING:
            found[n] = TURNING[word]
        elif (
            word in SPANNING
            and after
            and (after.called == {"date"} or (n and after.filters and segments[n - 1].filters))
        ):
            found[n] = TIMES
    return found


def descriptions(segments: Sequence[Segment], turned: Collection[int]) -> list[Description]:
    """`looks:…`; and words that name nothing here, with those beside them that are small or name things or scenes, as
    they stand. Small words at their end belong to what follows: "snow in" of "snow in lisbon". `turned`: numbers of
    those that are in none."""
    kinds = [(each.first.field == LOOKS, each.fits and n not in turned) for n, each in enumerate(segments)]
    found = []
    for kind, group in groupby(range(len(segments)), kinds.__getitem__):
        places = list(group)
        if kind == (False, True):
            while places and segments[places[-1]].small:
                places.pop()
            if any(segments[n].unknown for n in places):
                found.append(_described(segments, places))
        elif kind[0]:
            found += [_described(segments, [n]) for n in places]
    return found


def _described(segments: Sequence[Segment], places: Sequence[int]) -> Description:
    return Description(places[0], places[-1] + 1, " ".join(segments[n].text for n in places))
