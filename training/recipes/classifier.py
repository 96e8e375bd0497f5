"""Classifiers of small photos, from labels: `digits` and `cifar`, the networks that lectures on vision begin with, and
`cifar-wide`, which is `cifar` with 308,000 parameters, to see what more of them are worth.

What a photo shows is said by a column, or by the folder it lies in. A table that says in a column `split` which of its
photos are for training is taken at its word; photos without that word are kept out by a hash of their pixels, so that
copies of one photo never are on both sides.
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.arrays import Pixels
from muster.errors import InputError
from muster.tasks.models import plain
from muster.tasks.models.plain import Plan
from muster.tasks.scenes import normalised, thumbnail
from muster.training.augment import uniform
from muster.training.data.examples import TRAIN, Example, find_examples, held_out, of_each_label, read_photos
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted, seed_of

PHOTOS_HELD_OUT = 1 / 6
LEAST = 2  # photos of a class to learn from


@dataclass(frozen=True, kw_only=True)
class Design:
    """`shift`: whole pixels by which a photo is moved at most, each way; `turn`: radians by which it is turned; `zoom`:
    logarithm of how much larger or smaller it is shown. `mirrored`: half of them are. `smoothing`: what is taken from a
    label's certainty."""

    name: str
    plan: Plan
    settings: Settings
    shift: int
    turn: float = 0.0
    zoom: float = 0.0
    mirrored: bool = False
    smoothing: float = 0.0


DIGITS = Design(
    name="digits",
    plan=plain.DIGITS,
    settings=Settings(steps=4000, batch=128, learning_rate=5e-3, weight_decay=0.01, report_every=100),
    shift=2,
    turn=0.2,
    zoom=0.1,
)
CIFAR = Design(
    name="cifar",
    plan=plain.CIFAR,
    settings=Settings(steps=4000, batch=128, learning_rate=2e-2, weight_decay=0.0, report_every=100),
    shift=2,
    mirrored=True,
)
CIFAR_WIDE = replace(
    CIFAR,
    name="cifar-wide",
    plan=replace(plain.CIFAR, blocks=((32, 32), (64, 64), (128, 128))),
    settings=replace(CIFAR.settings, steps=3000, learning_rate=4e-3, weight_decay=0.05),
    shift=4,
)


@dataclass(frozen=True)
class Photos:
    """`pixels` (N, S, S, 3): uint8 RGB. `classes` (N,): numbers of them. `kept_out` (N,) bool."""

    pixels: torch.Tensor
    classes: torch.Tensor
    names: Sequence[str]
    kept_out: torch.Tensor


class ClassifierRecipe:
    """A classifier by one `Design`. `labels`: what its classes are called, in the order of its outputs."""

    def __init__(self, inputs: Inputs, design: Design) -> None:
        self.name, self.design = design.name, design
        self.labels, photos = read_labelled(inputs, design.plan.side)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.learnt, self.measured = (torch.where(photos.kept_out == out)[0] for out in (False, True))
        self.pixels, self.classes = photos.pixels.to(self.device), photos.classes.to(self.device)
        self.names = photos.names
        self.settings = adjusted(design.settings, inputs, len(self.learnt))

    def network(self) -> nn.Module:
        return plain.in_training(self.design.plan, len(self.labels))

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        random = torch.Generator().manual_seed(seed_of(self.settings.seed, step))
        order = torch.randperm(len(self.learnt), generator=random)[: self.settings.batch]
        rows = self.learnt[order][rank::ranks]
        random = torch.Generator(self.device).manual_seed(seed_of(self.settings.seed, step, rank + 1))
        images = moved(self.pixels[rows.to(self.device)], self.design, random)
        names = [self.names[row] for row in rows.tolist()]
        return {"images": normalised(images), "classes": self.classes[rows.to(self.device)], "names": names}

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        logits = network(batch["images"]).float()
        return {"loss": F.cross_entropy(logits, batch["classes"], label_smoothing=self.design.smoothing)}

    @torch.inference_mode()
    def measure(self, network: nn.Module) -> dict[str, float]:
        """On the photos kept out: the share that is right, that of the class with the lowest, and the cross-entropy."""
        if not len(self.measured):
            return {}
        device = next(network.parameters()).device
        parts = [network(normalised(self.pixels[rows].to(device))).float() for rows in self.measured.split(512)]
        logits, classes = torch.cat(parts).cpu(), self.classes[self.measured].cpu()
        right = (logits.argmax(1) == classes).double()
        each = [float(right[classes == label].mean()) for label in classes.unique()]
        log_loss = float(F.cross_entropy(logits, classes))
        return {"accuracy": float(right.mean()), "worst_class": min(each), "log_loss": log_loss}

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        assert isinstance(network, nn.Sequential)
        return plain.folded(network)

    def card(self) -> dict[str, Any]:
        design = self.design
        return {
            "kind": f"classifier of photos of {design.plan.side}×{design.plan.side} pixels",
            "layers": list(dict(plain.chain(design.plan, len(self.labels)).named_children())),
            "classes": self.labels,
            "photos": len(self.learnt),
            "held_out": {"photos": len(self.measured)},
            "loss": f"cross-entropy, labels smoothed by {design.smoothing}",
            "augmentation": f"moved by up to {design.shift} pixels, turned by {design.turn:g} radians, zoomed by"
            f" {design.zoom:.0%}" + ", half of them mirrored" * design.mirrored,
        }


