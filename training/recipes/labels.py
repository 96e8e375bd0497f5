"""A head for labels of the user's own, on the embeddings of a network that stays as it is: seconds, not hours.

A photo shows one class, as its column or folder says, or any number: where the column holds lists, or COCO files say
what is on it. Photos that say nothing are left out: what nobody looked for is not absent.

Four heads beside the one that is kept are each learnt without a quarter of the photos. What they say of that quarter
is compared with the truth, so that probabilities are as often right as they say: a temperature (Guo et al., On
Calibration of Modern Neural Networks, ICML 2017, section 4.2), and an offset too where classes are told apart singly
(Platt, Probabilistic Outputs for Support Vector Machines, 1999).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.arrays import Pixels
from muster.errors import InputError
from muster.storage.exchange.coco import read_coco
from muster.tasks.base import Image
from muster.tasks.features import PhotoEmbedder
from muster.tasks.labels import Labels
from muster.tasks.metrics.labels import judge_one, judge_several
from muster.tasks.models import coco_labels, zoo
from muster.tasks.models.head import Head, state_of
from muster.training.data.examples import Example, find_examples, of_each_label, read_photos, said_or_held_out
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted, seed_of
from muster.training.recipes.classifier import LEAST, check_classes
from muster.training.recipes.features import HELD_OUT

SETTINGS = Settings(steps=600, batch=256, learning_rate=0.01, average=0.99, report_every=100)
# Weight decay times photos, and the most of it. Best of 5 for SqueezeNet's embeddings: 30 for 276 photos of COCO (map
# .343; .302 at 0.5, .342 at 60), 3 to 5 for 3,200 of CIFAR-10 (accuracy .665 to .670; .637 at 0.5, .648 at 20).
DECAY, MOST_DECAY = 8000, 30.0
FOLDS = 4
AT_ONCE = 64  # photos


@dataclass(frozen=True)
class Labelled:
    """`vectors` (N, D): L2-normalised, of each photo and of its mirror image behind all photos. `truth` (N, C): 1 where
    it shows the class. `several`: whether any number of classes may be on one. `kept_out` (N,) bool."""

    vectors: torch.Tensor
    truth: torch.Tensor
    classes: Sequence[str]
    several: bool
    names: Sequence[str]
    kept_out: torch.Tensor


class _Heads(nn.Module):
    """`weight` (H, C, D) and `bias` (H * C,) of several heads, over embeddings made alike in all directions."""

    def __init__(self, heads: int, chances: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor, several: bool):
        super().__init__()
        begin = (chances / (1 - chances)).log() if several else chances.log()
        self.weight = nn.Parameter(torch.zeros(heads, len(chances), len(mean)))
        self.bias = nn.Parameter(begin.repeat(heads))
        self.mean: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """(N, D) → (H, N, C), logits."""
        heads, classes, _ = self.weight.shape
        even = (vectors - self.mean) / self.scale
        return torch.einsum("nd,hcd->hnc", even, self.weight) + self.bias.view(heads, 1, classes)

    def plain(self, head: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The weight (C, D) and bias (C,) of one, over embeddings as they come."""
        weight = self.weight[head] / self.scale
        return weight, self.bias.view(len(self.weight), -1)[head] - weight @ self.mean


