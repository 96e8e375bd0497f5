"""training/recipes/labels.py: heads on our own features, for pictures of three colours."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.trainings import check_it_goes_on
from muster.errors import InputError
from muster.pipeline.work.training import Training
from muster.pipeline.work.weights import parse
from muster.storage import downloads
from muster.tasks.metrics.labels import calibration_error
from muster.tasks.models.head import from_state
from muster.training.inputs import Inputs
from muster.training.loop import Recipe, Report, train
from muster.training.recipes.labels import MOST_DECAY, HeadRecipe, calibrated

CPU = torch.device("cpu")
COLOURS = {"red": (200, 30, 30), "green": (30, 190, 40), "blue": (40, 40, 200)}


def picture(colours: Sequence[str], seed: int) -> bytes:
    """Stripes of these colours in noise, 40 pixels wide."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 60, (32, 40, 3))
    for number, colour in enumerate(colours):
        pixels[:, number::3] += np.array(COLOURS[colour]) * 3 // 4
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


Table = Callable[..., str]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """table(labels): a picture for each label, or list of labels; without any a grey one."""

    def made(labels: Sequence[Any], **columns: Sequence[Any]) -> str:
        shown = [[label] if isinstance(label, str) else label or [] for label in labels]
        data = [picture(each, seed) for seed, each in enumerate(shown)]
        names = [f"{number}.png" for number in range(len(labels))]
        rows = pa.table({"image": data, "kind": pa.array(labels), "file_name": names, **columns})
        pq.write_table(rows, tmp_path / "rows.parquet")
        return str(tmp_path / "rows.parquet")

    return made


def recipe(tmp_path: Path, *images: str, label: str | None = "kind", labels: Sequence[str] = (), **more: Any) -> Recipe:
    inputs = Inputs(images=images, label=label, labels=labels, out=tmp_path / "out", steps=120)
    return Training(recipe="labels", inputs=replace(inputs, **more)).build(more.get("on_skipped", lambda text: None))


def trained(made: Recipe, out: Path, on_report: Callable[[Report], None] = lambda report: None) -> Mapping[str, Any]:
    train(made, out, CPU, on_report)
    return json.loads((out / "card.json").read_text())


def test_one_class_on_each_photo(table: Table, tmp_path: Path) -> None:
    made = recipe(tmp_path, table([*COLOURS] * 16))
    card = trained(made, tmp_path / "out")
    assert card["measured"]["top1"] >= 0.9
    assert (card["classes"], card["base"]) == (["blue", "green", "red"], "muster-features")
    assert card["photos"] + card["held_out"]["photos"] == 48
    head = from_state(parse(downloads.read(tmp_path / "out/labels.safetensors")))
    assert isinstance(made, HeadRecipe)
    chances = head(made.photos.vectors[made.measured])
    torch.testing.assert_close(chances.sum(1), torch.ones(len(chances)))
    right = (chances.argmax(1) == made.photos.truth[made.measured].argmax(1)).float().mean()
    assert float(right) == pytest.approx(card["measured"]["top1"], abs=1e-3)


def test_any_number_on_a_photo(table: Table, tmp_path: Path) -> None:
    """By a column of lists; photos without a list are left out, and those with an empty one show nothing."""
    kinds = [["red"], ["red", "blue"], [], ["blue"], None] * 14
    left_out: list[str] = []
    made = recipe(tmp_path, table(kinds), on_skipped=left_out.append)
    assert isinstance(made, HeadRecipe)
    assert (made.photos.several, list(made.photos.classes), len(made.photos.names)) == (True, ["blue", "red"], 56)
    assert left_out == [f"{number}.png: nothing says what it shows" for number in range(4, 70, 5)]
    assert trained(made, tmp_path / "out")["measured"]["map"] >= 0.9


