"""A photo painted anew in the style of other pictures, by descent on its pixels.

Gatys, Ecker and Bethge, "A Neural Algorithm of Artistic Style", 2015, arXiv:1508.06576. With F the maps of a layer for
the picture that is made and P for the photo, G = FᵀF / positions its Gram matrix and A that of the style:

    J = α · J_content + β · Σ λ_l · J_style,l      J_content = Σ(F - P)² / ΣP²      J_style,l = Σ(G - A)² / ΣA²

The paper has other constants before these sums (equations 1 and 4). Divided by what is aimed at, each is the squared
relative error: α/β means the same for a photo of any size, and for any network.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn.functional import interpolate, pad

from muster.arrays import F32, Pixels
from muster.errors import TaskError
from muster.tasks.models.classifiers import Classifier

LEAST = 32  # pixels of the shorter side that a network needs: what is smaller gets its edge repeated around it
MARGIN = 8  # pixels of the picture mirrored around it for the network, else its edge is hardly painted
COARSE = 256  # pixels of the longest side below which no coarser picture is made first
OUTSIDE = (
    100.0  # what J gains by each unit of the mean squared distance of colours from 0..1, beyond which they are cut
)
COARSE_SHARE = 0.15  # of the evaluations that are left, for a coarser picture
HISTORY = 20  # of L-BFGS: 100, as torch has it, takes 600 MB at 1024 pixels, and reaches nothing that 20 does not
ADAM_STEP = 0.02  # of colours in 0..1
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601


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


@dataclass(frozen=True)
class Painted:
    """`pixels`: uint8 RGB (H, W, 3). `content`, `style`: J_content and Σ λ_l J_style,l of these very pixels; `layers`:
    J_style,l of each. `curve`: J at every evaluation, with what colours outside 0..1 cost. `sides`: of the
    picture's longest side, how long it was, and for how many evaluations, coarse first."""

    pixels: Pixels
    content: float
    style: float
    layers: tuple[float, ...]
    curve: tuple[float, ...]
    sides: tuple[tuple[int, int], ...]


# ---- maps and costs --------------------------------------------------------------------------------------------------


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


# ---- descent ---------------------------------------------------------------------------------------------------------


class Descent:
    """Evaluations of J on the way down: `picture` is the best that was met, with its `costs`; `curve` has all."""

    def __init__(self, cost: Callable[[torch.Tensor], Costs], start: torch.Tensor) -> None:
        self.cost, self.at = cost, start.detach().clone().contiguous().requires_grad_()
        self.picture, self.costs = start, Costs(*[torch.tensor(float("inf"))] * 3)
        self.curve: list[float] = []

    def evaluate(self) -> float:
        """J where it is now; its gradient goes to where torch's optimisers look for it."""
        costs = self.cost(self.at)
        (slope,) = torch.autograd.grad(costs.total, self.at)
        self.at.grad, costs = slope.contiguous(), Costs(*[each.detach() for each in costs])
        self.curve.append(total := float(costs.total))
        if total < float(self.costs.total):
            self.picture, self.costs = self.at.detach().clone(), costs
        return total

    def run(self, optimiser: str, steps: int) -> None:
        """As many evaluations as that, or fewer where nothing gets better any more."""
        if optimiser == "adam":
            adam = torch.optim.Adam([self.at], lr=ADAM_STEP)
            for _ in range(steps):
                adam.step(self.evaluate)
            return
        torch.optim.LBFGS(
            [self.at],
            max_iter=steps,
            max_eval=steps,
            history_size=HISTORY,
            tolerance_grad=0,
            tolerance_change=0,
        ).step(self.evaluate)


