"""The smallest recipe there is."""

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from muster.training.loop import Report, Settings, train

CPU = torch.device("cpu")


class Brightness:
    """How bright the middle of an image is, learnt from noise by two convolutions, batch norm and dropout.

    `bad_step`: whose batch holds a value that is no number. `die_at`: the step at which the process is killed.
    """

    name = "brightness"

    def __init__(self, settings: Settings, width: int = 8, bad_step: int | None = None, die_at: int | None = None):
        self.settings, self.width, self.bad_step, self.die_at = settings, width, bad_step, die_at

    def network(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, self.width, 3, 2, 1),
            nn.BatchNorm2d(self.width),
            nn.ReLU(),
            nn.Dropout(0.1),
            nn.Conv2d(self.width, 1, 3, 2, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(0),
        )

    def batch(self, step: int, rank: int, ranks: int) -> dict[str, Any]:
        if step == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        numbers = range(step * self.settings.batch, (step + 1) * self.settings.batch)[rank::ranks]
        images = torch.stack([self.image(number) for number in numbers])
        if step == self.bad_step:
            images[0, 0, 0, 0] = torch.nan
        return {"images": images, "truth": truth(images), "names": [f"{n}.jpg" for n in numbers]}

    def image(self, number: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.settings.seed * 100_000 + number)
        return torch.rand(3, 16, 16, generator=generator) * torch.rand(1, generator=generator)

    def loss(self, network: nn.Module, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        return {"loss": (network(batch["images"]) - batch["truth"]).square().mean()}

    def measure(self, network: nn.Module) -> dict[str, float]:
        images = torch.stack([self.image(-1 - number) for number in range(32)])
        with torch.no_grad():
            errors = network(images) - truth(images)
        return {"error": float(errors.abs().mean())}

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        return network.state_dict()

    def card(self) -> dict[str, Any]:
        return {"data": "noise"}


def truth(images: torch.Tensor) -> torch.Tensor:
    return 1 + 4 * images[:, :, 4:12, 4:12].mean((1, 2, 3))


def settings(**changes: Any) -> Settings:
    return Settings(**{"steps": 40, "batch": 16, "learning_rate": 0.05, "average": 0.8, "report_every": 5, **changes})


def run(recipe: Brightness, out: Path) -> list[Report]:
    reports: list[Report] = []
    train(recipe, out, CPU, reports.append)
    return reports
