"""What a library holds, from its manifest and commits."""

from itertools import islice
from typing import Any

from muster.pipeline.usual import rows_by_use
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.people.ledger import Ledger
from muster.tasks import registry


def status(library: LibraryFiles) -> dict[str, Any]:
    """Images, how many are done, and each task's rows under each model it was run with. `used`: whether they are those
    that are taken where no model is named.

    `people`: what users said of them: edits that count, how many people have a name or are hidden, and `problems`: what
    of the ledger is not believed, and why.

    `scan_interrupted`: a scan died or is at work, and some images may count twice until a command repairs the manifest.
    """
    shards = dict(manifest.shards(library))
    done = [shard for shard in tables.committed(library, IMAGES_FINGERPRINT) if shard in shards]
    commits = tables.commits(library, IMAGES_FINGERPRINT, done)
    described = tables.descriptions(library)
    tasks = {what["task"] for what in described.values()}
    used = {name for task in tasks for name in islice(rows_by_use(library, task, shards), 1)}
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
        "tables": [
            _table(library, name, what, shards) | {"used": name in used} for name, what in sorted(described.items())
        ],
    }


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
    library: LibraryFiles, fingerprint: str, description: dict[str, Any], shards: dict[str, int]
) -> dict[str, Any]:
    done = [shard for shard in tables.committed(library, fingerprint) if shard in shards]
    return {
        "task": description["task"],
        "model": description.get("model"),
        "installed": description["task"] in ("images", *registry.names()),  # here, where it is asked
        "fingerprint": fingerprint,
        "rows": tables.count(library, description["task"], fingerprint, done),
        "errors": tables.count(library, "errors", fingerprint, done),
        "shards": len(done),
        "pending": sum(shards.values()) - sum(shards[shard] for shard in done),
    }
