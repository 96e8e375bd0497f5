"""Search over a library of a million photos, compared with SQL written by hand in DuckDB over the same Parquet files.

    python benchmarks/search.py [--rows 1000000] [--rounds 20] [--keep FOLDER]

The library is made as `muster scan` and the workers make one: 256 photos a shard, tables `images`, `scenes` and
`objects`. Photos are taken at 2,000 spots around cities, by 12 cameras, over 20 years, in folders by month, some named
after a trip; 300 people have 1.2 faces a photo. For each query the photos found by `Search` are those of the SQL, in
the same order, or the benchmark ends with an error. Places are found in SQL by the distance of every spot from every
place, without a tree.

- first_seconds: `Search(library, labels)` and `know(…)`, files warm in memory; refresh_seconds: where nothing changed;
  edit_seconds: `know(…)` again, as after an edit.
- milliseconds: of each query, p50 and p95 of `run` over the rounds; slowest_p95_ms of all.
- duckdb_ms: of the SQL, once, for scale: it reads the files again.

The last line is one JSON object.
"""

import argparse
import contextlib
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.outcomes import IMAGES, IMAGES_DESCRIPTION
from muster.storage.places import CITY, CITY_KM, EARTH_KM, KM, PER_KM2, Places
from muster.storage.search.meanings import ALIKE_BITS
from muster.storage.search.search import Search
from muster.web.album import LabelTable

OBJECTS = {"task": "objects", "version": 1, "model": "made", "parameters": {}, "weights": {}}
SCENES = {"task": "scenes", "version": 1, "model": "made", "parameters": {}, "weights": {}}
LEAST = {"dog": 0.5, "cat": 0.6, "car": 0.4, "boat": 0.5, "bicycle": 0.5, "cake": 0.5, "umbrella": 0.5, "horse": 0.5}
NAMES = ["Anna", "Bob", "Anna Maria Schmidt", "Chloé", "Łukasz", "Paris", "May", "Dora Diaz"]
CAMERAS = ["Apple iPhone 12", "Google Pixel 6", "Canon EOS 6D", "NIKON D750", "SONY ILCE-7M3", "FUJIFILM X-T3"]
TRIPS = [" Lisbon trip", " At the lake", " Anna's birthday", " Dog"]
SPOTS, PEOPLE, FACES = 2000, 300, 1.2
HASHES = np.random.default_rng(2).integers(-(2**63), 2**63, 5000)  # of what photos show

# Each query, and by hand what it means: a condition on a row of `photo`.
FILE = r"regexp_matches(lower(file), '(^|[^a-z0-9]){0}([^a-z0-9]|$)')"
FOLDER = r"regexp_matches(lower(folder), '(^|[^a-z0-9]){0}([^a-z0-9]|$)')"
EITHER = f"({FILE} OR {FOLDER})"
SHOWS = "image_id IN (SELECT image_id FROM face WHERE name = '{0}')"
HAS = "image_id IN (SELECT image_id FROM object WHERE label = '{0}' AND score >= {1})"
AT = "list_contains(lies, '{0}')"


def either(word: str, *conditions: str) -> str:
    return "(" + " OR ".join([*conditions, EITHER.format(word)]) + ")"


