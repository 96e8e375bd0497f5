"""A network that paints any photo in the one style it learnt, in one pass: Johnson, Alahi and Fei-Fei, 2016.

"Perceptual Losses for Real-Time Style Transfer and Super-Resolution", arXiv:1603.08155, with the instance norm of
Ulyanov, Vedaldi and Lempitsky, "Instance Normalization", 2016, arXiv:1607.08022. What it gives is added to the photo.

Of a large picture the maps of full and of half size are there in strips only. Each norm takes mean and variance of the
whole picture, found strip by strip before, and each strip is seen with the rows around it: there is no seam, because
every strip is what it would be in the whole.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.functional import interpolate, pad

from muster.arrays import Pixels
from muster.errors import TaskError
from muster.tasks.base import inference_dtype, to_device
from muster.tasks.models.state_dict import load
from muster.tasks.models.style_transfer import brightness

WIDTHS, BLOCKS = (16, 32, 64), 5  # channels at full, half and quarter size; residual blocks at the last
STEP = 4  # sides are multiples of it
LEAST = 32  # pixels of a side: what is smaller gets its edge repeated
AT_ONCE = 1 << 20  # pixels of a picture that is not cut into strips, and of a strip
REACH = 8  # rows of the photo beyond a strip that the layers of full and half size see, before and behind the blocks


class Moments(NamedTuple):
    """Mean and variance of a whole picture's channels, each (1, C, 1, 1)."""

    mean: torch.Tensor
    variance: torch.Tensor


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias, padding_mode="reflect")


class Stage(nn.Module):
    """Convolution of maps, `grown` times as large before, and norm; `rectified`: ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, grown: int = 1, rectified: bool = True
    ) -> None:
        super().__init__()
        self.conv, self.grown, self.rectified = _conv(inputs, outputs, kernel, stride), grown, rectified
        self.norm = nn.InstanceNorm2d(outputs, affine=True)

    def before_norm(self, maps: torch.Tensor) -> torch.Tensor:
        grown = interpolate(maps, scale_factor=float(self.grown), mode="nearest") if self.grown > 1 else maps
        found: torch.Tensor = self.conv(grown)
        return found

    def forward(self, maps: torch.Tensor, moments: Moments | None = None) -> torch.Tensor:
        """`moments`: those of the picture that the maps are a part of; None: they are the whole."""
        found = self.before_norm(maps)
        found = self.norm(found) if moments is None else self._with(moments, found)
        return found.relu() if self.rectified else found

    def _with(self, moments: Moments, maps: torch.Tensor) -> torch.Tensor:
        weight, bias = (each.view(1, -1, 1, 1).float() for each in (self.norm.weight, self.norm.bias))
        scale = weight * (moments.variance + self.norm.eps).rsqrt()
        return ((maps - moments.mean) * scale + bias).to(maps.dtype)  # of a flat picture the first is exactly 0


class Block(nn.Module):
    """Two stages, whose result is added to what went in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stages = nn.Sequential(Stage(width, width, 3), Stage(width, width, 3, rectified=False))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps + self.stages(maps)


