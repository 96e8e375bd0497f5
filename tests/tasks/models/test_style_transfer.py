"""tasks/models/style_transfer.py: the costs are those of the formulae, and go down."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from muster.arrays import Pixels
from muster.errors import TaskError
from muster.tasks.models import style_transfer
from muster.tasks.models.classifiers import Classifier, Shown
from muster.tasks.models.style_transfer import (
    LEAST,
    LUMA,
    MARGIN,
    OUTSIDE,
    Maps,
    Objective,
    Recipe,
    Transfer,
    _divisors,
    _StyleCost,
    gram,
)

RECIPE = Recipe(0.1, 1.0, "2", {"1": 1.0, "2": 3.0}, steps=12)


def network() -> Classifier:
    """Two convolutions, ReLU in place between them, and a head; always the same."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3, 2), nn.AdaptiveAvgPool2d(1)]
    layers += [nn.Flatten(), nn.Linear(6, 2)]
    return Classifier(nn.Sequential(*layers), Shown(64, 64), ["a", "b"])


def picture(seed: int, height: int = 40, width: int = 48) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def tensor(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def by_the_formula(recipe: Recipe, made: torch.Tensor, photo: torch.Tensor, style: torch.Tensor) -> float:
    """J as the docstring has it, in double precision, without anything of Maps."""
    plain = network().network.double()
    plain[1].inplace = False

    def maps(shown: torch.Tensor) -> dict[str, Any]:
        mean, std = (torch.tensor(each).double().view(1, 3, 1, 1) for each in (Shown.mean, Shown.std))
        value = (nn.functional.pad(shown.double(), (MARGIN,) * 4, mode="reflect") - mean) / std
        found = {}
        for number in range(3):
            value = plain[number](value)
            found[str(number)] = value[0].reshape(value.shape[1], -1)
        return found

    with torch.no_grad():
        ours, theirs, aims = maps(made), maps(photo), maps(style)
    layer = recipe.content
    outside = float((made - made.clamp(0, 1)).square().mean())
    total = OUTSIDE * outside + recipe.alpha * float(
        ((ours[layer] - theirs[layer]) ** 2).sum() / (theirs[layer] ** 2).sum()
    )
    for name, share in recipe.layers.items():
        g, a = (f[name] @ f[name].T / f[name].shape[1] for f in (ours, aims))
        total += recipe.beta * share / sum(recipe.layers.values()) * float(((g - a) ** 2).sum() / (a**2).sum())
    return total


def test_the_cost_is_that_of_the_formula() -> None:
    made, photo, style = (tensor(picture(seed)) for seed in range(3))
    made = made * 1.5 - 0.2
    maps = Maps(network(), ["1", "2"])
    aims = {name: gram(map_) for name, map_ in maps(style).items()}
    costs = Objective(maps, RECIPE, photo, aims)(made)
    assert float(costs.total) == pytest.approx(by_the_formula(RECIPE, made, photo, style), rel=1e-4)


def test_the_gradient_of_the_style_is_that_of_autograd() -> None:
    torch.manual_seed(1)
    aim = gram(torch.randn(1, 5, 6, 7, dtype=torch.double))
    map_ = torch.randn(1, 5, 6, 7, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda each: _StyleCost.apply(each, aim), (map_,))


def test_a_layer_before_one_that_works_in_place_is_as_it_was() -> None:
    maps = Maps(network(), ["0"])
    assert float(maps(tensor(picture(0)))["0"].min()) < 0


def test_nothing_behind_the_deepest_layer_is_computed() -> None:
    called: list[str] = []
    classifier = network()
    maps = Maps(classifier, ["1", "0"])
    classifier.network[2].register_forward_hook(lambda *_: called.append("2"))
    assert list(maps(tensor(picture(0)))) == ["0", "1"]
    assert called == []


@pytest.mark.parametrize(("name", "says"), [("22", "no layer '22'; the nearest it has: 2"), ("4", "no map")])
def test_a_layer_that_is_not_there(name: str, says: str) -> None:
    with pytest.raises(TaskError, match=says):
        Maps(network(), [name])


@pytest.mark.parametrize("optimiser", ["lbfgs", "adam"])
@pytest.mark.parametrize("start", ["content", "noise"])
def test_the_cost_goes_down_and_is_that_of_the_picture(optimiser: str, start: str) -> None:
    recipe = Recipe(0.1, 1.0, "2", {"1": 1.0, "2": 3.0}, steps=30, optimiser=optimiser, start=start)
    photo, style = picture(3), picture(4) // 3
    painted = Transfer(network(), recipe, [(style, 1.0)])(photo)
    assert min(painted.curve) < painted.curve[0] / 2
    cost = recipe.alpha * painted.content + recipe.beta * painted.style
    assert cost == pytest.approx(by_the_formula(recipe, *map(tensor, (painted.pixels, photo, style))), rel=1e-4)
    assert cost < painted.curve[0] / 2
    assert len(painted.curve) == 30


def test_coarse_to_fine_takes_as_many_evaluations_as_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style_transfer, "COARSE", 128)
    painted = Transfer(network(), RECIPE, [(picture(4, 300, 280), 1.0)])(picture(3, 290, 270))
    assert painted.sides == ((145, 2), (290, 10))
    assert len(painted.curve) == RECIPE.steps
    assert painted.pixels.shape == (290, 270, 3)


