"""Arrays by the kind of what is in them, and the one that a column of a table holds."""

from typing import Any

import numpy as np
import pyarrow as pa

F32 = np.ndarray[Any, np.dtype[np.float32]]
F64 = np.ndarray[Any, np.dtype[np.float64]]
Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]  # of any precision
I16 = np.ndarray[Any, np.dtype[np.int16]]
I64 = np.ndarray[Any, np.dtype[np.int64]]
Ints = np.ndarray[Any, np.dtype[np.integer[Any]]]  # of any width
U8 = np.ndarray[Any, np.dtype[np.uint8]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]
Pixels = U8  # RGB, (height, width, 3), unless it is said otherwise


def matrix(column: pa.ChunkedArray) -> F32:
    """(N, D) of a column of N lists of D floats each, such as embeddings or boxes."""
    lists = column.combine_chunks()
    return lists.flatten().to_numpy().reshape(-1, lists.type.list_size)