class StyleNet(nn.Module):
    def __init__(self, widths: Sequence[int] = WIDTHS, blocks: int = BLOCKS) -> None:
        super().__init__()
        full, half, quarter = widths
        self.head = nn.Sequential(Stage(3, full, 9), Stage(full, half, 3, 2), Stage(half, quarter, 3, 2))
        self.body = nn.Sequential(*[Block(quarter) for _ in range(blocks)])
        self.tail = nn.Sequential(Stage(quarter, half, 3, grown=2), Stage(half, full, 3, grown=2))
        self.change = _conv(full, 3, 9, bias=True)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) → (N, 3, H, W), RGB, 0..1 and, of what comes out, about so; H, W: multiples of 4."""
        return photos + self.change(self.tail(self.body(self.head(photos * 2 - 1))))


def from_state(state: Mapping[str, torch.Tensor]) -> StyleNet:
    """The network with the weights of a training, half or single precision; how wide and deep it is, is theirs.
    TaskError where they are of something else."""
    for name, value in state.items():
        if not value.isfinite().all():
            raise TaskError(f"these are no weights of a network of a style: {name} holds what is no number")
    try:
        widths = [state[f"head.{number}.conv.weight"].shape[0] for number in range(3)]
        blocks = len({name.split(".")[1] for name in state if name.startswith("body.")})
        return load(StyleNet(widths, blocks), state)
    except (KeyError, IndexError, RuntimeError) as error:
        text = f"it has no {error}" if isinstance(error, KeyError) else str(error).splitlines()[-1].strip()
        raise TaskError(f"these are no weights of a network of a style: {text}") from None


# ---- any photo -------------------------------------------------------------------------------------------------------


class Painter:
    """Photos of any size through a network."""

    def __init__(self, network: StyleNet, device: torch.device, colours: str = "style", at_once: int = AT_ONCE) -> None:
        """`colours`: "style" or "photo", whose are kept, as of Recipe. `at_once`: pixels."""
        self.device, self.dtype = device, inference_dtype(device)
        self.keeps_colours, self.at_once = colours == "photo", at_once
        self.network = network.eval().requires_grad_(False).to(device, self.dtype).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, pixels: Pixels) -> Pixels:
        """uint8 RGB (H, W, 3) → the same."""
        photo = self._tensor(pixels)
        if photo.shape[2] * photo.shape[3] <= self.at_once:
            found = self._pixels(photo, self.network(photo))
        else:
            found = self._by_strips(photo)
        return np.ascontiguousarray(found[: pixels.shape[0], : pixels.shape[1]])

    def _tensor(self, pixels: Pixels) -> torch.Tensor:
        """(1, 3, H, W) in 0..1, its edges repeated to sides that the network takes."""
        found = to_device(torch.from_numpy(np.array(pixels)), self.device).permute(2, 0, 1)[None].to(self.dtype) / 255
        right, below = (max(LEAST, -(-each // STEP) * STEP) - each for each in (pixels.shape[1], pixels.shape[0]))
        shown = pad(found, (0, right, 0, below), mode="replicate")
        return shown.contiguous(memory_format=torch.channels_last)

    def _by_strips(self, photo: torch.Tensor) -> Pixels:
        net, (height, width) = self.network, photo.shape[2:]
        shown, rows = photo * 2 - 1, max(2 * REACH, self.at_once // width // STEP * STEP)
        strips = list(_strips(height, rows, REACH))
        known = _moments(net.head, shown, strips)
        maps = net.body(torch.cat([each.inner(_through(net.head, each.of(shown), known)) for each in strips], 2))
        strips = [Strip(*(row // STEP for row in each)) for each in strips]
        known = _moments(net.tail, maps, strips)
        picture = np.empty((height, width, 3), np.uint8)
        for each in strips:
            change = each.inner(net.change(_through(net.tail, each.of(maps), known)))
            here = slice(STEP * each.top, STEP * each.bottom)
            picture[here] = self._pixels(photo[:, :, here], photo[:, :, here] + change)
        return picture

    def _pixels(self, photo: torch.Tensor, picture: torch.Tensor) -> Pixels:
        """Both (1, 3, H, W), in about 0..1 → uint8 (H, W, 3)."""
        shown = picture.float()
        if self.keeps_colours:
            shown = photo.float() + brightness(shown) - brightness(photo.float())
        return (shown[0].permute(1, 2, 0) * 255).round_().clamp_(0, 255).to(torch.uint8).cpu().numpy()


class Strip(NamedTuple):
    """Rows of maps, `top` to `bottom`, and with those around them, `begin` to `end`."""

    top: int
    bottom: int
    begin: int
    end: int

    def of(self, maps: torch.Tensor) -> torch.Tensor:
        """(1, C, H, W) → the rows with those around them."""
        return maps[:, :, self.begin : self.end].contiguous(memory_format=torch.channels_last)

    def inner(self, maps: torch.Tensor) -> torch.Tensor:
        """Of what was made of these, whatever its scale, what is of the rows themselves."""
        rows = self.end - self.begin
        first, last = ((row - self.begin) * maps.shape[2] // rows for row in (self.top, self.bottom))
        return maps[:, :, first:last]


def _strips(height: int, rows: int, reach: int) -> Iterator[Strip]:
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        yield Strip(top, bottom, max(0, top - reach), min(height, bottom + reach))


def _through(stages: Iterable[nn.Module], maps: torch.Tensor, known: Sequence[Moments]) -> torch.Tensor:
    """As many stages as there are moments of."""
    for stage, moments in zip(stages, known, strict=False):
        maps = stage(maps, moments)
    return maps


def _moments(stages: nn.Sequential, maps: torch.Tensor, strips: Sequence[Strip]) -> list[Moments]:
    """Of the whole, what each stage's norm is given: once through all strips for each."""
    known = list[Moments]()
    for stage in stages:
        assert isinstance(stage, Stage)
        parts = (each.inner(stage.before_norm(_through(stages, each.of(maps), known))) for each in strips)
        known.append(_moments_of(parts))
    return known


def _moments_of(parts: Iterable[torch.Tensor]) -> Moments:
    """Of maps (1, C, height, W), of which each part has some rows."""
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for part in parts:
        count += part.shape[2] * part.shape[3]
        total = total + part.sum((2, 3), True, dtype=torch.float64)
        squares = squares + part.float().square().sum((2, 3), True, dtype=torch.float64)
    mean = total / count
    return Moments(mean.float(), (squares / count - mean.square()).clamp_min(0).float())
