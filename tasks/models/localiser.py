"""Where the one object of a picture is, and what: the first step from classification to detection.

What comes out is the vector of Redmon et al., You Only Look Once, CVPR 2016, section 2, for the whole picture as a
single cell: p_c, whether there is an object, its middle and size b_x, b_y, b_h, b_w, and its class c_1 … c_n.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from muster.tasks.models.face_embedder import Block, conv
from muster.tasks.models.state_dict import load

SIDE = 128  # pixels
_WIDTHS = (24, 48, 96, 128, 192)  # channels at strides 2, 4, 8, 16 and 32
_HIDDEN = 128


class Found(NamedTuple):
    """`there` (N,) and `classes` (N, C), logits; `boxes` (N, 4): x, y of the middle, height and width, in parts of the
    side."""

    there: torch.Tensor
    boxes: torch.Tensor
    classes: torch.Tensor


class Localiser(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        first, *others = _WIDTHS
        layers = [*conv(3, first, 3, 2), nn.ReLU()]
        layers += [Block(*pair, 2) for pair in zip(_WIDTHS, others, strict=False)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(_WIDTHS[-1] * ((SIDE // 32) ** 2 + 1), _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, 5 + classes),
        )

    def forward(self, images: torch.Tensor) -> Found:
        """(N, 3, SIDE, SIDE) RGB, -1..1."""
        maps = self.features(images)
        seen = [maps.flatten(1), maps.amax((2, 3))]  # what is where, and what is anywhere: that tells the class
        values = self.head(torch.cat(seen, 1)).float()
        return Found(values[:, 0], values[:, 1:5].sigmoid(), values[:, 5:])


def corners(boxes: torch.Tensor) -> torch.Tensor:
    """`Found.boxes` → (N, 4), xyxy in pixels."""
    x, y, height, width = (boxes * SIDE).unbind(1)
    return torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)


def middles(boxes: torch.Tensor) -> torch.Tensor:
    """The converse of `corners`."""
    x0, y0, x1, y1 = (boxes / SIDE).unbind(1)
    return torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, y1 - y0, x1 - x0], 1)


def from_state(state: Mapping[str, torch.Tensor]) -> Localiser:
    """The network with the weights of a training, in half or single precision."""
    return load(Localiser(len(state["head.2.bias"]) - 5), state)
