"""Small networks from one item of a kind (a picture, a sound, a text, a volume) to one vector of length 1, so that the
cosine of two vectors says how alike two items are.

One chain of convolutions in one, two or three dimensions, after Koch, Zemel, Salakhutdinov, Siamese Neural Networks for
One-shot Image Recognition, ICML 2015 workshop, with batch norm and residual blocks (He et al., CVPR 2016).
"""

import math
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image as PillowImage
from scipy.signal import resample_poly
from torch import nn

from muster.arrays import F32, I16, I64, Pixels
from muster.errors import TaskError
from muster.tasks.models.state_dict import load

_CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_POOL: dict[int, Any] = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}

RATE = 8000  # samples of sound in a second
WINDOW, HOP, MELS = 256, 80, 40  # samples, samples, bands
QUIET = 1e-4  # added to the power of each band, of sounds whose loudest sample is about 1: 40 dB below a soft voice
PIECES = 12  # hashed pieces of a word: itself, and parts of its letters
_LETTERS = 32  # of a word; what follows is no word of a language
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Plan:
    """`space`: the item's size without channels: (seconds × RATE,), (height, width), (depth, height, width), or the
    most words of a text. `kind`: `picture`, `sound`, `text` or `volume`. `widths`: channels of the stem, then of the
    stages, each of which halves the size. `places`: into how many parts the last maps are averaged, along each axis.
    """

    kind: str
    space: tuple[int, ...]
    widths: tuple[int, ...]
    places: tuple[int, ...]
    kernel: int = 3
    dimensions: int = 128
    buckets: int = 1 << 13  # of a text's pieces

    @property
    def axes(self) -> int:
        return 1 if self.kind in ("sound", "text") else len(self.space)


