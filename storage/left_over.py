"""Is anything left? A search of every file of a library for names and embeddings that were to go."""

import hashlib
import io
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from storage.errors import MusterError
from storage.library import Library

PERSON = ("person_id", "person")  # columns that name people


def digests(embeddings: pa.ChunkedArray) -> set[str]:
    """A digest of each embedding in a column of fixed-size lists of float32."""
    flat = embeddings.combine_chunks()
    rows = flat.flatten().to_numpy().reshape(len(flat), flat.type.list_size)
    return {hashlib.sha256(np.ascontiguousarray(row, np.float32).tobytes()).hexdigest() for row in rows}


@dataclass(frozen=True)
class Sought:
    """`people`: person_ids, which may be as short as a class's name, and count only where a person is meant. `ids`:
    other names, such as image_ids and URIs. `embeddings`: their `digests`."""

    people: Collection[str]
    ids: Collection[str]
    embeddings: Collection[str]


def search(library: Library, sought: Sought, skip: Iterable[str]) -> list[str]:
    """Files of the library in which something of this stands: where, and what.

    Parquet files are read, all others searched as bytes. `skip`: beginnings of names that are not looked at.
    """
    found = []
    for name in library.files():
        if not name.startswith(tuple(skip)):
            data = library.read_any(name)
            found += (_in_parquet if name.endswith(".parquet") else _in_bytes)(name, data, sought)
    return found


def _in_bytes(name: str, data: bytes, sought: Sought) -> list[str]:
    """Person_ids in quotes, as JSON has them, and not among what Muster says of itself: `"faces"` is a task too."""
    wanted = list(sought.ids)
    if not name.startswith("_"):
        wanted += [json.dumps(person, ensure_ascii=ascii) for person in sought.people for ascii in (True, False)]
    return [f"{name}: {each}" for each in dict.fromkeys(wanted) if each.encode() in data]


def _in_parquet(name: str, data: bytes, sought: Sought) -> list[str]:
    try:
        table = pq.read_table(io.BytesIO(data))
    except (pa.ArrowException, OSError) as error:
        raise MusterError(f"{name} cannot be read ({error}): delete it, and run again") from None
    found = []
    for column in table.column_names:
        kind, values = table.schema.field(column).type, table[column]
        if pa.types.is_string(kind):
            wanted = [*sought.ids, *(sought.people if column in PERSON else ())]
            hits = pc.unique(values.filter(pc.is_in(values, pa.array(wanted, pa.string()))))
            found += [f"{name}, {column}: {hit}" for hit in hits.to_pylist()]
        elif pa.types.is_fixed_size_list(kind) and kind.value_type == pa.float32():
            count = len(digests(values) & set(sought.embeddings))
            found += [f"{name}, {column}: {count} embeddings"] if count else []
    return found
