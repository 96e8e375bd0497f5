"""What excites units, held to a plain pass of the same network."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from muster.errors import TaskError
from muster.tasks.models.daynight import DayNight
from muster.tasks.models.layers import Watched
from muster.tasks.models.plain import CIFAR, chain
from muster.tasks.models.segmenter import Segmenter

CPU = torch.device("cpu")
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int]]] = {
    "daynight": (DayNight, (64, 64)),
    "segmenter": (lambda: Segmenter(3, (4, 4, 6, 6, 8)), (64, 96)),
}


def trained(build: Callable[[], nn.Module]) -> nn.Module:
    """With norms that are not the identity."""
    torch.manual_seed(0)
    network = build()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return network.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_peaks_are_those_of_a_plain_pass(name: str) -> None:
    build, size = NETWORKS[name]
    network, pictures = trained(build), torch.rand(3, 3, *size)
    watched, values = Watched(network, CPU, size), {}
    for layer in watched.layers:  # by hooks, behind the norm and the activation of the same block
        parent, _, place = layer.name.rpartition(".")
        block = network.get_submodule(parent)
        last = block if isinstance(block, nn.Sequential) and len(block) == 3 else network.get_submodule(layer.name)
        if layer.name.startswith("features"):  # of DayNight: conv, norm, ReLU one behind the other
            last = network.get_submodule(f"features.{int(place) + 2}")
        if layer.name.endswith(".second"):
            last = network.get_submodule(f"{parent}.bn")
        last.register_forward_hook(lambda _m, _i, out, name=layer.name: values.update({name: out}))
    with torch.inference_mode():
        network(pictures)
    found = watched.peaks(pictures, size)
    for number, layer in enumerate(watched.layers):
        mine = slice(watched.starts[number], watched.starts[number + 1])
        maps = values[layer.name].reshape(3, layer.units, *(*values[layer.name].shape[2:], 1, 1)[:2])
        torch.testing.assert_close(torch.tensor(found.values[:, mine]), maps.amax((2, 3)), rtol=1e-4, atol=1e-4)
        picture, unit = np.indices((3, layer.units))
        at = maps[picture, unit, found.rows[:, mine], found.columns[:, mine]]
        torch.testing.assert_close(at, maps.amax((2, 3)), rtol=1e-4, atol=1e-4)
        assert layer.rectified == bool((maps >= 0).all())


def test_positions_that_see_nothing_of_the_picture_do_not_count() -> None:
    """A filter that likes black best, over a white picture that was padded with black."""
    network = nn.Sequential(nn.Conv2d(3, 1, 3, 2, 1))
    nn.init.constant_(network[0].weight, -1)
    nn.init.zeros_(network[0].bias)
    padded = torch.zeros(1, 3, 32, 32)
    padded[:, :, :10, :14] = 1
    found = Watched(network, CPU, (32, 32)).peaks(padded, (10, 14))
    assert found.values.item() == pytest.approx(-3)  # in the lower right corner: one pixel of it, in three colours
    watched = Watched(network, CPU, (32, 32))
    boxes = watched.boxes((32, 32), (10, 14), np.array([0]), found.rows[0], found.columns[0])
    x0, y0, x1, y1 = boxes[0]
    assert 0 <= x0 < x1 <= 14
    assert 0 <= y0 < y1 <= 10


def test_of_equal_values_the_first_column_and_row_count() -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 1))
    nn.init.zeros_(network[0].weight)
    found = Watched(network, CPU, (8, 8)).peaks(torch.rand(1, 3, 8, 8), (8, 8))
    assert (found.rows.tolist(), found.columns.tolist()) == ([[0, 0]], [[0, 0]])


def test_fully_connected_layers_of_our_own_are_layers() -> None:
    watched = Watched(chain(CIFAR, 10), CPU, (32, 32))
    assert [layer.name for layer in watched.layers] == [*(f"conv{number}" for number in range(1, 7)), "fc1"]


def test_a_module_used_twice_is_two_layers() -> None:
    conv = nn.Conv2d(3, 3, 3)
    watched = Watched(nn.Sequential(conv, nn.ReLU(), conv), CPU, (16, 16))
    assert [(layer.name, layer.rectified) for layer in watched.layers] == [("0", True), ("0#2", False)]


def test_a_network_without_spatial_layers_is_refused() -> None:
    with pytest.raises(TaskError, match="no spatial layers"):
        Watched(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), CPU, (2, 2))


def test_one_that_cannot_be_followed_is_refused() -> None:
    class Wilful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x) if x.sum() > 0 else x

    with pytest.raises(TaskError, match="cannot be followed"):
        Watched(Wilful(), CPU, (8, 8))