def test_one_picture_is_painted_the_same_whatever_came_before() -> None:
    styles = [(picture(4), 1.0), (picture(5), 2.0)]
    recipe = Recipe(0.1, 1.0, "2", {"1": 1.0}, steps=6, start="noise", seed=3)
    transfer = Transfer(network(), recipe, styles)
    first = transfer(picture(3))
    transfer(picture(6))
    again = transfer(picture(3))
    assert np.array_equal(first.pixels, again.pixels)
    assert first.curve == again.curve
    other = Transfer(network(), Recipe(0.1, 1.0, "2", {"1": 1.0}, steps=6, start="noise", seed=4), styles)
    assert not np.array_equal(first.pixels, other(picture(3)).pixels)


def test_several_styles_are_one_of_their_mean_by_weight() -> None:
    one, other = picture(4), picture(5) // 2
    transfer = Transfer(network(), RECIPE, [(one, 1.0), (other, 3.0)])
    transfer(picture(3))
    [aims] = transfer._aims.values()
    alone = [gram(transfer.maps(tensor(each))["2"]) for each in (one, other)]
    torch.testing.assert_close(aims["2"], 0.25 * alone[0] + 0.75 * alone[1])


def test_a_photo_keeps_its_colours() -> None:
    recipe = Recipe(0.0, 1.0, "2", {"1": 1.0}, steps=20, colours="photo")
    photo = picture(3) // 3 + 80  # none is cut at black or white
    painted = Transfer(network(), recipe, [(picture(4), 1.0)])(photo).pixels.astype(float)
    assert np.abs(painted - photo).mean() > 0.5
    inside = ((painted > 0) & (painted < 255)).all(2)
    chroma = [(each - each @ np.array(LUMA)[:, None])[inside] for each in (painted, photo.astype(float))]
    assert np.abs(chroma[0] - chroma[1]).max() <= 1.01


@settings(max_examples=15)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from(["style", "photo"]))
def test_photos_of_any_size_are_painted(height: int, width: int, colours: str) -> None:
    recipe = Recipe(0.1, 1.0, "2", {"1": 1.0}, steps=2, colours=colours)
    painted = Transfer(network(), recipe, [(picture(4), 1.0)])(picture(1, height, width))
    assert painted.pixels.shape == (height, width, 3)
    assert np.isfinite(painted.curve).all()


@given(st.integers(LEAST, 20_000))
def test_pictures_are_halved_until_they_are_coarse(side: int) -> None:
    divisors = _divisors(side)
    assert divisors[-1] == 1
    assert all(a == 2 * b for a, b in pairwise(divisors))
    assert len(divisors) == 1 or side / divisors[0] >= style_transfer.COARSE
