"""The tables that questions are asked of: few, and the same for every library. docs/ask.md describes them.

They are made of the fields of `muster.storage.search`, so that a name means the same photos here and there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import I64
from muster.storage.places import Place
from muster.storage.search.fields import Field
from muster.storage.search.index import Index
from muster.storage.search.labels import Labels
from muster.storage.search.search import described
from muster.storage.search.words import folded

_TEXT = pa.string()
FACES = pa.schema([(name, _TEXT) for name in ("face_id", "image_id", "person_id")])
PHOTOS = pa.schema(
    {
        **dict.fromkeys(("image_id", "uri", "folder"), _TEXT),
        "taken_at": pa.timestamp("us"),
        **dict.fromkeys(("place", "city", "region", "country", "town", "camera"), _TEXT),
        "favourite": pa.bool_(),
        **dict.fromkeys(("faces", "persons"), pa.int64()),
    }
)
PEOPLE = pa.schema([(name, _TEXT) for name in ("image_id", "face", "person", "name")])
THINGS = pa.schema([(name, _TEXT) for name in ("image_id", "label", "kind")])
PLACES = pa.schema([(name, _TEXT) for name in ("image_id", "name", "kind")])
TAGS = pa.schema([(name, _TEXT) for name in ("image_id", "tag", "kind")])
TOWN, REGION, COUNTRY = "town", "region", "country"  # kinds of places


@dataclass(frozen=True)
class Views:
    """`tables`: name → table. `places`: of each group of the index's field "place", its name and kind in `places`.
    `faces`: whether there are any; without them nothing can be said of people."""

    index: Index
    tables: Mapping[str, pa.Table]
    places: Sequence[tuple[str, str]]
    faces: bool


def views(index: Index, faces: pa.Table, names: Mapping[str, str], labels: Sequence[Labels]) -> Views:
    """`faces`: FACES, person_id null where a face is nobody's. `names`: person_id → name, "" without. `labels`: the
    tables that the index was made of, in its order."""
    known = pc.is_in(faces["image_id"], value_set=index.columns.image_ids)
    people = _people(index, faces.filter(known), names)
    towns = _towns(index.where.known)
    places = _place_names(index, list(towns.values()))
    placed, scenes = (iter(index.fields.get(name, ())) for name in ("object", "scene"))
    things = [_pairs(index, next(placed if each.placed else scenes), THINGS, each.table) for each in labels]
    marks = [("keyword", field) for field in index.fields.get("tag", ())]
    marks += [("album", field) for field in index.fields.get("album", ())]
    tables = {
        "photos": _photos(index, people, towns),
        "people": people,
        "things": pa.concat_tables([THINGS.empty_table(), *things]),
        "places": _places(index, places),
        "tags": pa.concat_tables([TAGS.empty_table(), *(_pairs(index, field, TAGS, kind) for kind, field in marks)]),
    }
    return Views(index, tables, places, faces.num_rows > 0)


def _pairs(index: Index, field: Field, schema: pa.Schema, kind: str) -> pa.Table:
    """A row for each photo of each group of a field."""
    groups = _groups(field)
    values = pa.array(field.values, _TEXT).take(pa.array(groups))
    columns = [_ids(index, field.rows), values, pa.repeat(pa.scalar(kind), len(groups))]
    return pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema)


def _groups(field: Field) -> I64:
    """The group of each of the field's rows."""
    return np.repeat(np.arange(len(field.values)), np.diff(field.starts))


def _ids(index: Index, rows: np.ndarray) -> pa.Array:
    return index.columns.image_ids.take(pa.array(rows.astype(np.int64)))


# ---- people ----------------------------------------------------------------------------------------------------------


def _people(index: Index, faces: pa.Table, names: Mapping[str, str]) -> pa.Table:
    """A row for each face, then one for everybody whom tags name on a photo without a face of theirs."""
    persons = faces["person_id"].to_pylist()
    found = [faces["image_id"], faces["face_id"], faces["person_id"], [names.get(each) or None for each in persons]]
    table = pa.table(dict(zip(PEOPLE.names, found, strict=True)), schema=PEOPLE)
    shown = {(row["image_id"], folded(row["name"])) for row in table.to_pylist() if row["name"]}
    called = Counter(folded(name) for name in names.values())
    ids = {folded(name): person for person, name in names.items() if called[folded(name)] == 1}
    tagged = []
    for field in index.fields.get("person", ())[1:]:
        images = _ids(index, field.rows).to_pylist()
        for image_id, group in zip(images, _groups(field).tolist(), strict=True):
            name = field.values[group]
            if (image_id, folded(name)) not in shown:
                tagged.append({"image_id": image_id, "person": ids.get(folded(name)), "name": name})
    return pa.concat_tables([table, pa.Table.from_pylist(tagged, PEOPLE)])


def _numbers(index: Index, people: pa.Table) -> tuple[I64, I64]:
    """(N,) faces and people of each photo: of people as many as there are faces, or different ones if they are more."""
    rows = index.columns.rows_of(people["image_id"])
    faces = np.bincount(rows[pc.is_valid(people["face"]).to_numpy(zero_copy_only=False)], minlength=len(index.columns))
    who = pc.coalesce(people["person"], people["name"]).to_pylist()
    different = {(row, each) for row, each in zip(rows.tolist(), who, strict=True) if each is not None}
    persons = np.bincount([row for row, _ in different], minlength=len(index.columns)) if different else faces * 0
    return faces, np.maximum(faces, persons)


# ---- photos and places -----------------------------------------------------------------------------------------------


def _photos(index: Index, people: pa.Table, towns: Mapping[int, str]) -> pa.Table:
    where, paths = index.where, index.paths
    table = described(index, np.arange(len(index.columns)))
    at = np.where(where.cities >= 0, where.cities, where.places).tolist()
    faces, persons = _numbers(index, people)
    more = {
        "folder": [paths.folders[code] for code in paths.codes.tolist()],
        "town": [towns.get(number) for number in at],
        "favourite": index.favourites,
        "faces": faces,
        "persons": persons,
    }
    return pa.table({name: more[name] if name in more else table[name] for name in PHOTOS.names}, schema=PHOTOS)


def _towns(known: Mapping[int, Place]) -> dict[int, str]:
    """How places are called: "Lisbon, Portugal", with the region where a country has two of one name."""
    called = Counter(map(str, known.values()))
    several = {number: place for number, place in known.items() if called[str(place)] > 1}
    regions = {number: ", ".join(filter(None, (p.name, p.region, p.country))) for number, p in several.items()}
    return {number: regions.get(number, str(place)) for number, place in known.items()}


def _place_names(index: Index, towns: Sequence[str]) -> list[tuple[str, str]]:
    """The groups of the field "place", which has towns, then regions, then countries."""
    values = index.fields["place"][0].values
    countries = len({place.country for place in index.where.known.values() if place.country})
    kinds = [TOWN] * len(towns) + [REGION] * (len(values) - len(towns) - countries) + [COUNTRY] * countries
    return list(zip([*towns, *values[len(towns) :]], kinds, strict=True))


def _places(index: Index, places: Sequence[tuple[str, str]]) -> pa.Table:
    field = index.fields["place"][0]
    groups = _groups(field).tolist()
    named: Iterable[list[str]] = ([places[group][part] for group in groups] for part in (0, 1))
    columns = [_ids(index, field.rows), *named]
    return pa.table(dict(zip(PLACES.names, columns, strict=True)), schema=PLACES)
