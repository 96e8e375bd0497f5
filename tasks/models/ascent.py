"""Pictures that excite a unit, made from nothing: gradient ascent on the input.

After Simonyan, Vedaldi, Zisserman, Deep Inside Convolutional Networks, 2013 (arXiv:1312.6034), section 2. On pixels it
finds noise that no photo has, and colours at their ends. So what is changed are the waves that a picture is the sum of,
those of photos' frequencies first, and colours as photos have them together, while the picture is shaken a little:
Olah, Mordvintsev, Schubert, Feature Visualization, Distill, 2017 (doi:10.23915/distill.00007), "The Enemy of Feature
Visualization" and "Preconditioning".
"""

from typing import NamedTuple

import torch
from torch import nn

STEPS = 96
RATE = 0.05
JITTER = 1 / 28  # of the shorter side, at most, each way: 8 pixels of 227
START = 0.01  # standard deviation of the waves to begin with
# What goes together in photos: brightness, blue against yellow, green against red; the square root of the covariance of
# ImageNet's pixels, as Olah et al. publish it.
COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.0, -0.05), (0.27, -0.09, 0.03))


class Shown(NamedTuple):
    """How a network is shown a colour: `matrix` (3, 3) and `black` (3,), so that RGB in 0..1 goes in as matrix @ RGB +
    black."""

    matrix: torch.Tensor
    black: torch.Tensor

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W), RGB in 0..1 → what goes in."""
        return torch.einsum("ij,njhw->nihw", self.matrix, pictures) + self.black.view(1, 3, 1, 1)


def ascended(
    layer: nn.Module,
    units: torch.Tensor,
    place: tuple[int, int],
    size: tuple[int, int],
    shown: Shown,
    steps: int = STEPS,
) -> torch.Tensor:
    """A picture for each of `units` (N,), channels of what `layer` gives: (N, 3, H, W), RGB in 0..1, of `size`.

    What rises is the value at one `place` (row, column) of the map. `layer`: (N, 3, H, W) → (N, C, h, w) or (N, C).
    """
    random, device = torch.Generator().manual_seed(0), shown.black.device
    height, width = size
    most = max(1, round(min(size) * JITTER))
    begin = START * torch.randn(1, 3, height, width // 2 + 1, 2, generator=random).to(device)
    waves = begin.repeat(len(units), 1, 1, 1, 1).requires_grad_()
    optimiser = torch.optim.Adam([waves], RATE)
    for _ in range(steps):
        shift = torch.randint(-most, most + 1, (2,), generator=random).tolist()
        values = _at(layer(shown(picture(waves, size).roll(shift, (2, 3)))), units, place)
        optimiser.zero_grad()
        (-values.sum()).backward()
        optimiser.step()
    return picture(waves.detach(), size)


def picture(waves: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(N, 3, H, W // 2 + 1, 2), real and imaginary parts → (N, 3, H, W), RGB in 0..1.

    Waves of twice the frequency count half as much, as in photos.
    """
    height, width = size
    device = waves.device
    down, across = torch.fft.fftfreq(height, device=device), torch.fft.rfftfreq(width, device=device)
    weights = (height * width) ** 0.5 / torch.hypot(down[:, None], across).clamp(min=1 / max(size))
    plain = torch.fft.irfft2(torch.view_as_complex(waves) * weights, s=size) / 4
    colours = torch.tensor(COLOURS, device=device)
    return torch.einsum("ij,njhw->nihw", colours / colours.norm(dim=0).max(), plain).sigmoid()


def _at(maps: torch.Tensor, units: torch.Tensor, place: tuple[int, int]) -> torch.Tensor:
    """(N,): the value of each picture's own unit."""
    own = maps[torch.arange(len(units), device=maps.device), units]
    return own if own.dim() == 1 else own[:, place[0], place[1]]
