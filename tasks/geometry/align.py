"""Faces brought onto one template by the similarity transform that fits their five landmarks best."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from muster.arrays import Pixels

CROP = 112

# Eyes, nose, mouth corners in a 112×112 crop: the template of ArcFace (Deng et al., arXiv:1801.07698, and its code).
TEMPLATE = torch.tensor(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def similarity(landmarks: torch.Tensor, target: torch.Tensor = TEMPLATE) -> torch.Tensor:
    """Least-squares rotation, scale and shift that take landmarks (N, K, 2) to `target` (K, 2): (N, 2, 3).

    Umeyama, IEEE PAMI 13(4), 1991, p. 379, eq. 39–42, which in two dimensions and without reflection has this closed
    form: with centred points as complex numbers p and q, the factor is sum(conj(p) q) / sum(|p|²).
    """
    p, q = torch.complex(*landmarks.unbind(2)), torch.complex(*target.to(landmarks).unbind(1))
    p_mean, q_mean = p.mean(1, keepdim=True), q.mean()
    spread = (p - p_mean).abs().square().sum(1, keepdim=True).clamp_min(1e-6)
    factor = ((p - p_mean).conj() * (q - q_mean)).sum(1, keepdim=True) / spread
    shift = q_mean - factor * p_mean
    rows = [[factor.real, -factor.imag, shift.real], [factor.imag, factor.real, shift.imag]]
    return torch.stack([torch.cat(row, 1) for row in rows], 1)


def misfit(landmarks: torch.Tensor) -> torch.Tensor:
    """How far landmarks (N, 5, 2) lie from a face's, once brought onto it: mean distance in pixels of a crop, (N,)."""
    moved = landmarks @ (matrix := similarity(landmarks))[:, :, :2].mT + matrix[:, None, :, 2]
    return (moved - TEMPLATE.to(landmarks)).norm(dim=2).mean(1)


def align(
    images: Sequence[Pixels], landmarks: torch.Tensor, margin: int = 0, target: torch.Tensor = TEMPLATE
) -> torch.Tensor:
    """The faces with these landmarks (N, 5, 2; in pixels) as crops on the template: (N, 112, 112, 3) uint8 RGB.

    `images`: N of them, (H, W, 3), the one each face is in. `target`: (5, 2), another template. With `margin`, that
    many more pixels of it on each side: (N, 112 + 2 · margin, …). Bilinear; a face larger than its crop is first
    averaged down by whole factors, so that it does not alias. Outside the image is black.
    """
    grid, side = _crop_grid(margin), CROP + 2 * margin
    crops = torch.zeros(len(landmarks), side, side, 3, dtype=torch.uint8)
    bottom = torch.tensor([0.0, 0.0, 1.0]).expand(len(landmarks), 1, 3)
    to_image, failed = torch.linalg.inv_ex(torch.cat([similarity(landmarks, target), bottom], 1))
    to_image = to_image[:, :2]
    corners = grid[[0, side - 1, side * (side - 1), side * side - 1]] @ to_image.mT  # (N, 4, 2), in the image
    lows = corners.amin(1).floor().long().clamp_min(0)
    highs = (corners.amax(1).ceil().long() + 2).clamp_min(0)
    points = grid @ to_image.mT - lows[:, None]  # (N, side · side, 2): of each crop pixel, in its region of the image
    steps = to_image[:, :, 0].norm(dim=1).tolist()  # image pixels per crop pixel
    for i, ((left, top), (right, bottom_edge)) in enumerate(zip(lows.tolist(), highs.tolist(), strict=True)):
        region = images[i][top:bottom_edge, left:right]
        if region.size and not failed[i]:  # landmarks all in one point have no inverse
            whole = max(1, min(int(steps[i]), *region.shape[:2]))
            crops[i] = sampled(torch.from_numpy(region.astype(np.float32)), points[i].view(side, side, 2), whole)
    return crops


def sampled(region: torch.Tensor, points: torch.Tensor, step: int) -> torch.Tensor:
    """Pixels of `region` (H, W, 3; float32) at `points` (side, side, 2; xy), averaged over `step`: (side, side, 3)."""
    source = region.permute(2, 0, 1)[None]
    if step > 1:
        source = F.avg_pool2d(source, step, ceil_mode=True, count_include_pad=False)
    size = torch.tensor([source.shape[3], source.shape[2]])
    grid = (points + 0.5) * (2 / (step * size)) - 1  # -1 and 1 are the outer edges
    crop = F.grid_sample(source, grid[None], mode="bilinear", align_corners=False)
    return crop[0].permute(1, 2, 0).round_()


@cache
def _crop_grid(margin: int) -> torch.Tensor:
    """(side · side, 3): x, y and 1 of each pixel of a crop with `margin`, in the frame of the template."""
    steps = torch.arange(-margin, CROP + margin)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3).float()
