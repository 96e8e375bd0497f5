"""training/recipes/style_net.py: the cost goes down, as `Transfer` has it, and kills change nothing."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from muster.errors import InputError
from muster.tasks.models.style_net import Painter, StyleNet, from_state
from muster.tasks.models.style_transfer import Transfer
from muster.tasks.models.zoo import ENTRIES
from muster.training import loop
from muster.training.inputs import Inputs
from muster.training.loop import Report
from muster.training.recipes import style_net
from muster.training.record import METRICS

pytestmark = pytest.mark.precision

CPU = torch.device("cpu")
STEPS = 12


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos, and a picture of stripes whose style is learnt."""
    from skimage import data as pictures

    home = tmp_path_factory.mktemp("style")
    (home / "photos").mkdir()
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        for part in range(2):
            Image.fromarray(getattr(pictures, name)()[60 * part :, :200]).save(home / "photos" / f"{name}{part}.png")
    stripes = np.zeros((90, 100, 3), np.uint8)
    stripes[:, (np.arange(100) // 5) % 2 == 0] = (250, 200, 40)
    Image.fromarray(stripes).save(home / "stripes.png")
    return home


def inputs(place: Path, weights: Path, **given: Any) -> Inputs:
    squeezenet = {"squeezenet": torch.load(weights / "squeezenet1_0_imagenet.pth", weights_only=True)}
    usual = {"images": [str(place / "photos")], "styles": [str(place / "stripes.png")], "out": place, "steps": STEPS}
    return Inputs(**{**usual, "weights": squeezenet, **given})


def small(monkeypatch: Any) -> None:
    """A network and views of little work."""
    settings = replace(style_net.SETTINGS, batch=2, report_every=2, checkpoint_seconds=0, average=0.5)
    for name, value in {"SIDE": 48, "SETTINGS": settings, "StyleNet": lambda: StyleNet((4, 6, 8), 1)}.items():
        monkeypatch.setattr(style_net, name, value)


def run(place: Path, weights: Path, out: Path, die_at: int | None = None) -> list[Report]:
    class Dying(style_net.StyleNetRecipe):
        def batch(self, step: int, rank: int, ranks: int) -> Any:
            if step == die_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().batch(step, rank, ranks)

    reports: list[Report] = []
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        loop.train(Dying(inputs(place, weights, out=out)), out, CPU, reports.append)
    return reports


@pytest.fixture(scope="module")
def finished(place: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Report]]:
    out = tmp_path_factory.mktemp("finished") / "out"
    return out, run(place, weights, out)


@pytest.fixture
def recipe(place: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> style_net.StyleNetRecipe:
    small(monkeypatch)
    return style_net.StyleNetRecipe(inputs(place, weights))


# ---- learning --------------------------------------------------------------------------------------------------------


def test_the_cost_goes_down_and_what_is_written_paints(
    finished: tuple[Path, list[Report]], recipe: style_net.StyleNetRecipe, place: Path
) -> None:
    out, _ = finished
    card = json.loads((out / "card.json").read_text())
    torch.manual_seed(0)
    assert card["measured"]["cost"] < 0.5 * recipe.measure(recipe.network())["cost"]
    assert len(card["styles"]["sha256"]) == 1
    state = safetensors.torch.load_file(out / "style-net.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float16}
    photo = np.asarray(Image.open(place / "photos" / "coffee0.png"))[:70, :90]
    painted = Painter(from_state(state), CPU)(photo)
    assert 1 < np.abs(painted.astype(int) - photo).mean() < 150
    assert isinstance(ENTRIES["muster-style-net"].build(state), StyleNet)


def test_the_cost_is_that_of_pictures_painted_one_by_one(recipe: style_net.StyleNetRecipe, place: Path) -> None:
    photo = np.asarray(Image.open(place / "photos" / "chelsea0.png"))[:64, :64]
    style = np.asarray(Image.open(place / "stripes.png"))
    transfer = Transfer(recipe.maps.classifier, replace(recipe.recipe, steps=1), [(style, 1.0)])
    found = recipe._costs(*[style_net._tensor([photo])] * 2)
    assert float(found["loss"]) == pytest.approx(transfer(photo).curve[0], rel=1e-3)
    assert float(found["content"]) == 0


def test_a_killed_training_has_the_same_curve(
    place: Path, weights: Path, finished: tuple[Path, list[Report]], tmp_path: Path
) -> None:
    here = Path(__file__)
    code = f"from test_style_net import *; run(*map(Path, {[str(place), str(weights), str(tmp_path)]!r}), die_at=7)"
    threads = str(torch.get_num_threads())  # sums come out in another order with another number of them
    paths = os.pathsep.join(map(str, (here.parent, here.parents[2])))
    env = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": threads}
    died = subprocess.run([sys.executable, "-c", code], cwd=here.parent, env=env)
    assert died.returncode == -signal.SIGKILL
    assert not (tmp_path / "style-net.safetensors").exists()
    assert 4 <= torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] <= 7
    run(place, weights, tmp_path)
    for file in (METRICS, "style-net.safetensors"):
        assert (tmp_path / file).read_bytes() == (finished[0] / file).read_bytes()


def test_a_batch_depends_on_its_step_alone(recipe: style_net.StyleNetRecipe, place: Path, weights: Path) -> None:
    again = style_net.StyleNetRecipe(inputs(place, weights))
    again.batch(0, 0, 1)
    whole = recipe.batch(7, 0, 1)
    assert torch.equal(whole["photos"], again.batch(7, 0, 1)["photos"])
    assert not torch.equal(whole["photos"], again.batch(8, 0, 1)["photos"])
    assert (whole["photos"].shape, float(whole["photos"].max()) <= 1) == ((2, 3, 48, 48), True)
    parts = [recipe.batch(7, rank, 2) for rank in range(2)]
    assert torch.equal(torch.cat([part["photos"] for part in parts]), whole["photos"])
    assert [name for part in parts for name in part["names"]] == whole["names"]


# ---- bad input -------------------------------------------------------------------------------------------------------


def test_no_picture_of_a_style(place: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    Image.new("RGB", (1, 200)).save(tmp_path / "thin.png")
    for style, says in {
        None: "recipe style-net learns a style: name a picture of it with `styles`",
        str(tmp_path / "none.jpg"): "`styles` .*none.jpg: no such file",
        str(tmp_path / "text.jpg"): "`styles` .*text.jpg: .*give another picture",
        str(tmp_path / "thin.png"): "has 1×200 pixels: a style needs at least 32",
    }.items():
        with pytest.raises(InputError, match=says):
            style_net.build(inputs(place, weights, styles=[style] if style else []))


def test_one_photo_is_too_few(place: Path, weights: Path) -> None:
    with pytest.raises(InputError, match="1 of 1 photos can be read"):
        style_net.build(inputs(place, weights, images=[str(place / "photos" / "coffee0.png")]))
