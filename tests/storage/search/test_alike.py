from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.searched import an_index
from helpers.seen import seen
from helpers.vectors import embeddings_of
from muster.arrays import F32, I64
from muster.storage.index import vectors
from muster.storage.library import LibraryFiles
from muster.storage.models import keep_models
from muster.storage.search.alike import LEAST, MOST, Alike, Texts, embeddings
from muster.storage.search.search import Search, run
from muster.web.album import LabelTable


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    """Twelve photos, with names from 00 to 11."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(12):
        Image.new("RGB", (9 + number, 9)).save(folder / f"{number:02}.png")
    return seen(tmp_path / "L", folder)


def around(name: str) -> F32 | None:
    """Around a circle, an hour apart; the last has none."""
    number = int(name.partition(".")[0])
    angle = np.pi * number / 6
    return None if number == 11 else np.array([np.cos(angle), np.sin(angle), 0, 0], np.float32)


def names(index: Search, rows: I64) -> list[int]:
    return [int(uri[-6:-4]) for uri in index.table(rows)["uri"].to_pylist()]


def test_the_nearest_come_first(library: LibraryFiles) -> None:
    assert embeddings(library) is None
    assert Search(library).index.alike is None
    embeddings_of(library, around)
    search = Search(library)
    alike = search.index.alike
    assert alike is not None
    [row] = run(search.index, "file:05").rows
    similarities, rows = alike.nearest(alike.of(np.array([row])), 4)
    assert names(search, rows)[0] == 5
    assert set(names(search, rows)[1:3]) == {4, 6}
    np.testing.assert_allclose(similarities[:3], [1, np.cos(np.pi / 6), np.cos(np.pi / 6)], atol=1e-6)
    among = run(search.index, "file:00 -file:05").rows
    assert names(search, alike.nearest(alike.of(np.array([row])), 4, among)[1]) == [0]
    assert names(search, alike.nearest(alike.of(np.array([row])), 50)[1])[-1] in (0, 10)  # 11 has no embedding
    [without] = run(search.index, "file:11").rows
    assert alike.of(np.array([without])).shape == (0, 4)
    assert len(alike.near(np.array([without]))) == 0


def test_similar_means_the_nearest_too(library: LibraryFiles) -> None:
    """As many as a twentieth of the photos, but five."""
    embeddings_of(library, around)
    search = Search(library)
    assert sorted(names(search, search.run("similar:05.png").rows)) == [3, 4, 5, 6, 7]
    assert sorted(names(search, search.run("similar:05.png -file:06").rows)) == [3, 4, 5, 7]
    assert names(search, search.run("similar:11.png").rows) == [11]


def test_embeddings_are_read_again_where_there_are_more(library: LibraryFiles) -> None:
    search = Search(library)
    embeddings_of(library, around)
    assert search.refresh()
    assert len(search.run("similar:05.png").rows) == LEAST


def test_the_network_of_texts_is_kept_while_embeddings_are_of_the_same(library: LibraryFiles, tmp_path: Path) -> None:
    made: list[str] = []

    def texts_of(library: LibraryFiles, fingerprint: str) -> Texts:
        made.append(fingerprint)
        return lambda texts: np.ones((len(texts), 1), np.float32)

    ours = embeddings_of(library, around)
    search = Search(library, texts_of=texts_of)
    first = search.index.alike
    Image.new("RGB", (50, 9)).save(tmp_path / "photos" / "12.png")
    seen(tmp_path / "L", tmp_path / "photos")
    assert search.refresh()
    search.labels = (LabelTable(table="objects", fingerprint="0b" * 8, placed=True),)
    assert search.refresh()
    assert not search.refresh()
    assert first is not None
    assert search.index.alike is not None
    assert search.index.alike is not first
    assert search.index.alike.texts is first.texts
    assert made == [ours]
    keep_models(library, {"features": "squeezenet"})
    theirs = embeddings_of(library, around, model="squeezenet", width=512)
    assert search.refresh()
    assert made == [ours, theirs]
    assert search.index.alike.texts is not first.texts


def test_the_librarys_model_goes_before_others(library: LibraryFiles) -> None:
    ours, theirs = embeddings_of(library, around), embeddings_of(library, around, model="squeezenet", width=512)
    for model, fingerprint in {"own": ours, "squeezenet": theirs}.items():
        keep_models(library, {"features": model})
        assert embeddings(library) == fingerprint
        assert isinstance(Search(library).index.alike, Alike)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, MOST), st.integers(0, 2**32 - 1))
def test_the_nearest_to_any_of_several(photos: int, asked: int, most: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    every = random.normal(size=(photos, 8)).astype(np.float32)
    every /= np.linalg.norm(every, axis=1, keepdims=True)
    queries = every[random.integers(photos, size=asked)] * np.float32(1)
    columns = an_index(*({} for _ in range(photos))).columns
    alike = Alike(None, "", columns)  # type: ignore[arg-type]
    alike.__dict__["_held"] = (vectors.exact(every), np.arange(photos), np.arange(photos))
    similarities, rows = alike.nearest(queries, most)
    best = (queries @ every.T).max(0)
    assert len(set(rows.tolist())) == len(rows) == min(most, photos)
    np.testing.assert_allclose(similarities, best[rows], atol=1e-5)
    np.testing.assert_allclose(similarities, np.sort(best)[::-1][: len(rows)], atol=1e-5)
