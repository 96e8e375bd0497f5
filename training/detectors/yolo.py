"""YOLO (Redmon et al., CVPR 2016): S×S cells, each of which says B boxes and what is in them, in one look.

The cell that an object's middle falls into is responsible for it, and of its B boxes the one that overlaps it most
(section 2.2). Of equation 3 the squares of sizes' roots and of places are kept; whether there is an object and of which
class are cross-entropies, as in YOLOv3 (arXiv:1804.02767, section 2.1), and each box has classes of its own: the
S×S×B×(5 + C) of the lecture.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.training.detectors.backbone import COARSE, WIDTHS, Answer, Backbone, Boxes, Found, Images, layer, surest
from muster.training.face_maps import overlap

BOXES = 2  # of a cell
PLACE, NONE = 5.0, 0.5  # weights of places and sizes, and of boxes without an object: section 2.2
OVERLAP = 0.4  # of two finds of one class, at most


class Grid(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.maps = Backbone()
        said = nn.Conv2d(WIDTHS[-1], BOXES * (5 + classes), 1)
        self.head = nn.Sequential(layer(WIDTHS[-1], WIDTHS[-1]), said)
        with torch.no_grad():  # most cells have none
            said.get_parameter("bias").view(BOXES, -1)[:, 0] = -3.0

    def forward(self, images: Images, truth: list[Boxes] | None = None) -> Answer:
        stack = torch.stack(list(images))
        values = self.head(self.maps(stack)[COARSE]).float()
        n, _, height, width = values.shape
        cells = values.view(n, BOXES, -1, height, width).permute(0, 3, 4, 1, 2)  # (N, S, S, B, 5 + C)
        sides = torch.tensor([stack.shape[3], stack.shape[2]], device=values.device)
        if truth is None:
            return [_found(each, sides) for each in cells]
        return losses(cells, sides, truth)


def places(cells: torch.Tensor, sides: torch.Tensor) -> torch.Tensor:
    """(…, S, S, B, 5 + C) → boxes (…, S, S, B, 4), xyxy in pixels. Numbers of a box, each behind a sigmoid: whether,
    the middle in parts of the cell, and the roots of width and height in parts of the picture."""
    height, width = cells.shape[-4:-2]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    corner = torch.stack([x, y], -1).to(cells)[:, :, None]
    part = cells[..., 1:5].sigmoid()
    middle = (corner + part[..., :2]) * sides / torch.tensor([width, height]).to(cells)
    half = part[..., 2:].square() * sides / 2
    return torch.cat([middle - half, middle + half], -1)


def losses(cells: torch.Tensor, sides: torch.Tensor, truth: list[Boxes]) -> dict[str, torch.Tensor]:
    """The parts of the loss, each the sum over a picture's cells, as the mean of the pictures."""
    n, height, width = cells.shape[:3]
    owner = torch.cat([torch.full_like(each["labels"], i) for i, each in enumerate(truth)])
    boxes, labels = torch.cat([each["boxes"] for each in truth]), torch.cat([each["labels"] for each in truth]) - 1
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2 / sides * torch.tensor([width, height]).to(boxes)
    x, y = middle.long().clamp_(max=width - 1).unbind(1)
    said = places(cells, sides)[owner, y, x]  # (M, B, 4)
    best = overlap(said.detach(), boxes[:, None])[0].argmax(1)
    mine = cells[owner, y, x, best]
    part, size = mine[:, 1:5].sigmoid(), (boxes[:, 2:] - boxes[:, :2]) / sides
    wanted = torch.cat([middle - torch.stack([x, y], 1), size.sqrt()], 1)
    there = torch.zeros_like(cells[..., 0])
    there[owner, y, x, best] = 1
    weights = torch.where(there > 0, 1.0, NONE)
    return {
        "place": PLACE * (part - wanted).square().sum() / n,
        "whether": F.binary_cross_entropy_with_logits(cells[..., 0], there, weights, reduction="sum") / n,
        "class": F.cross_entropy(mine[:, 5:], labels, reduction="sum") / n,
    }


def _found(cells: torch.Tensor, sides: torch.Tensor) -> Found:
    chance, label = cells[..., 5:].softmax(-1).max(-1)
    scores = cells[..., 0].sigmoid() * chance
    return surest(places(cells, sides).flatten(0, 2), scores.flatten(), label.flatten() + 1, OVERLAP)
