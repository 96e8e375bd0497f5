"""tasks/models/style_tiles.py: a tile's own cells are those of the whole, each once."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from muster.errors import TaskError
from muster.tasks.models.style_tiles import Cutter


class Two(nn.Module):
    """Branches that meet again: 1×1, and 3×3 with zeros around it."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.three = nn.Conv2d(4, 3, 1), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.one(maps), self.three(maps)], 1).relu()


def network(ceil: bool) -> nn.Sequential:
    """Stride 8, as SqueezeNet has it: windows that end beyond the picture where sides do not fit."""
    torch.manual_seed(0)
    pools = [nn.MaxPool2d(3, 2, ceil_mode=ceil) for _ in range(2)]
    layers = [nn.Conv2d(3, 4, 5, 2), nn.ReLU(), pools[0], Two()]
    layers += [nn.Conv2d(6, 4, 3, padding=2, dilation=2), pools[1], Two()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 2))


LAYERS = ("1", "3", "6")


def maps(layers: nn.Sequential, picture: torch.Tensor) -> dict[str, torch.Tensor]:
    found = {}
    for name, layer in list(layers.named_children())[:7]:
        found[name] = picture = layer(picture)
    return found


@settings(max_examples=8)
@given(st.integers(70, 130), st.integers(60, 130), st.integers(40, 140), st.booleans())
def test_the_cells_of_all_tiles_are_those_of_the_whole(height: int, width: int, side: int, ceil: bool) -> None:
    layers, picture = network(ceil), torch.randn(1, 3, height, width)
    tiles = Cutter(layers, LAYERS).tiles(height, width, side)
    columns = -(-width // side)
    assert len(tiles) == -(-height // side) * columns
    with torch.no_grad():
        whole = maps(layers, picture)
        seen = [maps(layers, picture[..., *tile.crop]) for tile in tiles]
    for name in LAYERS:
        own = [each[name][..., *tile.own(name)] for each, tile in zip(seen, tiles, strict=True)]
        rows = [torch.cat(own[start : start + columns], 3) for start in range(0, len(own), columns)]
        torch.testing.assert_close(torch.cat(rows, 2), whole[name], rtol=1e-5, atol=1e-6)


def test_a_tile_has_no_more_around_it_than_its_cells_see() -> None:
    [upper, lower] = Cutter(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)), ["0"]).tiles(40, 20, 20)
    assert (upper.crop, lower.crop) == ((slice(0, 21), slice(0, 20)), (slice(19, 40), slice(0, 20)))


class Resized(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(maps, (16, 16))


class Excited(nn.Module):
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps * maps.mean((2, 3), keepdim=True)


@pytest.mark.parametrize("last", [nn.AdaptiveAvgPool2d(4), nn.InstanceNorm2d(4), Excited(), Resized()])
def test_a_network_that_looks_at_the_whole_is_refused(last: nn.Module) -> None:
    cutter = Cutter(nn.Sequential(nn.Conv2d(3, 4, 3), last), ["0", "1"])
    assert len(cutter.tiles(64, 64, 64)) == 1
    with pytest.raises(TaskError, match="no tiles: a cell of its maps sees the whole picture"):
        cutter.tiles(64, 64, 32)


class Depends(nn.Module):
    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return picture if picture.sum() > 0 else -picture


def test_a_network_that_cannot_be_followed_is_refused() -> None:
    with pytest.raises(TaskError, match="cannot be followed from layer to layer"):
        Cutter(nn.Sequential(Depends()), ["0"])
