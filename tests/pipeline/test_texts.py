import json
import threading
import time
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import AutoModel, AutoProcessor

import muster
from helpers.published import save
from helpers.seen import look
from helpers.words import seen_by
from muster.arrays import F32
from muster.errors import InputError
from muster.pipeline.texts import TEXTLESS, ModelTexts, texts_of
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.machine import Machine
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library

CPU = Machine(device="cpu")
PHOTOS = 12


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    (tmp_path / "photos").mkdir()
    random = np.random.default_rng(0)
    for number in range(PHOTOS):
        small = random.integers(0, 256, (5, 7, 3), np.uint8)
        Image.fromarray(small).resize((90, 64)).save(tmp_path / f"photos/{number:02}.png")
    library = open_library(tmp_path / "L", create=True)
    manifest.scan(library, [str(tmp_path / "photos")])
    look(library)
    return library


def by_the_library(model: Path, folder: Path, text: str) -> dict[str, float]:
    """File name → cosine, by a matrix product of what `transformers` itself says."""
    import torch

    network, processor = AutoModel.from_pretrained(model).eval(), AutoProcessor.from_pretrained(model)
    files = sorted(folder.iterdir())
    pictures = processor.image_processor([Image.open(file) for file in files], return_tensors="pt")
    how = {"padding": "max_length"} if "siglip" in network.config.model_type else {}
    words = processor.tokenizer([text.lower()], max_length=24, truncation=True, return_tensors="pt", **how)
    if how:
        words.pop("attention_mask")
    with torch.inference_mode():
        one = network.get_image_features(**pictures).pooler_output.numpy()
        other = network.get_text_features(**words).pooler_output.numpy()
    one, other = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (one, other))
    return dict(zip([file.name for file in files], (one @ other[0]).tolist(), strict=True))


def found(library: LibraryFiles, text: str, **more: Any) -> tuple[dict[str, float], Any]:
    result = muster.open(library.uri).search(text, machine=CPU, **more)
    names = [Path(uri).name for uri in result.table["uri"].to_pylist()]
    return dict(zip(names, result.table["similarity"].to_pylist(), strict=True)), result


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_photos_are_ranked_as_a_matrix_product_ranks_them(kind: str, library: LibraryFiles, tmp_path: Path) -> None:
    model = save(kind, tmp_path / "model")
    seen_by(library, model)
    for text in ("children in the snow", "A red dog", "снег и дети"):
        wanted = by_the_library(model, tmp_path / "photos", text)
        ranked = sorted(wanted, key=lambda name: -wanted[name])
        assert max(wanted.values()) - min(wanted.values()) > 0.02
        for query in (text, f'looks:"{text}"'):
            near, _ = found(library, query)
            assert list(near) == ranked
            np.testing.assert_allclose(list(near.values()), [wanted[name] for name in ranked], atol=2e-5)
        assert list(found(library, text, most=3)[0]) == ranked[:3]
        assert list(found(library, f"{text} -file:{ranked[0]}")[0]) == ranked[1:]
        assert list(found(library, f"file:03 {text}")[0]) == ["03.png"]
    assert texts_of(library, tables.fingerprint(TaskChoice(name="features", model=f"hf:{model}").description))


def test_the_words_of_a_description_are_understood(library: LibraryFiles, tmp_path: Path) -> None:
    seen_by(library, save("clip", tmp_path / "model"))
    _, result = found(library, "children in the snow")
    [words] = result.understood
    assert (words.meanings, words.photos, words.terms) == ((("looks", "children in the snow"),), PHOTOS, (0, 4))
    assert (result.unknown, result.notes) == ((), ())
    with pytest.raises(InputError, match=r"`like` 01\.png: .* 'snow'"):
        found(library, "snow", like="01.png")
    with pytest.raises(InputError, match="-looks:"):
        found(library, "-looks:snow")


def test_without_a_model_of_words_it_is_said_what_one_would_add(library: LibraryFiles) -> None:
    result = muster.open(library.uri).search("children in the snow", machine=CPU)
    assert (result.table.num_rows, result.notes[-1]) == (0, TEXTLESS)
    assert [each.text for each in result.unknown] == ["children", "snow"]


def test_a_model_that_is_gone_or_another_one_is_said(library: LibraryFiles, tmp_path: Path) -> None:
    model = save("clip", tmp_path / "model")
    fingerprint = seen_by(library, model)
    texts = texts_of(library, fingerprint)
    assert isinstance(texts, ModelTexts)
    save("clip", model, seed=1)
    with pytest.raises(InputError, match="not the model any more"):
        texts(["snow"])
    rmtree(model)
    result = muster.open(library.uri).search("snow", machine=CPU)
    assert result.table.num_rows == 0
    assert "no such folder" in result.notes[0]
    assert muster.open(library.uri).search("file:01", machine=CPU).table.num_rows == 1
    save("clip", model)
    assert len(texts(["snow"])) == 1


def test_a_network_without_words_has_no_texts(library: LibraryFiles, tmp_path: Path) -> None:
    name = tables.describe(library, {"task": "features", "version": 1, "model": f"hf:{tmp_path}/model"})
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps({"model_type": "vit"}))
    assert texts_of(library, name) is None
    own = tables.describe(library, TaskChoice(name="features").description)
    assert texts_of(library, own) is None


def test_threads_load_it_once() -> None:
    loads: list[int] = []

    class Loaded(ModelTexts):
        def _loaded(self) -> Any:
            loads.append(1)
            time.sleep(0.05)  # others come meanwhile
            return lambda texts: np.array([[len(text)] for text in texts], np.float32)

    texts, together = Loaded("", "", None), threading.Barrier(8)
    answers: dict[int, F32] = {}

    def ask(number: int) -> None:
        together.wait()
        answers[number] = texts(["x" * number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == [1]
    assert {number: float(answer[0, 0]) for number, answer in answers.items()} == {n: n for n in range(1, 9)}
