"""Segmenters: a class for every pixel, of street scenes (CamVid) and of people before their background.

The loss is the cross-entropy of each pixel, rare classes weighted up: median frequency balancing, Eigen & Fergus,
ICCV 2015, section 4.3.2 as SegNet takes it (Badrinarayanan et al., PAMI 2017, section 3.2), here to the power of
`Design.balance`: a compromise between rare classes and all pixels, not compared with others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.errors import InputError
from muster.tasks.models.segmenter import Segmenter
from muster.tasks.models.zoo.masks import PERSON, PERSON_LABELS, STREETS, STREETS_LABELS
from muster.training.augment import lit
from muster.training.data.examples import held_out
from muster.training.data.masked_photos import VOID, Framing, cropped, pasted, read_masked
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted, seed_of


@dataclass(frozen=True, kw_only=True)
class Design:
    """`side`: pixels of photos' longest side. `held_out`: share of the photos of the first source. `pasted`: share of
    crops into which somebody of another one is put."""

    name: str
    classes: tuple[str, ...]
    values: Mapping[int, int | None]
    widths: tuple[int, ...]
    side: int
    framing: Framing
    settings: Settings
    held_out: float
    coco_class: str | None = None
    balance: float = 0.5
    pasted: float = 0.0
    dropout: float = 0.1


STREETS_DESIGN = Design(
    name="streets",
    classes=STREETS,
    values=STREETS_LABELS,
    widths=(32, 64, 96, 160, 224),
    side=480,
    framing=Framing(320, (0.7, 2.0)),
    settings=Settings(steps=10600, batch=32, learning_rate=2e-3, average=0.999, report_every=50),
    held_out=0.05,  # only to watch the training: frames of one film are too alike to measure with
)
PEOPLE_DESIGN = Design(
    name="person",
    classes=PERSON,
    values=PERSON_LABELS,
    widths=(24, 48, 96, 128, 192),
    side=320,
    framing=Framing(256, (0.7, 2.2), 0.25),
    settings=Settings(steps=11400, batch=48, learning_rate=2e-3, average=0.999, report_every=50),
    held_out=1 / 3,
    coco_class="person",
    balance=0.0,
    pasted=0.5,
)


class _Training(nn.Module):
    """The network while it is trained: features of the last level are dropped out, whole maps at a time."""

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.segmenter = Segmenter(len(design.classes), design.widths)
        self.segmenter.last.append(nn.Dropout2d(design.dropout))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.segmenter(images)
        return logits


class SegmenterRecipe:
    """A segmenter by one `Design`: streets, or people before their background."""

    def __init__(self, inputs: Inputs, design: Design) -> None:
        self.name, self.design = design.name, design
        photos = read_masked(inputs, design.side, design.values, design.coco_class)
        kept = [row < photos.first and held_out(name, design.held_out) for row, name in enumerate(photos.names)]
        self.measured = photos.rows([row for row, out in enumerate(kept) if out])
        if all(kept):
            raise InputError(f"all {len(kept)} photos are among those kept out to measure with: give more")
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.photos = photos.rows([row for row, out in enumerate(kept) if not out]).to(self.device)
        self.settings = adjusted(design.settings, inputs, len(self.photos.names))
        self.balance = balance(self.photos.labels, len(design.classes)) ** design.balance

    def network(self) -> nn.Module:
        return _Training(self.design)

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        random = np.random.default_rng([self.settings.seed, step])
        rows = random.choice(len(self.photos.names), self.settings.batch, replace=False)[rank::ranks].tolist()
        generator = torch.Generator(self.device).manual_seed(seed_of(self.settings.seed, step, rank + 1))
        images, labels = cropped(self.photos.rows(rows), self.design.framing, generator)
        if self.design.pasted:
            images, labels = pasted(images, labels, self.design.pasted, generator)
        images = lit(images, generator)
        noise = torch.empty_like(images).normal_(generator=generator)
        images = (
            images + 0.03 * torch.rand(len(images), 1, 1, 1, generator=generator, device=self.device) * noise
        ) * 2 - 1
        return {"images": images, "labels": labels, "names": [self.photos.names[row] for row in rows]}

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        images = batch["images"].contiguous(memory_format=torch.channels_last)
        logits = network(images).float()
        weight = self.balance.to(logits.device)
        return {"loss": F.cross_entropy(logits, batch["labels"], weight, ignore_index=VOID)}

    @torch.inference_mode()
    def measure(self, network: nn.Module) -> dict[str, float]:
        """On whole photos kept out: mean IoU, and each class's where it occurs."""
        if not self.measured.names:
            return {}
        count = len(self.design.classes)
        counts = torch.zeros(count, count, dtype=torch.int64)
        for row in range(len(self.measured.names)):
            labels = self._found(network, row)
            height, width = self.measured.sizes[row].tolist()
            truth = self.measured.labels[row, :height, :width].long()
            known = truth != VOID
            pairs = truth[known] * count + labels[known]
            counts += torch.bincount(pairs, minlength=count * count).view(count, count)
        shared = counts.diagonal().float()
        union = (counts.sum(0) + counts.sum(1)).float() - shared
        iou = (shared / union)[union > 0]
        names = [name for name, any_ in zip(self.design.classes, union > 0, strict=True) if any_]
        each = {f"iou_{name}": float(value) for name, value in zip(names, iou, strict=True)}
        return {"miou": float(iou.mean()), "accuracy": float(shared.sum() / counts.sum())} | each

    def _found(self, network: nn.Module, row: int) -> torch.Tensor:
        """(H, W) classes of a photo kept out."""
        height, width = self.measured.sizes[row].tolist()
        photo = self.measured.images[row : row + 1, :, : -(-height // 32) * 32, : -(-width // 32) * 32]
        device = next(network.parameters()).device
        logits = network(photo.to(device).float() / 127.5 - 1)
        return logits[0, :, :height, :width].argmax(0).cpu()

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        assert isinstance(network, _Training)
        return network.segmenter.state_dict()

    def card(self) -> dict[str, Any]:
        return {
            "kind": "semantic segmentation",
            "classes": list(self.design.classes),
            "photos": len(self.photos.names),
            "held_out": {"photos": len(self.measured.names)},
            "loss": f"cross-entropy, classes weighted by median frequency to the power {self.design.balance}",
            "augmentation": f"{self.design.framing}, mirror, light, noise; {self.design.pasted:.0%} with people pasted",
        }


def balance(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """(classes,): the median of the classes' frequencies over each one's; a frequency is taken over the photos that
    show the class, and a class that none shows weighs 1. `labels` (N, H, W) uint8."""
    counts = torch.stack([torch.bincount(each.flatten().long(), minlength=256)[:classes] for each in labels]).double()
    shown = counts > 0
    frequency = counts.sum(0) / (shown * counts.sum(1, keepdim=True)).sum(0).clamp_min(1)
    present = frequency > 0
    weights = torch.ones(classes, dtype=torch.float64, device=labels.device)
    weights[present] = frequency[present].median() / frequency[present]
    return weights.float()


def build_streets(inputs: Inputs) -> Recipe:
    return SegmenterRecipe(inputs, STREETS_DESIGN)


def build_person(inputs: Inputs) -> Recipe:
    return SegmenterRecipe(inputs, PEOPLE_DESIGN)
