"""Tables with the photos in them, as `datasets` of Hugging Face has them: a folder of Parquet files, or of Lance."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from muster.distribution import DISTRIBUTION
from muster.errors import InputError
from muster.storage.exchange.samples import IMAGE, Sample, row_of
from muster.storage.new_files import new_folder

GROUP_BYTES, GROUP_ROWS = 32 << 20, 1000  # of a row group, from which on another begins: all of one is read for a row
FILE_BYTES = 1 << 30
# What makes `datasets` show pictures, and not structs; of the other columns their types say all.
_FEATURES = {"huggingface": json.dumps({"info": {"features": {IMAGE: {"_type": "Image"}}}})}


def write_parquet(samples: Iterable[Sample], out: Path, schema: pa.Schema) -> None:
    """`part-00000.parquet`, …. Equal samples make equal bytes."""
    batches = _batches(samples, schema)
    with new_folder(out) as folder:
        for part in count():
            if (first := next(batches, None)) is None:
                break
            path = folder / f"part-{part:05d}.parquet"
            with pq.ParquetWriter(path, first.schema, compression="none") as writer:  # photos are packed already
                _fill(writer, chain([first], batches))


def _fill(writer: pq.ParquetWriter, batches: Iterable[pa.RecordBatch]) -> None:
    """With as many of them as belong into one file; each is a row group."""
    written = 0
    for batch in batches:
        writer.write_batch(batch, row_group_size=GROUP_ROWS)
        written += batch.nbytes
        if written >= FILE_BYTES:
            return


def write_lance(samples: Iterable[Sample], out: Path, schema: pa.Schema) -> None:
    """A data set of Lance. Its files are named by chance; the rows are always the same."""
    try:
        import lance
    except ImportError:
        raise InputError(f"Lance is written by pylance: pip install '{DISTRIBUTION}[lance]'") from None
    failed: list[BaseException] = []

    def noted() -> Iterator[pa.RecordBatch]:
        try:
            yield from _batches(samples, schema)
        except BaseException as error:
            failed.append(error)
            raise

    reader = pa.RecordBatchReader.from_batches(table_schema(schema), noted())
    with new_folder(out) as folder:
        try:
            lance.write_dataset(reader, str(folder), mode="create", max_bytes_per_file=FILE_BYTES)
        except OSError:
            if failed:  # Lance makes a text of it
                raise failed[0] from None
            raise


def table_schema(schema: pa.Schema) -> pa.Schema:
    """With the image before the row."""
    image = pa.field(IMAGE, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    return pa.schema([image, *(field.remove_metadata() for field in schema)], metadata=_FEATURES)


def _batches(samples: Iterable[Sample], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    kind, rows, size = table_schema(schema), list[Mapping[str, Any]](), 0
    for number, sample in enumerate(samples):
        image = {"bytes": sample.data, "path": f"{number:09d}{sample.suffix}"}
        rows.append({IMAGE: image, **row_of(sample, schema)})
        size += len(sample.data)
        if size >= GROUP_BYTES or len(rows) >= GROUP_ROWS:
            yield pa.RecordBatch.from_pylist(rows, kind)
            rows, size = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, kind)
