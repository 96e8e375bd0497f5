from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.pipeline.work import parts
from muster.storage import commit_facts, shared_shards, tables
from muster.storage.library import LibraryFiles, open_library

NAME = "0" * 16


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "IMAGES_PER_CALL", 4)
        yield


def rows_of(images: range) -> dict[str, pa.Table]:
    """Rows as a task and its errors have them: two for each image, and an error for each seventh."""
    ids = [f"i{i:03d}" for i in images]
    twice = pa.array([i for i in ids for _ in range(2)], pa.string())
    found = {"things": pa.table({"image_id": twice, "x": pa.array(range(2 * len(ids)), pa.int64())})}
    failed = [i for i in ids if int(i[1:]) % 7 == 0]
    return {**found, "errors": pa.table({"image_id": failed})} if failed else found


def write(library: LibraryFiles, shard: str, images: range, part: shared_shards.Part) -> None:
    shared_shards.write_part(library, NAME, shard, part, rows_of(parts.slice_of(images, part)))


@settings(max_examples=20)  # each writes dozens of files, safely
@given(st.data())
def test_a_shard_in_parts_is_the_shard(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Whatever order they come in, some of them twice."""
    library = open_library(tmp_path_factory.mktemp("parts") / "L", create=True)
    images, count = range(data.draw(st.integers(1, 30))), data.draw(st.integers(1, 6))
    again = data.draw(st.lists(st.integers(0, count - 1), max_size=4))
    order = data.draw(st.permutations([*range(count), *again]))
    for i, number in enumerate(order):
        assert tables.is_committed(library, NAME, "s") == (len(set(order[:i])) == count)
        write(library, "s", images, (number, count))
    assert tables.is_committed(library, NAME, "s")
    want: dict[str, list[dict[str, object]]] = {"things": [], "errors": []}
    for number in range(count):
        for table, rows in rows_of(parts.slice_of(images, (number, count))).items():
            want[table] += rows.to_pylist()
    for table, rows in want.items():
        found = tables.read(library, table, NAME)
        assert ([] if found is None else found.to_pylist()) == rows
    assert library.names("_parts/" + NAME) == []


def test_a_shard_keeps_what_its_task_keeps_of_all_parts(tmp_path: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    for number in (1, 0):
        rows = rows_of(parts.slice_of(range(8), (number, 2)))
        reduced = {"things": lambda table: table.slice(0, 3)}
        shared_shards.write_part(library, NAME, "s", (number, 2), rows, reduced)
    found = tables.require(library, "things", NAME)
    assert found["image_id"].to_pylist() == ["i000", "i000", "i001"]
    assert tables.require(library, "errors", NAME)["image_id"].to_pylist() == ["i000", "i007"]


def test_what_a_commit_says_is_of_all_parts(tmp_path: Path) -> None:
    library, at = open_library(tmp_path / "L", create=True), datetime(2026, 3, 1, tzinfo=UTC)
    for number in (1, 0):
        facts = commit_facts.made(at + timedelta(days=number), {f"i{number}": number + 0.5})
        rows = rows_of(parts.slice_of(range(8), (number, 2)))
        shared_shards.write_part(library, NAME, "s", (number, 2), rows, facts=facts)
    [commit] = tables.commits(library, NAME)
    assert commit_facts.of(commit) == {"at": "2026-03-02T00:00:00+00:00", "slowest": {"i1": 1.5, "i0": 0.5}}


def test_parts_written_at_the_same_time(tmp_path: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    with ThreadPoolExecutor(8) as pool:
        for shard in map(str, range(10)):
            list(pool.map(lambda number, shard=shard: write(library, shard, range(64), (number, 8)), range(8)))  # type: ignore[misc]
    assert len(tables.committed(library, NAME)) == 10
    table = tables.require(library, "things", NAME)
    assert table["image_id"].to_pylist() == [f"i{i:03d}" for i in range(64) for _ in range(2)] * 10


def test_what_a_run_that_was_cut_off_left_is_removed(tmp_path: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    write(library, "s", range(8), (0, 2))
    assert library.names("_parts")
    assert tables.committed(library, NAME) == []
    shared_shards.remove_all(library)
    assert library.names("_parts") == []
    write(library, "s", range(8), (1, 2))
    assert not tables.is_committed(library, NAME, "s")
    shared_shards.remove_all(library)
    shared_shards.remove_all(library)
