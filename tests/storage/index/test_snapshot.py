"""Snapshots of an index: damaged files, killed writers, other writers, buckets."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from muster.errors import DamagedError, InputError
from muster.storage.index import snapshot as index_files
from muster.storage.index import vectors as index
from muster.storage.library import Library, open_library

WIDTH = 32
BASE = 1100


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library whose index has every kind of part: a base, rows removed from it, rows beside it."""
    library = open_library(tmp_path_factory.mktemp("start") / "library", create=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "EXACT_UP_TO", 1000)
        it = index.build(_ids(BASE), _vectors(BASE), "aa")
    it.remove(_ids(3))
    it.add(_ids(5, "new"), _vectors(5, seed=1))
    index.save(library, it)
    return Path(library.path)


@pytest.fixture
def library(start: Path, tmp_path: Path) -> Library:
    return open_library(shutil.copytree(start, tmp_path / "library"))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Indexes get a base from 1,001 rows on; one thread, because threads of FAISS wait for each other at full speed."""
    monkeypatch.setattr(index, "EXACT_UP_TO", 1000)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


def _vectors(n: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _ids(n: int, prefix: str = "f") -> list[str]:
    return [f"{prefix}{i}" for i in range(n)]


def _loaded(library: Library) -> index.VectorIndex:
    loaded = index.load(library, "aa")
    assert loaded is not None
    return loaded


def _people(it: index.VectorIndex) -> set[str]:
    """Who is in there, by ids and by what searches find."""
    ids = set(it.ids.to_pylist())
    vectors = np.concatenate([_vectors(BASE), _vectors(60, seed=1)])
    similarities, rows = it.search(vectors, 1, "aa")
    names = it.ids.to_pylist()
    found = {names[row] for row, s in zip(rows[:, 0], similarities[:, 0], strict=True) if s > 0.999}
    assert found <= ids
    assert len(found) == len(it)
    return found


# ---- damage ----------------------------------------------------------------------------------------------------------


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


def _empty(data: bytes) -> bytes:
    return b""


def _longer(data: bytes) -> bytes:
    return data + b"\0"


@pytest.mark.parametrize("harm", [_cut, _flip, _empty, _longer])
def test_a_damaged_file_is_told_before_anything_parses_it(library: Library, harm: Callable[[bytes], bytes]) -> None:
    names = library.names("index/aa")
    assert len(names) == 7
    for name in names:
        good = library.read(f"index/aa/{name}")
        library.write(f"index/aa/{name}", harm(good))
        if name.startswith("base-vectors") and harm is _flip:  # mapped: what is in it shows only in a comparison
            assert len(_loaded(library)) == BASE + 2
        else:
            with pytest.raises(DamagedError, match=r"index/aa is damaged"):
                index.load(library, "aa")
        with pytest.raises(DamagedError):
            index.verify(library, "aa")
        library.write(f"index/aa/{name}", good)
    index.verify(library, "aa")


def test_a_missing_file_is_told(library: Library) -> None:
    for name in library.names("index/aa"):
        if name == "index.json":
            continue
        good = library.read(f"index/aa/{name}")
        library.remove(f"index/aa/{name}")
        with pytest.raises(DamagedError, match="missing"):
            index.load(library, "aa")
        library.write(f"index/aa/{name}", good)
    library.remove("index/aa/index.json")
    assert index.load(library, "aa") is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"3", b"null", b'"x"', b"{}", b'{"format": "two"}', b'{"format": 2}', b"\xff"]
)
def test_a_json_file_that_is_not_ours_is_told(library: Library, body: bytes) -> None:
    library.write("index/aa/index.json", body)
    with pytest.raises(DamagedError, match=r"index\.json"):
        index.load(library, "aa")


def test_an_edited_json_file_is_told(library: Library) -> None:
    body = json.loads(library.read("index/aa/index.json"))
    body["facts"]["depths"] = [10**9]
    library.write("index/aa/index.json", json.dumps(body).encode())
    with pytest.raises(DamagedError, match="changed"):
        index.load(library, "aa")


def test_a_newer_muster_is_named(library: Library) -> None:
    body = json.loads(library.read("index/aa/index.json"))
    library.write("index/aa/index.json", json.dumps(body | {"format": index_files.FORMAT + 1}).encode())
    with pytest.raises(InputError, match="newer"):
        index.load(library, "aa")


def test_lists_that_this_faiss_cannot_read_are_told(library: Library) -> None:
    snapshot = index_files.load(library, "index/aa", lambda snapshot: snapshot)
    assert snapshot is not None
    parts = {name: snapshot.read(name) for name in snapshot.parts}
    index_files.write(library, "index/aa", snapshot.facts, parts | {"base-lists": b"IxNew, of a later FAISS"}, {})
    with pytest.raises(DamagedError, match="FAISS cannot read"):
        index.load(library, "aa")


def test_a_damaged_index_of_faces_is_made_again(library: Library) -> None:
    faces = pa.table({"face_id": _ids(9), "image_id": _ids(9)})
    index.current(library, faces, _vectors(9), "aa")
    (name,) = [name for name in library.names("index/aa") if name.startswith("vectors")]
    library.write(f"index/aa/{name}", b"x")
    assert len(index.current(library, faces, _vectors(9), "aa")) == 9
    index.verify(library, "aa")


# ---- killed writers --------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Nothing catches it."""


