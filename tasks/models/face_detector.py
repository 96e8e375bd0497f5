"""Muster's own face detector: boxes and five landmarks at strides 8, 16 and 32, of YuNet's kind and with its outputs.

Anchor-free with one point per cell, as in Wu, Peng, Yu: YuNet: A Tiny Millisecond-level Face Detector, Machine
Intelligence Research 20, 2023, pp. 656–665; top-down sums as in Lin et al., Feature Pyramid Networks, 2017,
arXiv:1612.03144; linear bottlenecks as in Sandler et al., MobileNetV2, 2018, arXiv:1801.04381, but with dense 3×3
convolutions: depthwise ones wait for memory, and matrix units (AMX) cannot take them.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.tasks.models.segmenter import conv
from muster.tasks.models.state_dict import load

STEM = (16, 24)  # channels at strides 2 and 4
WIDTHS = (48, 64, 64)  # at strides 8, 16 and 32
DEPTHS = (2, 2, 2)  # bottlenecks at each
NECK = 32
OUTPUTS = 16


class _Bottleneck(nn.Module):
    """Half the channels, a dense 3×3 convolution, all channels again, added: nothing is cut off after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 2
        self.reduce = conv(channels, hidden, 1)
        self.conv = conv(hidden, hidden)
        self.expand = nn.Conv2d(hidden, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.bn(self.expand(self.conv(self.reduce(x))))


def _stage(inputs: int, outputs: int, depth: int) -> nn.Sequential:
    return nn.Sequential(conv(inputs, outputs, stride=2), *(_Bottleneck(outputs) for _ in range(depth)))


class FaceDetector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, STEM[0], stride=2), conv(STEM[0], STEM[1], stride=2))
        inputs = (STEM[1], *WIDTHS[:2])
        self.stages = nn.ModuleList(map(_stage, inputs, WIDTHS, DEPTHS))
        self.laterals = nn.ModuleList(nn.Conv2d(width, NECK, 1) for width in WIDTHS)
        self.heads = nn.ModuleList(
            nn.Sequential(_Bottleneck(NECK), nn.BatchNorm2d(NECK), nn.ReLU(), nn.Conv2d(NECK, OUTPUTS, 1))
            for _ in WIDTHS
        )

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, H, W) BGR 0..255, H and W multiples of 32 → for each stride, (N, 16, H/stride, W/stride).

        Channels as YuNet's: class and object logits, box (dx, dy, log w, log h), landmarks (5 × dx, dy); offsets and
        sizes in strides from the cell's corner.
        """
        stride8 = self.stages[0](self.stem(images))
        stride16 = self.stages[1](stride8)
        stride32 = self.laterals[2](self.stages[2](stride16))
        stride16 = self.laterals[1](stride16) + F.interpolate(stride32, scale_factor=2.0)
        stride8 = self.laterals[0](stride8) + F.interpolate(stride16, scale_factor=2.0)
        levels = (stride8, stride16, stride32)
        return [head(level) for head, level in zip(self.heads, levels, strict=True)]


def from_state(state: Mapping[str, torch.Tensor]) -> FaceDetector:
    """The network with the weights of a training, in half or single precision."""
    return load(FaceDetector(), state)
