"""What a picture costs that is to have the content of a photo and the style of others: Gatys et al., 2015.

"A Neural Algorithm of Artistic Style", arXiv:1508.06576. With F the maps of a layer for the picture that is made and P
for the photo, G = FᵀF / positions its Gram matrix and A that of the style:

    J = α · J_content + β · Σ λ_l · J_style,l      J_content = Σ(F - P)² / ΣP²      J_style,l = Σ(G - A)² / ΣA²

The paper has other constants before these sums (equations 1 and 4). Divided by what is aimed at, each is the squared
relative error: α/β means the same for a photo of any size, and for any network.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad

from muster.errors import TaskError
from muster.tasks.models.classifiers import Classifier
from muster.tasks.models.style_tiles import Cutter, Part, Tile

LEAST = 32  # pixels of the shorter side that a network needs: what is smaller gets its edge repeated around it
MARGIN = 8  # pixels of the picture mirrored around it for the network, else its edge is hardly painted
AT_ONCE = 1 << 20  # pixels of a picture that is not cut into tiles; they have at most about a quarter
OUTSIDE = 100.0  # what J gains by each unit of the mean squared distance of colours from 0..1, which they are cut to


@dataclass(frozen=True)
class Recipe:
    """`alpha`, `beta`: α and β. `content`: layer of J_content. `layers`: layer → λ, as they are divided by their sum.
    `side`: longest side of the picture, pixels. `steps`: evaluations of J and its gradient. `optimiser`: "lbfgs" or
    "adam". `start`: "content" or "noise". `colours`: "style" or "photo", whose are kept. `seed`: of the noise."""

    alpha: float
    beta: float
    content: str
    layers: Mapping[str, float]
    side: int = 512
    steps: int = 200
    optimiser: str = "lbfgs"
    start: str = "content"
    colours: str = "style"
    seed: int = 0


class _EnoughError(Exception):
    """The deepest layer that is asked for was reached."""


class Maps:
    """What layers of a frozen network give, computed as far as the deepest of them."""

    def __init__(self, classifier: Classifier, layers: Sequence[str], at_once: int = AT_ONCE) -> None:
        """`layers`: as torch names modules. `at_once`: as AT_ONCE. TaskError where the network has none of that
        name, or that is no map."""
        self.at_once = at_once
        self.classifier = classifier.requires_grad_(False).to(memory_format=torch.channels_last)
        known = {name: each for name, each in classifier.network.named_modules() if name}
        for name in layers:
            if name not in known:
                near = ", ".join(get_close_matches(name, known, n=3, cutoff=0))
                raise TaskError(f"the network has no layer {name!r}; the nearest it has: {near}")
        for module in classifier.network.modules():
            if getattr(module, "inplace", False):
                setattr(module, "inplace", False)  # noqa: B010  it would change the map of the layer before
        self._layers = {name: known[name] for name in layers}
        self._last = ""
        found = self(torch.zeros(1, 3, 2 * LEAST, 2 * LEAST, device=classifier.mean.device))
        for name in layers:
            if name not in found or found[name].ndim != 4:
                raise TaskError(f"layer {name!r} of the network gives no map of a picture: name a convolution before")
        self._last = list(found)[-1]

    def __call__(self, picture: torch.Tensor) -> dict[str, torch.Tensor]:
        """(1, 3, H, W), RGB in 0..1 → layer → (1, channels, height, width), in the order of the network."""
        return self._of(framed(picture))

    def tiles(self, picture: torch.Tensor) -> list[Tile]:
        """Of a picture (1, 3, H, W) in its frame; one where it is seen as a whole. TaskError where there must be more,
        and the network allows none."""
        height, width = picture.shape[2:]
        if height * width <= self.at_once:
            whole = Part(slice(None), dict.fromkeys(self._layers, slice(None)))
            return [Tile(whole, whole)]
        side = math.isqrt(self.at_once) // 2
        return self._cutter.tiles(height + 2 * MARGIN, width + 2 * MARGIN, side + 2 * MARGIN)

    @cached_property
    def _cutter(self) -> Cutter:
        return Cutter(self.classifier.network, list(self._layers))

    def of_tile(self, crop: torch.Tensor, tile: Tile) -> dict[str, torch.Tensor]:
        """The tile's crop of a picture in its frame → layer → of its map what is the tile's own."""
        return {layer: map_[..., *tile.own(layer)] for layer, map_ in self._of(crop).items()}

    def _of(self, picture: torch.Tensor) -> dict[str, torch.Tensor]:
        found: dict[str, torch.Tensor] = {}

        def keep(name: str, module: torch.nn.Module, given: Any, map_: torch.Tensor) -> None:
            found[name] = map_
            if name == self._last:
                raise _EnoughError

        shown = self.classifier.normalised(picture)
        hooks = [each.register_forward_hook(partial(keep, name)) for name, each in self._layers.items()]
        try:
            with suppress(_EnoughError):
                self.classifier.network(shown.contiguous(memory_format=torch.channels_last))
        finally:
            for hook in hooks:
                hook.remove()
        return found


def framed(picture: torch.Tensor) -> torch.Tensor:
    """(1, 3, H, W) → with MARGIN around it."""
    return pad(picture, (MARGIN,) * 4, mode="reflect")


def gram(map_: torch.Tensor) -> torch.Tensor:
    """(1, C, H, W) → (C, C): products of channels, their mean over all positions."""
    flat = _flat(map_)
    return flat.T @ flat / len(flat)


def _flat(map_: torch.Tensor) -> torch.Tensor:
    """(1, C, H, W) → (H·W, C), without a copy where the map is channels-last in memory."""
    return map_.permute(0, 2, 3, 1).reshape(-1, map_.shape[1])


class Grams:
    """Gram matrices of a picture, from what each of its tiles adds to them."""

    def __init__(self, layers: Iterable[str]) -> None:
        self.sums: dict[str, Any] = dict.fromkeys(layers, 0)
        self.positions = dict.fromkeys(self.sums, 0)

    @torch.no_grad()
    def add(self, own: Mapping[str, torch.Tensor]) -> None:
        """Layer → (1, C, h, w), cells that are not in it yet."""
        for layer in self.sums:
            flat = _flat(own[layer])
            self.sums[layer] = self.sums[layer] + flat.T @ flat
            self.positions[layer] += len(flat)

    def __getitem__(self, layer: str) -> torch.Tensor:
        """(C, C)"""
        found: torch.Tensor = self.sums[layer] / self.positions[layer]
        return found


@torch.no_grad()
def grams(maps: Maps, picture: torch.Tensor, layers: Iterable[str]) -> Grams:
    """Of a picture (1, 3, H, W) of any size."""
    found, shown = Grams(layers), framed(picture)
    for tile in maps.tiles(picture):
        found.add(maps.of_tile(shown[..., *tile.crop], tile))
    return found


class _StyleCost(torch.autograd.Function):
    """J_style of one layer by its Gram matrix, for the cells of a map that are among its positions.

    Its gradient is one product of matrices; torch makes two, as FᵀF has two factors.
    """

    @staticmethod
    def forward(
        context: Any, map_: torch.Tensor, found: torch.Tensor, aim: torch.Tensor, positions: int
    ) -> torch.Tensor:
        context.save_for_backward(map_, found - aim)
        context.scale = 4 / _size(aim) / positions
        return _relative(found, aim)

    @staticmethod
    def backward(context: Any, *gradients: Any) -> tuple[torch.Tensor | None, ...]:
        map_, error = context.saved_tensors
        _, channels, height, width = map_.shape
        found = _flat(map_) @ (error * (context.scale * gradients[0]))
        return found.view(1, height, width, channels).permute(0, 3, 1, 2), None, None, None


def _relative(found: torch.Tensor, aim: torch.Tensor) -> torch.Tensor:
    return (found - aim).square().sum() / _size(aim)


def _size(aim: torch.Tensor) -> torch.Tensor:
    return aim.square().sum().clamp_min(1e-12)


class _TiledCosts(torch.autograd.Function):
    """J_content and J_style,l of a picture in its frame, tile by tile, so that maps of one are there at a time.

    There are two passes, because the gradient of each cell needs the Gram matrices of all.
    """

    @staticmethod
    def forward(context: Any, shown: torch.Tensor, objective: "Objective") -> tuple[torch.Tensor, torch.Tensor]:
        found, content = Grams(objective.aims), []
        for tile, photo in zip(objective.tiles, objective.photo, strict=True):
            own = objective.maps.of_tile(shown[..., *tile.crop], tile)
            found.add(own)
            content.append(objective.content_cost(own, photo))
            del own  # before there are those of the next
        context.objective, context.found = objective, found
        context.save_for_backward(shown)
        layers = torch.stack([_relative(found[name], aim) for name, aim in objective.aims.items()])
        return torch.stack(content).sum(), layers

    @staticmethod
    def backward(context: Any, *gradients: Any) -> tuple[torch.Tensor, None]:
        [shown], objective = context.saved_tensors, context.objective
        slope = torch.zeros_like(shown)
        for tile, photo in zip(objective.tiles, objective.photo, strict=True):
            crop = shown[..., *tile.crop].detach().requires_grad_()
            with torch.enable_grad():
                own = objective.maps.of_tile(crop, tile)
                costs = objective.content_cost(own, photo), objective.style_costs(own, context.found)
            slope[..., *tile.crop] += torch.autograd.grad(costs, crop, gradients)[0]
            del own, costs
        return slope, None


class Costs(NamedTuple):
    """J with what is asked for colours outside 0..1, J_content, and J_style,l of each layer."""

    total: torch.Tensor
    content: torch.Tensor
    layers: torch.Tensor


class Objective:
    """J of a picture of the size of this photo, and in these styles."""

    def __init__(self, maps: Maps, recipe: Recipe, photo: torch.Tensor, aims: Mapping[str, torch.Tensor]) -> None:
        """`photo`: (1, 3, H, W), RGB in 0..1. `aims`: layer → Gram matrix."""
        self.maps, self.recipe, self.aims = maps, recipe, aims
        self.tiles, shown = maps.tiles(photo), framed(photo)
        with torch.no_grad():  # P, of each tile: of SqueezeNet's layer it is twice as large as a picture
            self.photo = [maps.of_tile(shown[..., *tile.crop], tile)[recipe.content].clone() for tile in self.tiles]
        self.size = torch.stack([each.square().sum() for each in self.photo]).sum().clamp_min(1e-12)
        shares = torch.tensor([recipe.layers[name] for name in aims], device=photo.device)
        self.shares = shares / shares.sum()

    def __call__(self, picture: torch.Tensor) -> Costs:
        if len(self.tiles) > 1:
            content, layers = _TiledCosts.apply(framed(picture), self)
        else:
            found, whole = self.maps(picture), Grams(self.aims)
            whole.add(found)
            content, layers = self.content_cost(found, self.photo[0]), self.style_costs(found, whole)
        outside = (picture - picture.clamp(0, 1)).square().mean()
        total = self.recipe.alpha * content + self.recipe.beta * (self.shares @ layers) + OUTSIDE * outside
        return Costs(total, content, layers)

    def content_cost(self, own: Mapping[str, torch.Tensor], photo: torch.Tensor) -> torch.Tensor:
        """What cells add to J_content; `photo`: theirs of P."""
        return (own[self.recipe.content] - photo).square().sum() / self.size

    def style_costs(self, own: Mapping[str, torch.Tensor], whole: Grams) -> torch.Tensor:
        """J_style,l by the Gram matrices of the whole picture, with the gradient of these cells."""
        found = [
            _StyleCost.apply(own[name], whole[name], aim, whole.positions[name]) for name, aim in self.aims.items()
        ]
        return torch.stack(found)
