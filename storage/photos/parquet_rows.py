"""The rows of Parquet files that users bring: which images they list or hold, and what they say of them."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath
from unicodedata import normalize
from urllib.parse import quote, unquote, urljoin

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from muster.arrays import Bools
from muster.errors import InputError
from muster.storage import parquet_pages
from muster.storage.http.addresses import names_private, private_allowed
from muster.storage.layout import ROSTER
from muster.storage.library import LibraryFiles
from muster.storage.photos.first_bytes import IMAGE_SUFFIXES, suffix_of
from muster.storage.photos.image_column import PATH, ImageColumn, image_column, images_of, is_image_struct, plain
from muster.storage.photos.listing import File
from muster.storage.photos.promotion import TEXTS, unite
from muster.storage.photos.row_batches import batch_rows
from muster.storage.photos.rows import SCHEMA, free_name, rows_of, with_user_columns
from muster.storage.uris import (
    host_of,
    inside_uri,
    is_http,
    local_path,
    local_uri,
    open_parquet,
    parquet_file,
    path_of,
    split_inside,
    unread,
)

HEAVY_GROUP = 8 << 20  # bytes of the images of a row group from which on shards begin where row groups do
LARGE_GROUP = 2048  # images in a row group: a shard (up to 256) reads its row group from the start, on average 4 times
# as much as it needs; 82 times for 42,000
MAX_TABLE = 2 << 30  # bytes that all rows of a source may take in memory
ROW_BYTES = 200  # of a row in memory, beside its columns
AT_ONCE = 256 << 20  # bytes decoded at once, if all rows shared the largest value there may be
_TOO_LARGE = f"all rows of a source may take {MAX_TABLE >> 30} GiB in memory; scan it in parts"
NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"  # what stands in the name of a folder for null
_PARTITION = re.compile(r"([^=]+)=(.*)", re.DOTALL)
_WHOLE = re.compile(r"0|-?[1-9]\d{0,17}", re.ASCII)  # so many digits fit into 64 bits; 007 is no number, but a name
_FILES = (  # columns that name images, in small letters: the first that there is does; `url` as LAION and img2dataset
    # have it
    "uri",
    *("url", "image_url", "img_url", "image_uri"),
    *("path", "file_name", "filename", "file", "file_path", "filepath", "image_path", "img_path"),
)
YEAR_9999 = 253_370_764_800.0  # in seconds from 1970: the last that Python knows
_TICKS = {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


@dataclass
class Listed:
    """What Parquet files list. `rows`: SCHEMA and user columns. `skipped`, `large_groups`, `groups`, `unread`: as in
    Found."""

    rows: pa.Table = field(default_factory=SCHEMA.empty_table)
    skipped: Counter[str] = field(default_factory=Counter)
    large_groups: dict[str, int] = field(default_factory=dict)
    groups: dict[str, list[int]] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)
    memory: int = 0  # bytes that its rows take


def read(files: Sequence[File], root: str, library: LibraryFiles | None, column: str | None = None) -> Listed:
    """All rows of these Parquet files of one source, which lie below `root`, or are it.

    `column`: that names images, or a field of one (`image.url`); None: one of _FILES, where none holds their bytes.
    Raises InputError where a file cannot be read, or where columns do not fit together.
    """
    listed = Listed()
    folders = _folder_columns({file.uri: partitions(file.uri, root) for file in files})
    wanted = (folders, library, column, listed)
    listed.rows = unite({file.uri: _parquet_rows(file, *wanted) for file in files})
    return listed


# ---- columns in the names of folders ---------------------------------------------------------------------------------


def partitions(file: str, root: str) -> dict[str, str | None]:
    """What the folders of a file below `root` say as Hive writes it, `person=anna`: column → value.

    So do those that the root itself lies in, as far as they follow each other: a partition that is named by itself has
    the columns that it has as a part of the whole. Raises InputError for a name that is not UTF-8.
    """
    folders = PurePosixPath(path_of(file)).parent.parts
    above = min(len(PurePosixPath(path_of(root)).parts), len(folders))
    while above and _PARTITION.fullmatch(folders[above - 1]):
        above -= 1
    pairs = {}
    for folder in folders[above:]:
        if match := _PARTITION.fullmatch(folder):
            name, value = (unquote(part, errors="surrogateescape") for part in match.groups())
            try:
                (name + value).encode()
            except UnicodeEncodeError:
                raise InputError(f"{file}: the name of folder {folder!r} is not UTF-8: rename it") from None
            pairs[name] = None if value == NO_PARTITION else value
    return pairs


def _folder_columns(values: Mapping[str, Mapping[str, str | None]]) -> dict[str, dict[str, pa.Scalar]]:
    """File → column → value: whole numbers where all values of all files are, else texts."""
    every: dict[str, list[str]] = {}
    for pairs in values.values():
        for name, value in pairs.items():
            every.setdefault(name, []).extend([] if value is None else [value])
    kinds, read = {name: _kind(some) for name, some in every.items()}, {pa.int64(): int, pa.string(): str}
    return {
        file: {name: pa.scalar(value and read[kinds[name]](value), kinds[name]) for name, value in pairs.items()}
        for file, pairs in values.items()
    }


def _kind(values: Sequence[str]) -> pa.DataType:
    if not values:
        return pa.null()
    return pa.int64() if all(map(_WHOLE.fullmatch, values)) else pa.string()


# ---- files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Columns:
    """Of a file with rows. `image`: its column of images; None where `names`, a column or a field of one, names their
    files."""

    uri: str
    arrow: pa.Schema
    image: ImageColumn | None
    names: str

    @cached_property
    def kinds(self) -> dict[str, pa.DataType]:
        return {column.name: plain(column.type) for column in self.arrow}

    @cached_property
    def wanted(self) -> dict[str, str]:
        """Column, as it is kept → what is read of it. Bytes of images are no facts of a photo: their paths are."""
        names = {}
        for name, kind in self.kinds.items():
            if is_image_struct(kind):
                names[free_name(f"{name}_{PATH}", self.kinds)] = f"{name}.{PATH}"
            elif self.image is None or name != self.image.name:
                names[name] = name
        return names

    @cached_property
    def schema(self) -> pa.Schema:
        return pa.schema([(name, self.kinds.get(read, pa.string())) for name, read in self.wanted.items()])

    def column(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        """A column, as it is kept, under its plain type."""
        read = self.wanted[name]
        whole = read in self.kinds
        values = batch.column(read) if whole else pc.struct_field(batch.column(read.removesuffix(f".{PATH}")), PATH)
        values = values.cast(self.schema.field(name).type)
        if read != self.names or self.image:  # names of files may be any bytes
            _check_texts(self.uri, name, values)
        return values

    def kept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Those that are wanted of what was read, as they are kept."""
        return pa.RecordBatch.from_pydict({name: self.column(batch, name) for name in self.wanted})


