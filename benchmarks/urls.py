"""A list of URLs of which some are broken: one row each, of the right kind, in a time that limits bound.

    python benchmarks/urls.py [--urls 20000] [--workers 2] [--bad-hosts 4000]

A web server on this machine (benchmarks/url_server.py, 16 hosts) has one photo under as many names. Of the URLs 5 % are
404, 1 % stall, 2 % drop half-way, 1 % are asked to come back after a second (429), 1 % are redirect loops and 1 % web
pages; half of what stalls or drops does so once and is well afterwards. Then, for the same number of URLs:

- `clean`: all are well: what the run takes that waits for nobody;
- `broken`: the list above. Each row is compared with what is to be expected, and the server's requests are counted;
- `again`: `muster run --retry-errors`: which URLs it asks for, and what becomes of them;
- `bad_hosts`: a list of hosts that do not exist, or where nobody listens, each another one.

`limit_seconds` is what the limits allow: a shard waits for its slowest URL, ITEM at most, and each worker has two
shards in hand. `seconds_one_by_one`: what stalls, each waited for in turn. Runs are `muster run --tasks previews`.
The last line is one JSON object; exit code 1 where anything is not as it should be.
"""

import argparse
import io
import json
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from muster.storage import tables
from muster.storage.http.connections import IDLE
from muster.storage.http.fetch import ATTEMPTS, ITEM
from muster.storage.http.requests import REDIRECTS
from muster.storage.library import open_library
from muster.storage.manifest import read_manifest, shards
from muster.storage.outcomes import IMAGES_FINGERPRINT

HERE = Path(__file__).parent
HOSTS = 16
SHARES = {  # path → of a thousand URLs, and the kind of their rows
    "missing/{n}.jpg": (50, "gone"),
    "stall/{n}.jpg": (5, "timeout"),
    "recovers/1/stall/{n}.jpg": (5, "timeout"),
    "drop/{n}.jpg": (10, "unreadable"),
    f"recovers/{ATTEMPTS}/drop/{{n}}.jpg": (10, "unreadable"),
    "throttled/1/{n}.jpg": (10, None),
    "loop/{n}.jpg": (10, "refused"),
    "html/{n}.jpg": (10, "not_an_image"),
}
REQUESTS = {"drop": ATTEMPTS, "throttled": 2, "loop": REDIRECTS + 1}  # of a run, for a URL; else 1
PASSING = ("timeout", "unreadable")


