"""All that photos are found by, of a library as it was at one moment. Nothing in it changes: threads may share it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import I64, Bools
from muster.storage.places import NOWHERE, Place, Places
from muster.storage.search.alike import Alike
from muster.storage.search.columns import Columns, Paths
from muster.storage.search.fields import Field, Part, field_of
from muster.storage.search.labels import distinct
from muster.storage.search.words import folded

FACES = pa.schema([("image_id", pa.string()), ("person_id", pa.string())])


@dataclass(frozen=True)
class Where:
    """`places`, `cities` (N,): the nearest place of each photo, and the city around it; NOWHERE without. `known`: all
    of them by number, in its order."""

    places: I64
    cities: I64
    known: Mapping[int, Place]

    def of(self, row: int) -> Place | None:
        """The place that a photo is said to be at: the city, where there is one."""
        number = int(self.cities[row] if self.cities[row] != NOWHERE else self.places[row])
        return self.known.get(number)


@dataclass(frozen=True)
class Index:
    """`fields`: by name; there may be several of one. `starred` (N,): favourites by tags; `favourites` (N,): by these
    or by users. `tagged`: the people whom tags name. `alike`: None where photos have no embeddings."""

    columns: Columns
    paths: Paths
    where: Where
    fields: Mapping[str, tuple[Field, ...]]
    starred: Bools
    favourites: Bools
    tagged: tuple[Field, ...] = ()
    alike: Alike | None = None

    def with_people(self, people: Field, favourites: Collection[str], hidden: Collection[str] = ()) -> "Index":
        """The same, with others on the photos, and all whom tags name without a face but those of the names `hidden`.
        `favourites`: image_ids."""
        liked = self.starred.copy()
        rows = self.columns.rows_of(pa.array(list(favourites), pa.string()))
        liked[rows[rows >= 0]] = True
        tagged = [without(each, hidden) for each in self.tagged]
        return replace(self, fields={**self.fields, "person": (people, *tagged)}, favourites=liked)

    @cached_property
    def titles(self) -> frozenset[str]:
        """What people, places and things are called first."""
        every = (value for fields in self.fields.values() for field in fields for value in field.values)
        return frozenset(folded(value.partition(",")[0]) for value in every)

    @cached_property
    def vocabulary(self) -> Mapping[str, frozenset[str]]:
        """Field → texts that it knows, folded: what a wrong word may have meant."""
        return {name: frozenset(text for each in fields for text in each.known) for name, fields in self.fields.items()}


def where(columns: Columns) -> Where:
    nowhere = np.full(len(columns), NOWHERE, np.int64)
    if np.isnan(columns.latitudes).all():
        return Where(nowhere, nowhere, {})
    places = Places()
    nearest, cities = places.find(columns.latitudes, columns.longitudes)
    return Where(nearest, cities, places.places([*np.unique(nearest).tolist(), *np.unique(cities).tolist()]))


def place_field(found: Where) -> Field:
    """Groups: places, then regions, then countries. A place is found by its name in any spelling, also with its region
    or country behind it."""
    places = list(found.known.values())
    regions = {key: n for n, key in enumerate(dict.fromkeys((p.region, p.country) for p in places if p.region))}
    countries = {name: n for n, name in enumerate(dict.fromkeys(p.country for p in places if p.country))}
    names = [_spelled(place) for place in places]
    names += [[region, f"{region} {country}"] for region, country in regions]
    names += [[country] for country in countries]
    values = [*map(str, places), *(f"{region}, {country}" for region, country in regions), *countries]
    above = np.full((len(places), 2), -1, np.int64)
    for number, place in enumerate(places):
        above[number, 0] = regions.get((place.region, place.country), -1 - len(places)) + len(places)
        above[number, 1] = countries.get(place.country, -1 - len(places) - len(regions)) + len(places) + len(regions)
    rows, groups = [], []
    for column in (found.places, found.cities):
        known = np.flatnonzero(column != NOWHERE)
        own = np.searchsorted(np.array(list(found.known), np.int64), column[known])
        rows += [known] * 3
        groups += [own, *above[own].T]
    return field_of("place", values, distinct(np.concatenate(rows), np.concatenate(groups), len(values)), names)


def _spelled(place: Place) -> list[str]:
    spellings = [place.name, *place.spellings]
    return [*spellings, *(f"{name} {more}" for name in spellings for more in (place.region, place.country) if more)]


def camera_field(columns: Columns) -> Field:
    """Found by a part of its name too: "pixel"."""
    return coded("camera", columns.table["camera"].combine_chunks().dictionary_encode())


def without(field: Field, names: Collection[str]) -> Field:
    """The same, but for the groups of these names in any spelling."""
    unwanted = {folded(name) for name in names if name}
    kept = np.array([folded(value) not in unwanted for value in field.values], bool)
    numbers = np.where(kept, np.cumsum(kept) - 1, -1)
    groups = np.repeat(numbers, np.diff(field.starts))
    values = [value for value in field.values if folded(value) not in unwanted]
    return field_of(field.name, values, (field.rows.astype(np.int64), groups), part="else")


def coded(name: str, column: pa.DictionaryArray) -> Field:
    """A field of one value a photo, found by any words of it."""
    groups = column.indices.fill_null(-1).to_numpy().astype(np.int64)
    return field_of(name, column.dictionary.to_pylist(), (np.arange(len(groups)), groups), part="also")


def folder_field(paths: Paths) -> Field:
    """Found by the name of any folder below the source, or some of its words."""
    names = [[segment for segment in below.split("/") if segment] for below in paths.below]
    return field_of("folder", paths.folders, (np.arange(len(paths.codes)), paths.codes), names, part="also")


def person_field(columns: Columns, faces: pa.Table, names: Mapping[str, str]) -> Field:
    """`faces`: image_id, person_id (null: nobody). `names`: person_id → name, "" without. By
    the whole name, else by some words of it, and by the id."""
    column = faces["person_id"].combine_chunks().dictionary_encode()
    ids = column.dictionary.to_pylist()
    groups = column.indices.fill_null(-1).to_numpy().astype(np.int64)
    pairs = distinct(columns.rows_of(faces["image_id"]), groups, len(ids))
    called = [(names.get(person, ""), person) for person in ids]
    return field_of("person", [name or person for name, person in called], pairs, called, part="else")


def marked_field(name: str, columns: Columns, marks: pa.Table, column: str, part: Part = "also") -> Field:
    """What tags mark photos with, several each: "keywords", "albums" or "people"."""
    lists = marks[column].combine_chunks()
    coded = lists.flatten().dictionary_encode()
    values = coded.dictionary.to_pylist()
    rows = columns.rows_of(marks["image_id"])[pc.list_parent_indices(lists).to_numpy()]
    groups = coded.indices.fill_null(-1).to_numpy().astype(np.int64)
    return field_of(name, values, distinct(rows, groups, len(values)), part=part)
