"""Crops changed as photographs differ: place, light, focus, cover, and two faces in one. All random, all on batches.

Batches are (N, 3, H, W) float32 RGB in 0..1. Each function takes a torch generator, so that the same seed gives the
same crops.
"""

import torch
import torch.nn.functional as F  # noqa: N812

from tasks.align import CROP


def uniform(count: int, low: float, high: float, random: torch.Generator) -> torch.Tensor:
    """(count,) in low..high."""
    return torch.empty(count).uniform_(low, high, generator=random)


def augmented(wide: torch.Tensor, random: torch.Generator, mixed: float) -> torch.Tensor:
    """Crops with a margin (N, H, W, 3; uint8) → (N, 3, 112, 112); a share `mixed` of them holds parts of two faces."""
    images = moved(wide.permute(0, 3, 1, 2).float() / 255, random)
    images = covered(defocused(lit(images, random), random), random)
    return mix(images, mixed, random).clamp_(0, 1)


def moved(wide: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Turned by up to 8°, scaled by up to 7 %, shifted by up to 4 pixels, half of them mirrored; cut to 112×112."""
    n, side = len(wide), wide.shape[-1]
    angle, scale = uniform(n, -0.14, 0.14, random), uniform(n, 0.93, 1.07, random) * CROP / side
    shift = torch.stack([uniform(n, -4, 4, random), uniform(n, -4, 4, random)], 1) * 2 / side
    mirror = torch.where(uniform(n, 0, 1, random) < 0.5, -1.0, 1.0)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([cos * mirror, -sin, shift[:, 0]], 1), torch.stack([sin * mirror, cos, shift[:, 1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 3, CROP, CROP], align_corners=False)
    return F.grid_sample(wide, grid, align_corners=False)


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
    order = torch.randperm(n, generator=random)
    out = images.clone()
    for rows in order[: n // 3].split(8):
        side = int(torch.randint(32, 90, (1,), generator=random))
        small = F.interpolate(images[rows], size=(side, side), mode="area")
        out[rows] = F.interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)
    rows = order[-(n // 3) :] if n >= 3 else order[:0]
    sigma = uniform(len(rows), 0, 0.06, random).view(-1, 1, 1, 1)
    out[rows] += sigma * torch.empty_like(out[rows]).normal_(generator=random)
    return out


def covered(images: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """One in six partly covered by a box of one colour, up to half as wide and high as the crop."""
    side = images.shape[-1]
    for row in torch.randperm(len(images), generator=random)[: len(images) // 6].tolist():
        width, height = torch.randint(side // 8, side // 2, (2,), generator=random).tolist()
        x = int(torch.randint(0, side - width, (1,), generator=random))
        y = int(torch.randint(0, side - height, (1,), generator=random))
        images[row, :, y : y + height, x : x + width] = torch.rand(3, 1, 1, generator=random)
    return images


def mix(images: torch.Tensor, share: float, random: torch.Generator) -> torch.Tensor:
    """A `share` of them blended with another of the batch, or with half of another's face: faces of nobody.

    Beyer et al., Knowledge distillation: A good teacher is patient and consistent, CVPR 2022, section 3.1, found that a
    student learns a teacher's function sooner with inputs mixed far from photographs.
    """
    n = len(images)
    rows = torch.randperm(n, generator=random)[: int(n * share)]
    others = images[torch.randperm(n, generator=random)[: len(rows)]]
    weight = uniform(len(rows), 0.2, 0.8, random).view(-1, 1, 1, 1).expand(-1, 1, *images.shape[-2:]).clone()
    for i in range(0, len(rows), 2):  # every second one: a border through the face instead of a blend
        border = int(torch.randint(CROP // 4, 3 * CROP // 4, (1,), generator=random))
        weight[i] = 0.0
        if i % 4:
            weight[i, :, :border] = 1.0
        else:
            weight[i, :, :, :border] = 1.0
    out = images.clone()
    out[rows] = images[rows] * weight + others * (1 - weight)
    return out
