"""The rows of Parquet files that users bring: which images they list or hold, and what they say of them."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from muster.errors import InputError
from muster.storage import parquet_pages
from muster.storage.layout import ROSTER
from muster.storage.library import LibraryFiles
from muster.storage.photos.listing import File
from muster.storage.uris import inline_uri, local_path, local_uri, open_parquet, parquet_file, split_inline

LARGE_GROUP = 2048  # images in a row group: a shard (up to 256) reads its row group from the start, on average 4 times
# as much as it needs; 82 times for 42,000
MAX_TABLE = 2 << 30  # bytes that all rows of a source may take in memory
ROW_BYTES = 200  # of a row in memory, beside its columns
AT_ONCE = 256 << 20  # bytes decoded at once, if all rows shared the largest value there may be
_TOO_LARGE = f"all rows of a source may take {MAX_TABLE >> 30} GiB in memory; scan it in parts"
SCHEMA = pa.schema({"uri": pa.string(), "size": pa.int64(), "modified": pa.timestamp("us", "UTC")})
RESERVED = ("image_id", "uri", "size", "modified", "source")  # a user column of this name is kept as user_<name>


@dataclass
class Listed:
    """What Parquet files list. `rows`: SCHEMA and user columns. `skipped`, `large_groups`: as in Found."""

    rows: pa.Table = field(default_factory=SCHEMA.empty_table)
    skipped: Counter[str] = field(default_factory=Counter)
    large_groups: dict[str, int] = field(default_factory=dict)
    memory: int = 0  # bytes that its rows take


def read(files: Sequence[File], library: LibraryFiles | None) -> Listed:
    """All rows of these Parquet files of one source. Raises InputError where one cannot be read."""
    listed = Listed()
    listed.rows = unite({file.uri: _parquet_rows(file, library, listed) for file in files})
    return listed


def rows_of(files: Iterable[File]) -> pa.Table:
    uris, sizes, times = zip(*files, strict=True)
    return pa.table([pa.array(c, t) for c, t in zip((uris, sizes, times), SCHEMA.types, strict=True)], schema=SCHEMA)


def unite(tables: Mapping[str, pa.Table]) -> pa.Table:
    """All rows, with the columns of all. `tables`: where they come from → rows; at least one.

    Raises InputError where a column has two types.
    """
    seen: dict[str, tuple[pa.DataType, str]] = {}
    for name, table in tables.items():
        for column in table.schema:
            known, where = seen.setdefault(column.name, (column.type, name))
            if pa.types.is_null(known):
                seen[column.name] = (column.type, name)
            elif column.type != known and not pa.types.is_null(column.type):
                raise InputError(
                    f"column {column.name!r} is {known} in {where}, but {column.type} in {name}:"
                    " give it one type, or another name in one of them"
                )
    return pa.concat_tables(tables.values(), promote_options="default")


def _parquet_rows(file: File, library: LibraryFiles | None, listed: Listed) -> pa.Table:
    """The images that a Parquet file names in `uri` or holds in `image`. All other columns are the user's."""
    try:
        if library and file.uri == library.uri_of(ROSTER):  # may be encrypted
            parquet, below = parquet_file(pa.BufferReader(library.read(ROSTER)))
        else:
            parquet, below = open_parquet(file.uri)
        inline = _is_inline(file.uri, parquet.schema_arrow)
        wanted = [name for name in parquet.schema_arrow.names if not (inline and name == "image")]
        table = _read(file.uri, parquet, below, wanted, listed)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {file.uri} as Parquet: {error}") from None
    if inline:
        metadata = parquet.metadata
        largest = max((metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)), default=0)
        if largest > LARGE_GROUP:
            listed.large_groups[file.uri] = largest
        # Bytes are not read here, so that sizes are not known. A rewritten file is known by its time.
        rows = [File(inline_uri(file.uri, row), None, file.modified) for row in range(metadata.num_rows)]
        return _with_user_columns(rows_of(rows), table) if rows else SCHEMA.empty_table()
    named = table.filter(pc.fill_null(pc.not_equal(table["uri"], ""), False))
    if empty := table.num_rows - named.num_rows:
        listed.skipped["rows without uri"] += empty
    return _listed_rows(file.uri, named) if named.num_rows else SCHEMA.empty_table()