@dataclass(frozen=True)
class _Opened(Columns):
    """A Parquet file. `below`: as parquet_pages reads it."""

    parquet: pq.ParquetFile
    below: parquet_pages.Source

    @cached_property
    def leaves(self) -> dict[int, str]:
        """Number of each leaf that is wanted → the column, as it is kept."""
        owners = [column.name for column in self.parquet.schema_arrow for _ in range(_leaf_count(column.type))]
        paths = [self.parquet.schema.column(number).path for number in range(len(self.parquet.schema))]
        if len(owners) != len(paths):
            raise InputError(f"cannot read {self.uri} as Parquet: its columns are not as it says")
        kept, found = {read: name for name, read in self.wanted.items()}, {}
        for number, (owner, path) in enumerate(zip(owners, paths, strict=True)):
            if (name := kept.get(path if is_image_struct(self.kinds[owner]) else owner)) is not None:
                found[number] = name
            elif any(path == read or path.startswith(f"{read}.") for read in kept):
                raise InputError(f"{self.uri}: column {path!r} is in it twice, by name and as a part: rename one")
        return found


def _check_texts(uri: str, name: str, values: pa.Array) -> None:
    """InputError where a text is none, as Hive and Impala may write it: whoever reads it later would stumble."""
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        raise InputError(f"{uri}: column {name!r} has texts that are not UTF-8: write them as such") from None


