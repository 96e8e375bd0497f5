"""Items as encoders take them, and changed as two of one kind differ: by place, turn, speed, noise, words left out.

All on batches, and random from a torch generator, on whose device they lie: the same seed gives the same items.
"""

import torch
import torch.nn.functional as F  # noqa: N812

from muster.tasks.models.encoders import Plan
from muster.training.augment import uniform

SHIFT = 0.05  # of a picture's or volume's half side
TURN = 0.05  # radians
STRETCH = 0.06  # logarithm
SHEAR = 0.05  # little: proportions and slant are what a forger gets wrong
BENT = 0.015  # of the half side: standard deviation of the knots of a smooth field
SOMEBODY_ELSE = 0.22  # logarithm of the speed that makes another voice
LATER = 1200  # samples by which a sound is moved
LEFT_OUT = 0.1  # of a text's words


def taken(values: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Items as muster.training.data.items reads them → as an Encoder takes them."""
    if plan.kind == "text":
        return values
    if plan.kind == "sound":
        return values.float() / 32767
    return values[:, None].float() / 255


def changed(
    values: torch.Tensor, plan: Plan, alike: torch.Tensor, speed: float, random: torch.Generator
) -> torch.Tensor:
    """The same, changed. `alike`: none, or (N,) numbers: items of one are first changed alike into another person's:
    pictures mirrored or put upside down, sounds faster or slower. `speed`: logarithm of how much faster or slower each
    sound is besides, at most."""
    items = taken(values, plan)
    if plan.kind == "text":
        return _fewer_words(items, random)
    if plan.kind == "sound":
        voice = _drawn_for(alike, len(items), random) * SOMEBODY_ELSE
        return _spoken(items, (voice + uniform(len(items), -speed, speed, random)).exp()[:, None], random)
    if plan.kind == "picture":
        for axis in (2, 3):
            items = _mirrored(items, axis, _drawn_for(alike, len(items), random) > 0)
        return _written(items, random)
    for axis in (2, 3, 4):
        items = _mirrored(items, axis, uniform(len(items), -1, 1, random) > 0)
    return _turned(items, random)


def _drawn_for(alike: torch.Tensor, count: int, random: torch.Generator) -> torch.Tensor:
    """(N,) in -1..1, one for all items of a number; 0 where there are no numbers."""
    if not len(alike):
        return torch.zeros(count, device=random.device)
    number = alike.unique(return_inverse=True)[1].to(random.device)
    return uniform(count, -1, 1, random)[number]


def _mirrored(items: torch.Tensor, axis: int, which: torch.Tensor) -> torch.Tensor:
    return torch.where(which.view(-1, *[1] * (items.dim() - 1)), items.flip(axis), items)


def _written(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Pictures (N, 1, H, W) as a hand writes one thing again: moved, turned, stretched, sheared, bent, with more or
    less ink."""
    n, (height, width) = len(images), images.shape[2:]
    turn, (across, down) = uniform(n, -TURN, TURN, random), (_stretched(n, random) for _ in range(2))
    shift = [uniform(n, -SHIFT, SHIFT, random) for _ in range(2)]
    rows = [
        torch.stack([across * turn.cos(), uniform(n, -SHEAR, SHEAR, random) - turn.sin(), shift[0]], 1),
        torch.stack([turn.sin(), down * turn.cos(), shift[1]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 1, height, width], align_corners=False)
    knots = torch.empty(n, 2, 5, 8, device=random.device).normal_(generator=random) * BENT
    field = F.interpolate(knots, size=(height, width), mode="bicubic", align_corners=True)
    found = F.grid_sample(images, grid + field.permute(0, 2, 3, 1), align_corners=False)
    return found.clamp(0, 1).pow(uniform(n, -0.5, 0.5, random).exp().view(n, 1, 1, 1))


def _stretched(count: int, random: torch.Generator) -> torch.Tensor:
    return uniform(count, -STRETCH, STRETCH, random).exp()


def _turned(volumes: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Volumes (N, 1, D, H, W): moved, and turned about all axes by what the nearest rotation to a small random matrix
    is."""
    n = len(volumes)
    skew = torch.eye(3, device=random.device) + 3 * TURN * torch.empty(n, 3, 3, device=random.device).uniform_(
        -1, 1, generator=random
    )
    left, _, right = torch.linalg.svd(skew)
    shift = torch.empty(n, 3, 1, device=random.device).uniform_(-2 * SHIFT, 2 * SHIFT, generator=random)
    grid = F.affine_grid(torch.cat([left @ right, shift], 2), list(volumes.shape), align_corners=False)
    return F.grid_sample(volumes, grid, align_corners=False)


def _spoken(sounds: torch.Tensor, speed: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Sounds (N, T): earlier or later, so many times (N, 1) as fast, with noise."""
    n, size = sounds.shape
    places = torch.arange(size, device=random.device) - size / 2
    places = places * speed + size / 2 + uniform(n, -LATER, LATER, random)[:, None]
    before = places.floor()
    part, index = places - before, before.long()
    values = [
        sounds.gather(1, (index + i).clamp(0, size - 1)) * ((index + i >= 0) & (index + i < size)) for i in range(2)
    ]
    noise = torch.empty(n, size, device=random.device).normal_(generator=random)
    loud = (uniform(n, -9, -3, random)).exp()[:, None]
    return values[0] * (1 - part) + values[1] * part + noise * loud


def _fewer_words(texts: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Texts (N, L, PIECES) without one word in ten."""
    n, length, _ = texts.shape
    kept = uniform(n * length, 0, 1, random).view(n, length, 1) >= LEFT_OUT
    return texts * kept
