"""Is anything left? A search of every file of a library for what was to go of people and images.

What is looked at, and nothing else:

- Parquet files, decoded, every column, also within dictionaries, lists and structs: person_ids and names of people
  where a column names people (PERSON); image_ids and URIs anywhere in text and bytes; embeddings in lists of floats of
  half, single or double precision; thumbnails and previews by their SHA-256. And their metadata, as text.
- All other files, decrypted: person_ids and names in quotes, as JSON has them; image_ids and URIs anywhere; and whole
  files by their SHA-256. Of files below `index/` none is to be left at all: indexes are made of embeddings.
- The names of all files: image_ids and URIs.

A URI that is part of a longer one is another: `/a/f.parquet#row=1` in `/a/f.parquet#row=12`.
"""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.errors import DecryptionError, MusterError
from muster.storage import layout
from muster.storage.library import LibraryFiles
from muster.storage.tables import from_parquet

PERSON = ("person_id", "person", "name", "people", "keywords")  # columns that name people
OWN = b"muster."  # metadata that says which task made a table; `"faces"` is a task, and may be a person
AT_ONCE = 200  # literals in one regular expression: RE2 looks for as many in one pass


def digests(embeddings: pa.ChunkedArray, kind: type[np.floating[Any]] = np.float32) -> set[str]:
    """A digest of each embedding in a column of lists of floats, as they are in this precision."""
    found = set()
    for chunk in embeddings.chunks if isinstance(embeddings, pa.ChunkedArray) else [embeddings]:
        chunk = chunk.drop_null()
        if pa.types.is_fixed_size_list(chunk.type):
            rows: Iterable[Any] = _floats(chunk.flatten(), kind).reshape(len(chunk), chunk.type.list_size)
        else:
            rows = (_floats(row.values, kind) for row in chunk)
        found |= {hashlib.sha256(row.tobytes()).hexdigest() for row in rows}
    return found


def _floats(values: pa.Array, kind: type[np.floating[Any]]) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values.to_numpy(zero_copy_only=False), kind)


def picture_digests(pictures: pa.ChunkedArray) -> set[str]:
    """The SHA-256 of each value in a column of bytes."""
    return {hashlib.sha256(data).hexdigest() for data in pictures.drop_null().to_pylist()}


@dataclass(frozen=True)
class Sought:
    """`people`: person_ids and names, which may be as short as a class's name, and count only where a person is meant.
    `ids`: image_ids and URIs. `embeddings`: their `digests`, `pictures`: their `picture_digests`."""

    people: Collection[str]
    ids: Collection[str]
    embeddings: Collection[str]
    pictures: Collection[str] = ()


def search(library: LibraryFiles, sought: Sought, skip: Iterable[str]) -> list[str]:
    """Files of the library in which something of this stands: where, and what.

    `skip`: beginnings of names that are not looked at. Raises MusterError for a Parquet file that cannot be read.
    """
    found = []
    for name in library.files():
        if not name.startswith(tuple(skip)):
            try:
                data = library.read_any(name)
            except DecryptionError as error:
                raise MusterError(f"{error}: what is in it is not known; delete it, and run again") from None
            found += [f"{name}: its name" for _ in _within(name.encode(), sought.ids)]
            found += (_in_parquet if name.endswith(".parquet") else _in_bytes)(name, data, sought)
    return found


def _in_bytes(name: str, data: bytes, sought: Sought) -> list[str]:
    """Below names that begin with `_` are Muster's own facts of tasks and shards: a person may be called as a task."""
    found = _within(data, sought.ids) + ([] if name.startswith("_") else _quoted(data, sought.people))
    if name.startswith(f"{layout.INDEX}/") and sought.embeddings:
        found.append("an index of faces")
    if hashlib.sha256(data).hexdigest() in sought.pictures:
        found.append("a picture")
    return [f"{name}: {each}" for each in found]


def _in_parquet(name: str, data: bytes, sought: Sought) -> list[str]:
    try:
        table = from_parquet(data)
    except (pa.ArrowException, OSError) as error:
        raise MusterError(f"{name} cannot be read ({error}): delete it, and run again") from None
    found = [f"{name}, metadata: {each}" for each in _in_metadata(table.schema, sought)]
    for column in table.column_names:
        for chunk in table[column].chunks:
            for field, values in _leaves(column, chunk):
                found += [f"{name}, {column}: {each}" for each in _in_values(field, values, sought)]
    return list(dict.fromkeys(found))


