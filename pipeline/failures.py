"""Which images could not be read, or were too much for a task; and why."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from muster.errors import InputError
from muster.pipeline.usual import rows_by_use
from muster.storage import manifest, tables
from muster.storage.exchange.photo import public_uri
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT

FAILURES = pa.schema(
    [(name, pa.string()) for name in ("uri", "shard", "task", "error_kind", "error", "image_id")]
)  # `task`: null where the image could not be read, for any of them


def failures(library: LibraryFiles, tasks: Collection[str] = ()) -> pa.Table:
    """A row of FAILURES for each image that could not be read, and for each task that failed on one that could; by
    shard and URI. `tasks`: these alone; every task where empty. Of each the rows that are used, see
    muster.pipeline.usual.

    Raises InputError for a task of which the library has nothing.
    """
    shards = dict(manifest.shards(library))
    known = {str(what["task"]) for what in tables.descriptions(library).values()} - {"images"}
    if strange := sorted(set(tasks) - known):
        has = f"it has {', '.join(sorted(known))}" if known else "`run` it first"
        raise InputError(f"library {library.uri} has no rows of {strange[0]}: {has}")
    used = {task: next(iter(rows_by_use(library, task, shards)), None) for task in sorted(tasks or known)}
    made = {task: fingerprint for task, fingerprint in used.items() if fingerprint is not None}
    failing = failing_shards(library, made, shards)
    return pa.concat_tables([FAILURES.empty_table(), *(_of_shard(library, *each) for each in failing.items())])


def first_failures(library: LibraryFiles, made: Mapping[str, str], shards: Iterable[str]) -> list[dict[str, Any]]:
    """Up to three of these rows. `made`: task → fingerprint."""
    found: list[dict[str, Any]] = []
    for shard, those in failing_shards(library, made, shards).items():
        if len(found) >= 3:
            break
        found += _of_shard(library, shard, those).to_pylist()
    return found[:3]


def failing_shards(
    library: LibraryFiles, made: Mapping[str, str], shards: Iterable[str]
) -> dict[str, list[tuple[str, str]]]:
    """Shard → (task, fingerprint) of which it has errors, in order of shards. From the commits alone."""
    found: dict[str, list[tuple[str, str]]] = {}
    for task, fingerprint in {"images": IMAGES_FINGERPRINT, **made}.items():
        there = set(tables.committed(library, fingerprint))
        for commit in tables.commits(library, fingerprint, [shard for shard in shards if shard in there]):
            if tables.failures(library, [commit]):
                found.setdefault(commit["shard"], []).append((task, fingerprint))
    return dict(sorted(found.items()))


def _of_shard(library: LibraryFiles, shard: str, made: Sequence[tuple[str, str]]) -> pa.Table:
    images = manifest.read_shard(library, shard)
    uris = dict(zip(images["image_id"].to_pylist(), images["uri"].to_pylist(), strict=True))
    rows: list[dict[str, Any]] = []
    unreadable: set[str] = set()
    for task, fingerprint in made:  # `images` comes first: what could not be read has an error of every task, too
        table = "images" if task == "images" else "errors"
        found = tables.read(library, table, fingerprint, ["image_id", "error_kind", "error"], [shard])
        if found is None:
            continue
        if table == "images":
            found = found.filter(pc.is_valid(found["error_kind"]))
            unreadable.update(found["image_id"].to_pylist())
        named = {"shard": shard, "task": None if table == "images" else task}
        rows += [row | named for row in found.to_pylist() if table == "images" or row["image_id"] not in unreadable]
    for row in rows:
        row["uri"] = public_uri(uris[row["image_id"]]) if row["image_id"] in uris else None
    return pa.Table.from_pylist(sorted(rows, key=lambda row: (row["uri"] or "", row["task"] or "")), FAILURES)
