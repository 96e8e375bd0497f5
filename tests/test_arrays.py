import numpy as np
import pyarrow as pa
import pytest

from muster.arrays import matrix


@pytest.mark.parametrize("chunks", [0, 1, 3])
@pytest.mark.parametrize("width", [4, 128])
def test_a_column_of_lists_is_a_matrix(chunks: int, width: int) -> None:
    rows = np.random.default_rng(0).random((2 * chunks, width), np.float32)
    kind = pa.list_(pa.float32(), width)
    parts = [pa.array(list(part), kind) for part in np.split(rows, chunks)] if chunks else []
    found = matrix(pa.chunked_array(parts, kind))
    assert (found.shape, found.dtype) == ((2 * chunks, width), np.float32)
    assert np.array_equal(found, rows)


def test_rows_of_a_slice_are_its_own() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    column = pa.table({"x": pa.array(list(rows), pa.list_(pa.float32(), 3))}).slice(1, 2)["x"]
    assert np.array_equal(matrix(column), rows[1:3])