def paths_of(urls: int) -> dict[str, str | None]:
    """Path → the kind of error that is to be expected, in an order that mixes them."""
    found: dict[str, str | None] = {}
    for path, (share, kind) in SHARES.items():
        found |= {path.format(n=number): kind for number in range(urls * share // 1000)}
    found |= {f"good/{number}.jpg": None for number in range(urls - len(found))}
    names = list(found)
    random.Random(0).shuffle(names)
    return {name: found[name] for name in names}


@contextmanager
def server(folder: Path) -> Iterator[int]:
    """Its port."""
    sink = io.BytesIO()
    Image.effect_noise((320, 240), 40).save(sink, "JPEG")
    (folder / "photo.jpg").write_bytes(sink.getvalue())
    command = [sys.executable, str(HERE / "url_server.py"), str(folder / "photo.jpg"), str(HOSTS)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.communicate("")


def counts(port: int) -> Counter[str]:
    """Requests by path, without its slash."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/counts") as answer:
        return Counter({path[1:]: count for path, count in json.load(answer).items()})


def muster(*arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", "muster", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def run(library: Path, workers: int, *more: str) -> tuple[float, dict[str, Any]]:
    began = time.monotonic()
    summary = muster("run", "-l", library, "--tasks", "previews", "--workers", workers, *more)
    return round(time.monotonic() - began - summary["startup_seconds"], 1), summary


def scanned(folder: Path, name: str, urls: list[str]) -> Path:
    pq.write_table(pa.table({"URL": urls}), folder / f"{name}.parquet")
    muster("scan", folder / f"{name}.parquet", "-l", folder / name, "--allow-private")
    return folder / name


def kinds_of(library: Path) -> dict[str, str | None]:
    """Path → the kind of error of its row."""
    opened = open_library(library)
    uris = {row["image_id"]: row["uri"] for row in read_manifest(opened).select(["image_id", "uri"]).to_pylist()}
    rows = tables.require(opened, "images", IMAGES_FINGERPRINT, ["image_id", "error_kind"]).to_pylist()
    assert len(rows) == len(uris), f"{len(rows)} rows of {len(uris)} images"
    return {uris[row["image_id"]].split("/", 3)[3]: row["error_kind"] for row in rows}


def differing(found: dict[str, str | None], expected: dict[str, str | None]) -> dict[str, int]:
    """What is not as it should be → how often."""
    differ = Counter(
        f"{path.rpartition('/')[0]}: {found.get(path, 'no row')} instead of {kind}"
        for path, kind in expected.items()
        if path not in found or found[path] != kind
    )
    return dict(differ.most_common(10))


def broken(folder: Path, port: int, urls: int, workers: int) -> dict[str, Any]:
    expected, before = paths_of(urls), counts(port)
    library = scanned(folder, "broken", [url(port, number, path) for number, path in enumerate(expected)])
    seconds, summary = run(library, workers)
    first, asked = kinds_of(library), counts(port) - before
    too_many = sum(asked[path] > REQUESTS.get(kind_of(path), 1) for path in expected)
    stalls = sum("stall" in path for path in expected)
    number = len(shards(open_library(library)))
    limit = number * ITEM / (2 * workers)
    before = counts(port)
    again, after = run(library, workers, "--retry-errors")
    asked = counts(port) - before
    passing = {path for path, kind in first.items() if kind in PASSING}
    well = {path: None if path.startswith("recovers/") else kind for path, kind in expected.items()}
    return {
        "rows": len(first),
        "kinds": dict(Counter(kind or "ok" for kind in first.values()).most_common()),
        "differing": differing(first, expected),
        "asked_too_often": too_many,
        "seconds": seconds,
        "images_per_second": summary["images_per_second"],
        "shards": number,
        "limit_seconds": limit,
        "stalls": stalls,
        "seconds_one_by_one": stalls * IDLE,
        "again": {
            "seconds": again,
            "may_pass": len(passing),
            "asked": len(asked.keys() - {"counts"}),
            "asked_of_others": sorted(path for path in asked if path not in passing and path != "counts")[:5],
            "not_asked": len(passing - asked.keys()),
            "errors": after["errors"],
            "differing": differing(kinds_of(library), well),
        },
    }


def kind_of(path: str) -> str:
    return path.split("/")[2 if path.startswith("recovers/") else 0]


def url(port: int, number: int, path: str) -> str:
    return f"http://127.0.0.{number % HOSTS + 1}:{port}/{path}"


def bad_hosts(folder: Path, hosts: int, workers: int) -> dict[str, Any]:
    """Half of them are names that nobody has, half addresses of this machine where nobody listens."""
    names = [f"http://nobody-{n}.invalid/a.jpg" for n in range(hosts // 2)]
    addresses = [
        f"http://127.{n >> 16}.{n >> 8 & 255}.{n & 255}:9/a.jpg" for n in range(1 << 16, (1 << 16) + hosts // 2)
    ]
    found = {}
    for what, urls in (("names", names), ("addresses", addresses)):
        seconds, summary = run(scanned(folder, what, urls), workers)
        found[what] = {"hosts": len(urls), "seconds": seconds, "kinds": summary["error_kinds"]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--urls", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--bad-hosts", type=int, default=4000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, server(Path(home)) as port:
        folder = Path(home)
        clean = scanned(folder, "clean", [url(port, n, f"good/clean/{n}.jpg") for n in range(given.urls)])
        seconds, summary = run(clean, given.workers)
        print(f"clean: {seconds} s", file=sys.stderr)
        found: dict[str, Any] = {
            "urls": given.urls,
            "workers": given.workers,
            "clean": {"seconds": seconds, "ok": summary["ok"], "images_per_second": summary["images_per_second"]},
        }
        found["broken"] = made = broken(folder, port, given.urls, given.workers)
        print(f"broken: {made['seconds']} s", file=sys.stderr)
        made["limit_seconds"] += seconds
        found["bad_hosts"] = bad_hosts(folder, given.bad_hosts, given.workers)
    again = made["again"]
    wrong = [made["differing"], made["asked_too_often"], again["asked_of_others"], again["differing"]]
    found["right"] = not any(wrong) and made["rows"] == given.urls and made["seconds"] <= made["limit_seconds"]
    print(json.dumps(found))
    sys.exit(not found["right"])


if __name__ == "__main__":
    main()