ANNA, BOB = either("anna", SHOWS.format("Anna"), AT.format("Anna")), either("bob", SHOWS.format("Bob"))
DOG = either("dog", HAS.format("dog", 0.5))
NIGHT = either("night", "(scene = 'night' AND scene_source <> 'pixels')")
LISBON = either("lisbon", AT.format("Lisbon"), AT.format("region Lisbon"))
CAT, IN_2019 = either("cat", HAS.format("cat", 0.6)), "year(taken_at) = 2019"
GERMANY = either("germany", AT.format("country Germany"))
QUERIES = {
    "": "true",
    "anna": ANNA,
    "person:anna": SHOWS.format("Anna"),
    "anna maria schmidt": SHOWS.format("Anna Maria Schmidt"),
    "lukasz -chloe": f"{either('lukasz', SHOWS.format('Łukasz'))} AND NOT {either('chloe', SHOWS.format('Chloé'))}",
    "dogs": either("dogs", HAS.format("dog", 0.5)),
    "night": NIGHT,
    "2019": "taken_at >= '2019-01-01' AND taken_at < '2020-01-01'",
    "2019-05..2020-02": "taken_at >= '2019-05-01' AND taken_at < '2020-03-01'",
    "july": either("july", "month(taken_at) = 7"),
    "summer 2019": "taken_at >= '2019-06-01' AND taken_at < '2019-09-01'",
    "paris": either("paris", SHOWS.format("Paris"), AT.format("Paris")),
    "place:lissabon": AT.format("Lisbon"),
    "germany": GERMANY,
    "pixel": either("pixel", "camera LIKE '%Pixel%'"),
    "in:lisbon": FOLDER.format("lisbon"),
    'in:"2019/07"': "folder LIKE '%/2019/07%' AND folder NOT LIKE '%/2019/07 %'",
    "file:0012": "contains(file, '0012')",
    "IMG_0000123": FILE.format("img[^a-z0-9]0000123"),
    "anna -bob dog night 2019 lisbon": f"{ANNA} AND NOT {BOB} AND {DOG} AND {NIGHT} AND {IN_2019} AND {LISBON}",
    "-dog -cat -2019 -germany": f"NOT {DOG} AND NOT {CAT} AND NOT coalesce({IN_2019}, false) AND NOT {GERMANY}",
    "lisbom": "false",
}


def make_library(folder: Path, rows: int) -> LibraryFiles:
    source = folder / "source.parquet"
    rng = np.random.default_rng(0)
    months = rng.integers(12 * 20, size=rows)
    trips = np.where(rng.random(rows) < 0.1, rng.integers(len(TRIPS), size=rows), -1)
    names = np.where(rng.random(rows) < 0.001, "night dog", "IMG")
    uris = [
        f"s3://photos/{2005 + month // 12}/{month % 12 + 1:02d}{['', *TRIPS][trip + 1]}/{name}_{n:07d}.JPG"
        for n, (month, trip, name) in enumerate(zip(months.tolist(), trips.tolist(), names.tolist(), strict=True))
    ]
    pq.write_table(pa.table({"uri": uris}), source)
    library = open_library(folder / "library", create=True)
    manifest.scan(library, [str(source)])
    prints = [tables.describe(library, what) for what in (IMAGES_DESCRIPTION, SCENES, OBJECTS)]
    spots = made_spots(rng)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda shard: finish(library, prints, shard[0], spots), manifest.shards(library)))
    return library


