"""Scenes to find things in: digits at many sizes and angles over textures of photos, drawn from a seed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from muster.arrays import Pixels
from muster.training.augment import uniform
from muster.training.data.boxed_photos import NOTHING

SIDE = 128  # pixels of a scene
TEXTURE = 192  # pixels of a texture, of which scenes show a part
SIZES = (20.0, 72.0)  # of several in a scene
TURN = 0.5  # radians, each way
INK = 0.35  # of a digit's brightness, from which on it is inside its box
TRIES = 8  # places for a digit, until it hardly covers another
COVERED = 0.15  # of the smaller of two boxes, at most


@dataclass(frozen=True)
class Scenes:
    """`images` (N, 3, SIDE, SIDE), RGB in 0..1; `boxes` (N, B, 4), xyxy in pixels; `labels` (N, B), NOTHING behind the
    last."""

    images: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Drawer:
    """`digits` (D, 28, 28) float32 in 0..1, bright; `classes` (D,); `textures` (T, 3, S, S) uint8, S at least SIDE;
    `sizes`: least and largest of the squares that digits are drawn in, in pixels, at most 90: turned they are wider."""

    digits: torch.Tensor
    classes: torch.Tensor
    textures: torch.Tensor
    sizes: tuple[float, float] = SIZES

    def scenes(self, counts: Sequence[int], random: torch.Generator) -> Scenes:
        """A scene with as many digits as each of `counts` says; one that finds no place is left out."""
        images = self._grounds(len(counts), random)
        boxes = torch.zeros(len(counts), max(1, *counts), 4)
        labels = torch.full(boxes.shape[:2], NOTHING)
        for row, count in enumerate(counts):
            placed = 0
            for _ in range(count):
                number = int(torch.randint(len(self.digits), (1,), generator=random))
                found = self._placed(self.digits[number], boxes[row, :placed], random)
                if found is not None:
                    ink, (x, y), boxes[row, placed] = found
                    labels[row, placed] = self.classes[number]
                    part = images[row, :, y : y + len(ink), x : x + len(ink)]
                    part += (_colour(random) - part) * ink
                    placed += 1
        return Scenes(images, boxes, labels)

    def _grounds(self, count: int, random: torch.Generator) -> torch.Tensor:
        """Parts of textures, darkened to at most 0.6: digits are brighter."""
        which = torch.randint(len(self.textures), (count,), generator=random)
        most = self.textures.shape[-1] - SIDE
        corners = torch.randint(most + 1, (count, 2), generator=random).tolist()
        parts = [self.textures[i, :, y : y + SIDE, x : x + SIDE] for i, (y, x) in zip(which, corners, strict=True)]
        return torch.stack(parts).float() / 255 * uniform(count, 0.2, 0.6, random).view(-1, 1, 1, 1)

    def _placed(
        self, digit: torch.Tensor, others: torch.Tensor, random: torch.Generator
    ) -> tuple[torch.Tensor, tuple[int, int], torch.Tensor] | None:
        """Its ink, (S, S) in 0..1, where the corner of that is in the scene, and its box there."""
        for _ in range(TRIES):
            size, angle = float(uniform(1, *self.sizes, random)), float(uniform(1, -TURN, TURN, random))
            ink = drawn(digit, size, angle, uniform(2, -0.5, 0.5, random))
            corner = uniform(2, 0, SIDE - len(ink) + 1, random).long()
            box = around(ink)
            if box is not None and (
                not len(others) or float(_covered(box + corner.repeat(2), others).max()) <= COVERED
            ):
                x, y = corner.tolist()
                return ink, (x, y), box + corner.repeat(2)
        return None


def drawn(digit: torch.Tensor, size: float, angle: float, aside: torch.Tensor) -> torch.Tensor:
    """A digit (28, 28) in a square of `size` pixels and its turn, (S, S) with an even S. `aside`: x, y in pixels, from
    the middle."""
    cos, sin = math.cos(angle), math.sin(angle)
    side = 2 * math.ceil((abs(cos) + abs(sin)) * size / 2 + 1)
    turn = torch.tensor([[cos, sin], [-sin, cos]]) * (side / size)
    matrix = torch.cat([turn, -(turn @ (aside * 2 / side)[:, None])], 1)
    grid = F.affine_grid(matrix[None], [1, 1, side, side], align_corners=False)
    return F.grid_sample(digit[None, None], grid, align_corners=False)[0, 0]


def around(ink: torch.Tensor) -> torch.Tensor | None:
    """The box of what is at least INK, (4,); None where nothing is."""
    down, across = (np.flatnonzero((ink >= INK).any(axis).numpy()) for axis in (1, 0))
    if not len(down):
        return None
    return torch.tensor([across[0], down[0], across[-1] + 1, down[-1] + 1], dtype=torch.float32)


def _covered(box: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """(M,): the part of the smaller of two boxes that lies in the other."""
    sides = (torch.minimum(box[2:], others[:, 2:]) - torch.maximum(box[:2], others[:, :2])).clamp(min=0)
    areas = (others[:, 2:] - others[:, :2]).prod(1)
    return sides.prod(1) / torch.minimum(areas, (box[2:] - box[:2]).prod())


def _colour(random: torch.Generator) -> torch.Tensor:
    """(3, 1, 1): bright."""
    return uniform(3, 0.7, 1.0, random).view(3, 1, 1)


def texture(pixels: Pixels) -> Pixels:
    """A photo (H, W, 3) → (3, TEXTURE, TEXTURE), its aspect given up."""
    small = Image.fromarray(pixels).resize((TEXTURE, TEXTURE), Image.Resampling.BOX)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))
