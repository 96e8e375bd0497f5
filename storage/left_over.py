"""Is anything left? A search of every file of a library for names and embeddings that were to go."""

import hashlib
import io
from collections.abc import Collection, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from storage.errors import MusterError
from storage.library import Library


def digests(embeddings: pa.ChunkedArray) -> set[str]:
    """A digest of each embedding in a column of fixed-size lists of float32."""
    flat = embeddings.combine_chunks()
    rows = flat.flatten().to_numpy().reshape(len(flat), -1)
    return {hashlib.sha256(np.ascontiguousarray(row, np.float32).tobytes()).hexdigest() for row in rows}


def search(library: Library, ids: Collection[str], embeddings: Collection[str], skip: Iterable[str]) -> list[str]:
    """Files of the library in which one of `ids` stands, or an embedding with one of these digests: what it is, where.

    Parquet files are read, all others searched as bytes. `skip`: beginnings of names that are not looked at.
    """
    found = []
    for name in _files(library):
        if not name.startswith(tuple(skip)):
            data = library.read(name)
            found += (
                _in_parquet(name, data, ids, embeddings) if name.endswith(".parquet") else _in_bytes(name, data, ids)
            )
    return found


def _files(library: Library) -> list[str]:
    selector = pafs.FileSelector(library.path, recursive=True)
    infos = [info for info in library.fs.get_file_info(selector) if info.type == pafs.FileType.File]
    return sorted(info.path.removeprefix(library.path).lstrip("/") for info in infos)


def _in_bytes(name: str, data: bytes, ids: Collection[str]) -> list[str]:
    """Short ids only in quotes, as JSON has them: `7` alone stands everywhere."""
    wanted = [i if len(i) >= 16 else f'"{i}"' for i in ids]
    return [f"{name}: {i}" for i in wanted if i.encode() in data]


def _in_parquet(name: str, data: bytes, ids: Collection[str], embeddings: Collection[str]) -> list[str]:
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise MusterError(f"{name} cannot be read ({error}): delete it, and run again") from None
    found = []
    for column in table.column_names:
        kind, values = table.schema.field(column).type, table[column]
        if pa.types.is_string(kind):
            hits = pc.unique(values.filter(pc.is_in(values, pa.array(list(ids), pa.string()))))
            found += [f"{name}, {column}: {hit}" for hit in hits.to_pylist()]
        elif pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32():
            count = len(digests(values) & set(embeddings))
            found += [f"{name}, {column}: {count} embeddings"] if count else []
    return found
