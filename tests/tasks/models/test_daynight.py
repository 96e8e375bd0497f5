"""The network of tasks/models/daynight.py."""

import pytest
import torch

from muster.tasks.models.daynight import SIDE, DayNight, from_state
from muster.tasks.models.fuse import for_inference


@pytest.fixture
def network() -> DayNight:
    """Random weights, and statistics of batch norm that are not those it begins with."""
    torch.manual_seed(0)
    network = DayNight()
    network(torch.randn(8, 3, SIDE, SIDE))
    return network.eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_one_number_for_each_image(network: DayNight, images: torch.Tensor) -> None:
    logits = network(images)
    assert logits.shape == (5,)
    assert torch.allclose(logits[2:3], network(images[2:3]), atol=1e-6)
    assert network(images[:0]).shape == (0,)
    assert sum(p.numel() for p in network.parameters()) == 24_913


def test_fused_it_gives_the_same(network: DayNight, images: torch.Tensor) -> None:
    fused = for_inference(network, torch.device("cpu"), torch.float32)
    assert torch.allclose(network(images), fused(images), atol=1e-4)


def test_weights_in_half_precision_come_back(network: DayNight, images: torch.Tensor) -> None:
    half = {name: v.half() for name, v in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    again = from_state(half).eval()
    assert {value.dtype for value in again.parameters()} == {torch.float32}
    assert torch.allclose(network(images), again(images), atol=0.01)


def test_weights_of_another_network_are_refused(network: DayNight) -> None:
    state = network.state_dict()
    with pytest.raises(RuntimeError, match=r"features\.0\.weight"):
        from_state(state | {"features.0.weight": torch.zeros(8, 3, 3, 3)})
    del state["unit.bias"]
    with pytest.raises(RuntimeError, match=r"unit\.bias"):
        from_state(state)
