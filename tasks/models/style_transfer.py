"""A photo painted anew in the style of other pictures, by descent on its pixels. What it costs: style_costs.py."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.nn.functional import interpolate, pad

from muster.arrays import F32, Pixels
from muster.errors import TaskError
from muster.tasks.base import to_device
from muster.tasks.models.classifiers import Classifier
from muster.tasks.models.style_costs import AT_ONCE, LEAST, Costs, Maps, Objective, Recipe, grams

COARSE = 256  # pixels of the longest side below which no coarser picture is made first
COARSE_SHARE = 0.15  # of the evaluations that are left, for a coarser picture
HISTORY = 20  # of L-BFGS: torch's 100 are 2.5 GB at 1024×1024 pixels, and reached .0767 in 60 evaluations, not .0764
ADAM_STEP = 0.02  # of colours in 0..1
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue: ITU-R BT.601


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

    def __init__(
        self,
        classifier: Classifier,
        recipe: Recipe,
        styles: Sequence[tuple[Pixels, float]],
        at_once: int = AT_ONCE,
    ) -> None:
        """`styles`: uint8 RGB pictures with their weights. `at_once`: as AT_ONCE. TaskError where the network has not
        the layers, or the side is too large for it."""
        self.recipe, self.device = recipe, classifier.mean.device
        self.maps = Maps(classifier, list(dict.fromkeys([recipe.content, *recipe.layers])), at_once)
        try:
            self.maps.tiles(torch.empty(1, 3, recipe.side, recipe.side, device="meta"))
        except TaskError as error:
            largest = math.isqrt(at_once)
            raise TaskError(f"a `side` of {recipe.side} is too large: {error}. Take {largest} at most") from None
        self.styles = [(self._tensor(pixels), weight) for pixels, weight in styles]
        self._aims: dict[int, dict[str, torch.Tensor]] = {}  # by how much they were made smaller

    def __call__(self, pixels: Pixels) -> Painted:
        """uint8 RGB (H, W, 3), not longer than the recipe's side. The same for the same, bit for bit, on one kind of
        machine with one number of threads."""
        photo = self._tensor(pixels)
        shown = _Shown(photo, self.recipe.colours)
        picture, cost, curve, sides = self._descended(shown, _divisors(max(pixels.shape[:2])))
        made = _pixels(shown.finished(_sized(picture, photo.shape[2:])))
        with torch.no_grad():
            costs = cost(shown.colour(shown.painted(_sized(self._tensor(made), picture.shape[2:]))))
        return Painted(
            pixels=made[: pixels.shape[0], : pixels.shape[1]],
            content=float(costs.content),
            style=float(cost.shares @ costs.layers),
            layers=tuple(costs.layers.tolist()),
            curve=tuple(curve),
            sides=tuple(sides),
        )

    def _descended(
        self, shown: "_Shown", divisors: Sequence[int]
    ) -> tuple[torch.Tensor, Objective, list[float], list[tuple[int, int]]]:
        """What was painted at the last size, what it was measured by, and J and sides as Painted has them."""
        left, picture, before = self.recipe.steps, shown.photo, None
        curve, sides = list[float](), list[tuple[int, int]]()
        for divisor in divisors:
            small = shown.small(divisor)
            cost = Objective(self.maps, self.recipe, shown.colour(small), self._aims_of(divisor, shown))
            start = self._start(small) if before is None else _finer(picture, before, small, self.recipe.start)
            descent = Descent(partial(_of_shown, cost, shown), start)
            steps = left if divisor == 1 else max(1, round(COARSE_SHARE * left))
            # What L-BFGS would keep, 2 · HISTORY pictures, is many times as much as the maps of a tile.
            descent.run("adam" if len(cost.tiles) > 1 else self.recipe.optimiser, steps)
            picture, before, left = descent.picture, small, left - steps
            curve += descent.curve
            sides.append((max(small.shape[2:]), steps))
            if not left:
                break
        return picture, cost, curve, sides

    def _tensor(self, pixels: Pixels) -> torch.Tensor:
        """(H, W, 3) → (1, 3, H, W) in 0..1, with its edges repeated where it is smaller than LEAST."""
        found = to_device(torch.from_numpy(np.array(pixels)), self.device).permute(2, 0, 1)[None].float() / 255
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
            small = _sized(style, [max(LEAST, each // divisor) for each in style.shape[2:]])
            found = grams(self.maps, shown.style(small), self.recipe.layers)
            for name in self.recipe.layers:
                each = found[name] * (weight / total)
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

    def small(self, divisor: int) -> torch.Tensor:
        """The photo as it is painted: (1, 3 or 1, H, W)."""
        return self.painted(_sized(self.photo, [max(LEAST, each // divisor) for each in self.photo.shape[2:]]))

    def painted(self, picture: torch.Tensor) -> torch.Tensor:
        """Of (1, 3, H, W) what is painted: all, or the brightness."""
        return brightness(picture) if self.grey else picture

    def colour(self, picture: torch.Tensor) -> torch.Tensor:
        """What is painted → (1, 3, H, W)."""
        return picture.expand(-1, 3, -1, -1)

    def style(self, style: torch.Tensor) -> torch.Tensor:
        if not self.grey:
            return style
        here, there = brightness(self.photo), brightness(style)
        found = (there - there.mean()) * (here.std() / there.std().clamp_min(1e-3)) + here.mean()
        return found.expand(-1, 3, -1, -1)

    def finished(self, picture: torch.Tensor) -> torch.Tensor:
        """What was painted → the picture, (1, 3, H, W)."""
        return self.photo + picture - brightness(self.photo) if self.grey else picture


def brightness(picture: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) → (N, 1, H, W)."""
    return (picture * torch.tensor(LUMA, device=picture.device).view(1, 3, 1, 1)).sum(1, keepdim=True)


def _of_shown(cost: Objective, shown: _Shown, picture: torch.Tensor) -> Costs:
    return cost(shown.colour(picture))


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
