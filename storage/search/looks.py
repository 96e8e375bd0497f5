"""Which words of a query say what photos look like: "children in the snow" of `anna children in the snow 2019`."""

from collections.abc import Sequence
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
        *("in", "into", "its", "near", "of", "off", "on", "onto", "or", "over", "some", "the"),
        *("their", "through", "to", "under", "with"),
    )
)


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
        things = bool(self.means) and {meaning.field for meaning in self.means} <= THINGS
        return self.small or self.unknown or (self.first.plain and things)


@dataclass(frozen=True)
class Description:
    """Segments number `first` to before `after`, which say together what photos look like. `text`: in words."""

    first: int
    after: int
    text: str


def descriptions(segments: Sequence[Segment]) -> list[Description]:
    """`looks:…`; and words that name nothing here, with those beside them that are small or name things or scenes, as
    they stand. Small words at their end belong to what follows: "snow in" of "snow in lisbon"."""
    found = []
    for kind, group in groupby(range(len(segments)), lambda n: (segments[n].first.field == LOOKS, segments[n].fits)):
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