def _leaf_count(kind: pa.DataType) -> int:
    """Of how many columns of a Parquet file a column of Arrow is made."""
    if isinstance(kind, pa.BaseExtensionType):
        return _leaf_count(kind.storage_type)
    if pa.types.is_dictionary(kind) or not pa.types.is_nested(kind):
        return 1
    return sum(_leaf_count(kind.field(number).type) for number in range(kind.num_fields))


def _parquet_rows(
    file: File,
    folders: Mapping[str, Mapping[str, pa.Scalar]],
    library: LibraryFiles | None,
    column: str | None,
    listed: Listed,
) -> pa.Table:
    """The images that a Parquet file names or holds. All columns but `uri` are the user's, and those in `folders`, by
    file, which go before one of the file that is called so, as DuckDB has it."""
    try:
        if library and file.uri == library.uri_of(ROSTER):  # may be encrypted
            parquet, below = parquet_file(pa.BufferReader(library.read(ROSTER)))
        else:
            parquet, below = open_parquet(file.uri)
        schema = parquet.schema_arrow
        opened = _Opened(file.uri, schema, *images_in(file.uri, schema, column), parquet, below)
        table = _read(opened, listed)
        lacking = _lacking(opened, opened.image, listed) if opened.image else None
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {file.uri} as Parquet: {error}") from None
    rows, table = photo_rows(opened, table, lacking, file.modified, listed)
    if not rows.num_rows:
        return SCHEMA.empty_table()
    columns = fields_of(table)
    for name, value in folders[file.uri].items():
        listed.memory += rows.num_rows * (8 + len(str(value)))
        _count(file.uri, {name: 0}, listed.memory)
        columns[name] = pa.field(name, value.type, metadata=TEXTS), pa.repeat(value, rows.num_rows)
    return with_user_columns(rows, columns)


def fields_of(table: pa.Table) -> dict[str, tuple[pa.Field, pa.ChunkedArray]]:
    return {name: (table.schema.field(name), table[name]) for name in table.column_names}


def photo_rows(
    columns: Columns, table: pa.Table, lacking: Bools | None, modified: int | None, listed: Listed
) -> tuple[pa.Table, pa.Table]:
    """A row for each image, and what the user says of it. `table`: the wanted columns. `lacking`: which rows have no
    bytes; None where all name their files.

    Bytes are not read here, so that sizes are not known. A rewritten file is known by its time.
    """
    if lacking is None:
        names = _names(columns, table)
        there = pc.fill_null(pc.not_equal(names, ""), False)
        if empty := len(names) - (pc.sum(there).as_py() or 0):
            listed.skipped[f"rows without {columns.names}"] += empty
        return _listed_rows(columns.uri, names.filter(there), table.filter(there), listed)
    rows = [File(inside_uri(columns.uri, "row", row), None, modified) for row in range(len(lacking))]
    if lacking.any() and columns.image:
        kept = next(name for name, read in columns.wanted.items() if read == f"{columns.image.name}.{PATH}")
        paths = table[kept].to_pylist()
        elsewhere = [row for row in np.flatnonzero(lacking).tolist() if paths[row]]
        files = _look_at_all([paths[row] for row in elsewhere], columns.uri, listed)
        for row, found in zip(elsewhere, files, strict=True):
            rows[row] = found
    return rows_of(rows), table


def _lacking(opened: _Opened, image: ImageColumn, listed: Listed) -> Bools:
    """Which rows have no bytes; and what is to be known of row groups."""
    groups = [opened.parquet.metadata.row_group(i).num_rows for i in range(opened.parquet.num_row_groups)]
    if min(groups, default=0) < 0 or sum(groups) != opened.parquet.metadata.num_rows:
        raise pa.ArrowInvalid("its row groups have not the rows that it says")
    lacking = _without_bytes(opened, image)
    if max(groups, default=0) > LARGE_GROUP and not lacking.all():
        listed.large_groups[opened.uri] = max(groups)
    if groups and _image_bytes(opened.parquet, image) > HEAVY_GROUP * len(groups):
        listed.groups[opened.uri] = groups
    return lacking


