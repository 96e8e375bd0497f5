"""Crops changed as photographs differ: place, light, focus, cover, and faces of nobody. All random, all on batches.

Batches are (N, 3, H, W) float32 RGB in 0..1, on the device of the torch generator that each function takes, so that
the same seed gives the same crops on the same kind of device.
"""

import torch
import torch.nn.functional as F  # noqa: N812

from muster.tasks.geometry.align import CROP


def uniform(count: int, low: float, high: float, random: torch.Generator) -> torch.Tensor:
    """(count,) in low..high."""
    return torch.empty(count, device=random.device).uniform_(low, high, generator=random)


def _shuffled(count: int, random: torch.Generator) -> torch.Tensor:
    return torch.randperm(count, generator=random, device=random.device)


def augmented(wide: torch.Tensor, random: torch.Generator, mixed: float) -> torch.Tensor:
    """Crops with a margin (N, H, W, 3; uint8) → (N, 3, 112, 112); a share `mixed` of them are bent, and as many hold
    parts of two faces: faces of nobody."""
    images = moved(wide.permute(0, 3, 1, 2).float() / 255, random, mixed)
    images = covered(defocused(lit(images, random), random), random)
    return mix(images, mixed, random).clamp_(0, 1)


def moved(wide: torch.Tensor, random: torch.Generator, bent: float = 0.0) -> torch.Tensor:
    """Turned by up to 8°, scaled by up to 7 %, shifted by up to 4 pixels, half of them mirrored; cut to 112×112.

    A share `bent` is also stretched by up to 10 % one way, and bent smoothly by some 2 pixels: other proportions,
    another face.
    """
    n, side = len(wide), wide.shape[-1]
    angle, scale = uniform(n, -0.14, 0.14, random), uniform(n, 0.93, 1.07, random) * CROP / side
    shift = torch.stack([uniform(n, -4, 4, random), uniform(n, -4, 4, random)], 1) * 2 / side
    mirror = torch.where(uniform(n, 0, 1, random) < 0.5, -1.0, 1.0)
    bending = (uniform(n, 0, 1, random) < bent).float()
    stretch = (uniform(n, -0.1, 0.1, random) * bending).exp()
    cos, sin = scale * angle.cos(), scale * angle.sin()
    across, down = mirror * stretch, 1 / stretch
    rows = [
        torch.stack([cos * across, -sin * down, shift[:, 0]], 1),
        torch.stack([sin * across, cos * down, shift[:, 1]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 3, CROP, CROP], align_corners=False)
    knots = torch.empty(n, 2, 5, 5, device=random.device).normal_(generator=random) * bending.view(n, 1, 1, 1)
    field = F.interpolate(knots * 4 / side, size=(CROP, CROP), mode="bicubic", align_corners=True)
    return F.grid_sample(wide, grid + field.permute(0, 2, 3, 1), align_corners=False)


def lit(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Brightness, contrast, gamma, colour cast and saturation; one in eight without colour."""
    n = len(images)
    grey = images.mean(1, keepdim=True)
    colour = torch.where(uniform(n, 0, 1, random) < 0.125, 0.0, uniform(n, 0.5, 1.5, random)).view(n, 1, 1, 1)
    images = grey + (images - grey) * colour
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * uniform(n, 0.7, 1.3, random).view(n, 1, 1, 1)
    cast = torch.stack([uniform(n, 0.9, 1.1, random) for _ in range(3)], 1) * uniform(n, 0.7, 1.3, random)[:, None]
    gamma = uniform(n, -0.25, 0.25, random).exp().view(n, 1, 1, 1)
    return (images * cast.view(n, 3, 1, 1)).clamp(1e-3, 1).pow(gamma)


def defocused(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """A third of them as if taken with fewer pixels, down to 32 across; a third with noise."""
    n = len(images)
    order = _shuffled(n, random)
    out = images.clone()
    groups = order[: n // 3].split(max(8, n // 48))
    sides = torch.randint(32, 90, (len(groups),), generator=random, device=random.device).tolist()
    for rows, side in zip(groups, sides, strict=True):
        small = F.interpolate(images[rows], size=(side, side), mode="area")
        out[rows] = F.interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)
    rows = order[-(n // 3) :] if n >= 3 else order[:0]
    sigma = uniform(len(rows), 0, 0.06, random).view(-1, 1, 1, 1)
    out[rows] += sigma * torch.empty_like(out[rows]).normal_(generator=random)
    return out


def covered(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """One in six partly covered by a box of one colour, up to half as wide and high as the crop."""
    side = images.shape[-1]
    rows = _shuffled(len(images), random)[: len(images) // 6]
    size = [uniform(len(rows), side / 8, side / 2, random) for _ in range(2)]
    begin = [uniform(len(rows), 0, 1, random) * (side - extent) for extent in size]
    place = torch.arange(side, device=random.device) + 0.5
    x, y = ((place >= b[:, None]) & (place < (b + s)[:, None]) for b, s in zip(begin, size, strict=True))
    colour = torch.stack([uniform(len(rows), 0, 1, random) for _ in range(3)], 1)[:, :, None, None]
    images[rows] = torch.where((y[:, :, None] & x[:, None])[:, None], colour, images[rows])
    return images


def mix(images: torch.Tensor, share: float, random: torch.Generator) -> torch.Tensor:
    """A `share` of them blended with another of the batch, or with half of another's face: faces of nobody.

    Beyer et al., Knowledge distillation: A good teacher is patient and consistent, CVPR 2022, section 3.1, found that a
    student learns a teacher's function sooner with inputs mixed far from photographs.
    """
    n = len(images)
    rows = _shuffled(n, random)[: int(n * share)]
    others = images[_shuffled(n, random)[: len(rows)]]
    blend = uniform(len(rows), 0.2, 0.8, random).view(-1, 1, 1, 1)
    border = uniform(len(rows), CROP / 4, 3 * CROP / 4, random).view(-1, 1, 1)
    first = (torch.arange(CROP, device=random.device) < border).float()  # (rows, 1, side): 1 before the border
    number = torch.arange(len(rows), device=random.device).view(-1, 1, 1, 1)
    halves = torch.where(number % 4 == 0, first[:, :, None], first[:, :, :, None])
    weight = torch.where(number % 2 == 0, halves, blend)  # every second one: a border through the face
    out = images.clone()
    out[rows] = images[rows] * weight + others * (1 - weight)
    return out
