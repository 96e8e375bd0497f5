"""A small network, pictures, and the cost of a style by its formula alone."""

from typing import Any

import numpy as np
import torch
from torch import nn

from muster.arrays import Pixels
from muster.tasks.models.classifiers import Classifier, Shown
from muster.tasks.models.style_costs import MARGIN, OUTSIDE, Recipe

RECIPE = Recipe(0.1, 1.0, "2", {"1": 1.0, "2": 3.0}, steps=12)


def network() -> Classifier:
    """Two convolutions, ReLU in place between them, and a head; always the same."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 6, 3, 2), nn.AdaptiveAvgPool2d(1)]
    layers += [nn.Flatten(), nn.Linear(6, 2)]
    return Classifier(nn.Sequential(*layers), Shown(64, 64), ["a", "b"])


def picture(seed: int, height: int = 40, width: int = 48) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def tensor(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def by_the_formula(recipe: Recipe, made: torch.Tensor, photo: torch.Tensor, style: torch.Tensor) -> float:
    """J as the docstring has it, in double precision, without anything of Maps."""
    plain = network().network.double()
    plain[1].inplace = False

    def maps(shown: torch.Tensor) -> dict[str, Any]:
        mean, std = (torch.tensor(each).double().view(1, 3, 1, 1) for each in (Shown.mean, Shown.std))
        value = (nn.functional.pad(shown.double(), (MARGIN,) * 4, mode="reflect") - mean) / std
        found = {}
        for number in range(3):
            value = plain[number](value)
            found[str(number)] = value[0].reshape(value.shape[1], -1)
        return found

    with torch.no_grad():
        ours, theirs, aims = maps(made), maps(photo), maps(style)
    layer = recipe.content
    outside = float((made - made.clamp(0, 1)).square().mean())
    total = OUTSIDE * outside + recipe.alpha * float(
        ((ours[layer] - theirs[layer]) ** 2).sum() / (theirs[layer] ** 2).sum()
    )
    for name, share in recipe.layers.items():
        g, a = (f[name] @ f[name].T / f[name].shape[1] for f in (ours, aims))
        total += recipe.beta * share / sum(recipe.layers.values()) * float(((g - a) ** 2).sum() / (a**2).sum())
    return total
