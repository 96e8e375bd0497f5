from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from muster.errors import MusterError
from muster.storage import tables
from muster.storage.gallery import left_over
from muster.storage.library import LibraryFiles, open_library


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return open_library(tmp_path / "L", create=True)


def embeddings(seed: int) -> pa.ChunkedArray:
    values = np.random.default_rng(seed).normal(size=(3, 4)).astype(np.float32)
    return pa.chunked_array([pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 4)])


def test_names_and_embeddings_are_found_wherever_they_stand(library: LibraryFiles) -> None:
    mine, others = embeddings(1), embeddings(2)
    table = pa.table({"image_id": ["i1", "i2", "i3"], "embedding": others})
    library.write("faces/f/shard-1.parquet", tables.to_parquet(table))
    library.write("audit/log.jsonl", b'{"people": ["p77"]}\n')
    library.write("_tasks/f.json", b'{"task": "7"}')
    library.write("gallery/groups.parquet", tables.to_parquet(pa.table({"group": ["7"]})))  # a class, no person
    library.write("faces/f/shard-0.parquet", tables.to_parquet(table.slice(0, 0)))
    wanted = left_over.digests(mine)
    assert len(wanted) == 3
    assert left_over.search(library, left_over.Sought(["7"], ["i9", "f" * 32], wanted), ()) == []

    library.write("gallery/x.parquet", tables.to_parquet(pa.table({"person_id": ["7"], "name": ["seven"]})))
    library.write("index/map.json", b'{"ids": ["7"]}')
    library.write("index/raw.bin", b"..." + b"f" * 32)
    library.write("faces/f/shard-2.parquet", tables.to_parquet(table.set_column(1, "embedding", mine).slice(1, 1)))
    assert left_over.search(library, left_over.Sought(["7"], ["i2", "f" * 32], wanted), ()) == [
        "faces/f/shard-1.parquet, image_id: i2",
        "faces/f/shard-2.parquet, image_id: i2",
        "faces/f/shard-2.parquet, embedding: 1 embeddings",
        "gallery/x.parquet, person_id: 7",
        'index/map.json: "7"',
        "index/map.json: an index of faces",
        f"index/raw.bin: {'f' * 32}",
        "index/raw.bin: an index of faces",
    ]
    assert left_over.search(library, left_over.Sought(["7"], (), ()), ("gallery/", "index/")) == []


def test_a_file_that_cannot_be_read_is_no_proof(library: LibraryFiles) -> None:
    library.write("faces/f/shard-1.parquet", b"no Parquet")
    with pytest.raises(MusterError, match=r"faces/f/shard-1.parquet cannot be read"):
        left_over.search(library, left_over.Sought(["7"], (), ()), ())
