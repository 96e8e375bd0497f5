"""training/recipes/scenes.py: every detector of the history learns by the same recipe."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch
from PIL import Image

from helpers.trainings import check_it_goes_on
from muster.errors import InputError
from muster.pipeline.work.training import Training
from muster.training.data.boxed_photos import NOTHING
from muster.training.detectors.backbone import Found
from muster.training.inputs import Inputs
from muster.training.loop import Report, train
from muster.training.recipes import scenes
from muster.training.recipes.scenes import KINDS, ScenesRecipe, held_out, judged

CPU = torch.device("cpu")


def png(pixels: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """A bar and a square, of which a third is for tests, and textures."""
    folder = tmp_path_factory.mktemp("scenes")
    bar, square = np.zeros((28, 28)), np.zeros((28, 28))
    bar[4:24, 12:16] = square[6:22, 6:22] = 255
    digits = {"image": [png(bar), png(square)] * 3, "kind": ["bar", "square"] * 3}
    random = np.random.default_rng(0)
    noise = {"image": [png(random.integers(0, 120, (40, 60, 3))) for _ in range(4)]}
    for name, table, split in (
        ("digits", digits, ["train"] * 4 + ["test"] * 2),
        ("noise", noise, ["train", "test"] * 2),
    ):
        pq.write_table(pa.table({**table, "split": split}), folder / f"{name}.parquet")
    return Inputs(
        images=[str(folder / "digits.parquet")],
        scenes=[str(folder / "noise.parquet")],
        label="kind",
        out=folder / "out",
    )


def recipe(name: str, inputs: Inputs, **more: Any) -> ScenesRecipe:
    made = Training(recipe=name, inputs=inputs).build(lambda text: None)
    assert isinstance(made, ScenesRecipe)
    made.settings = replace(made.settings, batch=2, report_every=2, **more)
    return made


@pytest.mark.parametrize("name", KINDS)
def test_every_detector_trains_and_is_measured(
    name: str, inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "MEASURED", 4)
    reports: list[Report] = []
    path = train(recipe(name, inputs, steps=2), tmp_path / "out", CPU, reports.append)
    assert reports[-1].values["loss"] > 0
    assert safetensors.torch.load_file(path)


def test_a_training_that_goes_on_ends_as_one_that_was_not_stopped(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the one that draws regions by chance."""
    monkeypatch.setattr(scenes, "MEASURED", 2)
    check_it_goes_on(lambda: recipe("faster-rcnn", inputs, steps=4), tmp_path, at=2)


def test_what_is_right_is_judged_so(inputs: Inputs) -> None:
    made = recipe("yolo", inputs)
    drawn = held_out(made.other, 10)
    there = [labels != NOTHING for labels in drawn.labels]
    perfect = [
        Found(boxes=boxes[which], labels=labels[which] + 1, scores=torch.ones(int(which.sum())))
        for boxes, labels, which in zip(drawn.boxes, drawn.labels, there, strict=True)
    ]
    assert judged(made.classes, drawn, perfect) == {"ap50": 1.0, "ap": 1.0}
    wrong = [Found(boxes=each["boxes"], labels=3 - each["labels"], scores=each["scores"]) for each in perfect]
    assert judged(made.classes, drawn, wrong)["ap50"] < 0.3


def test_scenes_hold_one_to_eight(inputs: Inputs) -> None:
    counts = (held_out(recipe("ssd", inputs).other, 60).labels != NOTHING).sum(1)
    assert counts.min() >= 1
    assert counts.max() > 4


def test_photos_to_draw_over_are_needed(inputs: Inputs) -> None:
    with pytest.raises(InputError, match="this training draws over textures: name photos for them with `scenes`"):
        recipe("yolo", replace(inputs, scenes=[]))


def test_what_segments_is_needed(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="regions of rcnn are segments: pip install scikit-image"):
        recipe("rcnn", inputs)
    recipe("ssd", inputs)