def read_labelled(inputs: Inputs, side: int) -> tuple[list[str], Photos]:
    """The names of the classes, in order, and the photos, squeezed to `side` × `side`.

    Raises InputError where labels are missing, or there are too few photos of a class to learn from.
    """
    examples = of_each_label(find_examples(inputs.images, inputs.label), inputs.limit)
    check_classes([e.label for e in examples], [e.split not in (None, TRAIN) for e in examples])
    pixels, read = np.empty((len(examples), side, side, 3), np.uint8), list[Example]()
    for example, photo in read_photos(examples, 4 * side, inputs.on_skipped):  # JPEGs are decoded at reduced scale
        if example.label:
            pixels[len(read)] = thumbnail(photo.pixels, side)
            read.append(example)
        else:
            inputs.on_skipped(f"{example.name}: it has no label")
    out = [kept_out(example, shown) for example, shown in zip(read, pixels, strict=False)]
    labels = [str(example.label) for example in read]
    check_classes(labels, out)
    classes = sorted(set(labels))
    number = {label: i for i, label in enumerate(classes)}
    return classes, Photos(
        pixels=torch.from_numpy(pixels[: len(read)]),
        classes=torch.tensor([number[label] for label in labels]),
        names=[example.name for example in read],
        kept_out=torch.tensor(out),
    )


def kept_out(example: Example, pixels: Pixels) -> bool:
    """Whether a photo is for measuring with: as its table says, else by what it shows."""
    if example.split is not None:
        return example.split != TRAIN
    return held_out(hashlib.sha256(pixels.tobytes()).hexdigest(), PHOTOS_HELD_OUT)


def check_classes(labels: Sequence[str | None], out: Sequence[bool]) -> None:
    """Raises InputError, with what was found, unless there are two classes, and at least `LEAST` photos of each to
    learn from. `out`: which photos are kept out."""
    found = Counter(label for label in labels if label)
    learnt = Counter(label for label, kept in zip(labels, out, strict=True) if not kept)
    how = "Name their column with `label`, or put the photos of each class into a folder of its own"
    if len(found) < 2:
        listed = ", ".join(f"{label[:60]} ({count})" for label, count in found.items()) or "none"
        raise InputError(f"a classifier needs photos of at least two classes; it found {listed}. {how}")
    few = [label for label in sorted(found) if learnt[label] < LEAST]
    if few:
        listed = ", ".join(f"{label[:60]} ({learnt[label]} of {found[label]})" for label in few[:5])
        raise InputError(
            f"{len(few)} of {len(found)} classes have fewer than {LEAST} photos to learn from, without those that are"
            f" kept out to measure with: {listed}. Give more of them, or leave the class out"
        )


def moved(pixels: torch.Tensor, design: Design, random: torch.Generator) -> torch.Tensor:
    """Photos (N, S, S, 3) uint8 → (N, S, S, 3) float32, 0..255: moved, turned, zoomed and mirrored; the edge goes on
    where they end."""
    n, side = pixels.shape[:2]
    shift = torch.randint(-design.shift, design.shift + 1, (2, n), generator=random, device=random.device) * 2 / side
    angle, scale = uniform(n, -design.turn, design.turn, random), uniform(n, -design.zoom, design.zoom, random).exp()
    mirror = torch.where(uniform(n, 0, 1, random) < 0.5 * design.mirrored, -1.0, 1.0)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([cos * mirror, -sin, shift[0]], 1), torch.stack([sin * mirror, cos, shift[1]], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 3, side, side], align_corners=False)
    images = pixels.permute(0, 3, 1, 2).float()
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)


def _build(inputs: Inputs, design: Design) -> Recipe:
    return ClassifierRecipe(inputs, design)


build_digits = partial(_build, design=DIGITS)
build_cifar = partial(_build, design=CIFAR)
build_cifar_wide = partial(_build, design=CIFAR_WIDE)
