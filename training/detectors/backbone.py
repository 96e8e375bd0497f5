"""The convolutions that every detector of the history has beneath it, and what all of them say."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NotRequired, TypedDict

import torch
from torch import nn
from torchvision.ops import batched_nms

WIDTHS = (24, 48, 96, 128)  # channels at strides 2, 4, 8 and 16
LEAST, MOST = 0.02, 30  # score of a find, and finds of a picture
FINE, COARSE = "8", "16"  # maps, by their stride


class Boxes(TypedDict):
    """`boxes` (M, 4), xyxy in pixels; `labels` (M,) int64, 1 for the first class, as 0 is what is none: as torchvision
    has them. `regions` (R, 4): the picture's, where they were looked for before."""

    boxes: torch.Tensor
    labels: torch.Tensor
    regions: NotRequired[torch.Tensor]


class Found(Boxes):
    """`scores` (M,), 0..1, best first."""

    scores: torch.Tensor


Losses = Mapping[str, torch.Tensor]
Images = Sequence[torch.Tensor]  # each (3, S, S), RGB, -1..1
Answer = Losses | list[Found]  # of a detector: the parts of its loss where it is told the truth, otherwise its finds


def layer(inputs: int, outputs: int, stride: int = 1, padding: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def scaled(boxes: torch.Tensor, width: float, height: float) -> torch.Tensor:
    """(M, 4), made so many times as wide and as high, around their middles."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    half = half * half.new_tensor([width, height])
    return torch.cat([middle - half, middle + half], 1)


def surest(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, most: float) -> Found:
    """Of boxes (M, 4), scores and labels (M,) at most MOST that are surer than LEAST, and overlap no surer one of their
    class by more than `most`."""
    sure = scores > LEAST
    boxes, scores, labels = boxes[sure], scores[sure], labels[sure]
    kept = batched_nms(boxes, scores, labels, most)[:MOST]
    return Found(boxes=boxes[kept], scores=scores[kept], labels=labels[kept])


class Backbone(nn.Module):
    """(N, 3, H, W) → maps (N, WIDTHS[2], H/8, W/8) and, unless `coarse` is False, (N, WIDTHS[3], H/16, W/16).

    `padding` 0: borders are not padded, so that what a cell holds depends on nothing but the window it sees.
    """

    def __init__(self, *, coarse: bool = True, padding: int = 1) -> None:
        super().__init__()
        self.stem = layer(3, WIDTHS[0], 2, padding)
        widths = WIDTHS if coarse else WIDTHS[:-1]
        self.stages = nn.ModuleList(
            nn.Sequential(layer(inputs, outputs, 2, padding), layer(outputs, outputs, 1, padding))
            for inputs, outputs in pairwise(widths)
        )

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.stem(images.contiguous(memory_format=torch.channels_last))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return dict(zip((FINE, COARSE), maps[1:], strict=False))
