import pyarrow as pa
import pytest

from muster.storage.parquet_pages import Column
from muster.storage.photos.row_batches import BATCH_BYTES, BATCH_MOST, BATCH_ROWS, PAGE_MOST, batch_rows


def column(raw: int = 1, shared: int = 1, largest: int = 1, packed: int = 1) -> Column:
    return Column("image", raw, shared, raw, largest, packed)


def test_rows_of_a_batch_follow_their_size() -> None:
    assert batch_rows([column(raw=100 * BATCH_BYTES // 20)], 100) == 20
    assert batch_rows([column(raw=100 * BATCH_BYTES)], 100) == BATCH_ROWS[0]
    assert batch_rows([column(raw=100)], 100) == BATCH_ROWS[1]
    assert batch_rows([column(raw=100, shared=BATCH_MOST // 3)], 100) == 3


def test_a_page_that_is_packed_too_densely_is_refused() -> None:
    with pytest.raises(pa.ArrowInvalid, match="densely"):
        batch_rows([column(largest=PAGE_MOST + 1, packed=1)], 1)
