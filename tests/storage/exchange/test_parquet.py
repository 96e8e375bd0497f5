from pathlib import Path

import pyarrow.parquet as pq
import pytest

from helpers.exchange import SAMPLE, SCHEMA
from muster.errors import InputError
from muster.storage.exchange import parquet
from muster.storage.exchange.parquet import table_schema, write_lance, write_parquet


def test_rows_and_row_groups_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_BYTES", 2 * len(SAMPLE.data))
    monkeypatch.setattr(parquet, "FILE_BYTES", 1)
    write_parquet([SAMPLE] * 5, tmp_path / "out", SCHEMA)
    files = sorted((tmp_path / "out").iterdir())
    assert [path.name for path in files] == [f"part-{i:05d}.parquet" for i in range(3)]
    monkeypatch.setattr(parquet, "FILE_BYTES", 1 << 30)
    write_parquet([SAMPLE] * 5, tmp_path / "one", SCHEMA)
    read = pq.ParquetFile(tmp_path / "one" / "part-00000.parquet")
    assert [read.metadata.row_group(i).num_rows for i in range(read.num_row_groups)] == [2, 2, 1]
    rows = read.read().to_pylist()
    assert rows[4]["image"] == {"bytes": SAMPLE.data, "path": "000000004.jpg"}
    assert (rows[0]["person"], rows[0]["objects"][0]["box"]) == ("anna", [10, 20, 30, 40])
    assert read.schema_arrow.equals(table_schema(SCHEMA), check_metadata=False)


def test_equal_samples_make_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_parquet([SAMPLE] * 3, tmp_path / name, SCHEMA)
    one, other = ((tmp_path / name / "part-00000.parquet").read_bytes() for name in ("a", "b"))
    assert one == other


def test_lance(tmp_path: Path) -> None:
    lance = pytest.importorskip("lance", reason="Lance is written by pylance, an extra")
    write_lance([SAMPLE] * 5, tmp_path / "x.lance", SCHEMA)
    rows = lance.dataset(tmp_path / "x.lance").to_table().to_pylist()
    assert [row["image"]["path"] for row in rows] == [f"{i:09d}.jpg" for i in range(5)]
    assert rows[2]["masks"][0]["label"] == "sky"


def test_without_pylance_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lance", None)
    with pytest.raises(InputError, match=r"pip install 'muster-photos\[lance\]'"):
        write_lance([SAMPLE], tmp_path / "x.lance", SCHEMA)
    assert list(tmp_path.iterdir()) == []
