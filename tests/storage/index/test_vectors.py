import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import faiss
import numpy as np
import pyarrow.fs as pafs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muster.errors import InputError
from muster.storage import layout
from muster.storage.index import inverted_file, vectors
from muster.storage.library import LibraryFiles, open_library

WIDTH = 32
NAME = layout.index("aa", "faces")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of FAISS wait for each other at full speed: on a busy machine that takes seconds."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes get lists from 1,001 rows on."""
    monkeypatch.setattr(vectors, "EXACT_UP_TO", 1000)
    monkeypatch.setattr(vectors, "BLOCK", 800)
    monkeypatch.setattr(inverted_file, "SHARD", 700)


def _vectors(n: int, seed: int = 0) -> np.ndarray:
    made = np.random.default_rng(seed).normal(size=(n, WIDTH)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def _views(faces: np.ndarray, seed: int = 1) -> np.ndarray:
    """Other views of the same faces, of cosine .7."""
    noise = _vectors(len(faces), seed)
    noise -= (noise * faces).sum(1, keepdims=True) * faces
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return (0.7 * faces + np.sqrt(1 - 0.7**2) * noise).astype(np.float32)


def _deep(similarities: np.ndarray) -> np.ndarray:
    """No query is sure."""
    return np.zeros(len(similarities), bool)


def _finds_itself(index: vectors.VectorIndex) -> bool:
    similarities, rows = index.search(index.vectors, 1, _deep, (1 / 2,))
    np.testing.assert_allclose(similarities[:, 0], 1, atol=1e-5)
    return bool((index.vectors[rows[:, 0]] == index.vectors).all())


def _made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each of the lists has that are made from now on."""
    made: list[int] = []
    build = inverted_file.build_lists

    def counted(faces: np.ndarray, spread: inverted_file.Spread) -> inverted_file.Lists:
        made.append(len(faces))
        return build(faces, spread)

    monkeypatch.setattr(inverted_file, "build_lists", counted)
    return made


# ---- exact indexes ---------------------------------------------------------------------------------------------------


def test_a_small_index_compares_all_and_keeps_nothing(library: LibraryFiles) -> None:
    faces = _vectors(200)
    index = vectors.current(library, NAME, faces)
    similarities, rows = index.search(faces[:20], 5)
    exact = faces[:20] @ faces.T
    np.testing.assert_allclose(similarities, -np.sort(-exact, axis=1)[:, :5], atol=1e-5)
    assert rows[:, 0].tolist() == list(range(20))
    assert index.lists is None
    assert library.names("index/aa") == []


def test_more_neighbours_than_rows() -> None:
    similarities, rows = vectors.build(_vectors(2)).search(_vectors(3), 4)
    assert (rows[:, 2:] == -1).all()
    assert (np.sort(rows[:, :2], axis=1) == [0, 1]).all()
    assert similarities.shape == (3, 4)


def test_an_index_of_nobody(library: LibraryFiles) -> None:
    index = vectors.current(library, NAME, _vectors(0))
    assert index.search(_vectors(2), 1)[1].tolist() == [[-1], [-1]]


@pytest.mark.parametrize("faces", [np.zeros((2, WIDTH + 1)), np.zeros(WIDTH), np.full((2, WIDTH), np.nan)])
def test_embeddings_that_do_not_fit_are_refused(faces: np.ndarray) -> None:
    with pytest.raises(InputError):
        vectors.build(_vectors(3)).search(faces, 1)
    if faces.shape != (2, WIDTH + 1):
        with pytest.raises(InputError):
            vectors.build(faces)


# ---- indexes with lists ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_a_large_index_finds_nearly_all_and_its_similarities_are_exact(library: LibraryFiles) -> None:
    faces = _vectors(5000)
    index = vectors.current(library, NAME, faces)
    assert index.lists is not None
    queries = _views(faces[:1000])
    similarities, rows = index.search(queries, 3, depths=(1 / 8, 3 / 4))
    exact = queries @ faces.T
    assert (rows[:, 0] == exact.argmax(1)).mean() > 0.97
    np.testing.assert_allclose(similarities, np.take_along_axis(exact, rows, axis=1), atol=1e-5)
    assert (np.diff(similarities, axis=1) <= 0).all()
    assert all(len(set(line)) == 3 for line in rows.tolist())
    assert index.search(queries[:0], 3)[1].shape == (0, 3)


@pytest.mark.usefixtures("small")
def test_who_is_sure_is_not_searched_for_deeper() -> None:
    faces = _vectors(3000)
    index = vectors.build(faces)
    queries, exact = _views(faces), _views(faces) @ faces.T
    shallow, deep = (
        index.search(queries, 1, lambda s, sure=sure: np.full(len(s), sure), (1e-6, 0.9))[1][:, 0]
        for sure in (True, False)
    )
    assert (deep == exact.argmax(1)).mean() > 0.99 > (shallow == exact.argmax(1)).mean()


@pytest.mark.usefixtures("small")
def test_as_many_are_found_as_are_asked_for() -> None:
    """However few lists are looked at: scores need the ten that come next."""
    index = vectors.build(_vectors(1100))
    assert (index.search(_vectors(50, seed=3), 300, lambda s: np.full(len(s), True), (1e-6,))[1] >= 0).all()


@pytest.mark.usefixtures("small")
def test_shards_and_their_merger_are_the_same_as_one_table(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = _vectors(3000)
    merged = vectors.build(faces).search(_views(faces), 5)
    monkeypatch.setattr(inverted_file, "SHARD", 10_000)
    whole = vectors.build(faces).search(_views(faces), 5)
    assert (merged[1] == whole[1]).all()


@pytest.mark.usefixtures("small")
def test_the_index_of_the_same_faces_is_not_made_again(library: LibraryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    made, faces = _made(monkeypatch), _vectors(1500)
    first = vectors.current(library, NAME, faces)
    order = np.random.default_rng(1).permutation(1500)
    again = vectors.current(library, NAME, faces[order])
    assert made == [1500]
    queries = _views(faces)
    np.testing.assert_array_equal(first.search(queries, 3)[0], again.search(queries, 3)[0])
    np.testing.assert_array_equal(first.search(queries, 3)[1], order[again.search(queries, 3)[1]])


@pytest.mark.usefixtures("small")
def test_people_come_and_go_without_new_lists(library: LibraryFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    made, faces = _made(monkeypatch), _vectors(2020)
    vectors.current(library, NAME, faces[:2000])
    written = library.read(NAME)
    index = vectors.current(library, NAME, faces[15:])
    assert made == [2000]
    assert library.read(NAME) == written
    assert _finds_itself(index)
    assert (index.search(faces[:15], 20, _deep)[0] < 0.999).all()


@pytest.mark.usefixtures("small")
def test_when_many_came_and_went_lists_are_made_of_those_that_are_there(
    library: LibraryFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, faces = _made(monkeypatch), _vectors(2041)
    vectors.current(library, NAME, faces[:2000])
    vectors.current(library, NAME, faces[:2041])
    held = vectors.load(library, NAME)
    assert held is not None
    assert made == [2000, len(held.keys)] == [2000, 2041]
    vectors.current(library, NAME, faces[41:])
    vectors.current(library, NAME, faces[:900])  # few enough to be compared one by one
    assert made == [2000, 2041, 2000]
    assert library.names("index/aa") == []


@pytest.mark.usefixtures("small")
def test_of_equal_embeddings_each_is_found(library: LibraryFiles) -> None:
    faces = _vectors(1500)
    faces[1400:1403] = faces[7]
    index = vectors.current(library, NAME, faces)
    for each in (index, vectors.current(library, NAME, np.delete(faces, 1401, 0))):
        like = np.flatnonzero((each.vectors == faces[7]).all(1))
        assert sorted(each.search(faces[7:8], len(like), _deep, (1,))[1][0].tolist()) == like.tolist()


@pytest.mark.usefixtures("small")
def test_a_changed_embedding_is_another(library: LibraryFiles) -> None:
    faces = _vectors(1500)
    vectors.current(library, NAME, faces)
    faces[3] = _vectors(1, seed=9)
    index = vectors.current(library, NAME, faces)
    assert index.beside.tolist() == [3]
    assert _finds_itself(index)


@pytest.mark.usefixtures("small")
def test_notes_are_those_of_the_rows(library: LibraryFiles) -> None:
    asked: list[int] = []

    def note(faces: np.ndarray) -> np.ndarray:
        asked.append(len(faces))
        return faces[:, 0] * 2

    faces = _vectors(1520)
    for part in (faces[:1500], faces[10:]):
        index = vectors.current(library, NAME, part, note=note)
        np.testing.assert_array_equal(index.notes, part[:, 0] * 2)
    assert asked[0] == 1500
    assert asked[-1] == 20  # only those that came


@pytest.mark.usefixtures("small")
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=6), seed=st.integers(0, 99))
def test_any_sequence_of_changes(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, int]], seed: int
) -> None:
    """After every change each embedding finds itself, in any order, and nobody else is in there."""
    library, random = open_library(tmp_path_factory.mktemp("library"), create=True), np.random.default_rng(seed)
    pool, rows = _vectors(1400, seed=3), set(range(1200))
    for add, number in steps:
        some = range(number * 8, number * 8 + 12)
        rows = rows | {1200 + row for row in some} if add else rows - set(some)
        index = vectors.current(library, NAME, pool[random.permutation(sorted(rows))])
        assert _finds_itself(index)
        gone = pool[[row for row in range(1400) if row not in rows]]
        assert (index.search(gone, 5, _deep)[0] < 0.999).all()


def test_keys_stand_for_the_bits() -> None:
    faces = _vectors(500)
    keys = vectors._keys(faces)
    order = np.random.default_rng(0).permutation(500)
    np.testing.assert_array_equal(vectors._keys(faces[order]), keys[order])
    assert len(set(vectors._keys(np.concatenate([faces, faces, -faces])).tolist())) == 1500


# ---- files -----------------------------------------------------------------------------------------------------------


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flip(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]


def _empty(data: bytes) -> bytes:
    return b""


def _longer(data: bytes) -> bytes:
    return data + b"\0"


def _digested(data: bytes) -> bytes:
    """Another program's file, whose digest is right."""
    return hashlib.sha256(b"no archive").digest() + b"no archive"


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("harm", [_cut, _flip, _empty, _longer, _digested])
def test_a_damaged_file_is_made_again_and_nothing_parses_it(
    library: LibraryFiles, monkeypatch: pytest.MonkeyPatch, harm: Callable[[bytes], bytes]
) -> None:
    faces = _vectors(1200)
    vectors.current(library, NAME, faces)
    good = library.read(NAME)
    library.write(NAME, harm(good))
    with monkeypatch.context() as patch:
        patch.setattr(faiss, "deserialize_index", lambda data: pytest.fail("FAISS was given a damaged file"))
        assert vectors.load(library, NAME) is None
    assert _finds_itself(vectors.current(library, NAME, faces))
    assert vectors.load(library, NAME) is not None


@pytest.mark.usefixtures("small")
def test_a_table_that_this_faiss_cannot_read_is_made_again(library: LibraryFiles) -> None:
    faces = _vectors(1200)
    vectors.current(library, NAME, faces)
    held = vectors.load(library, NAME)
    assert held is not None

    class Later:
        def dump(self) -> np.ndarray:
            return np.frombuffer(b"IxNew, of a later FAISS", np.uint8)

    vectors.save(library, NAME, vectors.Held(Later(), held.keys, held.notes))  # type: ignore[arg-type]
    assert vectors.load(library, NAME) is None
    assert _finds_itself(vectors.current(library, NAME, faces))


def test_what_an_older_muster_kept_goes(library: LibraryFiles) -> None:
    for name in ("index.json", "base-vectors-0123456789abcdef"):
        library.write(f"index/aa/{name}", b"{}")
    library.write("index/bb/index.json", b"{}")
    vectors.current(library, NAME, _vectors(5))
    assert library.names("index/aa") == []
    assert library.names("index/bb") == ["index.json"]  # of another model, which may be that of an older Muster


@pytest.mark.usefixtures("small")
def test_a_library_that_is_not_local(tmp_path: Path) -> None:
    tree = pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem())
    bucket = LibraryFiles("bucket://x", tree, "library")
    assert bucket.disk is None
    faces = _vectors(1210)
    vectors.current(bucket, NAME, faces[:1200])
    assert _finds_itself(vectors.current(bucket, NAME, faces))
    assert bucket.names("index/aa") == ["faces"]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 5), st.integers(1, 50), st.sampled_from([5, 100]), st.integers(0, 2**32 - 1))