def _image_bytes(parquet: pq.ParquetFile, image: ImageColumn) -> int:
    """As the file says, which may say anything."""
    column = next(n for n in range(len(parquet.schema)) if parquet.schema.column(n).path == image.leaf)
    groups = map(parquet.metadata.row_group, range(parquet.num_row_groups))
    return sum(group.column(column).total_uncompressed_size for group in groups)


def _without_bytes(opened: _Opened, image: ImageColumn) -> Bools:
    """Which rows have no bytes, but perhaps the path of a file. The file's statistics tell, but where only some do."""
    parquet = opened.parquet
    if not image.inner:
        return np.zeros(parquet.metadata.num_rows, bool)
    paths = [parquet.schema.column(number).path for number in range(len(parquet.schema))]
    if sum(path == image.leaf or path.startswith(f"{image.leaf}.") for path in paths) > 1:
        raise InputError(f"{opened.uri}: column {image.leaf!r} is in it twice, by name and as a part: rename one")
    number, parts = paths.index(image.leaf), [np.zeros(0, bool)]
    for group in range(parquet.num_row_groups):
        rows, facts = parquet.metadata.row_group(group).num_rows, parquet.metadata.row_group(group).column(number)
        nulls = facts.statistics.null_count if facts.is_stats_set and facts.statistics.has_null_count else None
        if nulls in (0, rows):
            parts.append(np.full(rows, nulls != 0))
            continue
        at_once = batch_rows([parquet_pages.column(opened.below, parquet, group, number)], rows)
        batches = parquet.iter_batches(at_once, row_groups=[group], columns=[image.leaf])
        parts += [images_of(batch, image).is_null().to_numpy(zero_copy_only=False) for batch in batches]
    lacking: Bools = np.concatenate(parts)
    if len(lacking) != parquet.metadata.num_rows:
        raise pa.ArrowInvalid(f"column {image.leaf} has not the rows that it says")
    return lacking


