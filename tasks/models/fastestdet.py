"""FastestDet, a detector of 80 classes that is fast on CPUs: one point per cell of 22×22, 0.24 M parameters.

github.com/dog-qiuqiu/FastestDet: module/detector.py, module/shufflenetv2.py, module/custom_layers.py; `decode` is
handle_preds of utils/tool.py there. The backbone is ShuffleNetV2 (Ma et al., 2018, arXiv:1807.11164). The parameter
names are those of the published weights.
"""

from collections.abc import Mapping

import torch
from torch import nn

from muster.errors import TaskError
from muster.tasks.models import coco_labels

SIDE = 352
_STAGES = ((24, 48, 4), (48, 96, 8), (96, 192, 4))  # channels in and out, blocks


def _conv(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, activate: bool = True
) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [conv, nn.BatchNorm2d(outputs), *([nn.ReLU()] if activate else [])]


def _depthwise(channels: int, kernel: int, stride: int = 1, activate: bool = True) -> list[nn.Module]:
    return _conv(channels, channels, kernel, stride, channels, activate)


class _Down(nn.Module):
    """Halves the sides: two branches over all channels, side by side."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        middle = outputs // 2
        main = [*_conv(inputs, middle), *_depthwise(middle, 3, 2, activate=False), *_conv(middle, outputs - inputs)]
        self.branch_main = nn.Sequential(*main)
        self.branch_proj = nn.Sequential(*_depthwise(inputs, 3, 2, activate=False), *_conv(inputs, inputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.branch_proj(x), self.branch_main(x)], 1)


class _Block(nn.Module):
    """The even channels as they are, beside what a branch makes of the odd ones."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        main = [*_conv(half, half), *_depthwise(half, 3, activate=False), *_conv(half, half)]
        self.branch_main = nn.Sequential(*main)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[:, 0::2], self.branch_main(x[:, 1::2])], 1)


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first_conv = nn.Sequential(*_conv(3, 24, 3, 2))
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.stage2, self.stage3, self.stage4 = (
            nn.Sequential(_Down(inputs, outputs), *(_Block(outputs) for _ in range(blocks - 1)))
            for inputs, outputs, blocks in _STAGES
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        stride8 = self.stage2(self.maxpool(self.first_conv(x)))
        stride16 = self.stage3(stride8)
        return stride8, stride16, self.stage4(stride16)


class _Conv1x1(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Sequential(*_conv(inputs, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv1x1(x)


class _Pyramid(nn.Module):
    """One, two and three 5×5 convolutions side by side: three reaches."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.Conv1x1 = _Conv1x1(inputs, outputs)
        self.S1, self.S2, self.S3 = (
            nn.Sequential(*(layer for _ in range(count) for layer in _depthwise(outputs, 5))) for count in (1, 2, 3)
        )
        self.output = nn.Sequential(*_conv(outputs * 3, outputs, activate=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.Conv1x1(x)
        reaches = torch.cat([self.S1(x), self.S2(x), self.S3(x)], 1)
        return (x + self.output(reaches)).relu()


class _Output(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv5x5 = nn.Sequential(*_depthwise(inputs, 5), *_conv(inputs, outputs, activate=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv5x5(x)


class _Head(nn.Module):
    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.conv1x1 = _Conv1x1(inputs, inputs)
        self.obj_layers = _Output(inputs, 1)
        self.reg_layers = _Output(inputs, 4)
        self.cls_layers = _Output(inputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1x1(x)
        return torch.cat([self.obj_layers(x).sigmoid(), self.reg_layers(x), self.cls_layers(x).softmax(1)], 1)


class FastestDet(nn.Module):
    def __init__(self, classes: int = len(coco_labels.NAMES)) -> None:
        super().__init__()
        self.backbone = _Backbone()
        self.upsample = nn.Upsample(scale_factor=2)
        self.avg_pool = nn.AvgPool2d(3, 2, 1)
        self.SPP = _Pyramid(sum(outputs for _, outputs, _ in _STAGES), 96)
        self.detect_head = _Head(96, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) BGR 0..1, H and W multiples of 32 → (N, 5 + classes, H/16, W/16).

        Channels: object in 0..1; what `decode` makes a box of; classes in 0..1, whose sum is 1.
        """
        stride8, stride16, stride32 = self.backbone(images)
        stride16 = torch.cat([self.avg_pool(stride8), stride16, self.upsample(stride32)], 1)
        return self.detect_head(self.SPP(stride16))


def decode(output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What the network gives, (N, 5 + classes, H, W) → boxes (N, H·W, 4), scores and class indices (N, H·W).

    Boxes are xyxy in parts of the image's sides, not clipped; one box a cell, of its likeliest class.
    """
    height, width = output.shape[2:]
    cells = output.float().permute(0, 2, 3, 1)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    corner, sides = torch.stack([x, y], -1).to(cells), cells.new_tensor([width, height])
    centre, half = (cells[..., 1:3].tanh() + corner) / sides, cells[..., 3:5].sigmoid() / 2
    chance, label = cells[..., 5:].max(-1)
    boxes = torch.cat([centre - half, centre + half], -1)
    return boxes.flatten(1, 2), (cells[..., 0] ** 0.6 * chance**0.4).flatten(1), label.flatten(1)


def from_published(state: Mapping[str, torch.Tensor]) -> FastestDet:
    """The network with published weights; TaskError where they are for another number of classes than COCO's."""
    classes = len(state["detect_head.cls_layers.conv5x5.3.weight"])
    if classes != len(coco_labels.NAMES):
        raise TaskError(f"these weights of FastestDet know {classes} classes, not the {len(coco_labels.NAMES)} of COCO")
    network = FastestDet()
    network.load_state_dict(state)
    return network
