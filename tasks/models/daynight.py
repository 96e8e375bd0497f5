"""Day or night from a thumbnail: 64×64 pixels to one number, four convolutions, 25 k parameters.

The first exercise of many vision courses (one logistic unit over 64×64×3), with four convolutions before the unit, so
that what counts is what is bright and coloured how, not where in the frame it stands.
"""

from collections.abc import Mapping

import torch
from torch import nn

from muster.tasks.models.state_dict import load

SIDE = 64  # pixels
_CHANNELS = (16, 24, 32, 48)


class DayNight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for outputs in _CHANNELS:
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
            inputs = outputs
        self.features = nn.Sequential(*layers)
        self.unit = nn.Linear(inputs, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 64, 64) RGB, -1..1 → (N,) logits: the sigmoid of one is the probability of day."""
        maps = self.features(images)  # (N, 48, 4, 4)
        return self.unit(maps.mean((2, 3))).squeeze(1)


def from_state(state: Mapping[str, torch.Tensor]) -> DayNight:
    """The network with the weights of a training, in half or single precision."""
    return load(DayNight(), state)
