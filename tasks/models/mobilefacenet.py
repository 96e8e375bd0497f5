"""MobileFaceNet, the face embedder: 112×112 aligned crops to 128 numbers, 1.0 M parameters.

Chen et al., MobileFaceNets: Efficient CNNs for Accurate Real-Time Face Verification on Mobile Devices, 2018,
arXiv:1804.07573, table 1; with ReLU6 for PReLU, as in the published weights, whose parameter names are kept.
"""

from collections.abc import Mapping

import torch
from torch import nn

# expansion, channels, repeats, stride of the first
_BLOCKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    padding = (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(),
    )


class _Separable(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn1(self.depthwise(x)).relu()
        return self.bn2(self.pointwise(x)).relu()


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.conv = nn.Sequential(
            _conv(inputs, hidden, 1),
            _conv(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


class _GlobalDepthwise(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, groups=channels, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn(self.depthwise(x))


class MobileFaceNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _conv(3, 64, stride=2)
        self.dw_conv = _Separable(64)
        blocks, inputs = [], 64
        for expansion, outputs, repeats, stride in _BLOCKS:
            for i in range(repeats):
                blocks.append(_Bottleneck(inputs, outputs, stride if i == 0 else 1, expansion))
                inputs = outputs
        self.features = nn.Sequential(*blocks)
        self.conv2 = _conv(128, 512, 1)
        self.gdconv = _GlobalDepthwise(512)
        self.conv3 = nn.Conv2d(512, 128, 1)
        self.bn = nn.BatchNorm2d(128)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        """(N, 3, 112, 112) normalised RGB → (N, 128), not yet L2-normalised."""
        x = self.dw_conv(self.conv1(crops))  # (N, 64, 56, 56)
        x = self.conv2(self.features(x))  # (N, 512, 7, 7)
        return self.bn(self.conv3(self.gdconv(x))).flatten(1)


def from_published(state: Mapping[str, torch.Tensor]) -> MobileFaceNet:
    """The network with the weights of the published state dict."""
    network = MobileFaceNet()
    network.load_state_dict(state)
    return network
