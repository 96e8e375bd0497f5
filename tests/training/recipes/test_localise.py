"""training/recipes/localise.py: a bar or a square, somewhere over noise."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from helpers.trainings import check_it_goes_on
from muster.errors import InputError
from muster.pipeline.work.training import Training
from muster.training.inputs import Inputs
from muster.training.loop import Recipe, train
from muster.training.recipes.localise import EMPTY, LocaliseRecipe, some

CPU = torch.device("cpu")


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def tables(tmp_path: Path) -> tuple[str, str]:
    """Digits, of which a third is for tests, and textures."""
    bar, square = np.zeros((28, 28)), np.zeros((28, 28))
    bar[4:24, 12:16] = square[6:22, 6:22] = 255
    split = ["train", "train", "test"] * 4
    digits = {"image": [png(bar), png(square)] * 6, "kind": ["bar", "square"] * 6, "split": split}
    pq.write_table(pa.table(digits), tmp_path / "digits.parquet")
    random = np.random.default_rng(0)
    noise = [png(random.integers(0, 120, (40, 60, 3))) for _ in range(6)]
    pq.write_table(pa.table({"image": noise, "split": ["train", "train", "test"] * 2}), tmp_path / "noise.parquet")
    return str(tmp_path / "digits.parquet"), str(tmp_path / "noise.parquet")


def recipe(tmp_path: Path, tables: tuple[str, str], **more: Any) -> LocaliseRecipe:
    digits, noise = tables
    inputs = Inputs(images=[digits], scenes=[noise], label="kind", out=tmp_path / "out", steps=40)
    made = Training(recipe="localise", inputs=replace(inputs, **more)).build(lambda text: None)
    assert isinstance(made, LocaliseRecipe)
    return made


def test_it_learns(tables: tuple[str, str], tmp_path: Path) -> None:
    made = recipe(tmp_path, tables)
    assert (made.classes, len(made.drawer.digits), len(made.other.digits)) == (["bar", "square"], 8, 4)
    losses: list[float] = []
    made.settings = replace(made.settings, batch=16, learning_rate=5e-4, report_every=10)
    train(made, tmp_path / "out", CPU, lambda report: losses.append(report.values["loss"]))
    assert losses[-1] < 0.7 * losses[0]
    measured = json.loads((tmp_path / "out/card.json").read_text())["measured"]
    assert measured.keys() == {"iou", "class_accuracy", "there"}


def test_a_share_of_the_scenes_is_empty(tables: tuple[str, str], tmp_path: Path) -> None:
    scenes = some(recipe(tmp_path, tables).drawer, 300, torch.Generator().manual_seed(0))
    assert (scenes.labels[:, 0] < 0).float().mean() == pytest.approx(EMPTY, abs=0.06)


def test_where_nothing_is_only_that_counts(tables: tuple[str, str], tmp_path: Path) -> None:
    made = recipe(tmp_path, tables)
    batch = dict(made.batch(0, 0, 1))
    nothing = {**batch, "classes": torch.full_like(batch["classes"], -1)}
    with torch.no_grad():
        parts = made.loss(made.network().eval(), nothing)
    assert float(parts["where"]) == float(parts["what"]) == 0
    assert float(parts["loss"]) == pytest.approx(float(parts["whether"]))


def test_a_training_that_goes_on_ends_as_one_that_was_not_stopped(tables: tuple[str, str], tmp_path: Path) -> None:
    def made() -> Recipe:
        found = recipe(tmp_path, tables)
        found.settings = replace(found.settings, steps=4, batch=4)
        return found

    check_it_goes_on(made, tmp_path, at=2)


def test_too_little_to_learn_from(tables: tuple[str, str], tmp_path: Path) -> None:
    for more, text in {
        "scenes": "this training draws over textures: name photos for them with `scenes`",
        "limit": "this training needs some of both",
    }.items():
        with pytest.raises(InputError, match=text):
            recipe(tmp_path, tables, **({"scenes": []} if more == "scenes" else {"limit": 1}))