def _read(opened: _Opened, listed: Listed) -> pa.Table:
    """The wanted columns. InputError where all that the source holds would take more than MAX_TABLE.

    Before anything is read, sizes are taken from the pages; then each batch is counted, as values may be shared.
    """
    uri, parquet, wanted = opened.uri, opened.parquet, opened.wanted
    listed.memory += parquet.metadata.num_rows * ROW_BYTES
    if listed.memory > MAX_TABLE:
        raise InputError(f"{uri} has {parquet.metadata.num_rows} rows: {_TOO_LARGE}")
    shared, taken, lists = 1, dict.fromkeys(wanted, 0), dict[str, str]()
    for name, size in _sizes(opened):
        taken[name] += size.raw
        shared = max(shared, size.shared)
        if size.path not in opened.kinds and size.most > MAX_TABLE - listed.memory:
            lists[size.path] = name
        _count(uri, taken, listed.memory)
    for name, size_of_lists in _nested(opened, lists):
        taken[name] += size_of_lists
        _count(uri, taken, listed.memory)
    at_once, names = min(max(AT_ONCE // shared, 1), 1 << 16), [*wanted.values()]
    read = parquet.iter_batches(at_once, columns=names) if wanted else ()
    table = gathered(opened, map(opened.kept, read), listed)
    if wanted and table.num_rows != parquet.metadata.num_rows:
        raise pa.ArrowInvalid("it has not the rows that it says")
    return table


def gathered(columns: Columns, batches: Iterable[pa.RecordBatch], listed: Listed) -> pa.Table:
    """The wanted columns, from batches of them. InputError where they take too much memory."""
    taken, parts = dict.fromkeys(columns.wanted, 0), list[pa.RecordBatch]()
    for batch in batches:
        parts.append(batch)
        taken = {name: taken[name] + batch[name].nbytes for name in columns.wanted}
        _count(columns.uri, taken, listed.memory)
    listed.memory += sum(taken.values())
    return pa.Table.from_batches(parts, columns.schema).combine_chunks()


def _sizes(opened: _Opened) -> Iterator[tuple[str, parquet_pages.Column]]:
    """Column, and the size of each of its leaves in every row group."""
    for group in range(opened.parquet.num_row_groups):
        for number, name in opened.leaves.items():
            yield name, parquet_pages.column(opened.below, opened.parquet, group, number)


def _nested(opened: _Opened, paths: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Column, and bytes of the texts in its lists, batch by batch: one row may share a text any number of times.

    `paths`: of leaves → the column they are part of, as it is kept.
    """
    parquet = pq.ParquetFile(opened.below, read_dictionary=list(paths), pre_buffer=False) if paths else None
    read = {opened.wanted[name]: name for name in paths.values()}
    for batch in parquet.iter_batches(1024, columns=[*read]) if parquet else ():
        for column in batch.schema.names:
            name = read.get(column) or read[f"{column}.{PATH}"]
            yield name, sum(map(_bytes_of_texts, _leaves(batch.column(column))))


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


# ---- what is in it ---------------------------------------------------------------------------------------------------


def images_in(uri: str, schema: pa.Schema, column: str | None) -> tuple[ImageColumn | None, str]:
    """The column of images; or None, and what names their files: a column, or a field of one (`image.url`).

    `column`: that is to name them, if any. InputError where the file neither holds nor names any.
    """
    kinds = {each.name: plain(each.type) for each in schema}
    if len(kinds) < len(schema):
        raise InputError(f"{uri} has several columns of one name: {', '.join(schema.names)}")
    columns = ", ".join(f"{each.name} ({each.type})" for each in schema) or "none"
    if column is not None:
        if _kind_of(kinds, column) == pa.string():
            return None, column
        raise InputError(f"{uri} has no column {column!r} of text (string) that names images. It has: {columns}")
    if image := image_column(schema):
        return image, ""
    texts = {name.strip(" \ufeff").lower(): name for name, kind in kinds.items() if kind == pa.string()}
    texts |= {name: name for name in ("uri",) if kinds.get(name) == pa.string()}
    if found := next((texts[name] for name in _FILES if name in texts), None):
        return None, found
    raise InputError(
        f"{uri} has no usable column: it needs `uri`, `url` or `path` (string), another that `column` names, or"
        f" `image` (binary, the bytes of image files).{''.join(f' {each}.' for each in _hints(kinds))}"
        f" It has: {columns}"
    )


def _kind_of(kinds: Mapping[str, pa.DataType], column: str) -> pa.DataType | None:
    """Of a column, or of a field of one."""
    if column in kinds:
        return kinds[column]
    name, *fields = column.split(".")
    kind = kinds.get(name)
    for each in fields:
        if kind is None or not pa.types.is_struct(kind) or kind.get_field_index(each) < 0:
            return None
        kind = plain(kind.field(each).type)
    return kind


def _names(opened: Columns, table: pa.Table) -> pa.ChunkedArray:
    """What names the files, as texts."""
    kept = {read: name for name, read in opened.wanted.items()}
    if (name := kept.get(opened.names)) is not None:
        return table[name]
    name, *fields = opened.names.split(".")
    return pc.struct_field(table[kept[name]], fields).cast(pa.string())


def _hints(kinds: Mapping[str, pa.DataType]) -> Iterator[str]:
    """What may be meant by these columns."""
    if len(structs := [name for name, kind in kinds.items() if is_image_struct(kind)]) > 1:
        yield f"Several columns hold images ({', '.join(structs)}): rename one to `image`"
    for name, kind in kinds.items():
        plain_name = name.strip(" \ufeff").lower()
        if plain_name in ("uri", "url") and kind != pa.string():
            yield f"`{name}` is {kind}: write it as text (string)"
        elif name == "image" and kind == pa.string():
            yield "`image` is text: if it names files, set `column` to it; base64 is to be decoded to bytes"
        elif name == "image" and pa.types.is_nested(kind):
            yield f"`image` is {kind}: write the bytes of each file as one binary value"
        elif kind == pa.binary():
            yield f"If `{name}` holds image files, rename it to `image`"


def _listed_rows(parquet: str, texts: pa.ChunkedArray, table: pa.Table, listed: Listed) -> tuple[pa.Table, pa.Table]:
    """Rows for the files of these names, and the columns that are not in them.

    Where files cannot be looked at, columns `size` and `modified` are believed.
    """
    if not table.num_rows:
        return SCHEMA.empty_table(), table
    names = [os.fsdecode(name) for name in texts.cast(pa.binary()).to_pylist()]
    rows = rows_of(_look_at_all(names, parquet, listed))
    for name, fits in (("size", pa.types.is_integer), ("modified", pa.types.is_timestamp)):
        if name in table.schema.names and fits(table.schema.field(name).type):
            given = _possible(table[name]).cast(SCHEMA.field(name).type, safe=False)
            rows = rows.set_column(SCHEMA.get_field_index(name), name, pc.coalesce(rows[name], given))
            table = table.drop_columns([name])
    return rows, table.drop_columns(["uri"]) if "uri" in table.column_names else table


def _possible(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Sizes or times of files; null where no file has such a one: in our types it would be another."""
    if pa.types.is_integer(values.type):
        numbers, least, most = values.cast(pa.float64(), safe=False), 0.0, 2.0**60
    else:
        numbers, most = values.cast(pa.int64()).cast(pa.float64(), safe=False), YEAR_9999 * _TICKS[values.type.unit]
        least = -most / 8
    return pc.if_else(pc.and_(pc.greater_equal(numbers, least), pc.less(numbers, most)), values, None)


def _look_at_all(names: Sequence[str], parquet: str, listed: Listed) -> list[File]:
    files = []
    for name in names:
        file = _look_at(name, parquet)
        if file.size is None and (reason := _unread(name, file.uri)) is not None:
            listed.unread[reason] += 1
        files.append(file)
    return files


def _unread(name: str, uri: str) -> str | None:
    """Why it cannot be the name of a file that is read here."""
    if name.startswith("data:"):
        return "data: is an image as text: write its bytes to a column `image`"
    if _WINDOWS.match(name):
        return "paths of a Windows machine: give names relative to the Parquet file"
    if is_http(uri) and not private_allowed() and names_private(host_of(uri)):
        return "they lie on this machine or in a private network, and `allow_private` is not set"
    return unread(uri)


def _look_at(uri: str, parquet: str) -> File:
    """The file that a Parquet file names; relative names are relative to the folder of the Parquet file.

    Where no file is called so, as it is called elsewhere: without blanks around it, with Windows' separators, or with
    letters and accents in one or in two.
    """
    if local_path(uri.strip()) != uri.strip():  # a URI, in which a blank is %20
        uri = uri.strip()
    path, folder = local_path(uri), ""
    if is_http(uri):
        whole, _, fragment = uri.partition("#")  # which no server is asked for
        uri = whole if fragment and suffix_of(whole) in IMAGE_SUFFIXES else uri
    if path is None:
        return File(os.fsencode(uri).decode(errors="replace"), None, None)
    if not os.path.isabs(path):
        home = local_path(parquet)
        if is_http(parquet):
            return File(urljoin(parquet, quote(os.fsencode(path))), None, None)
        if home is None:
            base, question, query = parquet.partition("?")
            return File(base.rpartition("/")[0] + "/" + quote(os.fsencode(path)) + question + query, None, None)
        folder = os.path.dirname(home)
    forms = (path, path.strip(), path.replace("\\", "/"), normalize("NFC", path), normalize("NFD", path))
    places = [os.path.abspath(os.path.join(folder, form)) for form in dict.fromkeys(forms)]
    for place in places:
        try:
            status = os.stat(place)
        except (OSError, ValueError):  # missing, or not a possible name: the image gets its error row later
            continue
        return File(local_uri(place), status.st_size, status.st_mtime_ns // 1000)
    inside = split_inside(places[0])
    return File(inside_uri(local_uri(inside[0]), *inside[1:]) if inside else local_uri(places[0]), None, None)