class Transfer:
    """Paints photos in a mixture of styles: their Gram matrices, averaged by weight."""

    def __init__(self, classifier: Classifier, recipe: Recipe, styles: Sequence[tuple[Pixels, float]]) -> None:
        """`styles`: uint8 RGB pictures with their weights. TaskError where the network has not the layers."""
        self.recipe, self.device = recipe, classifier.mean.device
        self.maps = Maps(classifier, list(dict.fromkeys([recipe.content, *recipe.layers])))
        self.styles = [(self._tensor(pixels), weight) for pixels, weight in styles]
        self._aims: dict[int, dict[str, torch.Tensor]] = {}  # by how much they were made smaller

    def __call__(self, pixels: Pixels) -> Painted:
        """uint8 RGB (H, W, 3), not longer than the recipe's side. The same for the same, bit for bit, on one kind of
        machine with one number of threads."""
        recipe, photo = self.recipe, self._tensor(pixels)
        height, width = pixels.shape[:2]
        divisors = _divisors(max(height, width))
        shown, curve, sides = _Shown(photo, recipe.colours), list[float](), []
        left, picture, before = recipe.steps, None, photo
        for divisor in divisors:
            small = shown.small(divisor)
            cost = Objective(self.maps, recipe, shown.colour(small), self._aims_of(divisor, shown))
            start = self._start(small) if picture is None else _finer(picture, before, small, recipe.start)
            descent = Descent(lambda x, cost=cost: cost(shown.colour(x)), start)  # type: ignore[misc]
            steps = left if divisor == 1 else max(1, round(COARSE_SHARE * left))
            descent.run(recipe.optimiser, steps)
            picture, before, left = descent.picture, small, left - steps
            curve += descent.curve
            sides.append((max(small.shape[2:]), steps))
            if not left:
                break
        assert picture is not None
        pixels = _pixels(shown.finished(_sized(picture, photo.shape[2:])))
        with torch.no_grad():
            costs = cost(shown.colour(shown.painted(_sized(self._tensor(pixels), picture.shape[2:]))))
        return Painted(
            pixels=pixels[:height, :width],
            content=float(costs.content),
            style=float(cost.shares @ costs.layers),
            layers=tuple(costs.layers.tolist()),
            curve=tuple(curve),
            sides=tuple(sides),
        )

    def _tensor(self, pixels: Pixels) -> torch.Tensor:
        """(H, W, 3) → (1, 3, H, W) in 0..1, with its edges repeated where it is smaller than LEAST."""
        found = torch.from_numpy(np.array(pixels)).to(self.device).permute(2, 0, 1)[None].float() / 255
        right, below = (max(0, LEAST - each) for each in (pixels.shape[1], pixels.shape[0]))
        return pad(found, (0, right, 0, below), mode="replicate")

    def _start(self, photo: torch.Tensor) -> torch.Tensor:
        if self.recipe.start == "content":
            return photo
        noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(self.recipe.seed))
        return noise.to(self.device)

    def _aims_of(self, divisor: int, shown: "_Shown") -> dict[str, torch.Tensor]:
        """The Gram matrices aimed at. With the photo's colours they are of its brightness, and so anew for each."""
        if self.recipe.colours == "style" and divisor in self._aims:
            return self._aims[divisor]
        total, aims = sum(weight for _, weight in self.styles), dict[str, torch.Tensor]()
        for style, weight in self.styles:
            with torch.no_grad():
                found = self.maps(shown.style(_sized(style, [max(LEAST, each // divisor) for each in style.shape[2:]])))
            for name in self.recipe.layers:
                each = gram(found[name]) * (weight / total)
                aims[name] = aims[name] + each if name in aims else each
        self._aims[divisor] = aims
        return aims


class _Shown:
    """How a picture is shown to the network: as it is, or in grey, where the photo keeps its colours.

    The latter as Gatys et al., "Preserving Color in Neural Artistic Style Transfer", 2016, arXiv:1606.05897, section 4:
    brightness alone is painted, in the style's made to have the photo's mean and deviation; then it replaces the
    photo's. What is added to red, green and blue is the same, so that chroma stays.
    """

    def __init__(self, photo: torch.Tensor, colours: str) -> None:
        self.photo, self.grey = photo, colours == "photo"
        self.luma = torch.tensor(LUMA, device=photo.device).view(1, 3, 1, 1)

    def small(self, divisor: int) -> torch.Tensor:
        """The photo as it is painted: (1, 3 or 1, H, W)."""
        return self.painted(_sized(self.photo, [max(LEAST, each // divisor) for each in self.photo.shape[2:]]))

    def painted(self, picture: torch.Tensor) -> torch.Tensor:
        """Of (1, 3, H, W) what is painted: all, or the brightness."""
        return self._brightness(picture) if self.grey else picture

    def colour(self, picture: torch.Tensor) -> torch.Tensor:
        """What is painted → (1, 3, H, W)."""
        return picture.expand(-1, 3, -1, -1)

    def style(self, style: torch.Tensor) -> torch.Tensor:
        if not self.grey:
            return style
        here, there = self._brightness(self.photo), self._brightness(style)
        found = (there - there.mean()) * (here.std() / there.std().clamp_min(1e-3)) + here.mean()
        return found.expand(-1, 3, -1, -1)

    def finished(self, picture: torch.Tensor) -> torch.Tensor:
        """What was painted → the picture, (1, 3, H, W)."""
        return self.photo + picture - self._brightness(self.photo) if self.grey else picture

    def _brightness(self, picture: torch.Tensor) -> torch.Tensor:
        return (picture * self.luma).sum(1, keepdim=True)


def _divisors(side: int) -> list[int]:
    """By what a picture of that side is made smaller, coarse first: 4, 2, 1."""
    found = [1]
    while side / (2 * found[0]) >= COARSE:
        found.insert(0, 2 * found[0])
    return found


def _sized(picture: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if list(picture.shape[2:]) == list(size):
        return picture
    return interpolate(picture, list(size), mode="bicubic", antialias=True, align_corners=False)


def _finer(picture: torch.Tensor, before: torch.Tensor, photo: torch.Tensor, start: str) -> torch.Tensor:
    """A start for the next size: what was changed in the coarse photo, on the fine one, whose details stay."""
    if start == "noise":
        return _sized(picture, photo.shape[2:])
    return photo + _sized(picture - before, photo.shape[2:])


def _pixels(picture: torch.Tensor) -> Pixels:
    found: F32 = picture[0].permute(1, 2, 0).cpu().numpy()
    return np.ascontiguousarray(np.clip(np.round(found * 255), 0, 255).astype(np.uint8))
