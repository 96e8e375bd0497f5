"""What a name in a question means in a library. Search takes all that a word may mean; a question may have one answer,
so that a name which means several things is refused, with what it may be."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from muster.arrays import Bools
from muster.storage.ask.query import Field, Named
from muster.storage.ask.views import COUNTRY, REGION, TOWN, Views
from muster.storage.search import fields
from muster.storage.search.words import folded, nearest

NEAR, SHOWN = 12, 3  # texts near a wrong word that are looked at, and shown
# Where each is looked up in search, and how it is said so that it can be nothing else.
_SEARCHED = {"person": ("person",), "thing": ("object", "scene"), "keyword": ("tag",)}
_SAID = {
    "person": "with the person",
    "thing": "with the thing",
    "camera": "with the camera",
    "keyword": "with the keyword",
}
_SAID |= {
    "album": "in the album",
    "folder": "in the folder",
    TOWN: "in the town",
    REGION: "in the region",
    COUNTRY: "in the country",
}
KINDS_OF_PLACES = {"town": TOWN, "city": TOWN, "village": TOWN, "place": TOWN, "region": REGION, "country": COUNTRY}


@dataclass(frozen=True, slots=True)
class Reading:
    """One thing that a name may mean. `text`: for people to read. `said`: the words that mean this alone."""

    condition: Named
    text: str
    said: str


class Names:
    """Of a library."""

    def __init__(self, views: Views) -> None:
        self.views, self.index = views, views.index

    @cached_property
    def _ids(self) -> Mapping[str, set[str]]:
        """Who is called so: folded name → person_ids."""
        found: dict[str, set[str]] = {}
        people = self.views.tables["people"].select(["person", "name"])
        for row in people.group_by(["person", "name"]).aggregate([]).to_pylist():
            if row["person"] and row["name"]:
                found.setdefault(folded(row["name"]), set()).add(row["person"])
        return found

    def find(self, word: str, among: Sequence[Field], kind: str = "") -> list[Reading]:
        """All that a folded name may mean. Empty: nothing that is known here. `kind`: of places these alone."""
        return [reading for name in among for reading in self._of(name, word, kind)] if word else []

    def near(self, word: str, among: Sequence[Field]) -> list[str]:
        """Names that are known here, and nearest to one that is not."""
        known = [text for name in among for each in self._fields(name) for text in each.known]
        return nearest(word, known, NEAR, self.index.titles)[:SHOWN] if word else []

    def scene(self, label: str) -> bool:
        """Whether photos are known to be taken so: "day" or "night"."""
        return any(field.find(label) for field in self.index.fields.get("scene", ()))

    def people(self) -> bool:
        """Whether it is known of any photo who is on it."""
        return any(field.values for field in self._fields("person"))

    def things(self) -> bool:
        """Whether it is known of any photo what it shows, but day and night."""
        return bool(set(self.views.tables["things"]["kind"].unique().to_pylist()) - {"scenes"})

    def called(self, word: str) -> list[str]:
        """Names of people that a word means, where it means one."""
        readings = self.find(word, ("person",))
        return list(readings[0].condition.values[:1]) if len(readings) == 1 else []

    def most_photographed(self) -> list[str]:
        """Names of people, those on most photos first."""
        people = self._fields("person")[0]
        named = set(filter(None, self.views.tables["people"]["name"].to_pylist()))
        order = np.argsort(-np.diff(people.starts), kind="stable").tolist()
        return [people.values[group] for group in order if people.values[group] in named]

    def _fields(self, name: str) -> Sequence[fields.Field]:
        searched = _SEARCHED.get(name, (name,))
        return [each for one in searched for each in self.index.fields.get(one, ())]

    def _of(self, name: Field, word: str, kind: str) -> list[Reading]:
        if name == "place":
            return self._places(word, kind)
        values = list(dict.fromkeys(each.values[g] for each in self._fields(name) for g in each.find(word)))
        if name == "person":
            same = [value for value in values if folded(value) == word] or values
            people = {folded(value): [each for each in same if folded(each) == folded(value)] for value in same}
            readings = {key: _reading("person", called, called[0]) for key, called in people.items()}
            return [readings[key] for key in people for _ in range(max(1, len(self._ids.get(key, ()))))]
        return [_reading(name, values, word)] if values else []

    def _places(self, word: str, kind: str) -> list[Reading]:
        """One, where all that is called so was photographed on the same photos: a city that is a country."""
        [field] = self._fields("place")
        groups = [g for g in field.find(word) if kind in ("", self.views.places[g][1])]
        photos: dict[tuple[str, str], Bools] = {}
        for group in groups:
            marked = np.zeros(len(self.index.columns), bool)
            field.mark([group], marked)
            photos[self.views.places[group]] = marked
        different = {marked.tobytes(): place for place, marked in photos.items()}
        if len(different) > 1:
            return [_place([place]) for place in photos]
        return [_place(list(photos))] if photos else []


def _reading(field: Field, values: Iterable[str], name: str) -> Reading:
    shown = tuple(values)
    text = f"{field} {' or '.join(shown[:3])}{' or …' * (len(shown) > 3)}"
    return Reading(Named(field, shown), text, f'{_SAID[field]} "{name}"')


def _place(places: Sequence[tuple[str, str]]) -> Reading:
    names, kinds = zip(*places, strict=True)
    name, kind = places[0]
    text = " or ".join(f"{kind} {name}" for name, kind in places)
    return Reading(Named("place", names, kinds), text, f'{_SAID[kind]} "{name}"')
