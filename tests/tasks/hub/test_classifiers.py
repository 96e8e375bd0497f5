"""Classifiers and embedders of the `transformers` library: as its own pipelines, on photos of every shape."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.published import by_image, loaded, photos, picture, save
from muster.errors import TaskError
from muster.tasks.features import Features
from muster.tasks.hub.classifiers import names
from muster.tasks.labels import Labels
from muster.testing import check_task


@pytest.mark.parametrize("kind", ["vit", "convnext"])
def test_labels(kind: str, tmp_path: Path, data: Path) -> None:
    """One label alone may hold (ViT), or several (ConvNeXt)."""
    import transformers as hf

    folder, images = save(kind, tmp_path / kind), photos(data)
    rows = loaded("labels", folder, min_score=0)(images)
    run = hf.pipeline("image-classification", model=str(folder), device="cpu")
    sums = []
    for image, ours in zip(images, by_image(rows, images), strict=True):
        theirs = run(picture(image), top_k=20)
        assert [row["label"] for row in ours] == [each["label"] for each in theirs]
        assert [row["score"] for row in ours] == pytest.approx([each["score"] for each in theirs], abs=1e-4)
        sums.append(sum(row["score"] for row in ours))
    assert np.allclose(sums, 1, atol=1e-5) == (kind == "vit")


@pytest.mark.parametrize("kind", ["dinov2", "clip", "siglip", "siglip2"])
def test_features(kind: str, tmp_path: Path, data: Path) -> None:
    import transformers as hf

    folder, images = save(kind, tmp_path / kind), photos(data)
    ours = np.array(loaded("features", folder)(images)["embedding"].to_pylist())
    network = hf.AutoModel.from_pretrained(folder).eval()
    processor = hf.AutoImageProcessor.from_pretrained(folder)
    for image, embedding in zip(images, ours, strict=True):
        inputs = processor(picture(image), return_tensors="pt")
        with torch.inference_mode():
            see = network if kind == "dinov2" else network.get_image_features
            theirs = see(**inputs).pooler_output[0].numpy()
        assert embedding == pytest.approx(theirs / np.linalg.norm(theirs), abs=1e-5)
    assert ours.shape[1] == {"dinov2": 32, "clip": 24, "siglip": 32, "siglip2": 32}[kind]
    assert np.ptp(ours @ ours.T) > 1e-3, "photos that differ have embeddings that differ"


def test_a_pooler_without_weights_is_not_used(tmp_path: Path, data: Path) -> None:
    """Of a classifier, whose file has none: what it would pool is random, and another in each process."""
    import transformers as hf

    classifier = hf.AutoModelForImageClassification.from_pretrained(save("vit", tmp_path / "vit"))
    classifier.vit.save_pretrained(tmp_path / "bare")
    hf.AutoImageProcessor.from_pretrained(tmp_path / "vit").save_pretrained(tmp_path / "bare")
    images = photos(data, 6)
    ours = np.array(loaded("features", tmp_path / "bare")(images)["embedding"].to_pylist())
    processor = hf.AutoImageProcessor.from_pretrained(tmp_path / "bare")
    with torch.inference_mode():
        tokens = classifier.vit.eval()(**processor([picture(image) for image in images], return_tensors="pt"))
    first = tokens.last_hidden_state[:, 0].numpy()
    assert ours == pytest.approx(first / np.linalg.norm(first, axis=1, keepdims=True), abs=1e-5)


def test_amounts_are_no_labels(tmp_path: Path) -> None:
    _change(save("vit", tmp_path / "vit") / "config.json", problem_type="regression")
    with pytest.raises(TaskError, match="gives amounts and no labels"):
        loaded("labels", tmp_path / "vit")


def test_settings_that_make_nan_are_said(tmp_path: Path, data: Path) -> None:
    _change(save("vit", tmp_path / "vit") / "preprocessor_config.json", image_std=[0, 0, 0])
    with pytest.raises(TaskError, match="the network gives NaN"):
        loaded("labels", tmp_path / "vit")(photos(data, 5))


def test_names_of_classes() -> None:
    assert names(SimpleNamespace(id2label={1: "b", 0: "a\ud800"})) == ("a?", "b")
    for gaps in ({1: "a"}, {0: "a", 2: "b"}):
        with pytest.raises(TaskError, match="does not number its classes from 0 on"):
            names(SimpleNamespace(id2label=gaps))


def _change(file: Path, **settings: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def test_the_contract_of_a_task(tmp_path: Path, data: Path) -> None:
    images = photos(data, 6)
    check_task(Labels, model=f"hf:{save('vit', tmp_path / 'vit')}", options={"min_score": 0.1}, images=images)
    check_task(Features, model=f"hf:{save('clip', tmp_path / 'clip')}", images=images)
