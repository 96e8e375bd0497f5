"""Items from Parquet tables: pictures, sounds and volumes of which a column says who or what each is, and pairs of
texts of which one says whether they are of one."""

import io
import math
import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from muster.arrays import F32, I64, Bools
from muster.errors import ImageError, InputError, TaskError
from muster.storage.photos import decode
from muster.storage.photos.listing import locate
from muster.storage.photos.names import names_of
from muster.storage.photos.promotion import unite
from muster.storage.texts import file_name
from muster.storage.uris import open_parquet
from muster.tasks.models import encoders
from muster.tasks.models.encoders import Plan
from muster.training.data.examples import OnSkipped

COLUMNS = {"picture": ("image",), "sound": ("audio",), "volume": ("volume", "shape")}
PAIRED = ("question1", "question2", "is_duplicate")  # of a table of pairs of texts
GENUINE = "genuine"  # a column of bools: where it is false, an item only claims to be of whom the label names
Made = np.ndarray[Any, np.dtype[Any]]  # one item as its network takes it
_WIDTH = {1: ("u1", 128), 2: ("<i2", 1 << 15), 4: ("<i4", 1 << 31)}  # bytes: kind, loudest


@dataclass(frozen=True)
class Items:
    """`values` (N, …): uint8 pictures and volumes, int16 sounds, int64 texts. `names`: for messages. `facts`: all other
    columns, row by row."""

    values: torch.Tensor
    names: Sequence[str]
    facts: pa.Table

    def said(self, column: str) -> list[str | None]:
        """What a column says of each; None everywhere where there is no such column."""
        return _said(self.facts, column, len(self.names))

    def take(self, rows: Sequence[int]) -> "Items":
        """These rows of it."""
        kept = torch.tensor(rows, dtype=torch.int64)
        return Items(self.values[kept], [self.names[row] for row in rows], self.facts.take(pa.array(rows, pa.int64())))

    def genuine(self) -> Bools:
        """(N,): all of them where the table does not say."""
        if GENUINE not in self.facts.column_names:
            return np.ones(len(self.names), bool)
        return np.array([value is None or bool(value) for value in self.facts[GENUINE].to_pylist()])


@dataclass(frozen=True)
class Pairs:
    """Texts, each once; `rows` (P, 2) of them, `same` (P,), and what the tables say of each pair."""

    items: Items
    rows: I64
    same: Bools
    facts: pa.Table

    def said(self, column: str) -> list[str | None]:
        """What a column says of each pair; None everywhere where there is no such column."""
        return _said(self.facts, column, len(self.rows))


def _said(facts: pa.Table, column: str, count: int) -> list[str | None]:
    """Of so many rows, which a table without columns does not have."""
    if column not in facts.column_names:
        return [None] * count
    return names_of(f"column {column}", facts[column])


def read_items(sources: Sequence[str], label: str | None, plan: Plan, on_skipped: OnSkipped) -> Items:
    """The items of tables that hold them in columns named by COLUMNS; those that cannot be read are told and left out.

    InputError where a table is none, or has no such columns, or no column `label`.
    """
    names, table = read_tables(sources, COLUMNS[plan.kind], label)
    made, kept = list[Made](), list[int]()
    for row, values in enumerate(rows_of(table, COLUMNS[plan.kind])):
        try:
            made.append(_MAKE[plan.kind](*values, plan))
            kept.append(row)
        except (ImageError, TaskError) as error:
            on_skipped(f"{names[row]}: {error}")
    if not made:
        raise InputError(f"no {plan.kind} of {', '.join(sources)} can be read")
    facts = table.drop_columns(list(COLUMNS[plan.kind])).take(pa.array(kept))
    return Items(torch.from_numpy(np.stack(made)), [names[row] for row in kept], facts)


def read_pairs(sources: Sequence[str], plan: Plan, on_skipped: OnSkipped) -> Pairs:
    """Pairs of texts in the columns PAIRED; a pair without two texts, or of which nothing is said, is told and left
    out. InputError where a table has no such columns, or nothing in them."""
    names, table = read_tables(sources, PAIRED, None)
    number, rows, same, kept = dict[str, int](), list[tuple[int, int]](), list[bool](), list[int]()
    for row, (one, other, said) in enumerate(rows_of(table, PAIRED)):
        if said is None or not all(isinstance(text, str) and text.strip() for text in (one, other)):
            on_skipped(f"{names[row]}: it has no two texts, or does not say whether they are one")
            continue
        rows.append((number.setdefault(one, len(number)), number.setdefault(other, len(number))))
        same.append(bool(said))
        kept.append(row)
    if not rows:
        raise InputError(f"no pair of {', '.join(sources)} can be read")
    made = torch.from_numpy(np.stack([encoders.pieces(text, plan) for text in number]))
    items = Items(made, [text[:60] for text in number], pa.table({"text": list(number)}))
    facts = table.drop_columns(list(PAIRED)).take(pa.array(kept))
    return Pairs(items, np.array(rows), np.array(same), facts)


