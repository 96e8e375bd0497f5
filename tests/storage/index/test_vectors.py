import os
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muster.errors import InputError
from muster.storage.index import inverted_file
from muster.storage.index import vectors as index
from muster.storage.library import Library, open_library

WIDTH = 32


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return open_library(tmp_path / "library", create=True)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of FAISS wait for each other at full speed: on a busy machine that takes seconds."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes get a base from 1,001 rows on."""
    monkeypatch.setattr(index, "EXACT_UP_TO", 1000)
    monkeypatch.setattr(inverted_file, "SHARD", 700)


def _vectors(n: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _ids(n: int, prefix: str = "f") -> list[str]:
    return [f"{prefix}{i}" for i in range(n)]


def _faces(n: int, seed: int = 0) -> tuple[pa.Table, np.ndarray]:
    return pa.table({"face_id": _ids(n), "image_id": _ids(n, "i")}), _vectors(n, seed)


def _views(vectors: np.ndarray, seed: int = 1) -> np.ndarray:
    """Other views of the same faces, of cosine .7."""
    noise = _vectors(len(vectors), seed)
    noise -= (noise * vectors).sum(1, keepdims=True) * vectors
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return (0.7 * vectors + np.sqrt(1 - 0.7**2) * noise).astype(np.float32)


def _found(it: index.VectorIndex, queries: np.ndarray, k: int = 1) -> list[list[str]]:
    rows = it.search(queries, k, it.fingerprint)[1]
    ids = it.ids.to_pylist()
    return [[ids[row] for row in line if row >= 0] for line in rows]


# ---- exact indexes ---------------------------------------------------------------------------------------------------


def test_a_saved_index_finds_what_brute_force_finds(library: Library) -> None:
    faces, vectors = _faces(200)
    index.save(library, index.build(faces, vectors, "aa"))
    loaded = index.load(library, "aa")
    assert loaded is not None
    similarities, rows = loaded.search(vectors[:20], 5, "aa")
    exact = vectors[:20] @ vectors.T
    np.testing.assert_allclose(similarities, -np.sort(-exact, axis=1)[:, :5], atol=1e-5)
    assert rows[:, 0].tolist() == list(range(20))
    assert loaded.ids[7].as_py() == "f7"
    assert loaded.base is None
    assert "exact" in loaded.why


def test_another_model_is_refused(library: Library) -> None:
    faces, vectors = _faces(3)
    built = index.build(faces, vectors, "aa")
    with pytest.raises(InputError, match="aa, not of bb"):
        built.search(vectors, 1, "bb")
    index.save(library, built)
    for name in library.names("index/aa"):  # an index copied into another model's place
        library.write(f"index/bb/{name}", library.read(f"index/aa/{name}"))
    with pytest.raises(InputError, match="two models"):
        index.load(library, "bb")


def test_new_faces_make_a_new_index(library: Library) -> None:
    faces, vectors = _faces(5)
    index.current(library, faces, vectors, "aa")
    more, more_vectors = _faces(8)
    assert len(index.current(library, more, more_vectors, "aa")) == 8
    assert len(index.load(library, "aa") or []) == 8


def test_the_index_of_the_same_faces_is_not_built_again(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    faces, vectors = _faces(5)
    index.current(library, faces, vectors, "aa")
    monkeypatch.setattr(index, "build", None)
    assert index.current(library, faces, vectors, "aa").ids.to_pylist() == _ids(5)


def test_an_index_of_an_older_muster_is_built_again(library: Library) -> None:
    library.write("index/aa/index.faiss", b"IxFI")
    library.write("index/aa/index.json", b'{"fingerprint": "aa", "sha256": {"index.faiss": "0"}}')
    assert index.load(library, "aa") is None
    assert len(index.current(library, *_faces(5), "aa")) == 5
    assert "index.faiss" not in library.names("index/aa")


def test_more_neighbours_than_rows() -> None:
    similarities, rows = index.build(_ids(2), _vectors(2), "aa").search(_vectors(3), 4, "aa")
    assert (rows[:, 2:] == -1).all()
    assert (np.sort(rows[:, :2], axis=1) == [0, 1]).all()
    assert similarities.shape == (3, 4)


def test_an_index_of_nobody(library: Library) -> None:
    index.save(library, index.build([], _vectors(0), "aa"))
    loaded = index.load(library, "aa")
    assert loaded is not None
    assert _found(loaded, _vectors(2)) == [[], []]
    loaded.add(_ids(2), _vectors(2))
    assert _found(loaded, _vectors(2)) == [["f0"], ["f1"]]


@pytest.mark.parametrize("vectors", [np.zeros((2, WIDTH + 1)), np.zeros(WIDTH), np.full((2, WIDTH), np.nan)])
def test_embeddings_that_do_not_fit_are_refused(vectors: np.ndarray) -> None:
    it = index.build(_ids(3), _vectors(3), "aa")
    with pytest.raises(InputError):
        it.add(_ids(2, "g"), vectors)
    with pytest.raises(InputError):
        it.search(vectors, 1, "aa")
    with pytest.raises(InputError):
        index.build(_ids(4), _vectors(3), "aa")
    assert len(it) == 3


# ---- indexes with a base ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_a_large_index_finds_nearly_all_and_its_similarities_are_exact(library: Library) -> None:
    vectors = _vectors(5000)
    index.save(library, index.build(_ids(5000), vectors, "aa"))
    loaded = index.load(library, "aa")
    assert loaded is not None
    assert loaded.base is not None
    assert "approximate, then exact: 5000" in loaded.why
    loaded.base.lists.depths = [8, 64]
    queries = _views(vectors[:1000])
    similarities, rows = loaded.search(queries, 3, "aa")
    exact = queries @ vectors.T
    assert (rows[:, 0] == exact.argmax(1)).mean() > 0.97
    np.testing.assert_allclose(similarities, np.take_along_axis(exact, rows, axis=1), atol=1e-5)
    assert (np.diff(similarities, axis=1) <= 0).all()
    assert all(len(set(line)) == 3 for line in rows.tolist())
    assert loaded.search(queries[:0], 3, "aa")[1].shape == (0, 3)


@pytest.mark.usefixtures("small")
def test_shards_and_their_merger_are_the_same_as_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = _vectors(3000)
    merged = index.build(_ids(3000), vectors, "aa").search(_views(vectors), 5, "aa")
    monkeypatch.setattr(inverted_file, "SHARD", 10_000)
    whole = index.build(_ids(3000), vectors, "aa").search(_views(vectors), 5, "aa")
    assert (merged[1] == whole[1]).all()


@pytest.mark.usefixtures("small")
def test_people_come_and_go_without_a_new_base(library: Library) -> None:
    vectors = _vectors(3100)
    it = index.build(_ids(3000), vectors[:3000], "aa")
    index.save(library, it)
    before = set(library.names("index/aa"))
    it.add(_ids(100, "new"), vectors[3000:])
    assert it.remove(_ids(50)) == 50
    assert it.remove([*_ids(60), "new0", "nobody"]) == 11  # 50 of them were gone
    it.add(["again"], vectors[:1])
    stamp = {name: os.stat(library.at(f"index/aa/{name}")).st_mtime_ns for name in before}
    index.save(library, it)
    same = [
        n
        for n in before & set(library.names("index/aa"))
        if os.stat(library.at(f"index/aa/{n}")).st_mtime_ns == stamp[n]
    ]
    assert len(same) == 3  # its lists, ids and vectors
    loaded = index.load(library, "aa")
    for state in (it, loaded):
        assert state is not None
        assert len(state) == 3000 + 100 - 61 + 1
        assert _found(state, vectors[3001:]) == [[f"new{i}"] for i in range(1, 100)]
        assert _found(state, vectors[60:1000]) == [[f"f{i}"] for i in range(60, 1000)]
        assert not {f"f{i}" for i in range(60)} & {i for line in _found(state, vectors[:60], 20) for i in line}
        assert _found(state, vectors[:1]) == [["again"]]


@pytest.mark.usefixtures("small")
def test_a_rebuilt_index_has_nobody_who_left(library: Library) -> None:
    vectors = _vectors(3100)
    it = index.build(_ids(3000), vectors[:3000], "aa")
    assert not it.stale
    it.remove(_ids(30))
    it.add(_ids(100, "new"), vectors[3000:])
    assert it.stale
    index.save(library, it)
    files = set(library.names("index/aa"))
    index.save(library, it.rebuilt())
    loaded = index.load(library, "aa")
    assert loaded is not None
    assert not loaded.stale
    assert sorted(loaded.ids.to_pylist()) == sorted(_ids(3000)[30:] + _ids(100, "new"))
    assert _found(loaded, vectors[30:]) == [[i] for i in _ids(3000)[30:] + _ids(100, "new")]
    assert {name for name in files & set(library.names("index/aa")) if "vectors" in name} == set()


def test_an_index_that_outgrows_comparing_all_says_so(small: None) -> None:
    vectors = _vectors(1100)
    it = index.build(_ids(1000), vectors[:1000], "aa")
    assert not it.stale
    it.add(_ids(100, "new"), vectors[1000:])
    assert it.stale
    assert it.base is None
    assert it.rebuilt().base is not None


@pytest.mark.usefixtures("small")
def test_a_saved_index_shrinks_to_an_exact_one(library: Library) -> None:
    vectors = _vectors(1200)
    it = index.build(_ids(1200), vectors, "aa")
    it.remove(_ids(1000))
    small = it.rebuilt()
    assert small.base is None
    assert _found(small, vectors[1000:]) == [[f"f{i}"] for i in range(1000, 1200)]


def test_the_embeddings_of_who_left_an_exact_index_leave_the_disk(library: Library) -> None:
    vectors = _vectors(20)
    it = index.build(_ids(20), vectors, "aa")
    index.save(library, it)
    it.remove(["f7"])
    index.save(library, it)
    saved = b"".join(library.read(f"index/aa/{name}") for name in library.names("index/aa"))
    assert vectors[6].tobytes() in saved
    assert vectors[7].tobytes() not in saved


@pytest.mark.usefixtures("small")
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    start=st.sampled_from([0, 5, 1500]),
    steps=st.lists(st.tuples(st.sampled_from(["add", "remove", "save", "rebuild"]), st.integers(0, 9)), max_size=8),
)
def test_any_sequence_of_changes(
    tmp_path_factory: pytest.TempPathFactory, start: int, steps: list[tuple[str, int]]
) -> None:
    """The truth is a dictionary: after every step each vector finds its own id, and nobody else is in there."""
    library = open_library(tmp_path_factory.mktemp("library"), create=True)
    pool = _vectors(1600, seed=3)
    it, truth = index.build(_ids(start), pool[:start], "aa"), dict(enumerate(_ids(start)))
    for what, number in steps:
        rows = range(number * 10, number * 10 + 15)
        if what == "add":
            it.add([f"f{row}" for row in rows if row not in truth], pool[[row for row in rows if row not in truth]])
            truth |= {row: f"f{row}" for row in rows}
        elif what == "remove":
            it.remove([f"f{row}" for row in rows])
            truth = {row: i for row, i in truth.items() if row not in rows}
        elif what == "rebuild":
            it = it.rebuilt()
        else:
            index.save(library, it)
            it = index.load(library, "aa")  # type: ignore[assignment]
        assert len(it) == len(truth)
        assert _found(it, pool[list(truth)]) == [[i] for i in truth.values()]
        gone = [row for row in range(120) if row not in truth]
        assert all(i in truth.values() for line in _found(it, pool[gone], 5) for i in line)
