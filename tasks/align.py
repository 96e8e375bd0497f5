"""Faces brought onto one template by the similarity transform that fits their five landmarks best."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

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


def align(pixels: np.ndarray[Any, np.dtype[np.uint8]], landmarks: torch.Tensor) -> torch.Tensor:
    """The faces with these landmarks (N, 5, 2; in pixels) as crops on the template: (N, 112, 112, 3) uint8 RGB.

    Bilinear; a face larger than its crop is first averaged down by whole factors, so that it does not alias. Outside
    the image is black.
    """
    crops = torch.zeros(len(landmarks), CROP, CROP, 3, dtype=torch.uint8)
    bottom = torch.tensor([0.0, 0.0, 1.0]).expand(len(landmarks), 1, 3)
    to_image, failed = torch.linalg.inv_ex(torch.cat([similarity(landmarks), bottom], 1))
    to_image = to_image[:, :2]
    points = _GRID @ to_image.mT  # (N, 112 · 112, 2): where each crop pixel lies in the image
    corners = points[:, _CORNERS]
    lows = corners.amin(1).floor().long().clamp_min(0).tolist()
    highs = (corners.amax(1).ceil().long() + 2).clamp_min(0).tolist()
    steps = to_image[:, :, 0].norm(dim=1).tolist()  # image pixels per crop pixel
    for i, (low, high, step) in enumerate(zip(lows, highs, steps, strict=True)):
        region = torch.tensor(pixels[low[1] : high[1], low[0] : high[0]])
        if region.numel() and not failed[i]:  # landmarks all in one point have no inverse
            whole = max(1, min(int(step), *region.shape[:2]))
            crops[i] = _sample(region, points[i] - torch.tensor(low), whole)
    return crops


def _sample(region: torch.Tensor, points: torch.Tensor, step: int) -> torch.Tensor:
    """Pixels of `region` (H, W, 3) at `points` (112 · 112, 2; xy), averaged over `step`: (112, 112, 3) uint8."""
    source = region.permute(2, 0, 1)[None].float()
    if step > 1:
        source = F.avg_pool2d(source, step, ceil_mode=True, count_include_pad=False)
    size = torch.tensor([source.shape[3], source.shape[2]])
    grid = (points + 0.5) * 2 / (step * size) - 1  # -1 and 1 are the outer edges
    crop = F.grid_sample(source, grid.view(1, CROP, CROP, 2), mode="bilinear", align_corners=False)
    return crop[0].permute(1, 2, 0).round().to(torch.uint8)


def _crop_grid() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(CROP), torch.arange(CROP), indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3).float()


_GRID = _crop_grid()  # (112 · 112, 3): x, y, 1
_CORNERS = [0, CROP - 1, CROP * (CROP - 1), CROP * CROP - 1]
