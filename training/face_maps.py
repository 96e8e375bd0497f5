"""What a face detector is to give at every cell, from a teacher and from faces known to be there, and the loss to it.

A cell is (level, row, column), all levels one after another: N scenes × C cells × 16 channels, as in
tasks/models/yunet.py. Boxes and landmarks here are in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812

from muster.tasks.models.yunet import STRIDES

KNOWN_SCORE = 0.75  # target score of a pasted face that the teacher misses
MISSED = 0.5  # the teacher misses a face if its score there is lower
SMALLEST = 14.0  # pixels; pasted faces narrower than this are no target if the teacher misses them
# A face belongs to the first level whose stride × STRIDES_ACROSS exceeds its width: about where the teacher changes.
STRIDES_ACROSS = 6.5
POSITIVE = 0.2  # boxes and landmarks are learnt in cells whose target score is at least this


Grid = tuple[torch.Tensor, torch.Tensor]  # corner (C, 2; x, y) in pixels, and stride (C, 1), of every cell


@dataclass(frozen=True)
class Cells:
    """`score` (N, C) in 0..1; `boxes` (N, C, 4) xyxy; `landmarks` (N, C, 10)."""

    score: torch.Tensor
    boxes: torch.Tensor
    landmarks: torch.Tensor

    def parts(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.score, self.boxes, self.landmarks


def flat(outputs: Sequence[torch.Tensor]) -> torch.Tensor:
    """Maps (N, 16, H, W) of each level → (N, C, 16)."""
    return torch.cat([output.float().flatten(2).transpose(1, 2) for output in outputs], 1)


def grid_of(height: int, width: int, device: torch.device) -> Grid:
    """Corner (C, 2; x, y) in pixels and stride (C, 1) of every cell of an image of `height` × `width`."""
    corners, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(0, height, stride), torch.arange(0, width, stride), indexing="ij")
        corners.append(torch.stack([x, y], -1).view(-1, 2))
        strides.append(torch.full((corners[-1].shape[0], 1), stride))
    return torch.cat(corners).to(device, torch.float32), torch.cat(strides).to(device, torch.float32)


def decoded(cells: torch.Tensor, corners: torch.Tensor, strides: torch.Tensor) -> Cells:
    """The channels (N, C, 16) as scores, boxes and landmarks; the score is √(class × object), as in detection."""
    score = (F.logsigmoid(cells[..., 0]) + F.logsigmoid(cells[..., 1])).mul(0.5).exp()
    centre, half = corners + cells[..., 2:4] * strides, cells[..., 4:6].clamp(-4, 6).exp() * strides / 2
    landmarks = corners.repeat(1, 5) + cells[..., 6:] * strides
    return Cells(score, torch.cat([centre - half, centre + half], -1), landmarks)


def mirror_order(height: int, width: int) -> torch.Tensor:
    """(C,): for each cell the one it takes from in the mirror image.

    Cells stand at corners, so column 0 has no partner: it takes from itself, and `mirrored` asks for no face there.
    """
    parts, begun = [], 0
    for stride in STRIDES:
        rows, columns = height // stride, width // stride
        column = (columns - torch.arange(columns)) % columns
        parts.append((begun + torch.arange(rows)[:, None] * columns + column).view(-1))
        begun += rows * columns
    return torch.cat(parts)


def mirrored(targets: Cells, order: torch.Tensor, corners: torch.Tensor, width: int) -> Cells:
    """The targets of the mirror images of scenes so wide; left and right eye and mouth corner change places."""
    score = targets.score[:, order] * (corners[:, 0] > 0)
    boxes = targets.boxes[:, order]
    boxes = torch.stack([width - boxes[..., 2], boxes[..., 1], width - boxes[..., 0], boxes[..., 3]], -1)
    points = targets.landmarks[:, order].unflatten(2, (5, 2))[:, :, [1, 0, 2, 4, 3]]
    points = torch.stack([width - points[..., 0], points[..., 1]], -1)
    return Cells(score, boxes, points.flatten(2))


def overlap(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Intersection over union of boxes (..., 4), and its generalised form (GIoU), in -1..1.

    Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, arXiv:1902.09630, algorithm 1.
    """
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp_min(0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    iou = shared / union.clamp_min(1e-6)
    return iou, iou - (hull - union) / hull.clamp_min(1e-6)


def add_known(
    targets: Cells, scenes: torch.Tensor, boxes: torch.Tensor, landmarks: torch.Tensor, cells: Grid
) -> torch.Tensor:
    """Add the pasted faces that the teacher misses to the targets; returns which ones those were, (F,) bool.

    `scenes` (F,): the scene each face is in; `boxes` (F, 4), `landmarks` (F, 5, 2). Asked for at cells within 0.75
    strides of a face's middle, on the level of its size: centre sampling as in Tian et al., FCOS, ICCV 2019,
    arXiv:1904.01355, section 3.2.
    """
    corners, strides = cells
    side = (boxes[:, 2:] - boxes[:, :2]).amin(1)
    seen = (overlap(targets.boxes[scenes], boxes[:, None])[0] > 0.4) & (targets.score[scenes] >= MISSED)  # (F, C)
    missed = (side >= SMALLEST) & ~seen.any(1)
    levels = torch.tensor(STRIDES, device=boxes.device)
    level = levels[(side[:, None] >= levels * STRIDES_ACROSS).sum(1).clamp_max(len(STRIDES) - 1)]
    distance = (corners - ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]).abs().amax(2)
    here = missed[:, None] & (strides[:, 0] == level[:, None]) & (distance < 0.75 * level[:, None])
    face, cell = here.nonzero(as_tuple=True)
    owner = torch.full_like(targets.score, -1, dtype=torch.int64)  # of two faces that claim a cell, the later
    owner.view(-1).scatter_reduce_(0, scenes[face] * len(corners) + cell, face, "amax")
    asked = owner >= 0
    targets.score[asked], targets.boxes[asked] = KNOWN_SCORE, boxes[owner[asked]]
    targets.landmarks[asked] = landmarks[owner[asked]].flatten(1)
    return missed


