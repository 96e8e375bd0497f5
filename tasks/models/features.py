"""A general network for photos of our own: 160×160 pixels to 320 numbers, and from these to ImageNet's categories.

Dense 3×3 convolutions in residual blocks, as in the face embedder and for the same reason: processors run these near
their peak, and depthwise ones far below it.
"""

import torch
from torch import nn

from muster.tasks.models.face_embedder import Block, conv

SIDE = 160  # pixels
RESIZED = 176  # the shorter side of a photo, whose middle it is shown
WIDTH = 320  # of what it gives for a photo
CATEGORIES = 1000
_STEM = (24, 48)
_STAGES = ((48, 1), (96, 2), (192, 2), (WIDTH, 1))  # channels, blocks; every stage after the first halves the side


class Features(nn.Module):
    """`stages`: each gives maps of half the side of those before it."""

    def __init__(self) -> None:
        super().__init__()
        inputs, stem = 3, []
        for outputs in _STEM:
            stem += [*conv(inputs, outputs, 3, 2), nn.ReLU()]
            inputs = outputs
        self.stem = nn.Sequential(*stem)
        self.stages = nn.ModuleList()
        for stage, (outputs, blocks) in enumerate(_STAGES):
            layers = []
            for block in range(blocks):
                layers.append(Block(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
            self.stages.append(nn.Sequential(*layers))
        self.head = nn.Linear(WIDTH, CATEGORIES)

    def maps(self, photos: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, S, S) normalised RGB → of the last two stages, (N, 192, S/16, S/16) and (N, 320, S/32, S/32)."""
        found = [self.stem(photos)]
        for stage in self.stages:
            found.append(stage(found[-1]))
        return found[-2], found[-1]

    def features(self, photos: torch.Tensor) -> torch.Tensor:
        """The last of `maps`."""
        return self.maps(photos)[1]

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """(N, 3, S, S) normalised RGB → (N, 1000) logits."""
        logits: torch.Tensor = self.head(self.features(photos).mean((2, 3)))
        return logits