def read_tables(sources: Sequence[str], columns: Sequence[str], label: str | None) -> tuple[list[str], pa.Table]:
    """A name for each row, and the rows."""
    tables = {source: _table(source, columns, label) for source in sources}
    names = [f"{file_name(source)}, row {row}" for source, table in tables.items() for row in range(table.num_rows)]
    return names, unite(tables)


def _table(source: str, columns: Sequence[str], label: str | None) -> pa.Table:
    try:
        parquet, _ = open_parquet(locate(source).uri)
        known = parquet.schema_arrow.names
        if label is not None and label not in known:
            raise InputError(f"`label` {label}: no such column in {source}; known: {', '.join(known)}")
        if missing := [name for name in columns if name not in known]:
            raise InputError(
                f"{source} has no column {' and no '.join(missing)}: items are read from {', '.join(columns)};"
                f" it has {', '.join(known)}"
            )
        table = parquet.read()
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot read {source} as Parquet: {error}") from None
    for name in {GENUINE, PAIRED[2]} & set(table.column_names):
        if not (pa.types.is_boolean(table[name].type) or pa.types.is_integer(table[name].type)):
            raise InputError(f"{source}: column {name} is {table[name].type}: write it as booleans, or as 0 and 1")
    return table


def rows_of(table: pa.Table, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in columns), strict=True)


# ---- of each kind ----------------------------------------------------------------------------------------------------


def _picture(data: bytes | None, plan: Plan) -> Made:
    return encoders.ink(decode.decode(read_bytes(data), 4 * max(plan.space)).pixels, plan)


def _sound(data: bytes | None, plan: Plan) -> Made:
    return encoders.wave(*_samples(read_bytes(data)), plan)


def _volume(data: bytes | None, shape: Sequence[float] | None, plan: Plan) -> Made:
    values = np.frombuffer(read_bytes(data), np.uint8)
    said = shape if isinstance(shape, Sequence) and len(shape) == 3 else ()
    sides = [int(side) for side in said if isinstance(side, int | float) and side > 0 and side % 1 == 0]
    if len(sides) != 3 or math.prod(sides) != len(values):
        raise TaskError(f"{len(values)} bytes are no volume of shape {shape}")
    return encoders.cube(values.reshape(sides), plan)


_MAKE: dict[str, Callable[..., Made]] = {"picture": _picture, "sound": _sound, "volume": _volume}


def read_bytes(data: Any) -> bytes:
    """What a cell holds: bytes, or a struct with `bytes`, as Hugging Face writes it. TaskError where it is empty or
    something else."""
    data = data.get("bytes") if isinstance(data, dict) else data
    if not data:
        raise TaskError("it is empty")
    if not isinstance(data, bytes):
        raise TaskError(f"it holds no bytes: {str(data)[:60]}")
    return data


def _samples(data: bytes) -> tuple[F32, int]:
    """Samples (T, channels), -1..1, and the rate of a WAV file. TaskError where it is none, or cut."""
    try:
        with wave.open(io.BytesIO(data)) as opened:
            said, width, rate, channels = (
                opened.getnframes(),
                opened.getsampwidth(),
                opened.getframerate(),
                opened.getnchannels(),
            )
            found = opened.readframes(said)
    except (wave.Error, EOFError, ValueError, RuntimeError) as error:  # the last of a chunk longer than what holds it
        raise TaskError(f"it is no WAV file of whole numbers: {str(error) or 'it is cut'}") from None
    if width not in _WIDTH or not 1000 <= rate <= 192_000:
        raise TaskError(f"{width} bytes a sample, {rate} samples a second: 1, 2 or 4, and 1000 to 192,000 are read")
    if not found or len(found) < said * width * channels:
        raise TaskError(f"it is cut: of {said} samples it has {len(found) // (width * channels)}")
    kind, loudest = _WIDTH[width]
    samples = np.frombuffer(found, kind).reshape(-1, channels).astype(np.float32)
    return (samples - np.float32(128 if width == 1 else 0)) / np.float32(loudest), rate