def within(boxes: torch.Tensor, places: torch.Tensor, side: int) -> torch.Tensor:
    """Whether the middle of a box (..., 4) lies in a rectangle (..., 4), of an image `side` wide and high; a middle
    beyond its border counts as on it."""
    middles = ((boxes[..., :2] + boxes[..., 2:]) / 2).clamp(0, side)
    return ((middles >= places[..., :2]) & (middles <= places[..., 2:])).all(-1)


def deny(targets: Cells, scenes: torch.Tensor, possible: torch.Tensor, side: int) -> None:
    """Set the target score to 0 for every find outside the rectangles in which its scene may have a face.

    `scenes` (R,): the scene that each of `possible` (R, 4; xyxy) is of; `side`: how wide and high they are.
    """
    inside = within(targets.boxes[scenes], possible[:, None], side)  # (R, C)
    places = torch.zeros_like(targets.score).index_add_(0, scenes, inside.to(targets.score))
    targets.score[places == 0] = 0


def losses(cells: torch.Tensor, targets: Cells, grid: Grid) -> dict[str, torch.Tensor]:
    """Of a network's channels (N, C, 16), towards the targets.

    Scores: quality focal loss with β = 2 on both logits (Li et al., Generalized Focal Loss, NeurIPS 2020,
    arXiv:2006.04388, equation 4). Boxes: 1 - GIoU. Landmarks: smooth L1 of the error in face sides. The latter two are
    weighted by the target's score and, like the first, divided by the sum of scores.
    """
    wanted = targets.score[..., None].expand(-1, -1, 2)
    logits = cells[..., :2]
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    amount = targets.score.sum().clamp_min(1)
    score = ((logits.sigmoid() - wanted).square() * entropy).sum() / amount
    positive = targets.score > POSITIVE
    weight = targets.score[positive]
    found = decoded(cells, *grid)
    box = ((1 - overlap(found.boxes[positive], targets.boxes[positive])[1]) * weight).sum() / amount
    wanted_boxes = targets.boxes[positive]
    side = (wanted_boxes[:, 2:] - wanted_boxes[:, :2]).prod(1).clamp_min(1).sqrt()
    error = (found.landmarks[positive] - targets.landmarks[positive]) / side[:, None]
    smooth = F.smooth_l1_loss(error, torch.zeros_like(error), beta=0.02, reduction="none").mean(1)
    return {"score": score, "box": box, "landmarks": (smooth * weight).sum() / amount}