class HeadRecipe:
    """A head on the embeddings of `base`, a zoo entry."""

    def __init__(self, inputs: Inputs, base: str, name: str) -> None:
        self.name, self.base = name, base
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.photos = photos = read_labelled(inputs, embedder(inputs, base, self.device))
        count = len(photos.names)
        self.learnt, self.measured = ((photos.kept_out == out).nonzero()[:, 0] for out in (False, True))
        decay = min(MOST_DECAY, DECAY / max(1, len(self.learnt)))
        self.settings = adjusted(replace(SETTINGS, weight_decay=decay), inputs, len(self.learnt))
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed_of(self.settings.seed, 0)))
        self.folds = order % FOLDS

    def network(self) -> nn.Module:
        photos, learnt = self.photos, self.learnt
        chances = ((photos.truth[learnt].sum(0) + 1) / (len(learnt) + 2)).clamp(max=0.99)
        vectors = photos.vectors[learnt]
        scale = vectors.std(0, correction=0).clamp(min=1e-4)
        return _Heads(FOLDS + 1, chances, vectors.mean(0), scale, photos.several)

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        random = torch.Generator().manual_seed(seed_of(self.settings.seed, step, 1))
        order = torch.randperm(len(self.learnt), generator=random)[: self.settings.batch]
        rows = self.learnt[order][rank::ranks]
        mirrored = torch.randint(2, (len(rows),), generator=random) * len(self.photos.names)
        return {
            "vectors": self.photos.vectors[rows + mirrored],
            "truth": self.photos.truth[rows],
            "folds": self.folds[rows],
            "names": [self.photos.names[row] for row in rows.tolist()],
        }

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        logits, truth = network(batch["vectors"]).float(), batch["truth"]
        if self.photos.several:
            each = F.binary_cross_entropy_with_logits(logits, truth.expand_as(logits), reduction="none").sum(2)
        else:
            each = -(logits.log_softmax(2) * truth).sum(2)
        heads = torch.arange(FOLDS + 1, device=logits.device)
        taken = (batch["folds"] != heads[:, None]).float()  # the last head has every photo
        return {"loss": (each * taken).sum() / taken.sum()}

    @torch.inference_mode()
    def measure(self, network: nn.Module) -> dict[str, float]:
        """On the photos kept out."""
        if not len(self.measured):
            return {}
        chances = self.head(network)(self.photos.vectors[self.measured]).numpy()
        truth, classes = self.photos.truth[self.measured].numpy(), list(self.photos.classes)
        if self.photos.several:
            facts = judge_several(chances, truth > 0, classes)
        else:
            facts = judge_one(chances, truth.argmax(1), classes)
        return {name: value for name, value in facts.items() if isinstance(value, float)}

    @torch.inference_mode()
    def head(self, network: nn.Module) -> Head:
        """The last of the heads, calibrated by what the others say of photos they did not learn from."""
        assert isinstance(network, _Heads)
        network = network.to("cpu")
        logits = network(self.photos.vectors[self.learnt])[self.folds[self.learnt], torch.arange(len(self.learnt))]
        slope, offset = calibrated(logits, self.photos.truth[self.learnt], self.photos.several)
        weight, bias = network.plain(FOLDS)
        return Head(weight * slope, bias * slope + offset, self.photos.classes, self.base, self.photos.several)

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        return state_of(self.head(network))

    def card(self) -> dict[str, Any]:
        return {
            "kind": "head for labels: " + ("any number on a photo" if self.photos.several else "one on a photo"),
            "base": self.base,
            "classes": list(self.photos.classes),
            "photos": len(self.learnt),
            "held_out": {"share_of_photos": HELD_OUT, "photos": len(self.measured)},
            "loss": "cross-entropy" + " of each class" * self.photos.several,
            "augmentation": "half of the photos mirrored",
            "calibrated": f"on what {FOLDS} heads said of the quarter of the photos that each had not learnt from",
        }


@torch.inference_mode(False)
def calibrated(logits: torch.Tensor, truth: torch.Tensor, several: bool) -> tuple[float, float]:
    """Slope and offset that make logits (N, C) as probable as they say; the offset is 0 where classes exclude each
    other. `truth` (N, C), 0 or 1."""
    logits, truth = logits.clone().double(), truth.clone().double()
    found = torch.zeros(2, dtype=torch.float64, requires_grad=True)  # logarithm of the slope, and the offset
    optimiser = torch.optim.LBFGS([found], max_iter=50, line_search_fn="strong_wolfe")

    def cost() -> torch.Tensor:
        optimiser.zero_grad()
        scaled = logits * found[0].exp() + found[1] * several
        if several:
            value = F.binary_cross_entropy_with_logits(scaled, truth)
        else:
            value = -(scaled.log_softmax(1) * truth).sum(1).mean()
        value.backward()
        return value

    optimiser.step(cost)
    return float(found[0].detach().clamp(-3, 3).exp()), float(found[1].detach()) * several


# ---- photos ----------------------------------------------------------------------------------------------------------


def embedder(inputs: Inputs, base: str, device: torch.device) -> PhotoEmbedder:
    return PhotoEmbedder(zoo.ENTRIES[base].build(inputs.weights[base]), device)


