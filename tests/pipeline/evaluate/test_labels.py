import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from PIL import Image
from skimage import data as photos

from helpers.runs import config_of
from muster.errors import InputError
from muster.pipeline.evaluate.labels import evaluate
from muster.pipeline.work.weights import load_weights
from muster.tasks import base
from muster.tasks.features import PhotoEmbedder
from muster.tasks.models import zoo
from muster.tasks.models.head import Head, state_of

NAMES = ("coffee", "astronaut", "chelsea", "rocket")


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head that knows four photos, but takes the rocket for a cup."""
    embed = PhotoEmbedder(
        zoo.ENTRIES["muster-features"].build(load_weights(zoo.ENTRIES["muster-features"], None)), torch.device("cpu")
    )
    pixels = [getattr(photos, name)() for name in NAMES]
    vectors = embed([base.Image("", each, 1.0, (each.shape[1], each.shape[0])) for each in pixels])
    wanted = 20 * (np.array([[1, 0, 0, 2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) - 0.5)
    weight = torch.from_numpy((wanted @ np.linalg.pinv(vectors.T)).astype(np.float32))
    bias = torch.zeros(4)
    file = tmp_path_factory.mktemp("head") / "labels.safetensors"
    classes = ["cup", "woman", "cat", "rocket"]
    safetensors.torch.save_file(state_of(Head(weight, bias, classes, "muster-features", True)), file)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A photo in a folder of each class, one more in a folder that the model does not know, and one that is none."""
    for name, kind in zip(NAMES, ("cup", "woman", "cat", "rocket"), strict=True):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        Image.fromarray(getattr(photos, name)()).save(tmp_path / "photos" / kind / f"{name}.png")
    (tmp_path / "photos" / "dog").mkdir()
    Image.fromarray(photos.chelsea()).save(tmp_path / "photos" / "dog" / "rex.png")
    (tmp_path / "photos" / "cat" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    return tmp_path / "photos"


Evaluate = Callable[..., dict[str, Any]]


@pytest.fixture
def judged(head: Path, ray_cluster: None) -> Evaluate:
    def call(images: Path, label: str | None = None, annotations: Path | None = None) -> dict[str, Any]:
        config = config_of("", "labels", models={"labels": "head"}, weights={"labels": head}, workers=1)
        return evaluate(str(images), label, annotations, config, lambda progress: None)

    return call


def test_folders_say_what_photos_show(judged: Evaluate, folder: Path) -> None:
    """A photo that cannot be read counts as wrong, one of a class that is not known is left out."""
    facts = judged(folder)
    assert (facts["model"], facts["images"], facts["unlabelled"], facts["errors"]) == ("head", 5, 0, 1)
    assert facts["unknown_classes"] == ["dog"]
    assert facts["per_class"] == {"cup": 1.0, "woman": 1.0, "cat": 0.5, "rocket": 0.0}
    assert (facts["top1"], facts["top5"]) == (0.6, 0.8)


def test_a_column_of_lists(judged: Evaluate, folder: Path, tmp_path: Path) -> None:
    files = sorted(folder.rglob("*.png"))
    lists = {
        "coffee.png": ["cup", "dog"],
        "astronaut.png": ["woman", "rocket"],
        "rocket.png": [],
        "chelsea.png": ["cat"],
    }
    rows = pa.table({"uri": [str(f) for f in files], "on": [lists.get(f.name) for f in files]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    facts = judged(tmp_path / "rows.parquet", "on")
    assert (facts["images"], facts["unlabelled"], facts["unknown_classes"]) == (4, 2, ["dog"])
    # The rocket is taken for a cup too, with a higher score; and the astronaut is not the likeliest rocket.
    assert facts["per_class"]["woman"] == facts["per_class"]["cat"] == 1.0
    assert facts["per_class"]["cup"] == 0.5
    assert facts["per_class"]["rocket"] < 1
    assert facts["map"] == pytest.approx(np.mean([*facts["per_class"].values()]), abs=1e-3)
    assert 0 <= facts["calibration_error"] <= 1


def test_a_coco_file(judged: Evaluate, folder: Path, tmp_path: Path) -> None:
    where = {"bbox": [0, 0, 9, 9], "iscrowd": 1}
    content = {
        "images": [{"id": 1, "file_name": "coffee.png"}, {"id": 2, "file_name": "astronaut.png"}],
        "categories": [{"id": 7, "name": "woman"}, {"id": 8, "name": "sofa"}],
        "annotations": [{**where, "image_id": 2, "category_id": 7}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    facts = judged(folder, None, tmp_path / "boxes.json")
    assert (facts["map"], facts["images"], facts["unlabelled"]) == (1.0, 2, 4)


def test_labels_that_do_not_fit(judged: Evaluate, folder: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [(folder / "cat/chelsea.png").read_bytes()]}), folder / "cat/rows.parquet")
    with pytest.raises(InputError, match="lie in no folder that says what they show"):
        judged(folder / "cat/rows.parquet")
    (folder / "cat/rows.parquet").unlink()
    with pytest.raises(InputError, match="`label` kind: no such column; known: "):
        judged(folder, "kind")
    with pytest.raises(InputError, match="knows none of the classes dog; it knows cup, woman, cat and 1 more"):
        judged(folder / "dog")
    empty = {"images": [], "categories": [], "annotations": []}
    (tmp_path / "boxes.json").write_text(json.dumps(empty))
    with pytest.raises(InputError, match="none of its photos is among `images`"):
        judged(folder, None, tmp_path / "boxes.json")
