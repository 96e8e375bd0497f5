"""What a scan finds in a source."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from muster.errors import InputError
from muster.storage.library import LibraryFiles
from muster.storage.photos.sources import Found, find_images


def write(path: Path, /, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def found(path: str | Path, library: LibraryFiles) -> tuple[Found, list[dict[str, Any]]]:
    result = find_images(str(path), library)
    return result, result.rows.to_pylist()


def refusal(path: str | Path, library: LibraryFiles) -> str:
    with pytest.raises(InputError) as refused:
        find_images(str(path), library)
    return str(refused.value)