def read_labelled(inputs: Inputs, embed: PhotoEmbedder) -> Labelled:
    """The photos with their labels. InputError where too few have any, or there are too few of a class."""
    listed = examples(inputs)
    several = any(example.labels is not None for example in listed)
    if not several:
        check_classes([e.label for e in listed], [said_or_held_out(e, HELD_OUT) for e in listed])
    known = [example for example in listed if said(example, several) is not None]
    for example in listed:
        if said(example, several) is None:
            inputs.on_skipped(f"{example.name}: nothing says what it shows")
    read, vectors = embedded(known, embed, inputs)
    # The share by name is that which the network of the embeddings did not learn from either.
    out = [said_or_held_out(example, HELD_OUT) for example in read]
    classes = several_classes(read, out, inputs) if several else sorted({str(example.label) for example in read})
    if not several:
        check_classes([example.label for example in read], out)
    number = {name: i for i, name in enumerate(classes)}
    truth = torch.zeros(len(read), len(classes))
    for row, example in enumerate(read):
        truth[row, [number[name] for name in said(example, several) or () if name in number]] = 1
    names = [example.name for example in read]
    return Labelled(vectors, truth, classes, several, names, torch.tensor(out))


def said(example: Example, several: bool) -> tuple[str, ...] | None:
    """The classes on a photo; None where that is not known."""
    if several:
        return example.labels
    return (example.label,) if example.label else None


def examples(inputs: Inputs) -> list[Example]:
    """The photos that are asked for; with what COCO files say, where there are such."""
    if not inputs.labels:
        return of_each_label(find_examples(inputs.images, inputs.label), inputs.limit)
    if len(inputs.labels) != len(inputs.images):
        raise InputError(
            f"{len(inputs.images)} `images` and {len(inputs.labels)} `labels`: give a COCO file for each source of"
            " photos, in the same order, or none and a column"
        )
    found = []
    for source, path in zip(inputs.images, inputs.labels, strict=True):
        known = read_coco(Path(path), coco_labels.SPELLINGS).labels()
        listed = find_examples([source], None, inputs.limit)
        if not any(each.name in known for each in listed):
            raise InputError(f"`labels` {path}: none of its photos is among `images` {source}")
        found += [replace(each, labels=known.get(each.name), label=None) for each in listed]
    return found


def several_classes(read: Sequence[Example], out: Sequence[bool], inputs: Inputs) -> list[str]:
    """Those on at least LEAST photos that are learnt from; the others are said to be left out."""
    learnt = Counter(name for each, kept in zip(read, out, strict=True) if not kept for name in each.labels or ())
    for name in sorted({name for each in read for name in each.labels or ()}):
        if learnt[name] < LEAST:
            inputs.on_skipped(f"class {name[:60]}: {learnt[name]} photos to learn from, and {LEAST} are needed")
    classes = sorted(name for name, count in learnt.items() if count >= LEAST)
    if not classes:
        raise InputError(f"no class is on {LEAST} photos or more of {len(read)} with labels: give more photos")
    return classes


def embedded(known: Sequence[Example], embed: PhotoEmbedder, inputs: Inputs) -> tuple[list[Example], torch.Tensor]:
    """Those that can be read, and the embeddings of all, then of all mirrored: (2 N, D)."""
    read, parts = list[Example](), list[tuple[Any, Any]]()
    for some in _together(read_photos(known, Labels.max_side, inputs.on_skipped)):
        read += [example for example, _ in some]
        parts.append((embed([_image(p) for _, p in some]), embed([_image(p[:, ::-1].copy()) for _, p in some])))
    if len(read) < 2:
        raise InputError(f"{len(read)} photos with labels can be read: this training needs at least 2")
    return read, torch.from_numpy(np.concatenate([vectors for side in zip(*parts, strict=True) for vectors in side]))


def _together(photos: Iterator[tuple[Example, Any]]) -> Iterator[list[tuple[Example, Pixels]]]:
    some = list[tuple[Example, Pixels]]()
    for example, photo in photos:
        some.append((example, photo.pixels))
        if len(some) == AT_ONCE:
            yield some
            some = []
    if some:
        yield some


def _image(pixels: Pixels) -> Image:
    return Image("", pixels, 1.0, (pixels.shape[1], pixels.shape[0]))


def _build(inputs: Inputs, base: str, name: str) -> Recipe:
    return HeadRecipe(inputs, base, name)


build_own = partial(_build, base="muster-features", name="labels")
build_squeezenet = partial(_build, base="squeezenet", name="labels-squeezenet")
