"""How long a search by words takes: random embeddings of photos, compared with that of a description.

    python benchmarks/text_search.py [--rows N] [--width N] [--rounds N]

Prints one JSON line: median and 95th percentile in milliseconds of `storage.search.run`, without the model that embeds
the description, of queries that leave all photos, a half of them, and one in a hundred; `equal`: whether each found the
photos that a plain matrix product does; memory in MiB: of the embeddings, and most of the process, before and after.
"""

import argparse
import json
import resource
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from muster.arrays import F32
from muster.storage.index import vectors
from muster.storage.outcomes import IMAGES
from muster.storage.search import columns
from muster.storage.search import index as indexes
from muster.storage.search.alike import Alike
from muster.storage.search.index import Index
from muster.storage.search.search import run

QUERIES = {"all": "children in the snow", "half": "2019 children in the snow", "hundredth": "2020-01 snow"}
MOST = 50


def made(rows: int, width: int, texts: Any) -> Index:
    """Half of the photos are of 2019, one in a hundred of January 2020, the rest of 2021."""
    random = np.random.default_rng(0)
    kind = np.searchsorted([0.5, 0.51], random.random(rows), side="right")
    days = np.array(["2019-05-01", "2020-01-05", "2021-02-03"], "datetime64[us]")[kind]
    ids = pa.array(np.char.zfill(np.arange(rows).astype(str), 8))
    given = {"image_id": ids, "status": pa.array(np.full(rows, "ok")), "taken_at": pa.array(days)}
    absent = {name: pa.nulls(rows, IMAGES.field(name).type) for name in columns.READ if name not in given}
    uris = pa.array([f"/photos/{name}.jpg" for name in ids.to_pylist()])
    named = pa.table({"image_id": ids, "uri": uris, "source": pa.array(np.full(rows, "/photos"))})
    found = columns.of(pa.table({**given, **absent}), named)
    nothing = np.zeros(rows, bool)
    alike = Alike(None, "", found, texts)  # type: ignore[arg-type]
    every = np.empty((rows, width), np.float32)
    for begin in range(0, rows, 10_000):
        some = random.standard_normal((len(every[begin : begin + 10_000]), width), np.float32)
        every[begin : begin + 10_000] = some / np.linalg.norm(some, axis=1, keepdims=True)
    alike.__dict__["_held"] = (vectors.exact(every), np.arange(rows), np.arange(rows))
    return Index(found, columns.paths(found), indexes.where(found), {}, nothing, nothing, alike)


def by_hand(index: Index, query: F32, first: str, after: str) -> list[str]:
    """The nearest of the photos from one day to before another."""
    assert index.alike is not None
    taken = index.columns.taken.view("datetime64[us]")
    cosines = index.alike._held[0].vectors @ query
    cosines[(taken < np.datetime64(first)) | (taken >= np.datetime64(after))] = -2
    return index.columns.image_ids.take(pa.array(np.argsort(-cosines, kind="stable")[:MOST])).to_pylist()


def peak() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure(rows: int, width: int, rounds: int) -> dict[str, Any]:
    random, asked = np.random.default_rng(1), list[F32]()
    before = peak()

    def texts(given: Sequence[str]) -> F32:
        one = random.standard_normal((len(given), width), np.float32)
        asked.append(one[0] / np.linalg.norm(one[0]))
        return asked[-1][None]

    index = made(rows, width, texts)
    milliseconds, equal = {}, True
    spans = {"all": ("1900-01-01", "2100-01-01"), "half": ("2019-01-01", "2020-01-01")}
    spans["hundredth"] = ("2020-01-01", "2020-02-01")
    held = peak()
    for kind, query in QUERIES.items():
        times, found = [], []
        for _ in range(rounds):
            began = time.perf_counter()
            result = run(index, query, MOST)
            times.append((time.perf_counter() - began) * 1000)
            found.append(result.image_ids.to_pylist())
        milliseconds[kind] = [round(float(np.quantile(times, q)), 1) for q in (0.5, 0.95)]
        equal &= found[-1] == by_hand(index, asked[-1], *spans[kind])
    return {
        "rows": rows,
        "width": width,
        "milliseconds": milliseconds,
        "equal": equal,
        "embeddings_mib": round(rows * width * 4 / 2**20),
        "peak_mib": [before, held, peak()],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.rows, arguments.width, arguments.rounds)))
