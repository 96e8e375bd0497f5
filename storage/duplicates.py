"""Photos that are there more than once: `duplicates/duplicates.parquet`, a row for each photo of each group."""

import pyarrow as pa
import pyarrow.compute as pc

from muster.errors import MusterError, NotYetError
from muster.storage import layout
from muster.storage.library import LibraryFiles
from muster.storage.tables import from_parquet, to_parquet

PICTURE, MOMENT = KINDS = ("picture", "moment")
SCHEMA = pa.schema(
    {
        "kind": pa.string(),
        "group": pa.int32(),
        "image_id": pa.string(),
        "best": pa.bool_(),
        "reason": pa.string(),
        "exact": pa.bool_(),
        "orientation": pa.int8(),
        "likeness": pa.float32(),
        "format": pa.string(),
        "size": pa.int64(),
    }
)


def read(library: LibraryFiles) -> pa.Table | None:
    """All rows, as SCHEMA; None where duplicates were not looked for. Raises MusterError where the file is damaged."""
    try:
        return from_parquet(library.read(layout.DUPLICATES)).select(SCHEMA.names).cast(SCHEMA)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        name = library.at(layout.DUPLICATES)
        raise MusterError(f"{name} is damaged ({error}): delete it, and look for duplicates again") from None


def require(library: LibraryFiles) -> pa.Table:
    """`read`; NotYetError where duplicates were not looked for."""
    rows = read(library)
    if rows is None:
        raise NotYetError(f"duplicates were not looked for in library {library.uri}", "duplicates", library.uri)
    return rows


def write(library: LibraryFiles, rows: pa.Table) -> None:
    """Replace all rows. The caller holds the lock."""
    library.write(layout.DUPLICATES, to_parquet(rows.cast(SCHEMA)))


def forget(library: LibraryFiles, images: pa.ChunkedArray) -> None:
    """Drop the rows of all but these images (image_ids). The caller holds the lock."""
    rows = read(library)
    if rows is not None and (kept := of(rows, images.combine_chunks())).num_rows < rows.num_rows:
        write(library, kept)


def of(rows: pa.Table, images: pa.Array) -> pa.Table:
    """The rows of these images; no group without its best, which the others are compared with, or with that alone."""
    rows = rows.filter(pc.is_in(rows["image_id"], value_set=images))
    groups = rows.group_by(["kind", "group"]).aggregate([("best", "any"), ("image_id", "count")])
    whole = groups.filter(pc.and_(groups["best_any"], pc.greater(groups["image_id_count"], 1)))
    kept = pc.is_in(_keys(rows), value_set=_keys(whole))
    return rows.filter(kept)


def _keys(rows: pa.Table) -> pa.Array:
    numbers = rows["group"].cast(pa.string())
    return pc.binary_join_element_wise(rows["kind"], numbers, " ").combine_chunks()