def _dies_at(monkeypatch: pytest.MonkeyPatch, number: int, after: bool) -> None:
    """From now on the change number `number` of the disk (a rename or a removal) is the last, done or not."""
    count = 0

    def counted(change: Callable[..., None]) -> Callable[..., None]:
        def wrapper(*args: Any) -> None:
            nonlocal count
            count += 1
            if count == number and not after:
                raise Killed
            change(*args)
            if count == number:
                raise Killed

        return wrapper

    monkeypatch.setattr(Library, "write", counted(Library.write))
    monkeypatch.setattr(Library, "remove", counted(Library.remove))


def _change(library: Library) -> index.VectorIndex:
    it = _loaded(library)
    it.remove(["f10", "new1"])
    it.add(["newer"], _vectors(60, seed=1)[59:])
    return it


@pytest.mark.parametrize("rebuilt", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_a_writer_killed_at_any_point_leaves_the_old_or_the_new(
    library: Library, start: Path, rebuilt: bool, after: bool
) -> None:
    old = _people(_loaded(library))
    new = old - {"f10", "new1"} | {"newer"}
    made = _change(library).rebuilt() if rebuilt else None
    seen, ended = [], False
    while not ended:
        changed = (
            dataclasses.replace(made, base=dataclasses.replace(made.base, stored=None)) if made else _change(library)
        )
        with pytest.MonkeyPatch.context() as patch:
            _dies_at(patch, len(seen) + 1, after)
            try:
                index.save(library, changed)
                ended = True
            except Killed:
                pass
        seen.append(_people(_loaded(library)))
        index.verify(library, "aa")
        if not ended:
            shutil.rmtree(library.at("index"))
            shutil.copytree(start / "index", library.at("index"))
    assert seen == [old] * seen.count(old) + [new] * seen.count(new)  # once new, never old again
    assert seen.count(old) >= 3
    assert seen.count(new) >= 3


def test_what_a_killed_writer_left_goes_with_the_next_save(library: Library) -> None:
    with pytest.MonkeyPatch.context() as patch:
        _dies_at(patch, 3, after=True)
        with pytest.raises(Killed):
            index.save(library, _change(library))
    assert len(library.names("index/aa")) > 7
    index.save(library, _change(library))
    assert len(library.names("index/aa")) == 7


WRITER = """
import sys
sys.path.insert(0, {root!r})
from tests import test_index_files as t
from storage import index
index.EXACT_UP_TO = 1000
library = t.open_library(sys.argv[1])
print("ready", flush=True)
while True:
    index.save(library, t._change(library))
    it = t._loaded(library)
    it.remove(["newer"])
    it.add(["f10", "new1"], t.np.stack([t._vectors(11)[10], t._vectors(5, seed=1)[1]]))
    index.save(library, it)
"""


def test_kill_minus_nine(library: Library) -> None:
    old = _people(_loaded(library))
    new = old - {"f10", "new1"} | {"newer"}
    states = []
    for pause in (0.0, 0.003, 0.011):
        root = str(Path(__file__).parents[3])
        command = [sys.executable, "-c", WRITER.format(root=root), library.uri]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(0.05 + pause)
            os.kill(writer.pid, signal.SIGKILL)
        states.append(_people(_loaded(library)))
        index.verify(library, "aa")
    assert all(state in (old, new) for state in states)


# ---- others at the same time -----------------------------------------------------------------------------------------


def test_a_reader_goes_on_with_what_it_opened(library: Library) -> None:
    people = _people(_loaded(library))
    reader = _loaded(library)
    index.save(library, _loaded(library).rebuilt())  # removes every file that the reader has mapped
    assert _people(reader) == people


def test_a_reader_that_comes_while_files_are_replaced_reads_again(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = index._read

    def late(snapshot: Any, fingerprint: str) -> index.VectorIndex:
        monkeypatch.setattr(index, "_read", read)
        index.save(library, _change(library).rebuilt())
        return read(snapshot, fingerprint)

    monkeypatch.setattr(index, "_read", late)
    assert "newer" in _people(_loaded(library))


def test_an_index_whose_files_were_deleted_is_written_whole(library: Library) -> None:
    people = _people(_loaded(library))
    it = _loaded(library)
    for name in library.names("index/aa"):
        library.remove(f"index/aa/{name}")
    index.save(library, it)
    assert _people(_loaded(library)) == people
    index.verify(library, "aa")


def test_an_index_is_saved_into_another_library(library: Library, tmp_path: Path) -> None:
    people = _people(_loaded(library))
    other = open_library(tmp_path / "other", create=True)
    index.save(other, _loaded(library), "gallery")
    loaded = index.load(other, "aa", "gallery")
    assert loaded is not None
    assert _people(loaded) == people


# ---- where it lies ---------------------------------------------------------------------------------------------------


def test_the_vectors_of_a_base_are_mapped_not_read(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    read = Library.read
    monkeypatch.setattr(Library, "read", lambda self, name: (names.append(name), read(self, name))[1])
    loaded = _loaded(library)
    assert not [name for name in names if "base-vectors" in name]
    assert loaded.base is not None
    assert not loaded.base.vectors.flags.writeable


def test_a_library_that_is_not_local(library: Library, tmp_path: Path) -> None:
    tree = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    bucket = Library("bucket://x", tree, "library")
    assert bucket.local is None
    people = _people(_loaded(bucket))
    index.save(bucket, _change(bucket).rebuilt())
    assert _people(_loaded(bucket)) == people - {"f10", "new1"} | {"newer"}
