"""Shards that several workers share: their parts lie beside the tables until all are there, then they are committed.

`LIBRARY/_parts/<fingerprint>/shard-<id>/<k>-of-<n>/` holds the rows of one part, a Parquet file per table; `done.json`
in it, written last, makes them count. Whoever finds all parts done writes the shard as if it had done it alone, so that
tables look the same however many shared them. What a run that was cut off left here is removed by the next one: so
nothing here need outlast a machine that loses power.
"""

import contextlib
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType

import pyarrow as pa

from muster.storage import commit_facts, layout, tables
from muster.storage.commit_facts import NO_FACTS, Facts
from muster.storage.library import LibraryFiles, dump_json

_ALL: Mapping[str, Callable[[pa.Table], pa.Table]] = MappingProxyType({})
Part = tuple[int, int]  # number, from 0, and how many there are


def write_part(
    library: LibraryFiles,
    fingerprint: str,
    shard: str,
    part: Part,
    rows: Mapping[str, pa.Table],
    reduced: Mapping[str, Callable[[pa.Table], pa.Table]] = _ALL,
    facts: Facts = NO_FACTS,
) -> None:
    """Write one part of a shard; commits the shard where it was the last.

    `rows`: table name → rows of this part. `reduced`: table name → what the shard keeps of the rows of all parts, where
    that is not all. `facts`: see muster.storage.commit_facts. May be called again for the same part, by anyone.
    """
    if tables.is_committed(library, fingerprint, shard):
        return
    _write(library, _folder(fingerprint, shard, part), rows, facts)
    folders = [_folder(fingerprint, shard, (number, part[1])) for number in range(part[1])]
    if not all(library.has(f"{each}/done.json") for each in folders):  # cheaper than reading the parts that exist
        return
    try:
        found = [_read(library, each) for each in folders]
    except FileNotFoundError:  # another worker has committed the shard, and removed the parts
        return
    names = dict.fromkeys(name for each, _ in found for name in each)
    whole = {name: pa.concat_tables([each[name] for each, _ in found if name in each]) for name in names}
    whole = {name: reduced[name](each) if name in reduced else each for name, each in whole.items()}
    tables.write_shard(library, fingerprint, shard, whole, commit_facts.joined(facts for _, facts in found))
    _remove(library, layout.parts(fingerprint, shard))


def remove_all(library: LibraryFiles) -> None:
    """Remove every part. The caller holds library.lock()."""
    _remove(library, layout.PARTS)


def _remove(library: LibraryFiles, folder: str) -> None:
    """Another worker may be doing the same, or still write there."""
    with contextlib.suppress(OSError):
        library.remove_folder(folder)


def _folder(fingerprint: str, shard: str, part: Part) -> str:
    return f"{layout.parts(fingerprint, shard)}/{part[0]}-of-{part[1]}"


def _write(library: LibraryFiles, folder: str, rows: Mapping[str, pa.Table], facts: Facts) -> None:
    for table, each in rows.items():
        library.write(f"{folder}/{table}.parquet", tables.to_parquet(each), sync=False)
    done = dump_json({"tables": list(rows), "facts": dict(facts)})
    library.write(f"{folder}/done.json", done, sync=False)


def _read(library: LibraryFiles, folder: str) -> tuple[dict[str, pa.Table], Facts]:
    """The tables of a part, and its facts."""
    done = json.loads(library.read(f"{folder}/done.json"))
    rows = {name: tables.from_parquet(library.read(f"{folder}/{name}.parquet")) for name in done["tables"]}
    return rows, commit_facts.of(done)
