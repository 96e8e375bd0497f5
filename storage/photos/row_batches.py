"""How many rows of a Parquet file are read at once."""

from collections.abc import Sequence

import pyarrow as pa

from muster.storage import parquet_pages

BATCH_BYTES = 8 << 20  # of images taken from a Parquet file at once, as far as BATCH_ROWS allow
BATCH_ROWS = (5, 256)
BATCH_MOST = 256 << 20  # of a batch, if all its rows shared the largest image there may be
PAGE_MOST, DENSEST = 1 << 29, 20  # a page may be longer than this only if it is not packed more than this many times


def batch_rows(sizes: Sequence[parquet_pages.Column], rows: int) -> int:
    """How many rows of a row group are read at once, by the sizes of what is read. `rows`: that it has.

    Raises ArrowInvalid where a page takes too much memory.
    """
    if any(size.largest > max(PAGE_MOST, DENSEST * size.packed) for size in sizes):
        raise pa.ArrowInvalid("a page that is packed too densely for photos")
    shared = max(size.shared for size in sizes)
    wanted = BATCH_BYTES // max(sum(size.raw for size in sizes) // max(rows, 1), 1)
    return min(max(wanted, BATCH_ROWS[0]), BATCH_ROWS[1], max(BATCH_MOST // max(shared, 1), 1))
