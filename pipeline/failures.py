"""Which images could not be read, or were too much for a task; and why."""

from collections.abc import Collection, Mapping, Sequence
from heapq import nlargest
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from muster.errors import InputError
from muster.pipeline.usual import rows_by_use
from muster.storage import commit_facts, manifest, tables
from muster.storage.exchange.photo import public_uri
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT

Commits = Mapping[str, Sequence[Mapping[str, Any]]]  # by task, those of `images` first
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
    made = {"images": IMAGES_FINGERPRINT} | {task: name for task, name in used.items() if name is not None}
    commits = {
        task: tables.commits(library, name, [shard for shard in tables.committed(library, name) if shard in shards])
        for task, name in made.items()
    }
    found = _failing(library, commits).items()
    return pa.concat_tables([FAILURES.empty_table(), *(_of_shard(library, *each) for each in found)])


def first_failures(library: LibraryFiles, commits: Commits) -> list[dict[str, Any]]:
    """Up to three of these rows."""
    found: list[dict[str, Any]] = []
    for shard, made in _failing(library, commits).items():
        if len(found) >= 3:
            break
        found += _of_shard(library, shard, made).to_pylist()
    return found[:3]


def newest_failures(library: LibraryFiles, commits: Commits, most: int) -> list[dict[str, Any]]:
    """Up to `most` of these rows, the newest first, with `at`: when its shard was done, as ISO text in UTC; None where
    an older version did it. Chosen by the commits; of tables only those are read that one of them is in. What commits
    of 0.1 have, which do not list errors, is left out."""
    commits = {task: [each for each in of_task if each.get("failed") is not None] for task, of_task in commits.items()}
    unreadable = tables.failures(library, commits.get("images", ()))
    each = (
        (commit_facts.of(commit).get("at", ""), commit["shard"], task, image)
        for task, of_task in commits.items()
        for commit in of_task
        for image in tables.failures(library, [commit])
        if task == "images" or image not in unreadable
    )
    newest = nlargest(most, each)
    failing = _failing(
        library,
        {task: [c for c in of_task if c["shard"] in {n[1] for n in newest}] for task, of_task in commits.items()},
    )
    rows = {
        (row["image_id"], row["task"] or "images"): row
        for shard, made in failing.items()
        for row in _of_shard(library, shard, made).to_pylist()
    }
    return [rows[image, task] | {"at": at or None} for at, _, task, image in newest if (image, task) in rows]


def _failing(library: LibraryFiles, commits: Commits) -> dict[str, list[tuple[str, str]]]:
    """Shard → (task, fingerprint) of which it has errors, in order of shards."""
    found: dict[str, list[tuple[str, str]]] = {}
    for task, each in commits.items():
        for commit in each:
            if tables.failures(library, [commit]):
                found.setdefault(commit["shard"], []).append((task, commit["fingerprint"]))
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