def _read(
    uri: str, parquet: pq.ParquetFile, below: parquet_pages.Source, wanted: list[str], listed: Listed
) -> pa.Table:
    """These columns, under plain types. InputError where all that the source holds would take more than MAX_TABLE.

    Before anything is read, sizes are taken from the pages; then each batch is counted, as values may be shared.
    """
    listed.memory += parquet.metadata.num_rows * ROW_BYTES
    if listed.memory > MAX_TABLE:
        raise InputError(f"{uri} has {parquet.metadata.num_rows} rows: {_TOO_LARGE}")
    shared, taken, lists = 1, dict.fromkeys(wanted, 0), set[str]()
    for size in _sizes(parquet, below, wanted):
        name = size.path if size.path in taken else size.path.partition(".")[0]
        taken[name] += size.raw
        shared = max(shared, size.shared)
        if name != size.path and size.most > MAX_TABLE - listed.memory:
            lists.add(size.path)
        _count(uri, taken, listed.memory)
    for name, size_of_lists in _nested(below, lists):
        taken[name] += size_of_lists
        _count(uri, taken, listed.memory)
    taken, batches = dict.fromkeys(wanted, 0), []
    schema = pa.schema([(name, _plain(parquet.schema_arrow.field(name).type)) for name in wanted])
    for batch in parquet.iter_batches(min(max(AT_ONCE // shared, 1), 1 << 16), columns=wanted) if wanted else ():
        columns = [batch.column(field.name).cast(field.type) for field in schema]
        batches.append(pa.RecordBatch.from_arrays(columns, schema=schema))
        taken = {name: taken[name] + column.nbytes for name, column in zip(wanted, columns, strict=True)}
        _count(uri, taken, listed.memory)
    listed.memory += sum(taken.values())
    return pa.Table.from_batches(batches, schema).combine_chunks()


def _sizes(
    parquet: pq.ParquetFile, below: parquet_pages.Source, wanted: Collection[str]
) -> Iterator[parquet_pages.Column]:
    """The sizes of the wanted columns, for every row group and leaf."""
    for group in range(parquet.num_row_groups):
        for number in range(len(parquet.schema)):
            path = parquet.schema.column(number).path
            if path in wanted or path.partition(".")[0] in wanted:
                yield parquet_pages.column(below, parquet, group, number)


def _nested(below: parquet_pages.Source, paths: Collection[str]) -> Iterator[tuple[str, int]]:
    """Column, and bytes of the texts in its lists, batch by batch: one row may share a text any number of times."""
    parquet = pq.ParquetFile(below, read_dictionary=list(paths), pre_buffer=False) if paths else None
    names = sorted({path.partition(".")[0] for path in paths})
    for batch in parquet.iter_batches(1024, columns=names) if parquet else ():
        for name in names:
            yield name, sum(map(_bytes_of_texts, _leaves(batch.column(name))))


def _leaves(values: pa.Array) -> Iterator[pa.Array]:
    """The flat arrays that lists, maps and structs are made of."""
    kind = values.type
    if pa.types.is_struct(kind):
        for child in values.flatten():
            yield from _leaves(child)
    elif pa.types.is_map(kind):
        yield from _leaves(values.keys)
        yield from _leaves(values.items)
    elif pa.types.is_nested(kind):
        yield from _leaves(values.flatten())
    else:
        yield values


def _bytes_of_texts(values: pa.Array) -> int:
    if not pa.types.is_dictionary(values.type):
        return int(values.nbytes)
    return pc.sum(pc.binary_length(values.dictionary).take(values.indices)).as_py() or 0


def _count(uri: str, taken: Mapping[str, int], before: int) -> None:
    if before + sum(taken.values()) > MAX_TABLE:
        name = max(taken, key=lambda name: taken[name])
        raise InputError(f"{uri}: column {name!r} is too large: {_TOO_LARGE}, or leave the column out")


def _is_inline(uri: str, schema: pa.Schema) -> bool:
    """Whether the images are in the file. Raises InputError where it neither holds nor names any."""
    types = {column.name: _plain(column.type) for column in schema}
    if len(types) < len(schema):
        raise InputError(f"{uri} has several columns of one name: {', '.join(schema.names)}")
    if types.get("image") == pa.binary():
        return True
    if types.get("uri") == pa.string():
        return False
    columns = ", ".join(f"{column.name} ({column.type})" for column in schema)
    raise InputError(
        f"{uri} has no usable column: it needs `uri` (string) or `image` (binary, the bytes of image files)."
        f" It has: {columns or 'none'}"
    )


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type under which a column is kept: pandas and Polars write the same texts as three different ones."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) else kind


def _listed_rows(parquet: str, table: pa.Table) -> pa.Table:
    """Rows for the files named in `uri`. Where they cannot be looked at, columns `size` and `modified` are believed."""
    rows = rows_of(_look_at(uri, parquet) for uri in table["uri"].to_pylist())
    for name, fits in (("size", pa.types.is_integer), ("modified", pa.types.is_timestamp)):
        if name in table.schema.names and fits(table.schema.field(name).type):
            given = table[name].cast(SCHEMA.field(name).type, safe=False)
            rows = rows.set_column(SCHEMA.get_field_index(name), name, pc.coalesce(rows[name], given))
            table = table.drop_columns([name])
    return _with_user_columns(rows, table.drop_columns(["uri"]))


def _look_at(uri: str, parquet: str) -> File:
    """The file that a Parquet file names; relative names are relative to the folder of the Parquet file."""
    path = local_path(uri)
    if path is None:
        return File(uri, None, None)
    if not os.path.isabs(path):
        home = local_path(parquet)
        if home is None:
            base, question, query = parquet.partition("?")
            return File(base.rpartition("/")[0] + "/" + quote(path) + question + query, None, None)
        path = os.path.join(os.path.dirname(home), path)
    path = os.path.abspath(path)
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # missing, or not a possible name: the image gets an error row when it is processed
        return File(path if split_inline(path) else local_uri(path), None, None)
    return File(local_uri(path), status.st_size, status.st_mtime_ns // 1000)


def _with_user_columns(rows: pa.Table, table: pa.Table) -> pa.Table:
    for name in table.schema.names:
        kept = name
        while kept in RESERVED or kept in rows.schema.names:
            kept = f"user_{kept}"
        rows = rows.append_column(kept, table[name])
    return rows