def made_spots(rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """(SPOTS, 2) degrees: around places, a tenth anywhere, and some in Lisbon and Paris."""
    places = pq.read_table(Path(__file__).parents[1] / "storage/data/places.parquet", columns=["latitude", "longitude"])
    every = np.stack([places[name].to_numpy().astype(float) for name in places.column_names], 1)
    near = every[rng.integers(len(every), size=SPOTS)] + rng.normal(0, 0.05, (SPOTS, 2))
    near[:200] = np.stack([rng.uniform(-80, 80, 200), rng.uniform(-180, 180, 200)], 1)
    near[200:260] = rng.normal((38.72, -9.14), 0.02, (60, 2))
    near[260:320] = rng.normal((48.86, 2.34), 0.02, (60, 2))
    return np.clip(near, (-90, -180), (90, 180)).round(5)


def finish(library: LibraryFiles, prints: list[str], shard: str, spots: np.ndarray[Any, Any]) -> None:
    ids = manifest.read_shard(library, shard)["image_id"].to_pylist()
    rng = np.random.default_rng(int(shard[:8], 16))
    many = len(ids)
    taken = rng.integers(1104537600, 1735689600, many) * 1_000_000
    spot = spots[rng.integers(SPOTS, size=many)]
    broken = rng.random(many) < 0.001
    dated, placed = rng.random(many) < 0.97, rng.random(many) < 0.6
    columns: dict[str, Any] = {
        "image_id": ids,
        "status": np.where(broken, "error", "ok"),
        "error_kind": pa.array(np.full(many, "truncated"), mask=~broken),
        "taken_at": pa.array(taken, pa.timestamp("us"), mask=~dated),
        "latitude": pa.array(spot[:, 0], mask=~placed),
        "longitude": pa.array(spot[:, 1], mask=~placed),
        "camera": np.array(CAMERAS)[rng.integers(len(CAMERAS), size=many)],
        "sha256": [each * 2 for each in ids],
        "phash": HASHES[rng.integers(len(HASHES), size=many)] ^ (1 << rng.integers(0, 63, many)),
    }
    absent = {name: pa.nulls(many, IMAGES.field(name).type) for name in IMAGES.names if name not in columns}
    images = pa.table({name: {**columns, **absent}[name] for name in IMAGES.names}, schema=IMAGES)
    source = np.array(["exif", "both", "pixels"])[rng.integers(3, size=many)]
    label = np.array(["day", "night"])[(rng.random(many) < 0.2).astype(int)]
    scenes = pa.table({"image_id": ids, "label": pa.array(label, mask=rng.random(many) < 0.2), "source": source})
    things = rng.integers(0, len(LEAST) + 3, size=(many, 3))
    at, slot = np.nonzero(things < len(LEAST))
    objects = pa.table(
        {
            "image_id": np.array(ids)[at],
            "label": np.array(list(LEAST))[things[at, slot]],
            "score": rng.random(len(at)).astype(np.float32),
        }
    )
    for name, fingerprint, table in zip(
        ("images", "scenes", "objects"), prints, (images, scenes, objects), strict=True
    ):
        tables.write_shard(library, fingerprint, shard, {name: table})


def faces_of(image_ids: pa.Array) -> tuple[pa.Table, dict[str, str]]:
    """A few people are on very many photos."""
    rng = np.random.default_rng(1)
    many = int(len(image_ids) * FACES)
    person = np.minimum(rng.zipf(1.3, many) - 1, PEOPLE - 1)
    ids = [f"{number:012x}" for number in range(PEOPLE)]
    named = {ids[number * 3]: name for number, name in enumerate(NAMES)}
    rows = {
        "image_id": image_ids.take(pa.array(rng.integers(len(image_ids), size=many))),
        "person_id": pa.array(np.array(ids)[person], mask=rng.random(many) < 0.1),
    }
    return pa.table(rows), named


# ---- by hand ---------------------------------------------------------------------------------------------------------


def by_hand(library: Path, faces: pa.Table, names: dict[str, str]) -> duckdb.DuckDBPyConnection:
    """`photo`, `face` and `object` over the library's files."""
    db = duckdb.connect()
    db.register("face_rows", faces)
    db.register("names", pa.table({"person_id": list(names), "name": list(names.values())}))
    countries = Places().countries
    db.register("countries", pa.table({"code": list(countries), "country_name": list(countries.values())}))
    places = Path(__file__).parents[1] / "storage/data/places.parquet"
    db.execute("CREATE VIEW face AS SELECT image_id, name FROM face_rows JOIN names USING (person_id)")
    db.execute(f"CREATE VIEW object AS SELECT image_id, label, score FROM '{library}/objects/*/*.parquet'")
    db.execute(
        f"""CREATE TABLE place AS
        SELECT p.*, country_name, least(sqrt(population / ({PER_KM2} * pi())), {CITY_KM}) AS radius
        FROM '{places}' p LEFT JOIN countries ON code = country"""
    )
    db.execute(
        f"""CREATE TABLE spot AS
        SELECT DISTINCT round(latitude, 3) AS latitude, round(longitude, 3) AS longitude
        FROM '{library}/images/*/*.parquet' WHERE latitude IS NOT NULL"""
    )
    db.execute(
        f"""CREATE TABLE near AS
        SELECT s.latitude, s.longitude, p.name, p.region, p.country_name, p.population, p.radius,
          2 * {EARTH_KM} * asin(sqrt(pow(sin(radians(p.latitude - s.latitude) / 2), 2)
            + cos(radians(s.latitude)) * cos(radians(p.latitude))
            * pow(sin(radians(p.longitude - s.longitude) / 2), 2))) AS km
        FROM spot s JOIN place p ON abs(p.latitude - s.latitude) < 0.5 WHERE km <= {KM}"""
    )
    db.execute(
        f"""CREATE TABLE spot_at AS
        WITH best AS (
          SELECT latitude, longitude, arg_min(struct_pack(name, region, country_name), km) AS place,
            arg_max(struct_pack(name, region, country_name), population)
              FILTER (population >= {CITY} AND km <= radius) AS city
          FROM near GROUP BY ALL)
        SELECT latitude, longitude, [place.name, 'region ' || place.region, 'country ' || place.country_name,
          city.name, 'region ' || city.region, 'country ' || city.country_name] AS lies FROM best"""
    )
    db.execute(
        f"""CREATE VIEW photo AS
        SELECT image_id, uri, taken_at, camera, phash, s.label AS scene, s.source AS scene_source,
          regexp_replace(uri, '^.*/', '') AS file, regexp_replace(uri[12:], '/[^/]*$', '') AS folder,
          coalesce(lies, []) AS lies
        FROM '{library}/manifest/shard-*.parquet'
        JOIN '{library}/images/*/*.parquet' i USING (image_id)
        LEFT JOIN '{library}/scenes/*/*.parquet' s USING (image_id)
        LEFT JOIN spot_at l ON l.latitude = round(i.latitude, 3) AND l.longitude = round(i.longitude, 3)
        WHERE status = 'ok'"""
    )
    return db


def expected(db: duckdb.DuckDBPyConnection, condition: str) -> tuple[list[str], float]:
    began = time.monotonic()
    rows = db.execute(f"SELECT image_id FROM photo WHERE {condition} ORDER BY taken_at NULLS LAST, uri").fetchall()
    return [image_id for (image_id,) in rows], (time.monotonic() - began) * 1000


@contextlib.contextmanager
def place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def measure(folder: Path, rows: int, rounds: int) -> dict[str, Any]:
    there = (folder / "library").exists()
    began = time.monotonic()
    library = open_library(folder / "library") if there else make_library(folder, rows)
    print(f"library: {time.monotonic() - began:.0f} s", flush=True)
    prints = {what["task"]: name for name, what in tables.descriptions(library).items()}
    labels = [
        LabelTable(table="objects", fingerprint=prints["objects"], score="score", placed=True, least_scores=LEAST),
        LabelTable(table="scenes", fingerprint=prints["scenes"], hidden=({"label": "night", "source": "pixels"},)),
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    search = Search(library, labels)
    read = time.monotonic() - began
    faces, names = faces_of(search.index.columns.table["image_id"].combine_chunks())
    began = time.monotonic()
    search.know(faces, names)
    edit = time.monotonic() - began
    began = time.monotonic()
    search.refresh()
    refresh = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    one = search.index.columns.table.slice(min(1000, len(search.index.columns) - 1), 1).to_pylist()[0]
    alike = f"bit_count(xor(phash, {one['phash']}::BIGINT)) <= {ALIKE_BITS} AND phash <> 0"
    people = faces.filter(pa.compute.equal(faces["image_id"], one["image_id"]))["person_id"].drop_null().to_pylist()
    together = " AND ".join(f"image_id IN (SELECT image_id FROM face_rows WHERE person_id = '{p}')" for p in people)
    queries = {**QUERIES, f"similar:{one['image_id']}": f"({alike}) OR ({together or 'false'})"}
    milliseconds, found = {}, {}
    for query in queries:
        times = []
        for _ in range(rounds):
            began = time.perf_counter()
            result = search.run(query)
            times.append((time.perf_counter() - began) * 1000)
        found[query] = result.image_ids.to_pylist()
        milliseconds[query.partition(":")[0] + ":…" if query.startswith("similar") else query] = (
            round(statistics.median(times), 1),
            round(float(np.quantile(times, 0.95)), 1),
        )
        print(f"{query!r}: {len(found[query]):,} photos, {times[-1]:.1f} ms", flush=True)
    db = by_hand(folder / "library", faces, names)
    differ, sql = [], []
    for query, condition in queries.items():
        wanted, took = expected(db, condition)
        sql.append(took)
        if wanted != found[query]:
            differ.append(query)
            print(f"{query!r}: {len(found[query])} found, {len(wanted)} by hand")
    return {
        "rows": len(search.index.columns),
        "queries": len(queries),
        "equal": not differ,
        "differ": differ,
        "first_seconds": round(read + edit, 1),
        "edit_seconds": round(edit, 2),
        "refresh_seconds": round(refresh, 3),
        "slowest_p95_ms": max(p95 for _, p95 in milliseconds.values()),
        "milliseconds": milliseconds,
        "duckdb_ms": round(statistics.median(sql)),
        "peak_mib": round(peak / 1024),
        "mib_before": round(before / 1024),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--keep", type=Path, help="keep the library here, and take it from here")
    arguments = parser.parse_args()
    with place(arguments.keep) as folder:
        print(json.dumps(measure(folder, arguments.rows, arguments.rounds)))
