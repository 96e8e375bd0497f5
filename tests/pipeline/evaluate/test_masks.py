import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from helpers.runs import config_of
from muster.errors import InputError
from muster.pipeline.evaluate.masks import evaluate, label_files, painted, pick_model, truth_of
from muster.pipeline.work.config import RunConfig
from muster.tasks.geometry import rle
from muster.tasks.metrics.pixels import VOID, confusion, segment_scores
from muster.tasks.models.zoo.masks import FORMS, PERSON_LABELS, VOC_LABELS

PERSON: Any = FORMS["sinet-portrait"]
VOC: Any = FORMS["deeplabv3-resnet50"]


@pytest.fixture
def photos(data: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Four photos of people, one of them also at 1,000 pixels, more than is decoded; and their label images."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir(), labels.mkdir()
    for stem in ("001", "002", "004", "005"):
        shutil.copy(data / f"person_masks/images/{stem}.jpg", images)
        shutil.copy(data / f"person_masks/masks/{stem}.png", labels)
    for folder, name in ((images, "001.jpg"), (labels, "001.png")):
        large = Image.open(folder / name).resize((1000, 663), Image.Resampling.NEAREST)
        large.save(folder / f"large{name[3:]}")
    return images, labels


def config(weights: Path, library: str = "", **more: Any) -> RunConfig:
    return config_of(library, "masks", workers=1, weights_dir=weights, **more)


@pytest.mark.usefixtures("ray_cluster")
def test_people_end_to_end(photos: tuple[Path, Path], weights: Path, tmp_path: Path) -> None:
    """A file that is no image is counted and not compared; the figures are those of masks painted by hand."""
    images, labels = photos
    (images / "broken.jpg").write_text("This is not an image.")
    shutil.copy(labels / "001.png", labels / "broken.png")
    facts = evaluate(str(images), labels, config(weights, str(tmp_path / "L")), lambda progress: None)
    assert facts.keys() >= {"miou", "global_accuracy", "class_average", "per_class", "confusion", "images", "classes"}
    assert (facts["images"], facts["errors"], facts["model"]) == (6, 1, "person")
    assert facts["classes"] == ["background", "person"] == list(facts["per_class"])
    assert 0.7 < facts["per_class"]["person"] < facts["miou"] < facts["global_accuracy"] < 1
    sizes = [np.asarray(Image.open(file)).size for file in labels.iterdir() if file.stem != "broken"]
    matrix = np.array(facts["confusion"])
    assert matrix.sum() == sum(sizes)
    assert facts["miou"] == round(segment_scores(matrix).miou, 5)
    seen: list[object] = []
    assert evaluate(str(images), labels, config(weights, str(tmp_path / "L")), seen.append) == facts
    assert not seen  # the work was in the library


@pytest.mark.usefixtures("ray_cluster")
def test_a_label_image_of_another_size(photos: tuple[Path, Path], weights: Path) -> None:
    images, labels = photos
    Image.open(labels / "002.png").resize((30, 20)).convert("1").save(labels / "002.png")
    with pytest.raises(InputError, match=r"labels/002.png: 30×20 pixels, but its image has 299×168"):
        evaluate(str(images), labels, config(weights), lambda progress: None)


def _remove(labels: Path) -> None:
    (labels / "002.png").unlink(), (labels / "004.png").unlink()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (shutil.rmtree, r"`labels` .*labels: no such folder"),
        (_remove, r"`labels` .*: 2 of 5 images have none; first .*/00[24].png"),
        (lambda labels: (labels / "002.png").write_text("no"), r"002.png: not an image that can be read"),
        (lambda labels: Image.new("RGB", (9, 9)).save(labels / "002.png"), r"002.png: an image of mode RGB"),
        (lambda labels: Image.new("L", (299, 168), 77).save(labels / "002.png"), r"for the values 0, 77, 255"),
    ],
    ids=["no folder", "two missing", "no image", "colours", "values"],
)
def test_labels_that_do_not_fit_are_refused_before_the_work(
    photos: tuple[Path, Path], weights: Path, change: Callable[[Path], Any], error: str
) -> None:
    images, labels = photos
    change(labels)
    with pytest.raises(InputError, match=error):
        evaluate(str(images), labels, config(weights), lambda progress: None)


def test_two_images_of_one_name(photos: tuple[Path, Path], weights: Path) -> None:
    images, labels = photos
    Image.open(images / "001.jpg").save(images / "001.png")
    with pytest.raises(InputError, match=r"`images`: 2 are named 001, but .*001.png can label one only"):
        evaluate(str(images), labels, config(weights), lambda progress: None)


def test_the_model_is_the_one_that_the_values_fit() -> None:
    assert pick_model({0, 255}, None) == pick_model({0, 1}, None) == pick_model(set(), None) == "person"
    assert pick_model({0, 15, 20, 255}, None) == "lraspp"
    assert pick_model({0, 15}, "deeplabv3") == "deeplabv3"
    with pytest.raises(InputError, match="no model of masks has classes for the values 0, 99; name one by `model`"):
        pick_model({0, 99}, None)
    with pytest.raises(InputError, match="masks=sinet has no class for the values 15, 16"):
        pick_model({0, 15, 16}, "sinet")
    with pytest.raises(InputError, match=r"masks=sinet has no class for .* 13 and 241 more"):
        pick_model(set(range(256)), "sinet")
    with pytest.raises(
        InputError, match="`model` masks=maskrcnn finds instances; compared are: person, streets, sinet"
    ):
        pick_model({0}, "maskrcnn")


def test_values_are_classes(tmp_path: Path) -> None:
    palette = Image.fromarray(np.array([[0, 15, 255]], np.uint8), "L").convert("L")
    palette.putpalette(list(range(256)) * 3)
    palette.save(tmp_path / "palette.png")
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bits.png")
    assert truth_of(tmp_path / "palette.png", 3, 1, VOC).tolist() == [[0, 15, VOID]]
    assert truth_of(tmp_path / "bits.png", 2, 1, PERSON).tolist() == [[1, 0]]
    assert (VOC_LABELS[255], PERSON_LABELS[255]) == (None, 1)


def test_painted_masks_are_scaled_and_the_rest_is_background() -> None:
    mask = np.array([[1, 0], [0, 0]], np.uint8)
    row = {"height": 2, "width": 2, "label_id": 1, "rle": rle.encode(mask)["counts"]}
    found = painted([row], 4, 6, PERSON)
    assert found.tolist() == [[1, 1, 1, 0, 0, 0]] * 2 + [[0] * 6] * 2
    assert confusion(found, painted([], 4, 6, PERSON), 2).tolist() == [[18, 0], [6, 0]]


@pytest.mark.parametrize(("photo", "label"), [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_labels_whose_names_are_written_otherwise(tmp_path: Path, photo: str, label: str) -> None:
    file = tmp_path / normalize(label, "Zoë.png")
    file.touch()
    images = pa.table({"image_id": ["1"], "uri": ["/a/" + normalize(photo, "Zoë.jpg")]})
    assert label_files(images, tmp_path) == {"1": file}
