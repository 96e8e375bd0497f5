"""Turned faces, warped to how they would look from in front.

After Taigman et al., DeepFace, CVPR 2014, section 2: many landmarks, a mean head in three dimensions, a camera for each
face, and a piecewise affine warp over the triangles between the landmarks.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from muster.arrays import Pixels
from muster.tasks.geometry.align import CROP, sampled
from muster.tasks.geometry.head import SHAPE, cameras

# Of the crop that no landmark is near: forehead above the brows, and a frame around it as far back as the ears.
_BROWS, _TOP, _FOREHEAD_BACK = (17, 19, 24, 26), -3.0, 8.0
_FRAME = ((-24.0, -24.0), (135.0, -24.0), (-24.0, 135.0), (135.0, 135.0), (-24.0, 60.0), (135.0, 60.0))
_HIDDEN, _SEEN = 0.2, 0.5  # of the area that a patch has from in front: what is seen of it when it is mirrored, and not
_BLUR = 9  # pixels, three times: of the head's surface, for where it faces


class _Surface(NamedTuple):
    """The head from in front. `points`: (K, 3), the landmarks first. `weights`: (CROP · CROP, K), each pixel of a crop
    as a sum of points: those of its triangle. `normals`: (CROP · CROP, 3), where the head faces there, z always 1."""

    points: torch.Tensor
    weights: torch.Tensor
    normals: torch.Tensor


@cache
def _surface() -> _Surface:
    from scipy.spatial import Delaunay  # a worker that warps nothing need not import it

    forehead = SHAPE[list(_BROWS)] * torch.tensor([1.0, 0.0, 1.0]) + torch.tensor([0.0, _TOP, -_FOREHEAD_BACK])
    frame = F.pad(torch.tensor(_FRAME), (0, 1), value=float(SHAPE[[0, 16], 2].mean()))
    points = torch.cat([SHAPE, forehead, forehead[1:3].mean(0, keepdim=True), frame])
    triangles = Delaunay(points[:, :2].double().numpy())
    y, x = torch.meshgrid(torch.arange(CROP), torch.arange(CROP), indexing="ij")
    grid = torch.stack([x, y], 2).view(-1, 2).double()
    inside = triangles.find_simplex(grid.numpy())
    to_parts = torch.from_numpy(triangles.transform[inside])  # (pixels, 3, 2): scipy's way to barycentric coordinates
    parts = (to_parts[:, :2] @ (grid - to_parts[:, 2])[:, :, None])[:, :, 0]
    parts = torch.cat([parts, 1 - parts.sum(1, keepdim=True)], 1)
    corners = torch.from_numpy(triangles.simplices[inside]).long()
    weights = torch.zeros(CROP * CROP, len(points)).scatter_(1, corners, parts.float())
    depth = (weights @ points[:, 2]).view(1, 1, CROP, CROP)
    for _ in range(3):
        depth = F.avg_pool2d(F.pad(depth, [_BLUR // 2] * 4, mode="replicate"), _BLUR, 1)
    down, across = torch.gradient(depth[0, 0])
    return _Surface(points, weights, torch.stack([-across, -down, torch.ones_like(down)], 2).view(-1, 3))


def frontal(images: Sequence[Pixels], points: torch.Tensor) -> torch.Tensor:
    """The faces with these 68 landmarks (N, 68, 2; in pixels) from in front: crops (N, 112, 112, 3), uint8 RGB.

    `images`: N of them, (H, W, 3), the one each face is in. Where the head hides a side of itself, the other side is
    there, mirrored. Outside the image, and where the landmarks are none of a face, is black.
    """
    surface, found = _surface(), cameras(points, SHAPE)
    crops = torch.zeros(len(points), CROP, CROP, 3, dtype=torch.uint8)
    rest = surface.points[len(SHAPE) :] @ found.affine.mT + found.shift[:, None]
    where = (surface.weights @ torch.cat([points, rest], 1)).view(-1, CROP, CROP, 2)  # of each pixel, in its image
    steps = torch.linalg.svdvals(found.affine).mean(1).tolist()  # image pixels per crop pixel
    facing = (surface.normals @ found.rotation[:, 2, :, None]).view(-1, CROP, CROP, 1)
    seen = ((facing - _HIDDEN) / (_SEEN - _HIDDEN)).clamp(0, 1)
    for i in found.known.nonzero()[:, 0].tolist():
        left, top = where[i].amin((0, 1)).floor().long().clamp_min(0).tolist()
        right, bottom = (where[i].amax((0, 1)).ceil().long() + 2).clamp_min(0).tolist()
        region = images[i][top:bottom, left:right]
        if region.size:
            whole = max(1, min(int(steps[i]), *region.shape[:2]))
            crop = sampled(torch.from_numpy(region.astype(np.float32)), where[i] - torch.tensor([left, top]), whole)
            crops[i] = (seen[i] * crop + (1 - seen[i]) * crop.flip(1)).round_()
    return crops
