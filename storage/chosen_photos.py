"""A library of photos that were chosen from another one, each a shard of its own: of work, of retry and of commit.

For tasks that take so long that what one photo cost is not to be lost with the others of its shard.
"""

import pyarrow as pa

from muster.storage import layout, manifest, tables
from muster.storage.library import LibraryFiles
from muster.storage.manifest import SCHEMA


def choose(library: LibraryFiles, rows: pa.Table) -> None:
    """Make these the photos of `library`. The caller holds its lock.

    `rows`: of another library's manifest. Those that are no longer chosen leave the manifest alone: where they are
    chosen again, their rows are there.
    """
    there = manifest.read_manifest(library)
    known = {row["image_id"]: row for row in there.to_pylist()}
    wanted = set()
    for number in range(rows.num_rows):
        row = rows.slice(number, 1)
        shard = manifest.shard_id(row)
        wanted.add(shard)
        if known.get(row["image_id"][0].as_py()) != row.to_pylist()[0]:
            library.write(layout.manifest_shard(shard), tables.to_parquet(row))
    for shard, _ in manifest.shards(library):
        if shard not in wanted:
            library.remove(layout.manifest_shard(shard))


def rows_of(library: LibraryFiles, image_ids: pa.Array | None = None) -> pa.Table:
    """Rows of a library's manifest, as `choose` takes them: SCHEMA, with the source that lets each be read from
    elsewhere. `image_ids`: whose, in this order; None: of all."""
    rows = manifest.read_manifest(library)
    if image_ids is not None:
        at = {name: row for row, name in enumerate(rows["image_id"].to_pylist())}
        rows = rows.take(pa.array([at[name] for name in image_ids.to_pylist() if name in at], pa.int64()))
    sources = [source for _, source in manifest.named(library, rows)]
    rows = rows.select(SCHEMA.names)
    return rows.set_column(SCHEMA.get_field_index("source"), "source", pa.array(sources, pa.string()))
