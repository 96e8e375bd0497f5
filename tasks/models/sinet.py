"""SINet, a person segmenter of 0.09 M parameters: 224×224 pixels to two logits each, background and person.

Park, Sjösund, Yoo, Monet, Bang, Kwak: SINet: Extreme Lightweight Portrait Segmentation Networks with Spatial Squeeze
Modules and Information Blocking Decoder, WACV 2020, arXiv:1911.09099. Widths and branches are those of the published
weights, whose parameter names are kept.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import nn

from muster.errors import TaskError

SIDE = 224  # pixels
_EPS = 1e-3
# (kernel, pooling) of both branches of each block
_STRIDE4 = (((3, 1), (5, 1)), ((3, 1), (3, 1)))
_STRIDE8 = (
    ((3, 1), (5, 1)),
    ((3, 1), (3, 1)),
    ((5, 1), (3, 2)),
    ((5, 2), (3, 4)),
    ((3, 1), (3, 1)),
    ((5, 1), (5, 1)),
    ((3, 2), (3, 4)),
    ((3, 1), (5, 2)),
)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


class _Norm(nn.Module):
    """Batch norm and PReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps=_EPS)
        self.act = nn.PReLU(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.bn(x))


class _Conv(_Norm):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(outputs)
        self.conv: nn.Module = _conv(inputs, outputs, kernel, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.conv(x))


class _Squeeze(nn.Module):
    """Each channel times a number that the means of all make."""

    def __init__(self, channels: int, hidden: int | None) -> None:
        super().__init__()
        sides = [channels, hidden, channels] if hidden else [channels, channels]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sides):
            layers += [nn.Linear(inputs, outputs), nn.PReLU(outputs)]
        self.dense = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.dense(x.mean((2, 3)))[:, :, None, None]


class _Down(_Conv):
    """Half the side, by a depthwise convolution, squeeze and a pointwise one."""

    def __init__(self, inputs: int, outputs: int, hidden: int | None) -> None:
        super().__init__(inputs, outputs, 1)
        self.conv = nn.Sequential(
            _conv(inputs, inputs, 3, 2, groups=inputs), _Squeeze(inputs, hidden), _conv(inputs, outputs, 1)
        )


class _Branch(nn.Module):
    """A separable convolution, over averages of `pool` × `pool` pixels."""

    def __init__(self, channels: int, kernel: int, pool: int) -> None:
        super().__init__()
        self.down: nn.Module = nn.AvgPool2d(pool) if pool > 1 else nn.Identity()
        self.up: nn.Module = nn.UpsamplingBilinear2d(scale_factor=pool) if pool > 1 else nn.Identity()
        depthwise = _conv(channels, channels, kernel, groups=channels)
        self.conv = nn.Sequential(depthwise, nn.BatchNorm2d(channels, eps=_EPS))
        self.act_conv1x1 = nn.Sequential(nn.PReLU(channels), _conv(channels, channels, 1))
        self.bn = nn.BatchNorm2d(channels, eps=_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Published in the order up, bn: the same numbers, but a norm that follows a convolution can be folded into it.
        return self.up(self.bn(self.act_conv1x1(self.conv(self.down(x)))))


class _Block(nn.Module):
    """Two branches, each over half of the channels, side by side; added to the input where its width is the same."""

    def __init__(self, inputs: int, outputs: int, branches: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.c1 = nn.ModuleDict({"conv": _conv(inputs, outputs // 2, 1, groups=2)})
        self.shuffle = nn.ChannelShuffle(2)
        self.d1, self.d2 = (_Branch(outputs // 2, kernel, pool) for kernel, pool in branches)
        self.BR = _Norm(outputs)
        self.residual = inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = self.shuffle(self.c1["conv"](x))
        both = torch.cat([self.d1(half), self.d2(half)], 1)
        return self.BR(x + both if self.residual else both)


def _blocks(inputs: int, outputs: int, branches: Sequence[Sequence[tuple[int, int]]]) -> nn.Sequential:
    return nn.Sequential(*(_Block(outputs if i else inputs, outputs, each) for i, each in enumerate(branches)))


class _Encoder(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.level1 = _Conv(3, 12, 3, 2)
        self.level2_0 = _Down(12, 16, None)
        self.level2 = _blocks(16, 48, _STRIDE4)
        self.BR2 = _Norm(64)
        self.level3_0 = _Down(64, 48, 32)
        self.level3 = _blocks(48, 96, _STRIDE8)
        self.BR3 = _Norm(144)
        self.classifier = nn.ModuleDict({"conv": _conv(144, classes, 1)})

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The maps at stride 4, (N, 48, H/4, W/4), and the logits at stride 8."""
        narrow = self.level2_0(self.level1(images))
        stride4 = self.level2(narrow)
        narrow = self.level3_0(self.BR2(torch.cat([narrow, stride4], 1)))
        stride8 = self.BR3(torch.cat([narrow, self.level3(narrow)], 1))
        return stride4, self.classifier["conv"](stride8)


class SINet(nn.Module):
    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.encoder = _Encoder(classes)
        self.up = nn.UpsamplingBilinear2d(scale_factor=2)
        self.bn_3 = nn.BatchNorm2d(classes, eps=_EPS)
        self.level2_C = _Conv(48, classes, 1)
        self.bn_2 = nn.BatchNorm2d(classes, eps=_EPS)
        self.classifier = nn.Sequential(nn.UpsamplingBilinear2d(scale_factor=2), _conv(classes, classes, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) normalised BGR, sides multiples of 32 → (N, classes, H, W) logits.

        Finer maps only count where the coarse ones are not sure.
        """
        stride4, stride8 = self.encoder(images)
        coarse = self.bn_3(self.up(stride8))
        doubt = 1 - coarse.softmax(1).amax(1, keepdim=True)
        return self.classifier(self.bn_2(self.up(self.level2_C(stride4) * doubt + coarse)))


def from_published(state: Mapping[str, torch.Tensor]) -> SINet:
    """The network with published weights; TaskError where they are of another number of classes."""
    network = SINet()
    given, own = len(state["bn_2.weight"]), network.bn_2.num_features
    if given != own:
        raise TaskError(f"these weights know {given} classes, SINet here {own}: take the ones it was published with")
    network.load_state_dict(state)
    return network
