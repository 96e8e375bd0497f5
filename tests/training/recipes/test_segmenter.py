from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from muster.errors import InputError
from muster.tasks.models import segmenter as networks
from muster.training import loop, recipes
from muster.training.data.masked_photos import VOID
from muster.training.inputs import Inputs
from muster.training.recipes import segmenter
from muster.training.record import METRICS, read_metrics

SMALL = replace(
    segmenter.PEOPLE_DESIGN,
    widths=(8, 8, 16, 16, 16),
    side=64,
    framing=replace(segmenter.PEOPLE_DESIGN.framing, crop=64),
    settings=replace(segmenter.PEOPLE_DESIGN.settings, steps=24, batch=6, report_every=8, learning_rate=5e-3),
)


@pytest.fixture
def discs(tmp_path: Path) -> Inputs:
    """Photos of bright discs before dark noise, with their masks."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:48, :64]
    for number in range(12):
        disc = np.hypot(x - random.integers(16, 48), y - 24) < 12
        photo = random.integers(0, 90, (48, 64, 3)) + 150 * disc[..., None]
        for part, array in (("images", photo), ("labels", disc * 255)):
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(tmp_path / part / f"{number}.png")
    return Inputs(images=[str(tmp_path / "images")], out=tmp_path / "out", labels=[str(tmp_path / "labels")])


def test_it_learns_and_what_it_writes_can_be_built(discs: Inputs) -> None:
    recipe = segmenter.SegmenterRecipe(discs, SMALL)
    file = loop.train(recipe, discs.out, torch.device("cpu"), lambda report: None)
    lines = read_metrics(discs.out / METRICS)
    assert lines[-1]["loss"] < 0.7 * lines[0]["loss"]
    card = (discs.out / loop.CARD).read_text()
    assert '"miou"' in card
    network = networks.from_state(_half(file))
    assert network.head.weight.shape[:2] == (2, 8)


def _half(file: Path) -> dict[str, torch.Tensor]:
    import safetensors.torch

    return safetensors.torch.load_file(file)


def test_the_same_step_is_the_same_batch(discs: Inputs) -> None:
    one, other = (segmenter.SegmenterRecipe(discs, SMALL).batch(5, 0, 1) for _ in range(2))
    assert one["images"].equal(other["images"])
    assert one["labels"].equal(other["labels"])
    assert len(one["names"]) == 6
    assert set(one["labels"].unique().tolist()) <= {0, 1, VOID}
    halves = [segmenter.SegmenterRecipe(discs, SMALL).batch(5, rank, 2)["names"] for rank in (0, 1)]
    assert sorted([*halves[0], *halves[1]]) == sorted(one["names"])


def test_a_third_is_kept_out(discs: Inputs) -> None:
    recipe = segmenter.SegmenterRecipe(discs, SMALL)
    assert not set(recipe.photos.names) & set(recipe.measured.names)
    assert len(recipe.photos.names) + len(recipe.measured.names) == 12
    figures = recipe.measure(recipe.network().eval())
    assert 0 <= figures["miou"] <= 1


def test_rare_classes_weigh_more() -> None:
    labels = torch.full((2, 4, 4), VOID, dtype=torch.uint8)
    labels[0, 0], labels[0, 1], labels[0, 2, 0] = 0, 0, 1  # 8 and 1 pixels of 9
    labels[1, 0], labels[1, 1] = 0, 2  # 4 and 4 of 8
    weights = segmenter.balance(labels, 4)
    frequency = torch.tensor([12 / 17, 1 / 9, 4 / 8])
    torch.testing.assert_close(weights[:3], frequency.median() / frequency)
    assert weights[3] == 1  # shown nowhere


def test_by_their_names(tmp_path: Path) -> None:
    assert {"streets", "person", "objects"} <= set(recipes.RECIPES)
    for name in ("streets", "person"):
        with pytest.raises(InputError, match="1 `images` and 0 `labels`"):
            recipes.find(name).build(Inputs(images=[str(tmp_path)], out=tmp_path))


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_what_is_kept_out_is_no_photo_of_the_training(discs: Inputs, share: float) -> None:
    design = replace(SMALL, held_out=share)
    if share:
        with pytest.raises(InputError, match="all 12 photos are among those kept out"):
            segmenter.SegmenterRecipe(discs, design)
        return
    recipe = segmenter.SegmenterRecipe(discs, design)
    assert recipe.card()["held_out"] == {"photos": 0}
    assert recipe.measure(recipe.network().eval()) == {}