def convolution(axes: int, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Module:
    """A convolution over `axes` axes: (N, inputs, …) → (N, outputs, …); without padding, each axis loses kernel − 1."""
    return _CONV[axes](inputs, outputs, kernel, stride, padding, bias=False)


class Block(nn.Module):
    """Two convolutions beside a shortcut; the first halves the size where `stride` is 2."""

    def __init__(self, axes: int, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        reach = kernel // 2
        self.conv = nn.Sequential(
            convolution(axes, inputs, outputs, kernel, stride, reach),
            _NORM[axes](outputs),
            nn.ReLU(),
            convolution(axes, outputs, outputs, kernel, 1, reach),
            _NORM[axes](outputs),
        )
        same = inputs == outputs and stride == 1
        self.shortcut: nn.Module = nn.Identity()
        if not same:
            self.shortcut = nn.Sequential(convolution(axes, inputs, outputs, 1, stride), _NORM[axes](outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.conv(x) + self.shortcut(x)).relu()


class LogMel(nn.Module):
    """Sounds (N, T) float32, -1..1 → (N, MELS, 1 + T // HOP): the logarithm of the power in each band of pitch and
    each hop of 10 ms, less its mean over the sound, so that neither loudness nor the microphone's tint counts."""

    bands: torch.Tensor
    window: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bands", torch.from_numpy(mel_bands()), persistent=False)
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)

    def forward(self, sounds: torch.Tensor) -> torch.Tensor:
        with torch.autocast(sounds.device.type, enabled=False):
            spectrum = torch.stft(
                sounds.float(), WINDOW, HOP, window=self.window, pad_mode="constant", return_complex=True
            )
            return (self.bands @ spectrum.abs().square() + QUIET).log()


def mel_bands() -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """(MELS, WINDOW // 2 + 1): triangles that stand evenly on the mel scale, from 60 Hz to half of RATE.

    Mel: 2595 log10(1 + f / 700), O'Shaughnessy, Speech Communication: Human and Machine, 1987, page 150.
    """
    low, high = (2595 * math.log10(1 + f / 700) for f in (60, RATE / 2))
    edges = 700 * (10 ** (np.linspace(low, high, MELS + 2) / 2595) - 1)
    pitch = np.linspace(0, RATE / 2, WINDOW // 2 + 1)
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (pitch - left) / (middle - left), (right - pitch) / (right - middle)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


class Words(nn.Module):
    """Hashed pieces (N, L, PIECES) int64, 0 for none → (N, C, L): a word is the mean of its pieces' vectors, after
    Bojanowski et al., Enriching Word Vectors with Subword Information, TACL 5, 2017, section 3.2."""

    def __init__(self, buckets: int, channels: int) -> None:
        super().__init__()
        self.pieces = nn.Embedding(buckets, channels, padding_idx=0)

    def forward(self, texts: torch.Tensor) -> torch.Tensor:
        count = (texts > 0).sum(2, keepdim=True).clamp(min=1)
        return (self.pieces(texts).sum(2) / count).transpose(1, 2)


class Encoder(nn.Module):
    """Items as the plan says → (N, dimensions) float32, of length 1.

    Pictures: (N, 1, H, W) float32, 0..1. Sounds: (N, T) float32, -1..1. Texts: (N, L, PIECES) int64. Volumes:
    (N, 1, D, H, W) float32, 0..1.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan, axes, first = plan, plan.axes, plan.widths[0]
        text = plan.kind == "text"
        self.front: nn.Module = nn.Identity()
        inputs = 1
        if plan.kind == "sound":
            self.front, inputs = nn.Sequential(LogMel(), nn.InstanceNorm1d(MELS)), MELS
        elif text:
            self.front, inputs = Words(plan.buckets, first), first
        stem = [convolution(axes, inputs, first, 5, 1 if inputs > 1 else 2, 2), _NORM[axes](first), nn.ReLU()]
        stages = [Block(axes, *widths, plan.kernel, 1 if text else 2) for widths in pairwise(plan.widths)]
        self.features = nn.Sequential(*stem, *stages)
        self.head = nn.Linear(plan.widths[-1] * (math.prod(plan.places) + 1) + first * text, plan.dimensions)

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        # In bfloat16 on a CPU (torch 2.15, AVX-512-BF16) the gradient of 3D convolutions overflowed in 5 of 25 steps
        exact = torch.autocast(items.device.type, enabled=False)
        precision: AbstractContextManager[object] = exact if self.plan.axes == 3 else nullcontext()
        with precision:
            return self._embedded(items)

    def _embedded(self, items: torch.Tensor) -> torch.Tensor:
        maps = self.front(items)
        found = self.features(maps)
        pooled = self._of_texts(items, maps, found) if self.plan.kind == "text" else self._pooled(found)
        return F.normalize(self.head(pooled).float())

    def _pooled(self, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, …) → (N, C × (places + 1)): means of the parts, and the greatest of each channel."""
        means = _POOL[self.plan.axes](maps, self.plan.places)
        return torch.cat([means.flatten(1), maps.flatten(2).amax(2)], 1)

    @staticmethod
    def _of_texts(texts: torch.Tensor, words: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
        """(N, C, L) and (N, C', L) → (N, C + 2 C'): means of the words alone, and of what convolutions make of them,
        and its greatest; places without a word do not count."""
        mask = (texts > 0).any(2)[:, None]
        count = mask.sum(2).clamp(min=1)
        means = [(each * mask).sum(2) / count for each in (words, maps)]
        return torch.cat([*means, (maps * mask).amax(2)], 1)  # of what is not below 0


class Verifier(nn.Module):
    """An encoder, and how two of its embeddings are compared: by their cosine, or by a `head` (see `pair_logits`) that
    was learnt with them; `classes` (C, D), where it was trained to tell so many classes apart; `cohort` (P, D), one
    embedding for each person that it was trained with, where scores are measured beside these."""

    cohort: torch.Tensor | None

    def __init__(
        self,
        plan: Plan,
        head: torch.Tensor | None = None,
        classes: torch.Tensor | None = None,
        cohort: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(plan)
        self.head = None if head is None else nn.Parameter(head)
        self.classes = None if classes is None else nn.Parameter(classes)
        self.register_buffer("cohort", cohort)

    def forward(self, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Embeddings, and what the loss needs besides them."""
        return self.encoder(items), self.classes if self.head is None else self.head


def fresh_head(dimensions: int) -> torch.Tensor:
    """(D + 1,): any difference speaks against a pair. Of two unit vectors at random in 64 dimensions the sum of all
    differences is about 9, and about 4 for a cosine of .8."""
    return torch.cat([-torch.ones(dimensions), torch.full((1,), 6.0)])


def pair_logits(one: torch.Tensor, other: torch.Tensor, head: torch.Tensor) -> torch.Tensor:
    """(…, D) twice, (D + 1,) → (…): the sum over |one − other|, weighted by all but the last of `head`, which is
    added."""
    with torch.autocast(one.device.type, enabled=False):  # as the cosines of muster.training.losses
        return (one - other).abs().float() @ head[:-1].float() + head[-1]


def similarity(one: torch.Tensor, other: torch.Tensor, head: torch.Tensor | None) -> torch.Tensor:
    """Embeddings (…, D) twice → (…) float32, the more alike, the higher: cosines, or logits where a head was learnt."""
    return (one * other).sum(-1) if head is None else pair_logits(one, other, head)


def from_state(state: Mapping[str, torch.Tensor], plan: Plan) -> Verifier:
    """The network with the weights of a training, in half or single precision. RuntimeError, as torch's own, where they
    are of other shapes."""
    size = plan.dimensions
    for name, columns, least in (("head", size + 1, 1), ("classes", size, 1), ("cohort", size, 2)):
        shape = tuple(state[name].shape) if name in state else (least, columns)
        if shape[-1:] != (columns,) or shape[0] < least:
            raise RuntimeError(f"{name} of shape {shape} is none of embeddings of {size} numbers")
    return load(Verifier(plan, *(state.get(name) for name in ("head", "classes", "cohort"))), state)


# ---- items as encoders take them -------------------------------------------------------------------------------------


def pieces(text: str, plan: Plan) -> I64:
    """A text → (L, PIECES): numbers of its first words and of their parts of 3 to 5 letters, 0 where there are none."""
    found = np.zeros((plan.space[0], PIECES), np.int64)
    for row, word in zip(found, _WORD.findall(text.lower()), strict=False):
        parts = _parts(word[:_LETTERS], plan.buckets)
        row[: len(parts)] = parts
    return found


@lru_cache(1 << 16)
def _parts(word: str, buckets: int) -> tuple[int, ...]:
    marked = f"<{word}>"
    parts = [marked, *(marked[i : i + n] for n in (3, 4, 5) for i in range(len(marked) - n + 1))]
    return tuple(1 + crc32(part.encode()) % (buckets - 1) for part in parts[:PIECES])


def wave(samples: F32, rate: int, plan: Plan) -> I16:
    """Sound (T,) or (T, channels) at `rate` → (space,) at RATE: one channel, as loud as can be, in the middle.

    Of longer sounds the middle is taken. TaskError where there is no sound in it.
    """
    mono = samples.mean(1) if samples.ndim == 2 else samples
    if rate != RATE:
        shared = math.gcd(rate, RATE)
        mono = resample_poly(mono, RATE // shared, rate // shared)
    loudest = np.abs(mono).max(initial=0)
    if not loudest > 0:
        raise TaskError("there is no sound in it")
    kept = _middle(mono / loudest, plan.space[0])
    return np.round(kept * 32767).astype(np.int16)


def _middle(values: F32, size: int) -> F32:
    """(T,) → (size,), by as much of both ends."""
    spare = len(values) - size
    if spare >= 0:
        return values[spare // 2 : spare // 2 + size]
    return np.pad(values, (-spare // 2, -spare - -spare // 2))


def ink(pixels: Pixels, plan: Plan) -> Pixels:
    """A picture (H, W, 3) → plan.space: how dark it is, fitted into the middle with its own aspect."""
    height, width = plan.space
    scale = min(height / pixels.shape[0], width / pixels.shape[1])
    size = [max(1, round(side * scale)) for side in pixels.shape[1::-1]]
    small = np.asarray(PillowImage.fromarray(pixels).convert("L").resize(size, PillowImage.Resampling.BOX))
    found = np.zeros((height, width), np.uint8)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    found[top : top + small.shape[0], left : left + small.shape[1]] = 255 - small
    return found


def cube(volume: Pixels, plan: Plan) -> Pixels:
    """A volume (D, H, W) uint8 → plan.space, each axis for itself."""
    if volume.shape == plan.space:
        return volume
    wide = torch.from_numpy(volume.copy())[None, None].float()
    return F.interpolate(wide, size=plan.space, mode="trilinear").round().to(torch.uint8)[0, 0].numpy()
