"""What tags say of photos: `tags/tags.parquet`, a row for each image of which a file says something."""

from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from muster.errors import MusterError
from muster.storage import layout
from muster.storage.library import LibraryFiles
from muster.storage.tables import parquet_file, to_parquet

_TEXTS = pa.list_(pa.string())
REGION = pa.struct(
    {
        "name": pa.string(),  # null: nobody is named
        "type": pa.string(),  # Face, Pet, Focus, BarCode, …
        "box_xyxy": pa.list_(pa.float32(), 4),  # full-size upright pixels, inside the image
        "origin": pa.string(),  # mwg-rs or mp
    }
)
SCHEMA = pa.schema(
    {
        "image_id": pa.string(),
        "files": _TEXTS,
        "regions": pa.list_(REGION),
        "keywords": _TEXTS,
        "people": _TEXTS,
        "title": pa.string(),
        "description": pa.string(),
        "taken_at": pa.timestamp("us"),
        "latitude": pa.float64(),
        "longitude": pa.float64(),
        "albums": _TEXTS,
        "rating": pa.int8(),
        "favourite": pa.bool_(),
        "remarks": _TEXTS,
    }
)
READ = pa.schema({"image_id": pa.string(), "stamp": pa.string()})
_FILLED = ("taken_at", "latitude", "longitude")


def read(library: LibraryFiles, columns: Sequence[str] = SCHEMA.names) -> pa.Table:
    """All rows, as SCHEMA; none where no tags were read yet. Raises MusterError where the file is damaged."""
    return _read(library, layout.TAGS, pa.schema([SCHEMA.field(name) for name in columns]))


def read_stamps(library: LibraryFiles) -> pa.Table:
    """What the rows were made of, as READ."""
    return _read(library, layout.TAGS_READ, READ)


def _read(library: LibraryFiles, name: str, schema: pa.Schema) -> pa.Table:
    try:
        return parquet_file(library.read(name)).read(schema.names, use_threads=False).select(schema.names).cast(schema)
    except FileNotFoundError:
        return schema.empty_table()
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise MusterError(f"{library.at(name)} is damaged ({error}): delete it, and read the tags again") from None


def write(library: LibraryFiles, rows: pa.Table, stamps: pa.Table) -> None:
    """Replace both. The caller holds the lock.

    The stamps go first, and come last: a writer that is killed between leaves rows that are read once more.
    """
    library.remove(layout.TAGS_READ)
    library.write(layout.TAGS, to_parquet(rows.cast(SCHEMA)))
    library.write(layout.TAGS_READ, to_parquet(stamps.cast(READ)))


def forget(library: LibraryFiles, images: pa.ChunkedArray) -> None:
    """Drop the rows of all but these images (image_ids). The caller holds the lock."""
    kept = images.combine_chunks()
    for name, schema in ((layout.TAGS, SCHEMA), (layout.TAGS_READ, READ)):
        rows = _read(library, name, schema)
        some = rows.filter(pc.is_in(rows["image_id"], value_set=kept))
        if some.num_rows < rows.num_rows:
            library.write(name, to_parquet(some))


def forget_names(library: LibraryFiles, names: Collection[str]) -> None:
    """Take these names out of all rows. They come back where a photo that still has them is read again: the library
    forgets, and the user's own files do not. The caller holds the lock."""
    rows = read(library)
    gone = set(names)
    if not gone or not rows.num_rows:
        return
    changed = [_nameless(row, gone) for row in rows.to_pylist()]
    now = pa.Table.from_pylist(changed, SCHEMA)
    if not now.equals(rows):
        library.write(layout.TAGS, to_parquet(now))


def _nameless(row: dict[str, object], gone: set[str]) -> dict[str, object]:
    lists = {name: [each for each in row[name] if each not in gone] for name in ("people", "keywords")}  # type: ignore[attr-defined]
    regions = [{**each, "name": None} if each["name"] in gone else each for each in row["regions"]]  # type: ignore[attr-defined]
    return {**row, **lists, "regions": regions}


def filled(images: pa.Table, tags: pa.Table) -> pa.Table:
    """Rows of `images` (image_id, and of taken_at, latitude and longitude those that it has) with the date and place
    that tags say, where the photo itself says none. A place is taken whole. `tags`: as `read` gives them."""
    at = pc.index_in(images["image_id"], value_set=tags["image_id"].combine_chunks())
    placed = [name for name in ("latitude", "longitude") if name in images.column_names]
    nowhere = pc.and_(*(pc.is_null(images[name]) for name in placed)) if len(placed) == 2 else None
    for name in _FILLED:
        if name in images.column_names:
            said = tags[name].take(at)
            empty = nowhere if name in placed and nowhere is not None else pc.is_null(images[name])
            column = pc.if_else(empty, said, images[name])
            images = images.set_column(images.schema.get_field_index(name), images.schema.field(name), column)
    return images
