"""YuNet, the face detector: boxes and five landmarks at strides 8, 16 and 32, 76 k parameters.

Wu, Peng, Yu: YuNet: A Tiny Millisecond-level Face Detector, Machine Intelligence Research 20, 2023, pp. 656–665,
figure 2. The parameter names are those of the published weights.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

STRIDES = (8, 16, 32)


class _Unit(nn.Module):
    """A 1×1 convolution, then a 3×3 depthwise one."""

    def __init__(self, inputs: int, outputs: int, activate: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs)
        self.bn = nn.BatchNorm2d(outputs) if activate else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv2(self.conv1(x))
        return x if self.bn is None else self.bn(x).relu()


class _Stem(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 2, 1)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = _Unit(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn1(self.conv1(x)).relu()
        return self.conv2(x)


class _Stage(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = _Unit(inputs, inputs)
        self.conv2 = _Unit(inputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv2(self.conv1(x))


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model0 = _Stem()
        self.model1 = _Stage(16, 64)
        self.model2 = _Stage(64, 64)
        self.model3 = _Stage(64, 64)
        self.model4 = _Stage(64, 64)
        self.model5 = _Stage(64, 64)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        x = F.max_pool2d(self.model0(x), 2)
        x = F.max_pool2d(self.model2(self.model1(x)), 2)
        stride8 = self.model3(x)
        stride16 = self.model4(F.max_pool2d(stride8, 2))
        stride32 = self.model5(F.max_pool2d(stride16, 2))
        return [stride8, stride16, stride32]


class _Neck(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(_Unit(64, 64) for _ in STRIDES)

    def forward(self, levels: list[torch.Tensor]) -> list[torch.Tensor]:
        stride8, stride16, stride32 = levels
        stride32 = self.lateral_convs[2](stride32)
        stride16 = self.lateral_convs[1](stride16 + F.interpolate(stride32, scale_factor=2.0))
        stride8 = self.lateral_convs[0](stride8 + F.interpolate(stride16, scale_factor=2.0))
        return [stride8, stride16, stride32]


class _Head(nn.Module):
    """Class, object, box and landmark units of a level side by side in one unit of 1 + 1 + 4 + 10 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.ModuleList(_Unit(64, 64) for _ in STRIDES)
        self.outputs = nn.ModuleList(_Unit(64, 16, activate=False) for _ in STRIDES)

    def forward(self, levels: list[torch.Tensor]) -> list[torch.Tensor]:
        return [self.outputs[i](self.shared[i](level)) for i, level in enumerate(levels)]


class YuNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = _Backbone()
        self.neck = _Neck()
        self.bbox_head = _Head()

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, H, W) BGR 0..255, H and W multiples of 32 → for each stride, (N, 16, H/stride, W/stride).

        Channels: class and object logits, box (dx, dy, log w, log h), landmarks (5 × dx, dy); offsets and sizes in
        strides from the cell's corner.
        """
        return self.bbox_head(self.neck(self.backbone(images)))


def from_published(checkpoint: Mapping[str, Any]) -> YuNet:
    """The network with the weights of a published checkpoint, whose four heads per level become one (the same sums)."""
    state = dict(checkpoint["state_dict"])
    merged = {}
    for level in range(len(STRIDES)):
        for part in ("conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias"):
            heads = [
                state.pop(f"bbox_head.multi_level_{head}.{level}.{part}") for head in ("cls", "obj", "bbox", "kps")
            ]
            merged[f"bbox_head.outputs.{level}.{part}"] = torch.cat(heads)
    renamed = {re.sub(r"multi_level_share_convs\.(\d)\.0", r"shared.\1", name): value for name, value in state.items()}
    network = YuNet()
    network.load_state_dict(renamed | merged)
    return network
