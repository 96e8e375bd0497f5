"""The networks of tasks/models/plain.py."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from muster.tasks.models import plain
from muster.tasks.models.fuse import for_inference
from muster.tasks.models.plain import CIFAR, DIGITS, Plan, chain, folded, from_state, in_training

WIDTHS = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=2).map(tuple), min_size=1, max_size=3).map(tuple)
PLANS = st.builds(
    Plan,
    side=st.sampled_from((8, 16)),
    kernel=st.sampled_from((1, 3, 5)),
    blocks=WIDTHS,
    hidden=st.lists(st.integers(1, 6), max_size=2).map(tuple),
    grey=st.booleans(),
)


def photos(plan: Plan, count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, plan.side, plan.side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def trained(plan: Plan, classes: int) -> nn.Sequential:
    """Random weights, and statistics of batch norm that are not those it begins with."""
    torch.manual_seed(0)
    network = in_training(plan, classes)
    for layer in network:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1, 0.3), nn.init.normal_(layer.bias)
    network(photos(plan, 8))
    return network.eval()


def test_the_network_of_the_lecture() -> None:
    network = chain(CIFAR, 10)
    names = [name.rstrip("0123456789") for name, _ in network.named_children()]
    assert names == ["conv", "relu", "conv", "relu", "pool"] * 3 + ["fc", "softmax"]
    assert len(dict(network.named_children())) == 17
    assert sum(p.numel() for p in network.parameters()) == 6_440


def test_the_network_of_digits() -> None:
    names = list(dict(chain(DIGITS, 10).named_children()))
    assert names[:7] == ["grey", "conv1", "relu1", "pool1", "conv2", "relu2", "pool2"]
    assert names[7:] == ["fc1", "relu3", "fc2", "relu4", "fc3", "softmax"]


@pytest.mark.parametrize("plan", [DIGITS, CIFAR], ids=["digits", "cifar"])
def test_probabilities_for_each_photo(plan: Plan) -> None:
    network, images = chain(plan, 7).eval(), photos(plan)
    found = network(images)
    assert found.shape == (4, 7)
    assert torch.allclose(found.sum(1), torch.ones(4))
    assert torch.allclose(found[2:3], network(images[2:3]), atol=1e-6)
    assert network(images[:0]).shape == (0, 7)
    assert torch.allclose(found, for_inference(network, torch.device("cpu"), torch.float32)(images), atol=1e-5)


def test_every_stage_can_be_looked_at_by_its_name() -> None:
    network, seen = chain(CIFAR, 10), {}
    for name, layer in network.named_children():
        layer.register_forward_hook(lambda _, __, out, name=name: seen.update({name: tuple(out.shape[1:])}))
    network(photos(CIFAR))
    assert list(seen) == [name for name, _ in network.named_children()]
    assert (seen["conv2"], seen["pool2"], seen["pool3"]) == ((10, 32, 32), (10, 8, 8), (10, 4, 4))


def test_digits_see_no_colour() -> None:
    network, images = chain(DIGITS, 10).eval(), photos(DIGITS)
    assert torch.allclose(network(images), network(images.flip(1)), atol=1e-6)
    assert not torch.allclose(chain(CIFAR, 10)(photos(CIFAR)), chain(CIFAR, 10)(photos(CIFAR).flip(1)), atol=1e-4)


@given(PLANS, st.integers(2, 5))
@settings(max_examples=40, deadline=None)
def test_without_batch_norm_it_computes_the_same(plan: Plan, classes: int) -> None:
    if plan.side >> len(plan.blocks) < 1:
        return
    network, images = trained(plan, classes), photos(plan)
    state = folded(network)
    assert not [name for name in state if name.startswith("norm")]
    again = from_state(state, replace(plan, blocks=tuple((1,) * len(block) for block in plan.blocks)))
    assert torch.allclose(network(images).softmax(1), again.eval()(images), atol=1e-5)
    half = from_state({name: value.half() for name, value in state.items()}, plan)
    assert {value.dtype for value in half.parameters()} == {torch.float32}


def test_weights_of_another_network_are_refused() -> None:
    with pytest.raises(KeyError, match="conv3"):
        plain.cifar_from_state(chain(DIGITS, 10).state_dict())
    state = chain(CIFAR, 10).state_dict()
    with pytest.raises(RuntimeError, match=r"conv1\.bias"):
        plain.cifar_from_state({name: value for name, value in state.items() if name != "conv1.bias"})
