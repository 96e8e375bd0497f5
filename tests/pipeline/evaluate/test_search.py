import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import muster
from helpers.fixtures import Outcome
from helpers.published import WORDS, save
from helpers.vectors import embeddings_of
from helpers.words import seen_by
from muster.errors import InputError, NotYetError
from muster.pipeline.texts import texts_of
from muster.pipeline.work.machine import Machine
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library

CPU = Machine(device="cpu")
PHOTOS = 20


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    """Photos that are called as COCO's, seen by a random model of pictures and words; of the last nothing is said."""
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(0)
    for number in range(PHOTOS + 1):
        Image.fromarray(random.integers(0, 256, (40, 60, 3), np.uint8)).save(tmp_path / f"photos/{number:012}.png")
    library = open_library(tmp_path / "L", create=True)
    manifest.scan(library, [str(tmp_path / "photos")])
    seen_by(library, save("clip", tmp_path / "model"))
    return library


def said(random: np.random.Generator) -> list[dict[str, Any]]:
    texts = [" ".join(random.choice(WORDS, 4)) for _ in range(3 * PHOTOS)]
    return [{"image_id": n % PHOTOS, "caption": text} for n, text in enumerate(texts)]


def write(file: Path, annotations: Any, images: Any = None) -> Path:
    file.write_text(json.dumps({"annotations": annotations} | ({} if images is None else {"images": images})))
    return file


def by_hand(library: LibraryFiles, annotations: list[dict[str, Any]]) -> tuple[list[int], list[int]]:
    """Ranks of all captions and of all photos, by a plain matrix product."""
    [fingerprint] = [name for name, what in tables.descriptions(library).items() if what["task"] == "features"]
    rows = muster.open(library.uri).table("features").to_pylist()
    names = {row["image_id"]: int(Path(row["uri"]).stem) for row in manifest.read_manifest(library).to_pylist()}
    photos = np.array([row["embedding"] for row in sorted(rows, key=lambda row: names[row["image_id"]])])[:PHOTOS]
    encode = texts_of(library, fingerprint)
    assert encode is not None
    near = encode([each["caption"] for each in annotations]).astype(np.float64) @ photos.T
    of = np.array([each["image_id"] for each in annotations])
    before = near - 1e-6  # captions may have the same words: they come before
    texts = [1 + sum(near[n, m] > before[n, photo] for m in range(PHOTOS) if m != photo) for n, photo in enumerate(of)]
    best = [before[of == photo, photo].max() for photo in range(PHOTOS)]
    return texts, [1 + int((near[of != photo, photo] > best[photo]).sum()) for photo in range(PHOTOS)]


def test_figures_are_those_of_a_plain_matrix_product(library: LibraryFiles, tmp_path: Path) -> None:
    annotations = said(np.random.default_rng(1))
    facts = muster.evaluate.search(library.uri, write(tmp_path / "captions.json", annotations), machine=CPU)
    assert (facts["photos"], facts["captions"], facts["uncaptioned"], facts["unseen"]) == (PHOTOS, 3 * PHOTOS, 1, 0)
    for way, found in zip(("text_to_photo", "photo_to_text"), by_hand(library, annotations), strict=True):
        ranks, told = np.array(found), facts[way]
        for first in (1, 5, 10):
            low, high = told[f"recall_at_{first}_interval"]
            assert told[f"recall_at_{first}"] == round(float((ranks <= first).mean()), 5)
            assert low <= told[f"recall_at_{first}"] <= high
        assert told["median_rank"] == np.median(ranks)
        assert told["mean_reciprocal_rank"] == round(float((1 / ranks).mean()), 5)
    low, high = facts["text_to_photo"]["recall_at_10_interval"]
    assert low <= 0.5 <= high  # of 20 photos, by chance
    named = [{"id": n, "file_name": f"train/{n:012}.png"} for n in range(PHOTOS)]
    assert muster.evaluate.search(library.uri, write(tmp_path / "named.json", annotations, named), machine=CPU) == facts


def test_the_command(muster: Callable[..., Outcome], library: LibraryFiles, tmp_path: Path) -> None:
    file = write(tmp_path / "captions.json", said(np.random.default_rng(1)))
    outcome = muster("evaluate", "search", "--captions", file, "-l", library.uri, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    assert "20 photos, 60 captions\ntext to photo: recall at 1 0." in outcome.out
    outcome = muster("evaluate", "search", "--captions", tmp_path / "none.json", "-l", library.uri)
    assert (outcome.code, "none.json: no such file" in outcome.err) == (2, True)


def test_what_does_not_fit(library: LibraryFiles, tmp_path: Path) -> None:
    for content, text in {
        "[]": "not COCO JSON of captions",
        '{"annotations": [{"image_id": 1}]}': "no 'caption'",
        '{"annotations": [{"image_id": 1, "caption": 3}]}': "not COCO JSON",
        '{"annotations": [{"image_id": 1, "caption": ""}], "images": [{"id": 2, "file_name": "x"}]}': "image id 1",
        '{"annotations": [{"image_id": 999, "caption": "a dog"}]}': "of none of its photos",
    }.items():
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(InputError, match=text):
            muster.evaluate.search(library.uri, tmp_path / "x.json", machine=CPU)


def test_features_that_know_no_words(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "photos/1.png")
    library = open_library(tmp_path / "L", create=True)
    manifest.scan(library, [str(tmp_path / "photos")])
    file = write(tmp_path / "captions.json", [{"image_id": 1, "caption": "a dog"}])
    with pytest.raises(NotYetError):
        muster.evaluate.search(library.uri, file, machine=CPU)
    embeddings_of(library, lambda name: np.ones(4, np.float32))
    with pytest.raises(InputError, match="know no words"):
        muster.evaluate.search(library.uri, file, machine=CPU)
