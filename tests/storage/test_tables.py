"""Tables: what is committed is read, whole and as it was; nothing else is."""

import contextlib
import io
import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.errors import InputError, MusterError
from muster.storage import commit_facts, tables
from muster.storage.layout import MARKER
from muster.storage.library import LibraryFiles, open_library
from muster.storage.tables import (
    commits,
    committed,
    count,
    failures,
    read,
    replace_shard,
    require,
    resolve,
    rows_in,
    to_parquet,
    write_shard,
)

FACES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        ("score", pa.float32()),
        ("box_xyxy", pa.list_(pa.float32(), 4)),
        ("embedding", pa.list_(pa.float32(), 8)),
        ("thumbnail", pa.binary()),
    ]
)
ERRORS = pa.schema([("image_id", pa.string()), ("error", pa.string())])


def faces(images: Sequence[str]) -> pa.Table:
    """A row for each image; the same rows for the same images."""
    rows = []
    for image in images:
        numbers = np.random.default_rng(list(image.encode())).random(13, np.float32)
        row = {"score": numbers[0], "box_xyxy": numbers[1:5], "embedding": numbers[5:], "thumbnail": numbers.tobytes()}
        rows.append({"image_id": image, **row})
    return pa.Table.from_pylist(rows, FACES)


def errors(images: Sequence[str]) -> pa.Table:
    return pa.Table.from_pylist([{"image_id": image, "error": "broken"} for image in images], ERRORS)


def names(shard: str, number: int = 4) -> list[str]:
    return [f"{shard}-{i}" for i in range(number)]


