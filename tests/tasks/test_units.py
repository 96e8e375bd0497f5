"""The nine best of each unit, held to sorting everything."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from muster.errors import TaskError
from muster.pipeline.work.choice import TaskChoice
from muster.tasks.base import Image
from muster.tasks.models.classifiers import Classifier, Shown
from muster.tasks.units import BEST, SCHEMA, Units, best, view_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def task() -> Units:
    made = TaskChoice(name="units", model="daynight").load(CPU, None)
    assert isinstance(made, Units)
    return made


def image(number: int, side: int = 64, copy_of: int | None = None) -> Image:
    seed = number if copy_of is None else copy_of
    rough = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), np.uint8)
    pixels = np.repeat(np.repeat(rough, side // 4, 0), side // 4, 1)
    digest = hashlib.sha256(bytes([seed])).hexdigest()
    return Image(f"{number:03}", pixels, 1.0, (pixels.shape[1], pixels.shape[0]), sha256=digest)


def sorted_out(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The best of each unit, by sorting all of its rows."""
    found = []
    for unit in sorted({(row["layer"], row["unit"]) for row in rows}):
        seen: set[str] = set()
        mine = [row for row in rows if (row["layer"], row["unit"]) == unit]
        for row in sorted(mine, key=lambda row: (-row["value"], row["sha256"] or row["image_id"], row["image_id"])):
            photo = row["sha256"] or row["image_id"]
            if photo not in seen and len(seen) < BEST:
                seen.add(photo)
                found.append(row)
    return sorted(found, key=str)


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "image": st.integers(0, 30),
            "layer": st.sampled_from(["a", "b"]),
            "unit": st.integers(0, 1),
            "value": st.sampled_from([0.5, 1.0, 1.5, 2.0]),
        }
    ),
    max_size=80,
    unique_by=lambda row: (row["image"], row["layer"], row["unit"]),
)


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Every third image is a copy of another; some have no file."""
    full = []
    for row in rows:
        number = row["image"]
        sha256 = None if number % 7 == 0 else f"{(number - number % 3) * 7919 % 101:064}"
        full.append({**row, "image_id": f"i{number}", "sha256": sha256, "box_xyxy": [0, 0, number, 1]})
        del full[-1]["image"]
    return pa.Table.from_pylist(full, SCHEMA)


@given(rows=ROWS, cuts=st.lists(st.integers(0, 80), max_size=4), order=st.randoms(use_true_random=False))
def test_parts_in_any_order_give_what_sorting_everything_gives(rows: Any, cuts: list[int], order: Any) -> None:
    wanted = sorted_out(table(rows).to_pylist())
    order.shuffle(rows)
    ends = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    parts = [best(table(rows[a:b])) for a, b in pairwise(ends)]
    whole = best(pa.concat_tables([SCHEMA.empty_table(), *parts]))
    assert sorted(whole.to_pylist(), key=str) == wanted
    assert best(whole).equals(whole)


def test_a_call_gives_the_best_of_its_images(task: Units) -> None:
    images = [image(number) for number in range(14)]
    alone = [row for each in images for row in task([each]).to_pylist()]
    assert len(alone) > 14 * 60
    found, wanted = sorted(task(images).to_pylist(), key=str), sorted_out(alone)
    assert [(r["image_id"], r["layer"], r["unit"], r["box_xyxy"]) for r in found] == [
        (r["image_id"], r["layer"], r["unit"], r["box_xyxy"]) for r in wanted
    ]
    np.testing.assert_allclose([r["value"] for r in found], [r["value"] for r in wanted], rtol=1e-4)


def test_a_photo_counts_once_however_often_it_is_there(task: Units) -> None:
    rows = task([image(3), image(1, copy_of=3), image(2, copy_of=3), image(4)])
    assert set(rows["image_id"].to_pylist()) == {"001", "004"}


def test_a_unit_that_never_fires_has_no_rows(task: Units) -> None:
    black = task([Image("black", np.zeros((64, 64, 3), np.uint8), 1.0, (64, 64))])
    assert min(black["value"].to_pylist()[:-1]) > 0
    assert black.num_rows < task.watched.starts[-1]
    assert "unit" in black["layer"].to_pylist()  # the logit of day, which is far below 0, has no activation


def test_boxes_are_in_pixels_of_the_full_size(task: Units) -> None:
    whole, half = image(1, 64), image(1, 64)
    half = Image("half", half.pixels, 0.5, (whole.size[0] * 2, whole.size[1] * 2))
    once, twice = (np.array(task([each])["box_xyxy"].to_pylist()) for each in (whole, half))
    np.testing.assert_allclose(twice, once * 2)
    assert (once[:, 2:] <= whole.size).all()
    assert (once >= 0).all()


class Brightest(nn.Module):
    """One unit that sees a pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 1, 1)
        nn.init.ones_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


