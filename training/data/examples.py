"""Labelled images of any source that Muster scans, and which of them are kept out of training."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from muster.errors import ImageError, InputError
from muster.storage.photos import decode
from muster.storage.photos.names import file_column, labels_of, names_of
from muster.storage.photos.promotion import unite
from muster.storage.photos.reader import Reader
from muster.storage.photos.sources import find_images
from muster.storage.texts import file_name, image_name
from muster.storage.uris import folder_of

OnSkipped = Callable[[str], None]  # told of each image that cannot be used, with the reason
TRAIN = "train"  # in a column `split`; every other word there keeps a photo out
PEOPLE_HELD_OUT = 0.18  # of the people: 869 of LFW's 4,859 here. No other share is asked of a person's name


@dataclass(frozen=True)
class Example:
    """One image of a source. `label`: of its label column, or of the folder it lies in; None where there is none.
    `labels`: all of them, where its label column holds lists. `split`: what the column of this name in its table says,
    such as "train".

    `name`: a short one, for messages and pair files. `uri`, `source`: as muster.storage.photos.reader.Reader takes
    them.
    """

    uri: str
    name: str
    label: str | None
    source: str = ""
    split: str | None = None
    labels: tuple[str, ...] | None = None


def find_examples(sources: Sequence[str], label: str | None, limit: int | None = None) -> list[Example]:
    """The images of folders, globs, files and Parquet files, in order; the first `limit` of them.

    `label`: the column of Parquet files that holds it; None: the name of the folder each image lies in. Raises
    InputError where there is no image, or no such column.
    """
    found = {source: find_images(source, None) for source in sources}
    rows = unite({source: each.rows for source, each in found.items()})
    if label is not None and label not in rows.column_names:
        known = ", ".join(rows.column_names)
        raise InputError(f"`label` {label}: no such column in {', '.join(sources)}; known: {known}")
    origins = [each.source for each in found.values() for _ in range(each.rows.num_rows)]
    rows = rows.slice(0, limit)
    uris = rows["uri"].to_pylist()
    named = file_column(rows)
    files = [None] * len(uris) if named == "uri" else rows[named].to_pylist()
    names = [file_name(file) if file else image_name(uri) for file, uri in zip(files, uris, strict=True)]
    labels, several = _labels(rows, label)
    splits = _texts(rows, "split")
    return [Example(*each) for each in zip(uris, names, labels, origins[: len(uris)], splits, several, strict=True)]


def _labels(rows: pa.Table, label: str | None) -> tuple[list[str | None], list[tuple[str, ...] | None]]:
    """The label of each row, and all of them where the column holds lists."""
    if label is None:
        return [folder_of(uri) for uri in rows["uri"].to_pylist()], [None] * rows.num_rows
    if not pa.types.is_list(rows[label].type) and not pa.types.is_large_list(rows[label].type):
        return names_of(f"`label` {label}", rows[label]), [None] * rows.num_rows
    lists = [None if row is None else labels_of(f"`label` {label}", row) for row in rows[label].to_pylist()]
    return [None] * rows.num_rows, lists


def _texts(rows: pa.Table, column: str) -> list[str | None]:
    """What a column says; None where it is not there, or says anything but a text."""
    values = rows[column].to_pylist() if column in rows.column_names else [None] * rows.num_rows
    return [value if isinstance(value, str) else None for value in values]


def of_each_label(examples: list[Example], limit: int | None) -> list[Example]:
    """As many of each label and split, `limit` in all: the first ones of a listing would be of one folder."""
    if limit is None:
        return examples
    seen: Counter[tuple[str | None, str | None]] = Counter()
    kinds = max(1, len({(e.label, e.split) for e in examples}))
    kept = []
    for example in examples:
        if seen[example.label, example.split] < -(-limit // kinds):
            kept.append(example)
        seen[example.label, example.split] += 1
    return kept[:limit]


def read_photos(
    examples: Iterable[Example], max_side: int, on_skipped: OnSkipped
) -> Iterator[tuple[Example, decode.Photo]]:
    """Each image decoded, its longest side at most `max_side`, in order; those that cannot be read are left out."""
    reader = Reader()

    def read(example: Example) -> decode.Photo | ImageError:
        try:
            return decode.decode(reader.read(example.uri, example.source), max_side)
        except ImageError as error:
            return error

    listed = list(examples)
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(listed), 64):  # a bounded number of photos in memory
            part = listed[start : start + 64]
            for example, photo in zip(part, pool.map(read, part), strict=True):
                if isinstance(photo, ImageError):
                    on_skipped(f"{example.name}: {photo}")
                else:
                    yield example, photo


def held_out(name: str, share: float) -> bool:
    """Whether a person, camera or image of this name is kept out of training: a fixed choice, the same everywhere."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) < share * 2**32


def said_or_held_out(example: Example, share: float) -> bool:
    """Whether an image is kept out of training: as its table says in a column `split`, else a share by name."""
    return example.split != TRAIN if example.split is not None else held_out(example.name, share)


def person_held_out(example: Example) -> bool:
    """Whether the person in an image is kept out of every training. Without a label, the image is its own person."""
    return held_out(example.label or example.name, PEOPLE_HELD_OUT)