def everything(library: LibraryFiles) -> dict[str, bytes]:
    folder = Path(library.path)
    """But for the marker, in which each library has a name of its own."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != MARKER)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def ids(rows: pa.Table | None) -> list[str]:
    return [] if rows is None else rows["image_id"].to_pylist()


# ---- write, commit, read ---------------------------------------------------------------------------------------------


def test_failures_are_known_from_commits_alone(library: LibraryFiles) -> None:
    images = pa.table(
        {"image_id": ["a", "b", "c"], "status": ["ok", "error", "error"], "error_kind": [None, "truncated", "empty"]}
    )
    late = pa.table({"image_id": ["a"], "task": ["faces"], "error_kind": ["task"]})
    write_shard(library, "f1", "s", {"images": images})
    write_shard(library, "f2", "s", {"faces": faces(["c"]), "errors": late})
    expected = {"f1": {"b": "truncated", "c": "empty"}, "f2": {"a": "task"}}
    for name, failed in expected.items():
        assert failures(library, commits(library, name)) == failed
        [commit] = commits(library, name)
        for file in commit["files"]:
            library.write(file["name"], b"")  # nobody looks
        assert failures(library, [commit]) == failed
    assert rows_in(commits(library, "f1"), "images") == 3


def test_commits_of_an_older_muster_do_not_say_what_failed(library: LibraryFiles) -> None:
    images = pa.table({"image_id": ["a", "b"], "status": ["ok", "error"], "error_kind": [None, "truncated"]})
    write_shard(library, "f1", "s", {"images": images})
    [commit] = commits(library, "f1")
    del commit["failed"]
    assert failures(library, [commit]) == {"b": "truncated"}


def test_a_shard_that_is_replaced_forgets_what_failed(library: LibraryFiles) -> None:
    tables.describe(library, {"task": "images"})
    name = tables.fingerprint({"task": "images"})
    images = pa.table({"image_id": ["a", "b"], "status": ["error", "error"], "error_kind": ["empty", "truncated"]})
    write_shard(library, name, "old", {"images": images})
    replace_shard(library, "old", "new", ["a"])
    assert failures(library, commits(library, name)) == {"a": "empty"}


def test_a_shard_that_is_replaced_names_no_image_that_is_gone(library: LibraryFiles) -> None:
    name = tables.describe(library, {"task": "faces"})
    facts = commit_facts.made(datetime.now(UTC), {"a": 2.0, "b": 3.0})
    write_shard(library, name, "old", {"faces": faces(["a", "b"])}, facts)
    assert [commit_facts.of(commit) for commit in commits(library, name)] == [facts]
    replace_shard(library, "old", "new", ["a"])
    assert [commit["facts"] for commit in commits(library, name)] == [{"at": facts["at"], "slowest": {"a": 2.0}}]
    assert all(b'"b"' not in data for data in everything(library).values())


def test_rows_come_back_as_they_were(library: LibraryFiles) -> None:
    assert write_shard(library, "f1", "b", {"faces": faces(["x", "y"]), "errors": errors(["z"])})
    assert write_shard(library, "f1", "a", {"faces": faces(["w"])})
    rows = require(library, "faces", "f1")
    assert rows.equals(faces(["w", "x", "y"]))
    assert rows.schema.remove_metadata().equals(FACES)
    assert ids(read(library, "errors", "f1")) == ["z"]
    assert ids(read(library, "faces", "f1", shards=["b"])) == ["x", "y"]
    assert require(library, "faces", "f1", ["score"]).column_names == ["score"]
    assert committed(library, "f1") == ["a", "b"]
    assert all(commit["facts"] == {} for commit in commits(library, "f1"))  # for a Muster before 0.2


def test_a_table_says_what_it_is(library: LibraryFiles) -> None:
    write_shard(library, "f1", "a", {"faces": faces(["x"]).replace_schema_metadata({"weights": "w"})})
    metadata = require(library, "faces", "f1").schema.metadata
    assert metadata == {b"weights": b"w", b"muster.table": b"faces", b"muster.fingerprint": b"f1"}


def test_what_is_not_there(library: LibraryFiles) -> None:
    write_shard(library, "f1", "a", {"faces": faces(["x"])})
    assert read(library, "faces", "f2") is None
    assert read(library, "masks", "f1") is None
    assert read(library, "faces", "f1", shards=[]) is None
    assert count(library, "faces", "f2") == 0
    assert committed(library, "f2") == []
    with pytest.raises(MusterError, match="has no committed masks: `run` first"):
        require(library, "masks", "f1")
    with pytest.raises(MusterError, match=r"_commits/f1/shard-b\.json is missing or damaged"):
        read(library, "faces", "f1", shards=["a", "b"])


def test_no_rows_keep_their_columns(library: LibraryFiles) -> None:
    write_shard(library, "f1", "a", {"faces": FACES.empty_table()})
    write_shard(library, "f1", "b", {"faces": faces(["x"])})
    write_shard(library, "f1", "c", {"faces": FACES.empty_table()})
    assert require(library, "faces", "f1", shards=["a"]).schema.remove_metadata().equals(FACES)
    assert require(library, "faces", "f1").equals(faces(["x"]))
    assert count(library, "faces", "f1") == 1


def test_a_file_without_a_commit_is_not_seen(library: LibraryFiles) -> None:
    write_shard(library, "f1", "a", {"faces": faces(["x"])})
    write_shard(library, "f1", "b", {"faces": faces(["y"])})
    library.remove("_commits/f1/shard-b.json")
    assert ids(read(library, "faces", "f1")) == ["x"]
    assert count(library, "faces", "f1") == 1
    assert committed(library, "f1") == ["a"]


def test_a_second_commit_changes_nothing(library: LibraryFiles) -> None:
    """Not even where the rows differ: a worker given up for dead may still come back, with other rounding."""
    assert write_shard(library, "f1", "a", {"faces": faces(["x"])})
    before = everything(library)
    assert not write_shard(library, "f1", "a", {"faces": faces(["x"])})
    assert not write_shard(library, "f1", "a", {"faces": faces(["x", "y"])})
    assert everything(library) == before


@given(st.lists(st.integers(1, 30_000), max_size=3))
@settings(deadline=None, max_examples=20)
def test_the_same_rows_are_the_same_bytes(cuts: list[int]) -> None:
    """However they were put together: in row groups of their own, and with page checksums."""
    rows = pa.table({"image_id": [f"{i}" for i in range(20_000)], "n": np.arange(20_000) ** 2})
    edges = sorted({0, *cuts, 30_000})
    parts = pa.concat_tables([rows.slice(start, stop - start) for start, stop in itertools.pairwise(edges)])
    data = to_parquet(parts)
    assert data == to_parquet(rows)
    groups = pq.ParquetFile(io.BytesIO(data)).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [8192, 8192, 20_000 - 2 * 8192]


def test_others_read_the_tables(library: LibraryFiles) -> None:
    write_shard(library, "f1", "a", {"faces": faces(["x", "y"])})
    write_shard(library, "f1", "b", {"faces": FACES.empty_table()})
    expected = np.array(faces(["x", "y"])["embedding"].to_pylist(), np.float32)
    frame = pd.read_parquet(library.at("faces/f1/shard-a.parquet"))
    assert np.array_equal(np.stack(frame["embedding"]), expected)
    query = f"SELECT image_id, embedding FROM '{library.at('faces/f1/*.parquet')}' ORDER BY image_id"
    found = duckdb.execute(query).fetchnumpy()
    assert found["image_id"].tolist() == ["x", "y"]
    assert np.array_equal(np.stack(list(found["embedding"])), expected)
    assert pq.read_schema(library.at("faces/f1/shard-b.parquet")).remove_metadata().equals(FACES)


# ---- damage ----------------------------------------------------------------------------------------------------------


def damaged(data: bytes, how: str) -> bytes:
    middle = len(data) // 2
    parts = {
        "empty": b"",
        "cut": data[:middle],
        "begun": data[:6],
        "other": b"This is not Parquet." * 20,
        "flipped": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
    }
    return parts[how]


@pytest.mark.parametrize("how", ["empty", "cut", "begun", "other", "flipped", "missing"])
@pytest.mark.parametrize("name", ["faces/f1/shard-a.parquet", "_commits/f1/shard-a.json"])
def test_what_is_damaged_is_named(library: LibraryFiles, name: str, how: str) -> None:
    write_shard(library, "f1", "a", {"faces": faces(names("a", 200))})
    if how == "missing":
        library.remove(name)
    elif how == "flipped" and name.endswith("json"):
        library.write(name, library.read(name).replace(b"{", b"["))
    else:
        library.write(name, damaged(library.read(name), how))
    with pytest.raises(MusterError, match=f"{name} is missing or damaged .* and run again"):
        read(library, "faces", "f1", shards=["a"])


def test_no_flipped_byte_of_the_rows_goes_unnoticed(library: LibraryFiles) -> None:
    write_shard(library, "f1", "a", {"faces": faces(names("a", 100))})
    file = "faces/f1/shard-a.parquet"
    data, expected = library.read(file), require(library, "faces", "f1")
    footer = int.from_bytes(data[-8:-4], "little") + 8
    for place in random.Random(0).sample(range(len(data) - footer), 100):
        library.write(file, data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        with contextlib.suppress(MusterError):
            assert require(library, "faces", "f1").equals(expected)


def test_damaged_rows_come_again_after_their_commit_is_deleted(library: LibraryFiles) -> None:
    write_shard(library, "f1", "a", {"faces": faces(["x"])})
    library.write("faces/f1/shard-a.parquet", b"damaged")
    library.remove("_commits/f1/shard-a.json")
    assert write_shard(library, "f1", "a", {"faces": faces(["x"])})
    assert require(library, "faces", "f1").equals(faces(["x"]))


# ---- a shard becomes another -----------------------------------------------------------------------------------------


def two_tasks(library: LibraryFiles) -> None:
    for name, task in (("f1", "faces"), ("f2", "scenes")):
        for shard in "ab":
            rows = faces([image for image in names(shard) for _ in range(2)])
            write_shard(library, name, shard, {task: rows, "errors": errors(names(shard)[:2])})
    write_shard(library, "f3", "b", {"images": faces(names("b"))})


@pytest.mark.parametrize(("kept", "stays"), [(["a-0", "a-1", "a-2"], True), (["a-0", "a-2", "a-3"], False)])
def test_rows_chosen_among_all_images_go_where_one_of_them_does(
    library: LibraryFiles, kept: list[str], stays: bool
) -> None:
    """The best are of a-0 and a-1; without a-1 another would be among them, of which there is no row."""
    for task in ("best", "plain"):
        tables.describe(library, {"task": task})
        rows = faces(["a-0", "a-1"])
        chosen = rows.replace_schema_metadata({tables.CHOSEN: b"of all images of the shard"})
        write_shard(library, tables.fingerprint({"task": task}), "a", {task: chosen if task == "best" else rows})
    replace_shard(library, "a", "c", kept)
    assert committed(library, tables.fingerprint({"task": "best"})) == (["c"] if stays else [])
    assert committed(library, tables.fingerprint({"task": "plain"})) == ["c"]
    assert not [name for name in everything(library) if "shard-a" in name]


@pytest.mark.parametrize("kept", [[], ["a-1"], ["a-0", "a-3"], names("a")])
def test_replace_keeps_the_rows_of_the_kept_images(library: LibraryFiles, kept: list[str]) -> None:
    two_tasks(library)
    replace_shard(library, "a", "c", kept)
    for name, task in (("f1", "faces"), ("f2", "scenes")):
        assert sorted(ids(read(library, task, name))) == sorted([*names("b") * 2, *kept * 2])
        assert set(ids(read(library, "errors", name))) == {"b-0", "b-1", *kept} - {"a-2", "a-3"}
        assert count(library, task, name) == 8 + 2 * len(kept)
        assert committed(library, name) == (["b", "c"] if kept else ["b"])
    if kept:
        assert require(library, "faces", "f1", shards=["c"]).equals(faces([i for i in kept for _ in range(2)]))
    assert committed(library, "f3") == ["b"]
    assert not [name for name in everything(library) if "shard-a" in name]


class Interrupted(BaseException):
    """The process is killed here."""


@dataclass(frozen=True)
class Dying(LibraryFiles):
    """A library whose process is killed at the given change of a file: before it, or after it."""

    steps: list[int] = field(default_factory=lambda: [0])
    after: bool = False

    def _step(self, change: Callable[..., Any], *arguments: Any) -> Any:
        self.steps[0] -= 1
        if self.steps[0] < 0 and not self.after:
            raise Interrupted
        result = change(*arguments)
        if self.steps[0] < 0:
            raise Interrupted
        return result

    def write(self, name: str, data: bytes) -> None:
        self._step(super().write, name, data)

    def create(self, name: str, data: bytes) -> bool:
        created: bool = self._step(super().create, name, data)
        return created

    def remove(self, name: str) -> None:
        self._step(super().remove, name)


@pytest.mark.parametrize("kept", [[], ["a-1", "a-3"]])
@pytest.mark.parametrize("after", [False, True])
def test_replace_interrupted_anywhere_and_repeated_ends_the_same(tmp_path: Path, kept: list[str], after: bool) -> None:
    whole = open_library(tmp_path / "whole", create=True)
    two_tasks(whole)
    replace_shard(whole, "a", "c", kept)
    step = 0
    while True:
        library = open_library(tmp_path / f"{step}", create=True)
        two_tasks(library)
        try:
            replace_shard(Dying(library.uri, library.fs, library.path, steps=[step], after=after), "a", "c", kept)
        except Interrupted:
            readable(library, kept)
            replace_shard(library, "a", "c", kept)
            assert everything(library) == everything(whole)
            step += 1
        else:
            break
    assert step > 10


def readable(library: LibraryFiles, kept: Sequence[str]) -> None:
    """No kept row is missing, whatever else is."""
    for name, task in (("f1", "faces"), ("f2", "scenes")):
        assert {*names("b"), *kept} <= set(ids(read(library, task, name)))


def test_replace_removes_what_a_worker_left_that_died_before_its_commit(library: LibraryFiles) -> None:
    tables.describe(library, {"task": "faces", "model": "m"})
    name = tables.fingerprint({"task": "faces", "model": "m"})
    with pytest.raises(Interrupted):
        write_shard(Dying(library.uri, library.fs, library.path, steps=[1]), name, "a", {"faces": faces(["x"])})
    assert library.has(f"faces/{name}/shard-a.parquet")
    replace_shard(library, "a", "b", ["x"])
    assert not library.has(f"faces/{name}/shard-a.parquet")
    assert committed(library, name) == []


def test_replace_does_not_lose_rows_it_cannot_read(library: LibraryFiles) -> None:
    two_tasks(library)
    library.write("faces/f1/shard-a.parquet", b"damaged")
    with pytest.raises(MusterError, match=r"faces/f1/shard-a\.parquet is missing or damaged"):
        replace_shard(library, "a", "c", ["a-1"])
    assert "a" in committed(library, "f1")


# ---- descriptions ----------------------------------------------------------------------------------------------------


def test_a_fingerprint_stands_for_all_of_its_description(library: LibraryFiles) -> None:
    what = {"task": "faces", "model": "one", "parameters": {"a": 1}, "weights": {"net": "00"}}
    name = tables.describe(library, what)
    assert name == tables.fingerprint(dict(reversed(what.items()))) == tables.describe(library, what)
    assert len(name) == 16
    assert name != tables.fingerprint({**what, "parameters": {"a": 2}})
    assert tables.descriptions(library) == {name: what}


def test_resolve_says_what_there_is(library: LibraryFiles) -> None:
    one = tables.describe(library, {"task": "faces", "model": "one", "version": 2})
    two = tables.describe(library, {"task": "faces", "model": "two"})
    masks = tables.describe(library, {"task": "masks", "model": "three"})
    with pytest.raises(InputError, match="has no faces yet: `run` first"):
        resolve(library, "faces", one)
    write_shard(library, masks, "a", {"masks": faces(["x"])})
    with pytest.raises(InputError, match="has no faces yet"):
        resolve(library, "faces", one)
    write_shard(library, one, "a", {"faces": faces(["x"])})
    assert resolve(library, "faces", one) == one
    with pytest.raises(InputError, match=r"by another model or version \(one of version 2\).*`model` faces=NAME"):
        resolve(library, "faces", two)


# ---- any sequence ----------------------------------------------------------------------------------------------------

SHARDS = ["a", "b", "c"]
STEPS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(SHARDS), st.sets(st.integers(0, 5))),
    st.tuples(st.just("die"), st.sampled_from(SHARDS), st.sets(st.integers(0, 5))),
    st.tuples(st.just("replace"), st.permutations(SHARDS), st.sets(st.integers(0, 5))),
)


@settings(deadline=None, max_examples=100)
@given(st.lists(STEPS, max_size=8))
def test_readers_see_what_was_committed_and_nothing_else(steps: list[tuple[str, Any, set[int]]]) -> None:
    library = LibraryFiles("mock://library", pafs._MockFileSystem(), "library")
    expected: dict[str, list[str]] = {}
    for step, where, numbers in steps:
        images = [f"{where[0]}-{number}" for number in sorted(numbers)]
        if step == "write":
            assert write_shard(library, "f1", where, {"faces": faces(images)}) == (where not in expected)
            expected.setdefault(where, images)
        elif step == "die" and where not in expected:
            dying = Dying(library.uri, library.fs, library.path, steps=[1])
            with pytest.raises(Interrupted):
                write_shard(dying, "f1", where, {"faces": faces(images)})
        elif step == "replace":
            old, new, _ = where
            replace_shard(library, old, new, images)
            before = expected.pop(old, None)
            if before is not None and images:
                expected.setdefault(new, [image for image in before if image in images])
    assert committed(library, "f1") == sorted(expected)
    assert ids(read(library, "faces", "f1")) == [image for shard in sorted(expected) for image in expected[shard]]
    assert count(library, "faces", "f1") == sum(map(len, expected.values()))


def test_a_column_that_is_not_there_is_an_error(library: LibraryFiles) -> None:
    write_shard(library, "f" * 16, "a", {"faces": faces(["x"])})
    with pytest.raises(MusterError, match="no column smile"):
        read(library, "faces", "f" * 16, ["image_id", "smile"])


@pytest.mark.parametrize("without", [[], ["a"], ["a", "b", "c"], ["z"]])
def test_a_shard_is_written_anew_with_the_rows_of_others(tmp_path: Path, without: list[str]) -> None:
    library, name = open_library(tmp_path / "L", create=True), "0" * 16
    facts = commit_facts.made(datetime(2026, 3, 1, tzinfo=UTC), {"a": 2.0, "b": 1.0})
    rows = {"things": pa.table({"image_id": ["a", "b", "b", "c"]}), "errors": pa.table({"image_id": ["c"]})}
    write_shard(library, name, "s", rows, facts)
    left, before = tables.rows_of_others(library, name, "s", without)
    assert left["things"]["image_id"].to_pylist() == [i for i in ("a", "b", "b", "c") if i not in without]
    assert left["errors"]["image_id"].to_pylist() == [i for i in ("c",) if i not in without]
    assert set(before["slowest"]) == {"a", "b"} - set(without)
    assert require(library, "things", name).num_rows == 4  # they stand until they are replaced
    for _ in range(2):
        tables.rewrite_shard(library, name, "s", {"things": left["things"]}, before)
        assert require(library, "things", name)["image_id"].to_pylist() == left["things"]["image_id"].to_pylist()
        assert commit_facts.of(commits(library, name)[0]) == before
        assert not library.names(f"errors/{name}")  # of no commit any more
