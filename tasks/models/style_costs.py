"""What a picture costs that is to have the content of a photo and the style of others: Gatys et al., 2015.

"A Neural Algorithm of Artistic Style", arXiv:1508.06576. With F the maps of a layer for the picture that is made and P
for the photo, G = FᵀF / positions its Gram matrix and A that of the style:

    J = α · J_content + β · Σ λ_l · J_style,l      J_content = Σ(F - P)² / ΣP²      J_style,l = Σ(G - A)² / ΣA²

The paper has other constants before these sums (equations 1 and 4). Divided by what is aimed at, each is the squared
relative error: α/β means the same for a photo of any size, and for any network.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad

from muster.errors import TaskError
from muster.tasks.models.classifiers import Classifier

LEAST = 32  # pixels of the shorter side that a network needs: what is smaller gets its edge repeated around it
MARGIN = 8  # pixels of the picture mirrored around it for the network, else its edge is hardly painted
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

    def __init__(self, classifier: Classifier, layers: Sequence[str]) -> None:
        """`layers`: as torch names modules. TaskError where the network has none of that name, or that is no map."""
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
        found: dict[str, torch.Tensor] = {}

        def keep(name: str, module: torch.nn.Module, given: Any, map_: torch.Tensor) -> None:
            found[name] = map_
            if name == self._last:
                raise _EnoughError

        shown = self.classifier.normalised(pad(picture, (MARGIN,) * 4, mode="reflect"))
        hooks = [each.register_forward_hook(partial(keep, name)) for name, each in self._layers.items()]
        try:
            with suppress(_EnoughError):
                self.classifier.network(shown.contiguous(memory_format=torch.channels_last))
        finally:
            for hook in hooks:
                hook.remove()
        return found


def gram(map_: torch.Tensor) -> torch.Tensor:
    """(1, C, H, W) → (C, C): products of channels, their mean over all positions."""
    flat = _flat(map_)
    return flat.T @ flat / len(flat)


def _flat(map_: torch.Tensor) -> torch.Tensor:
    """(1, C, H, W) → (H·W, C), without a copy where the map is channels-last in memory."""
    return map_.permute(0, 2, 3, 1).reshape(-1, map_.shape[1])


class _StyleCost(torch.autograd.Function):
    """J_style of one layer. Its gradient is one product of matrices; torch makes two, as FᵀF has two factors."""

    @staticmethod
    def forward(context: Any, map_: torch.Tensor, aim: torch.Tensor) -> torch.Tensor:
        error, total = gram(map_) - aim, aim.square().sum().clamp_min(1e-12)
        context.save_for_backward(map_, error)
        context.scale = 4 / total / (map_.shape[2] * map_.shape[3])
        return error.square().sum() / total

    @staticmethod
    def backward(context: Any, *gradients: Any) -> tuple[torch.Tensor, None]:
        map_, error = context.saved_tensors
        _, channels, height, width = map_.shape
        found = _flat(map_) @ (error * (context.scale * gradients[0]))
        return found.view(1, height, width, channels).permute(0, 3, 1, 2), None


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
        with torch.no_grad():
            self.content = maps(photo)[recipe.content]
        self.size = self.content.square().sum().clamp_min(1e-12)
        shares = torch.tensor([recipe.layers[name] for name in aims], device=photo.device)
        self.shares = shares / shares.sum()

    def __call__(self, picture: torch.Tensor) -> Costs:
        found = self.maps(picture)
        content = (found[self.recipe.content] - self.content).square().sum() / self.size
        layers = torch.stack([_StyleCost.apply(found[name], aim) for name, aim in self.aims.items()])
        outside = (picture - picture.clamp(0, 1)).square().mean()
        total = self.recipe.alpha * content + self.recipe.beta * (self.shares @ layers) + OUTSIDE * outside
        return Costs(total, content, layers)
