"""Networks that say which of ImageNet's 1,000 categories a picture shows, as published.

torchvision is imported where it is needed: importing it costs a worker 1.1 s and 160 MB.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import nn

from muster.arrays import Pixels
from muster.errors import TaskError
from muster.tasks.models import features
from muster.tasks.models.state_dict import load

_CAFFE_MEAN = (123.0, 117.0, 104.0)  # of ImageNet, red, green, blue, in 0..255
_BICUBIC = ("efficientnet_b0", "swin_t")


@dataclass(frozen=True)
class Shown:
    """How a picture is shown to a network: its shorter side made `resized` pixels long, then a square of `side` of its
    middle; RGB in 0..1, less `mean`, over `std`; `flipped`: blue first. `channels_last`: of its maps."""

    resized: int
    side: int
    mean: Sequence[float] = (0.485, 0.456, 0.406)
    std: Sequence[float] = (0.229, 0.224, 0.225)
    flipped: bool = False
    bicubic: bool = False
    channels_last: bool = False


_OWN = Shown(features.RESIZED, features.SIDE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class Classifier(nn.Module):
    """`network`, which is shown pictures as `shown` says, knows these `categories`."""

    def __init__(self, network: nn.Module, shown: Shown, categories: Sequence[str]) -> None:
        super().__init__()
        self.network, self.shown, self.categories = network, shown, tuple(categories)
        self.mean: torch.Tensor
        self.std: torch.Tensor
        self.register_buffer("mean", torch.tensor(shown.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(shown.std).view(1, 3, 1, 1), persistent=False)

    @property
    def side(self) -> int:
        """Of the square that it was trained on, in pixels; others from 64 on fit too, but Swin's."""
        return self.shown.side

    def normalised(self, pictures: torch.Tensor) -> torch.Tensor:
        """What goes into `network`: (N, 3, H, W), RGB in 0..1 → the same shape."""
        found = (pictures - self.mean) / self.std
        return found.flip(1) if self.shown.flipped else found

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W), RGB in 0..1 → (N, number of categories), logits."""
        scores: torch.Tensor = self.network(self.normalised(pictures))
        return scores

    def maps(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W), RGB in 0..1 → (N, D, h, w): what its last convolution, or block, gives."""
        found: torch.Tensor = self.network.features(self.normalised(pictures))  # type: ignore[operator]
        if self.shown.channels_last:
            found = self.network.norm(found).permute(0, 3, 1, 2)  # type: ignore[operator]
        return found

    def square(self, pixels: Pixels) -> Pixels:
        """The part of a picture that the network is shown: uint8 RGB (H, W, 3) → (side, side, 3).

        Equal to torchvision's `ImageClassification` for Pillow's images.
        """
        size, (left, top) = self.frame(*pixels.shape[:2])
        kind = PillowImage.Resampling.BICUBIC if self.shown.bicubic else PillowImage.Resampling.BILINEAR
        picture = PillowImage.fromarray(pixels).resize(size, kind)
        return np.asarray(picture.crop((left, top, left + self.side, top + self.side)))

    def frame(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Of a picture of this size: its (width, height) once it is resized, and where in that the square begins."""
        long = self.shown.resized * max(height, width) // min(height, width)
        size = (long, self.shown.resized) if width > height else (self.shown.resized, long)
        left, top = (round((each - self.side) / 2) for each in size)
        return size, (left, top)


def squeezenet(state: Mapping[str, torch.Tensor]) -> Classifier:
    """SqueezeNet 1.0 (Iandola et al., 2016, arXiv:1602.07360) as it was published for Caffe."""
    from torchvision.models import SqueezeNet1_0_Weights, squeezenet1_0

    network = squeezenet1_0(weights=None)
    network.classifier[1] = nn.Conv2d(512, 1000, 1, padding=1)  # as its prototxt has it, unlike torchvision's
    shown = Shown(256, 227, tuple(each / 255 for each in _CAFFE_MEAN), (1 / 255,) * 3, flipped=True)
    return Classifier(_loaded("squeezenet", network, state), shown, SqueezeNet1_0_Weights.DEFAULT.meta["categories"])


def own(state: Mapping[str, torch.Tensor]) -> Classifier:
    """The network of `muster train features`."""
    from torchvision.models import SqueezeNet1_0_Weights

    network = load(features.Features(), state).eval().requires_grad_(False)
    return Classifier(network, _OWN, SqueezeNet1_0_Weights.DEFAULT.meta["categories"])


class Exported(nn.Module):
    """What is written of a classifier as ONNX."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier, self.embedder = classifier, Embedder(classifier)

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, H, W), RGB in 0..1 → logits (N, number of categories), and embeddings (N, D), not L2-normalised."""
        return self.classifier(pictures), self.embedder(pictures)


def exported(network: nn.Module) -> nn.Module:
    """What is written of a network as ONNX: of a classifier two outputs, of others what they give."""
    return Exported(network) if isinstance(network, Classifier) else network


class Imported(Classifier):
    """A classifier whose `network` gives what `Exported` does."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(pictures)[0]
        return logits

    def maps(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, D, 1, 1): averaged over places already."""
        averaged: torch.Tensor = self.network(pictures)[1]
        return averaged[:, :, None, None]


def own_imported(network: nn.Module) -> Imported:
    """The network of `muster train features`, as it was exported."""
    from torchvision.models import SqueezeNet1_0_Weights

    return Imported(network, _OWN, SqueezeNet1_0_Weights.DEFAULT.meta["categories"])


class Embedder(nn.Module):
    """What a classifier makes of pictures before it names what they show."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W), RGB in 0..1 → (N, D), not yet L2-normalised: maps, averaged over places."""
        return self.classifier.maps(pictures).mean((2, 3))


def torchvision(name: str, resized: int) -> Callable[[Mapping[str, torch.Tensor]], Classifier]:
    """What builds torchvision's network of that name for its ImageNet weights."""

    def build(state: Mapping[str, torch.Tensor]) -> Classifier:
        from torchvision.models import get_model, get_model_weights

        known = next(iter(get_model_weights(name)))
        shown = Shown(resized, 224, bicubic=name in _BICUBIC, channels_last=name == "swin_t")
        return Classifier(_loaded(name, get_model(name, weights=None), state), shown, known.meta["categories"])

    return build


def _loaded(name: str, network: nn.Module, state: Mapping[str, torch.Tensor]) -> nn.Module:
    try:
        return load(network, state).eval().requires_grad_(False)
    except RuntimeError as error:
        raise TaskError(f"these are no weights of {name}: {str(error).splitlines()[-1].strip()}") from None
