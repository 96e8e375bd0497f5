"""What a question asks for, as the grammar understands it and muster.storage.ask.sql writes it."""

from dataclasses import dataclass
from typing import Literal

from muster.storage.search.dates import Dates

Asked = Literal["count", "photos", "groups", "first", "last", "yes"]
Unit = Literal[
    "photo",
    "person",
    "thing",
    "place",
    "region",
    "country",
    "day",
    "month",
    "year",
    "camera",
    "album",
    "keyword",
    "folder",
]
Field = Literal["person", "thing", "place", "camera", "keyword", "album", "folder"]


@dataclass(frozen=True, slots=True)
class Named:
    """Photos of these: names of people or ids of those without one, labels, places as (kind, name), cameras, …"""

    field: Field
    values: tuple[str, ...]
    kinds: tuple[str, ...] = ()  # of places: a kind for each value


@dataclass(frozen=True, slots=True)
class Dated:
    """Photos taken then, by the camera's clock."""

    when: Dates


@dataclass(frozen=True, slots=True)
class Scene:
    """Photos taken by day, or at night."""

    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Number:
    """Photos with `least` to `most` (None: any number) of these; `persons` are people by their faces and by tags."""

    column: Literal["persons", "faces"]
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Has:
    """Photos of which this is known; "people": whoever it is, and from behind too, where objects were looked for."""

    what: Literal["taken_at", "place", "camera", "favourite", "people"]


Condition = Named | Dated | Scene | Number | Has


@dataclass(frozen=True, slots=True)
class Filter:
    """Photos of which one of these holds; `negated`: none of them."""

    any_of: tuple[Condition, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """`unit`: what is counted, listed or grouped by. `most`: of groups only those with the most, or the least, photos.
    `oldest`, `newest`: of the photos only so many; 0: all. `but`: those of the unit who are asked with, and not for."""

    asked: Asked
    unit: Unit = "photo"
    filters: tuple[Filter, ...] = ()
    most: Literal["", "most", "least"] = ""
    oldest: int = 0
    newest: int = 0
    but: tuple[str, ...] = ()