@pytest.mark.parametrize("at", [(30, 50), (70, 44), (60, 108)])
def test_what_a_classifier_cuts_off_is_counted(monkeypatch: pytest.MonkeyPatch, at: tuple[int, int]) -> None:
    """A white square on black, in a photo that is wider than what the network is shown of it."""
    made = Classifier(Brightest(), Shown(64, 48), ())
    task = Units("daynight")
    monkeypatch.setattr("muster.tasks.units.zoo.ENTRIES", {"mine": _Entry(made)})
    task.models = {"network": "mine"}
    task.load(CPU, {"mine": {}})
    pixels = np.zeros((100, 160, 3), np.uint8)
    pixels[at[0] : at[0] + 5, at[1] : at[1] + 5] = 255
    [row] = task([Image("one", pixels, 0.5, (320, 200))]).to_pylist()
    x0, y0, x1, y1 = row["box_xyxy"]
    assert 2 * at[1] - 3 <= (x0 + x1) / 2 <= 2 * at[1] + 13
    assert 2 * at[0] - 3 <= (y0 + y1) / 2 <= 2 * at[0] + 13
    assert x1 - x0 == pytest.approx(320 / (64 * 160 // 100), abs=1e-3)


class _Entry:
    def __init__(self, network: nn.Module) -> None:
        self.build = lambda weights: network


def test_a_network_that_is_shown_no_photos_is_refused() -> None:
    with pytest.raises(TaskError, match="no whole photos"):
        view_of("muster-quality", nn.Linear(3, 1))


@pytest.mark.parametrize("model", ["digits", "cifar", "person", "streets"])
def test_networks_that_are_shipped_have_units(model: str) -> None:
    made = TaskChoice(name="units", model=model).load(CPU, None)
    assert isinstance(made, Units)
    rows = made([image(1, 128), image(2, 256)])
    assert set(rows["layer"].to_pylist()) <= {layer.name for layer in made.watched.layers}
    last = next(number for number, layer in enumerate(made.watched.layers) if layer.name in ("fc3", "fc1", "head"))
    assert made.label(last, 1) or model == "digits"
    assert made.about(0).startswith("convolution")


def test_the_published_network(weights: Any) -> None:
    made = TaskChoice(name="units", model="squeezenet").load(CPU, weights)
    assert isinstance(made, Units)
    rows = made([image(1, 256)]).to_pylist()
    assert {row["layer"] for row in rows} == {layer.name for layer in made.watched.layers}
    assert made.about(0) == "convolution 7×7, stride 2, 96 units, each sees 7×7 of 227×227 pixels"
    assert made.about(26).endswith("each sees the whole picture")
    assert made.label(26, 0) == "tench"
    assert made.label(0, 0) == ""


def test_a_picture_made_for_a_unit_excites_it_more_than_photos(task: Units) -> None:
    """It shows what the unit sees of it: of the first layer 3×3 pixels, of the last everything."""
    last = len(task.watched.layers) - 1
    photos = task([image(number) for number in range(12)]).to_pylist()
    for number in (1, last):
        layer = task.watched.layers[number]
        made = task.ascended(number, [0, layer.units - 1])
        field = task.watched.fields(*task.size)[number]
        sides = {min(int((span.high - span.low).max()), side) for span, side in zip(field, task.size, strict=True)}
        assert {each.shape for each in made} == {(side, side, 3) for side in sides}
    pixels = task.ascended(last, [0])[0]
    [row] = [row for row in task([Image("made", pixels, 1.0, task.size)]).to_pylist() if row["layer"] == layer.name]
    assert row["value"] > max(row["value"] for row in photos if row["layer"] == layer.name)
