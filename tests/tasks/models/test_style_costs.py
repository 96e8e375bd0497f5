"""tasks/models/style_costs.py: the costs are those of the formulae."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.styles import RECIPE, by_the_formula, network, picture, tensor
from muster.errors import TaskError
from muster.tasks.models.classifiers import Classifier, squeezenet
from muster.tasks.models.style_costs import Costs, Maps, Objective, Recipe, _StyleCost, gram, grams
from muster.tasks.models.zoo.style import LAYERS


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
    assert torch.autograd.gradcheck(lambda each: _StyleCost.apply(each, gram(each.detach()), aim, 42), (map_,))


def costs(maps: Maps, recipe: Recipe, height: int, width: int) -> tuple[Costs, torch.Tensor]:
    """Of a picture, whose colours are beyond 0..1 too, by a photo and a style; and the gradient of J."""
    made, photo, style = (tensor(picture(seed, height, width)) for seed in range(3))
    found = grams(maps, style, recipe.layers)
    objective = Objective(maps, recipe, photo, {name: found[name] for name in recipe.layers})
    assert (len(objective.tiles) > 1) == (maps.at_once < height * width)
    at = (made * 1.2 - 0.1).requires_grad_()
    costs = objective(at)
    return Costs(*[each.detach() for each in costs]), torch.autograd.grad(costs.total, at)[0]


def check_tiles(classifier: Classifier, recipe: Recipe, height: int, width: int, side: int) -> None:
    names = [recipe.content, *recipe.layers]
    whole, slope = costs(Maps(classifier, names), recipe, height, width)
    cut, slope_of_cut = costs(Maps(classifier, names, at_once=4 * side * side), recipe, height, width)
    for one, other in zip(whole, cut, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(slope_of_cut, slope, rtol=1e-4, atol=1e-5 * float(slope.abs().max()))


@settings(max_examples=6)
@given(st.integers(61, 110), st.integers(61, 110), st.integers(20, 30), st.sampled_from(["1", "2"]))
def test_tiles_cost_what_the_whole_costs_and_so_does_their_gradient(
    height: int, width: int, side: int, content: str
) -> None:
    check_tiles(network(), replace(RECIPE, content=content), height, width, side)


def test_tiles_of_squeezenet_are_its_whole(weights: Path) -> None:
    state = torch.load(weights / "squeezenet1_0_imagenet.pth", weights_only=True)
    content, layers = LAYERS["squeezenet"]
    recipe = Recipe(0.02, 1.0, content, dict.fromkeys(layers, 1.0))
    check_tiles(squeezenet(state), recipe, 237, 166, 100)


def test_maps_of_one_tile_are_there_at_a_time() -> None:
    """No map is of more than 32 by 32 pixels with the few around them that its cells see."""
    sizes: list[int] = []
    classifier = network()
    maps = Maps(classifier, ["1", "2"], at_once=64 * 64)

    def note(module: torch.nn.Module, given: object, map_: torch.Tensor) -> None:
        if map_.device.type != "meta":  # where fields are looked for
            sizes.append(map_.shape[2] * map_.shape[3])

    classifier.network[0].register_forward_hook(note)
    costs(maps, RECIPE, 100, 90)
    assert 32 * 32 < max(sizes) < 45 * 45


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
