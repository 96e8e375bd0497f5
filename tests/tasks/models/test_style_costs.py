"""tasks/models/style_costs.py: the costs are those of the formulae."""

import pytest
import torch

from helpers.styles import RECIPE, by_the_formula, network, picture, tensor
from muster.errors import TaskError
from muster.tasks.models.style_costs import Maps, Objective, _StyleCost, gram


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
