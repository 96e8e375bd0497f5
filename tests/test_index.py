from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from storage import index
from storage.errors import InputError
from storage.library import Library, open_library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return open_library(tmp_path / "library", create=True)


def _faces(n: int, seed: int = 0) -> tuple[pa.Table, np.ndarray]:
    vectors = np.random.default_rng(seed).normal(size=(n, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return pa.table({"face_id": [f"f{i}" for i in range(n)], "image_id": [f"i{i}" for i in range(n)]}), vectors


def test_a_saved_index_finds_what_brute_force_finds(library: Library) -> None:
    faces, vectors = _faces(200)
    index.save(library, index.build(faces, vectors, "aa"))
    loaded = index.load(library, "aa")
    assert loaded is not None
    similarities, rows = loaded.search(vectors[:20], 5, "aa")
    exact = vectors[:20] @ vectors.T
    np.testing.assert_allclose(similarities, -np.sort(-exact, axis=1)[:, :5], atol=1e-5)
    assert rows[:, 0].tolist() == list(range(20))
    assert loaded.faces["face_id"][7].as_py() == "f7"


def test_another_model_is_refused(library: Library) -> None:
    faces, vectors = _faces(3)
    built = index.build(faces, vectors, "aa")
    with pytest.raises(InputError, match="aa, not of bb"):
        built.search(vectors, 1, "bb")
    index.save(library, built)
    for name in ("index.faiss", "faces.parquet", "index.json"):  # an index copied into another model's place
        library.write(f"index/bb/{name}", library.read(f"index/aa/{name}"))
    with pytest.raises(InputError, match="two models"):
        index.load(library, "bb")


def test_an_interrupted_save_is_built_again(library: Library) -> None:
    faces, vectors = _faces(5)
    index.save(library, index.build(faces, vectors, "aa"))
    library.write("index/aa/index.faiss", library.read("index/aa/index.faiss")[:-8])
    assert index.load(library, "aa") is None
    assert index.current(library, faces, vectors, "aa").index.ntotal == 5
    assert index.load(library, "aa") is not None


def test_new_faces_make_a_new_index(library: Library) -> None:
    faces, vectors = _faces(5)
    index.current(library, faces, vectors, "aa")
    more, more_vectors = _faces(8)
    assert index.current(library, more, more_vectors, "aa").index.ntotal == 8
    assert index.load(library, "aa").index.ntotal == 8
