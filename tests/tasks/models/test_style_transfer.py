"""tasks/models/style_transfer.py: the cost goes down, at any size, and the same way each time."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.styles import RECIPE, by_the_formula, network, picture, tensor
from muster.errors import TaskError
from muster.tasks.models import style_transfer
from muster.tasks.models.style_costs import LEAST, Recipe, gram
from muster.tasks.models.style_transfer import LUMA, Transfer, _divisors


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


def test_a_picture_in_tiles_is_painted_by_adam_and_costs_what_it_costs_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(style_transfer, "COARSE", 64)
    used = list[tuple[int, str]]()
    run = style_transfer.Descent.run

    def noted(self: style_transfer.Descent, optimiser: str, steps: int) -> None:
        used.append((max(self.at.shape[2:]), optimiser))
        run(self, optimiser, steps)

    monkeypatch.setattr(style_transfer.Descent, "run", noted)
    photo, style = picture(3, 130, 96), picture(4, 150, 110) // 3
    recipe = Recipe(0.1, 1.0, "2", {"1": 1.0, "2": 3.0}, side=130, steps=20)
    transfer = Transfer(network(), recipe, [(style, 1.0)], at_once=65 * 65)
    painted = transfer(photo)
    assert used == [(65, "lbfgs"), (130, "adam")]
    cost = recipe.alpha * painted.content + recipe.beta * painted.style
    assert cost == pytest.approx(by_the_formula(recipe, *map(tensor, (painted.pixels, photo, style))), rel=1e-4)
    assert cost < painted.curve[0]
    again = Transfer(network(), recipe, [(style, 1.0)], at_once=65 * 65)(photo)
    assert np.array_equal(again.pixels, painted.pixels)
    assert again.curve == painted.curve


def test_a_side_that_needs_tiles_of_a_network_that_has_none_is_refused_before_a_photo_is_seen() -> None:
    classifier = network()
    classifier.network.insert(3, torch.nn.InstanceNorm2d(6))
    styles = [(picture(4), 1.0)]
    Transfer(classifier, Recipe(0.1, 1.0, "3", {"1": 1.0}, side=1024), styles)
    with pytest.raises(TaskError, match=r"a `side` of 1025 is too large: the network has no tiles.* Take 1024 at most"):
        Transfer(classifier, Recipe(0.1, 1.0, "3", {"1": 1.0}, side=1025), styles)


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
