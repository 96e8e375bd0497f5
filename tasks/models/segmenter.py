"""Muster's own segmenter: an encoder of residual blocks, a decoder that adds detail back level by level.

The encoder as in He et al., Deep Residual Learning, CVPR 2016, figure 5 left; the decoder as in Lin et al., Feature
Pyramid Networks, CVPR 2017, figure 3, on to stride 2, so that poles keep their width; what the whole image shows is
added at stride 32, as in Liu, Rabinovich, Berg, ParseNet, 2015, arXiv:1506.04579, section 3.1.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.tasks.models.state_dict import load


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x + self.bn(self.second(self.first(x)))).relu()


def stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(conv(inputs, outputs, stride=2), _Block(outputs), _Block(outputs))


class Segmenter(nn.Module):
    def __init__(self, classes: int, widths: Sequence[int]) -> None:
        """`widths`: channels at strides 2, 4, 8, 16 and 32; the decoder has those of stride 4."""
        super().__init__()
        self.stem = nn.Sequential(conv(3, widths[0], stride=2), conv(widths[0], widths[0]))
        self.stages = nn.ModuleList(map(stage, widths[:-1], widths[1:]))
        neck = widths[1]
        self.whole = nn.Conv2d(widths[-1], neck, 1)
        self.laterals = nn.ModuleList(nn.Conv2d(width, neck, 1) for width in widths[1:])
        self.merges = nn.ModuleList(conv(neck, neck) for _ in widths[2:])
        self.detail = conv(widths[0], widths[0], 1)
        self.last = conv(neck + widths[0], neck)
        self.head = nn.Conv2d(neck, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) RGB, -1..1, H and W multiples of 32 → (N, classes, H, W) logits."""
        finest = self.stem(images)  # stride 2
        levels, x = [], finest
        for deeper in self.stages:
            x = deeper(x)
            levels.append(x)  # strides 4, 8, 16, 32
        x = self.laterals[3](levels[3]) + self.whole(levels[3].mean((2, 3), keepdim=True))
        for level in (2, 1, 0):
            x = self.merges[level](self.laterals[level](levels[level]) + F.interpolate(x, scale_factor=2.0))
        x = torch.cat([self.detail(finest), F.interpolate(x, scale_factor=2.0)], 1)
        return F.interpolate(self.head(self.last(x)), scale_factor=2.0, mode="bilinear", align_corners=False)


def from_state(state: Mapping[str, torch.Tensor]) -> Segmenter:
    """The network with the weights of a training, in half or single precision; classes and widths are theirs."""
    stages = [state[f"stages.{level}.0.0.weight"].shape[0] for level in range(4)]
    widths = [state["stem.0.0.weight"].shape[0], *stages]
    return load(Segmenter(state["head.weight"].shape[0], widths), state)