def _in_metadata(schema: pa.Schema, sought: Sought) -> list[str]:
    places = [schema.metadata or {}, *(field.metadata or {} for field in schema)]
    texts = [(key, key + b"=" + value) for place in places for key, value in place.items()]
    people = [each for key, text in texts if not key.startswith(OWN) for each in _named(text, sought.people)]
    return people + [each for _, text in texts for each in _within(text, sought.ids)]


def _leaves(name: str, values: pa.Array) -> Iterator[tuple[str, pa.Array]]:
    """What a column is made of: arrays of texts, bytes or numbers, and lists of floats; each with its field's name."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        yield from _leaves(name, values.storage)
    elif pa.types.is_dictionary(kind):
        yield from _leaves(name, values.dictionary)
    elif pa.types.is_struct(kind):
        for i, field in enumerate(kind):
            yield from _leaves(field.name, values.field(i))
    elif pa.types.is_map(kind):
        yield from _leaves(name, values.keys)
        yield from _leaves(name, values.items)
    elif pa.types.is_nested(kind) and not pa.types.is_floating(kind.value_type):
        yield from _leaves(name, values.flatten())
    else:
        yield name, values


def _in_values(name: str, values: pa.Array, sought: Sought) -> list[str]:
    kind = values.type
    if pa.types.is_nested(kind):
        precision = np.float16 if pa.types.is_float16(kind.value_type) else np.float32
        count = len(digests(values, precision) & set(sought.embeddings))
        return [f"{count} embeddings"] if count else []
    texts = _texts(values)
    if texts is None:
        return []
    people = sought.people if name in PERSON else ()
    hits = pc.unique(texts.filter(pc.is_in(texts, pa.array([each.encode() for each in people], texts.type))))
    found = [hit.decode() for hit in hits.to_pylist()]
    found += _within(b"\0".join(pc.unique(texts).to_pylist()), sought.ids)
    if sought.pictures and not pa.types.is_string(kind):
        count = len(picture_digests(texts) & set(sought.pictures))
        found += [f"{count} pictures"] if count else []
    return found


def _texts(values: pa.Array) -> pa.Array | None:
    """Texts or bytes, of whatever type, as bytes; None for other values."""
    if not any(check(values.type) for check in _TEXTUAL):
        return None
    return values.drop_null().cast(pa.large_binary())


_TEXTUAL = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)


# ---- texts and bytes -------------------------------------------------------------------------------------------------


def _forms(text: str) -> set[bytes]:
    """As it is, and as it stands within JSON."""
    return {text.encode(), *(json.dumps(text, ensure_ascii=ascii)[1:-1].encode() for ascii in (True, False))}


def _quoted(data: bytes, people: Iterable[str]) -> list[str]:
    """Those of whom there is a JSON text."""
    return [json.dumps(each, ensure_ascii=False) for each in people if any(b'"%b"' % f in data for f in _forms(each))]


def _named(data: bytes, people: Iterable[str]) -> list[str]:
    """Those who stand between characters that belong to no word."""
    return [each for each in people if any(_word(form).search(data) for form in _forms(each))]


def _within(data: bytes, ids: Collection[str]) -> list[str]:
    """Those that stand somewhere in these bytes; a URI not as a part of something longer."""
    forms = {form: each for each in ids for form in _forms(each)}
    found = [forms[form] for form in _literally(data, sorted(forms)) if b"/" not in form or _word(form).search(data)]
    return list(dict.fromkeys(found))


def _literally(data: bytes, literals: list[bytes]) -> Iterator[bytes]:
    """Those of the literals that are in the bytes. RE2 says in one pass that none of many is, as is usual."""
    whole = pa.array([data], pa.large_binary())
    for start in range(0, len(literals), AT_ONCE):
        some = literals[start : start + AT_ONCE]
        pattern = b"|".join(map(re.escape, some))
        if pc.match_substring_regex(whole, pattern)[0].as_py():
            yield from (each for each in some if each in data)


def _word(form: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"(?<![0-9A-Za-z_])" + re.escape(form) + rb"(?![0-9A-Za-z_]|[.~-][0-9A-Za-z_])")