def test_among_some_rows_the_nearest_of_these_are_found(rows: int, asked: int, k: int, part: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "EXACT_UP_TO", part)  # rows that a thread has
        patch.setattr(faiss, "omp_get_max_threads", lambda: 3)
        compared_among(rows, asked, k, seed)


def test_a_selector_is_told_how_many_bytes_of_bits_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    made = faiss.IDSelectorBitmap
    monkeypatch.setattr(faiss, "IDSelectorBitmap", lambda n, bits: told.append(n) or made(n, bits))
    vectors.exact(_vectors(17)).search_among(_vectors(1), 3, np.ones(17, bool))
    assert told == [3]


def compared_among(rows: int, asked: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    index = vectors.exact(random.normal(size=(rows, 8)).astype(np.float32))
    queries, among = random.normal(size=(asked, 8)).astype(np.float32), random.random(rows) < 0.5
    similarities, found = index.search_among(queries, k, among)
    cosines = np.where(among, queries @ index.vectors.T, -np.inf)
    many = min(k, int(among.sum()))
    np.testing.assert_allclose(similarities[:, :many], -np.sort(-cosines)[:, :many], atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(cosines, found[:, :many], 1), similarities[:, :many], atol=1e-5)
    assert (found[:, many:] == -1).all()
    with pytest.raises(InputError, match="embeddings of 7 numbers in an index of 8"):
        index.search_among(queries[:, :7], k, among)
