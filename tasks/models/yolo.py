"""Muster's own detector of objects: one look, three levels of cells, three anchors in each.

Every anchor of every cell says (b_x, b_y, b_w, b_h, p_c, c_1 … c_n): where the box is, whether there is an object,
and of which class: Redmon et al., You Only Look Once, CVPR 2016, section 2. Levels and top-down sums as in Redmon &
Farhadi, YOLOv3, 2018, arXiv:1804.02767, section 2.3; what a cell may reach beyond its borders as in Bochkovskiy et al.,
YOLOv4, 2020, arXiv:2004.10934, section 3.4 (grid sensitivity), here by half a cell.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.tasks.models.segmenter import conv, stage
from muster.tasks.models.state_dict import load

STRIDES = (8, 16, 32)
# Width and height in pixels of three anchors per stride: YOLOv3, section 2.3 (k-means over COCO's boxes at 416 pixels).
ANCHORS = (((10, 13), (16, 30), (33, 23)), ((30, 61), (62, 45), (59, 119)), ((116, 90), (156, 198), (373, 326)))
WIDTHS = (32, 48, 96, 144, 208)  # channels at strides 2, 4, 8, 16 and 32
NECK = 96
REACH = 4.0  # a box is at most so many times as wide or high as its anchor


class Yolo(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, WIDTHS[0], stride=2), conv(WIDTHS[0], WIDTHS[0]))
        self.stages = nn.ModuleList(map(stage, WIDTHS[:-1], WIDTHS[1:]))
        self.laterals = nn.ModuleList(nn.Conv2d(width, NECK, 1) for width in WIDTHS[2:])
        self.merges = nn.ModuleList(conv(NECK, NECK) for _ in STRIDES)
        outputs = len(ANCHORS[0]) * (5 + classes)
        self.heads = nn.ModuleList(nn.Sequential(conv(NECK, NECK), nn.Conv2d(NECK, outputs, 1)) for _ in STRIDES)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, H, W) RGB, -1..1, H and W multiples of 32 → per stride (N, 3 · (5 + classes), H/stride, W/stride).

        Channels of an anchor: t_x, t_y, t_w, t_h, and the logits of an object and of each class; see `decode`.
        """
        x = self.stages[0](self.stem(images))
        levels = []
        for deeper in list(self.stages)[1:]:
            x = deeper(x)
            levels.append(x)
        x = self.laterals[2](levels[2])
        merged = [self.merges[2](x)]
        for level in (1, 0):
            x = self.laterals[level](levels[level]) + F.interpolate(merged[0], scale_factor=2.0)
            merged.insert(0, self.merges[level](x))
        return [head(level) for head, level in zip(self.heads, merged, strict=True)]


def cells(output: torch.Tensor, level: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One level's output → boxes (N, A, H, W, 4) as centre and size in pixels, and logits (N, A, H, W, 1 + classes)."""
    n, _, height, width = output.shape
    anchors = torch.tensor(ANCHORS[level], device=output.device, dtype=torch.float32)
    values = output.float().view(n, len(anchors), -1, height, width).permute(0, 1, 3, 4, 2)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    corner = torch.stack([x, y], -1).to(values)
    part = values[..., :4].sigmoid()
    centre = (2 * part[..., :2] - 0.5 + corner) * STRIDES[level]
    size = (2 * part[..., 2:]) ** 2 * anchors[None, :, None, None]
    return torch.cat([centre, size], -1), values[..., 4:]


def decode(outputs: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the network gives → boxes (N, M, 4) xyxy in pixels, not clipped, scores and class indices (N, M)."""
    boxes, scores, labels = [], [], []
    for level, output in enumerate(outputs):
        place, logits = cells(output, level)
        chance, label = logits[..., 1:].sigmoid().max(-1)
        half = place[..., 2:] / 2
        boxes.append(torch.cat([place[..., :2] - half, place[..., :2] + half], -1).flatten(1, 3))
        scores.append((logits[..., 0].sigmoid() * chance).flatten(1))
        labels.append(label.flatten(1))
    return torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(labels, 1)


def from_state(state: Mapping[str, torch.Tensor]) -> Yolo:
    """The network with the weights of a training, in half or single precision; the number of classes is theirs."""
    return load(Yolo(state["heads.0.1.weight"].shape[0] // len(ANCHORS[0]) - 5), state)