def test_what_coco_files_say(table: Table, tmp_path: Path) -> None:
    """Each category once for each photo; a photo that the file does not name is left out."""
    source = table([["red"], ["red", "blue"], []] * 14)
    where = {"bbox": [0, 0, 9, 9], "iscrowd": 0}
    content = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in range(41)],
        "categories": [{"id": 1, "name": "red"}, {"id": 2, "name": "blue"}, {"id": 3, "name": "none"}],
        "annotations": [
            *({**where, "image_id": n, "category_id": 1} for n in range(41) if n % 3 < 2 for _ in range(2)),
            *({**where, "image_id": n, "category_id": 2, "iscrowd": 1} for n in range(41) if n % 3 == 1),
        ],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    made = recipe(tmp_path, source, label=None, labels=[str(tmp_path / "boxes.json")])
    assert isinstance(made, HeadRecipe)
    by_name = {int(name.split(".")[0]): truth for name, truth in zip(made.photos.names, made.photos.truth, strict=True)}
    assert by_name.keys() == set(range(41))
    assert all(truth.tolist() == [n % 3 == 1, n % 3 < 2] for n, truth in by_name.items())
    others = {**content, "images": [{"id": n, "file_name": f"other-{n}.png"} for n in range(41)]}
    (tmp_path / "others.json").write_text(json.dumps(others))
    with pytest.raises(InputError, match=r"`labels` .*others.json: none of its photos is among `images`"):
        recipe(tmp_path, source, label=None, labels=[str(tmp_path / "others.json")])
    with pytest.raises(InputError, match="give a COCO file for each"):
        recipe(tmp_path, source, source, label=None, labels=[str(tmp_path / "boxes.json")])


def test_who_says_what_is_kept_out(table: Table, tmp_path: Path) -> None:
    split = ["train", "test"] * 24
    made = recipe(tmp_path, table([*COLOURS] * 16, split=split))
    assert isinstance(made, HeadRecipe)
    assert made.photos.kept_out.tolist() == [False, True] * 24
    assert made.settings.weight_decay == MOST_DECAY


def test_too_little_to_learn_from(table: Table, tmp_path: Path) -> None:
    for labels, text in {
        ("red",) * 20: "at least two classes; it found red",
        ("red",) * 20 + ("blue",): "blue .0 of 1.|blue .1 of 1.",
        (None,) * 4: "at least two classes; it found none",
    }.items():
        with pytest.raises(InputError, match=text):
            recipe(tmp_path, table(labels))
    left_out: list[str] = []
    with pytest.raises(InputError, match="no class is on 2 photos or more"):
        recipe(tmp_path, table([["red"], ["blue"], []]), on_skipped=left_out.append)
    assert any(text.startswith("class red: ") for text in left_out)
    with pytest.raises(InputError, match="`label` sort: no such column"):
        recipe(tmp_path, table(["red", "blue"]), label="sort")


def test_a_training_that_goes_on_ends_as_one_that_was_not_stopped(table: Table, tmp_path: Path) -> None:
    source = table([*COLOURS] * 8)
    check_it_goes_on(lambda: recipe(tmp_path, source), tmp_path, at=100)


@settings(max_examples=15, deadline=None)
@given(slope=st.floats(0.3, 3), offset=st.floats(-1, 1), several=st.booleans(), seed=st.integers(0, 1000))
def test_calibration_undoes_what_was_done(slope: float, offset: float, several: bool, seed: int) -> None:
    """Logits that are right, squeezed and moved, are right again."""
    random = torch.Generator().manual_seed(seed)
    right = 2 * torch.randn(4000, 3, generator=random)
    if several:
        chances = right.sigmoid()
        truth = (torch.rand(chances.shape, generator=random) < chances).float()
    else:
        chances, offset = right.softmax(1), 0.0
        drawn = torch.multinomial(chances, 1, generator=random)[:, 0]
        truth = torch.nn.functional.one_hot(drawn, 3).float()
    found, moved = calibrated((right - offset) / slope, truth, several)
    assert (found, moved) == (pytest.approx(slope, rel=0.15), pytest.approx(offset, abs=0.15))
    scaled = (right - offset) / slope * found + moved
    said = scaled.sigmoid() if several else scaled.softmax(1)
    assert calibration_error(said.numpy(), truth.numpy() > 0) < 0.03
