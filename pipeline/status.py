"""What a library holds, from its manifest and commits."""

from collections.abc import Mapping, Sequence
from heapq import nlargest
from itertools import islice
from typing import Any

from muster.pipeline.failures import newest_failures
from muster.pipeline.usual import rows_by_use
from muster.storage import commit_facts, manifest, tables
from muster.storage.exchange.photo import public_uri
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.people.ledger import Ledger
from muster.tasks import registry

SHOWN = 5  # of the newest errors, and of the slowest images


def status(library: LibraryFiles) -> dict[str, Any]:
    """Images, how many are done, and each task's rows under each model it was run with. `used`: whether they are those
    that are taken where no model is named.

    `people`: what users said of them: edits that count, how many people have a name or are hidden, and `problems`: what
    of the ledger is not believed, and why.

    `newest_errors`: rows of muster.pipeline.failures, with the time. `slowest`: images that took longest to read and
    decode, with the seconds. Both of the rows that are used, a few, and none of shards that an older version did.

    `scan_interrupted`: a scan died or is at work, and some images may count twice until a command repairs the manifest.
    """
    shards = dict(manifest.shards(library))
    described = tables.descriptions(library)
    made = {
        name: tables.commits(library, name, [shard for shard in tables.committed(library, name) if shard in shards])
        for name in {IMAGES_FINGERPRINT, *described}
    }
    tasks = sorted({what["task"] for what in described.values()})
    used = {task: name for task in tasks for name in islice(rows_by_use(library, task, shards), 1)}
    commits = made[IMAGES_FINGERPRINT]
    by_task = {"images": commits} | {task: made[name] for task, name in used.items() if task != "images"}
    errors, processed = len(tables.failures(library, commits)), tables.rows_in(commits, "images")
    return {
        "library": library.uri,
        "encrypted": library.key is not None,
        "images": sum(shards.values()),
        "shards": len(shards),
        "ok": processed - errors,
        "errors": errors,
        "pending": sum(shards.values()) - processed,
        "scan_interrupted": manifest.interrupted(library),
        "people": _said(library),
        "newest_errors": newest_failures(library, by_task, SHOWN),
        "slowest": _slowest(library, commits),
        "tables": [
            _table(name, what, made[name], shards) | {"used": name in used.values()}
            for name, what in sorted(described.items())
        ],
    }


def _slowest(library: LibraryFiles, commits: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Up to SHOWN images, the slowest first."""
    each = (
        (seconds, image, commit["shard"])
        for commit in commits
        for image, seconds in commit_facts.of(commit).get("slowest", {}).items()
    )
    found = []
    for seconds, image, shard in nlargest(SHOWN, each):
        rows = manifest.read_shard(library, shard).select(["image_id", "uri"]).to_pylist()
        found += [
            {"uri": public_uri(row["uri"]), "seconds": seconds, "image_id": image, "shard": shard}
            for row in rows
            if row["image_id"] == image
        ]
    return found


def _said(library: LibraryFiles) -> dict[str, Any]:
    ledger = Ledger(library)
    people = ledger.known.people.values()
    return {
        "edits": sum(map(ledger.known.counts, ledger.edits)),
        "named": sum(bool(person.name) for person in people),
        "hidden": sum(person.hidden for person in people),
        "problems": [problem.text for problem in ledger.problems.values()] + list(map(str, ledger.known.conflicts)),
    }


def _table(
    fingerprint: str, description: dict[str, Any], commits: Sequence[Mapping[str, Any]], shards: dict[str, int]
) -> dict[str, Any]:
    return {
        "task": description["task"],
        "model": description.get("model"),
        "installed": description["task"] in ("images", *registry.names()),  # here, where it is asked
        "fingerprint": fingerprint,
        "rows": tables.rows_in(commits, description["task"]),
        "errors": tables.rows_in(commits, "errors"),
        "shards": len(commits),
        "pending": sum(shards.values()) - sum(shards[commit["shard"]] for commit in commits),
    }
