"""Which photos show what, by the labels of a task's table: as the pages count them."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import I64
from muster.storage import tables
from muster.storage.library import LibraryFiles
from muster.storage.search.columns import Columns
from muster.storage.search.fields import Field, field_of

IRREGULAR = {
    "person": "people",
    "knife": "knives",
    "mouse": "mice",
    "sheep": "sheep",
    "skis": "ski",
    "scissors": "scissors",
}


class Labels(Protocol):
    """What counts of a table with labels: muster.web.album.LabelTable has the words."""

    @property
    def table(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def score(self) -> str | None: ...
    @property
    def placed(self) -> bool: ...
    @property
    def hidden(self) -> Sequence[Mapping[str, str]]: ...
    @property
    def least_scores(self) -> Mapping[str, float] | None: ...


def read(library: LibraryFiles, labels: Labels, columns: Columns) -> Field:
    """The field of a table: "object" where its rows are about things in a photo, else "scene"."""
    score = [labels.score] if labels.least_scores is not None and labels.score else []
    names = list(dict.fromkeys(["image_id", labels.label, *score, *(name for each in labels.hidden for name in each)]))
    from muster.storage import manifest  # it brings what reads photos; the live page is there before that

    shards = manifest.committed(library, labels.fingerprint)
    rows = tables.read(library, labels.table, labels.fingerprint, names, shards)
    if rows is None:
        rows = pa.table({name: pa.array([], pa.string()) for name in names})
    shown = counted(rows, labels)
    return labelled("object" if labels.placed else "scene", shown["image_id"], shown[labels.label], columns)


def counted(rows: pa.Table, labels: Labels) -> pa.Table:
    """Those that have a label and enough of a score for it, and none of the sets of values that hide them."""
    counts = pc.is_valid(rows[labels.label])
    for values in labels.hidden:
        same = [pc.fill_null(pc.equal(rows[name], value), False) for name, value in values.items()]
        counts = pc.and_not(counts, reduce(pc.and_, same))
    rows = rows.filter(counts)
    if labels.least_scores is None or labels.score is None:
        return rows
    known = pa.array(list(labels.least_scores), pa.string())
    least = pa.array(list(labels.least_scores.values()), pa.float64())
    wanted = least.take(pc.index_in(rows[labels.label], value_set=known))
    return rows.filter(pc.greater_equal(rows[labels.score].cast(pa.float64()), wanted).fill_null(False))


def labelled(name: str, image_ids: pa.ChunkedArray, labels: pa.ChunkedArray, columns: Columns) -> Field:
    """Each photo once for each label."""
    coded = labels.cast(pa.string()).combine_chunks().dictionary_encode()
    values = coded.dictionary.to_pylist()
    pairs = distinct(columns.rows_of(image_ids), coded.indices.to_numpy().astype(np.int64), len(values))
    return field_of(name, values, pairs, [(value, plural(value)) for value in values])


def distinct(rows: I64, groups: I64, many: int) -> tuple[I64, I64]:
    """Pairs of a photo's row and a group, each once. Rows and groups below 0 are left out."""
    known = (rows >= 0) & (groups >= 0)
    keys = np.unique(rows[known] * max(1, many) + groups[known])
    return keys // max(1, many), keys % max(1, many)


def plural(noun: str) -> str:
    if noun in IRREGULAR:
        return IRREGULAR[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"
