"""The detectors of the history, from a sliding window to one look: digits in scenes, all in one way."""

import importlib.util
import itertools
from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import torch
from torch import nn

from muster.errors import InputError
from muster.tasks.metrics.coco import judge, xywh
from muster.training.data.boxed_photos import NOTHING
from muster.training.data.digit_scenes import SIDE, Drawer, Scenes
from muster.training.detectors import regions, window
from muster.training.detectors.backbone import Boxes, Found
from muster.training.detectors.ssd import SingleShot
from muster.training.detectors.yolo import Grid
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted, seed_of
from muster.training.recipes.localise import read_digits, read_textures

MOST = 8  # digits of a scene
MEASURED = 200  # scenes


class Kind(Protocol):
    def __call__(self, classes: int) -> nn.Module: ...


KINDS: Mapping[str, tuple[Kind, Settings]] = {
    "window": (window.Windows, Settings(steps=1000, batch=16, learning_rate=2e-3, average=0.99)),
    "rcnn": (regions.rcnn, Settings(steps=1000, batch=16, learning_rate=1e-3, average=0.99)),
    "fast-rcnn": (regions.fast_rcnn, Settings(steps=1500, batch=16, learning_rate=1e-3, average=0.99)),
    "faster-rcnn": (regions.faster_rcnn, Settings(steps=2500, batch=16, learning_rate=1e-3, average=0.99)),
    "ssd": (SingleShot, Settings(steps=2500, batch=32, learning_rate=2e-3, average=0.99)),
    "yolo": (Grid, Settings(steps=2500, batch=32, learning_rate=2e-3, average=0.99)),
}
SEGMENTED = ("rcnn", "fast-rcnn")  # need the regions of each scene; found while the step before is computed


class ScenesRecipe:
    def __init__(self, name: str, inputs: Inputs) -> None:
        self.name = name
        self.kind, settings = KINDS[name]
        if name in SEGMENTED and importlib.util.find_spec("skimage") is None:
            raise InputError(f"regions of {name} are segments: pip install scikit-image")
        self.classes, learnt, kept = read_digits(inputs)
        textures, others = read_textures(inputs)
        self.drawer, self.other = Drawer(*learnt, textures), Drawer(*kept, others)
        self.settings = adjusted(settings, inputs, settings.batch)

    def network(self) -> nn.Module:
        return self.kind(len(self.classes))

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        """Drawn for each step anew; nothing is seen twice."""
        random = torch.Generator().manual_seed(seed_of(self.settings.seed, step, rank))
        scenes = some(self.drawer, max(2, self.settings.batch // ranks), random)
        batch = {"images": scenes.images * 2 - 1, "boxes": scenes.boxes, "labels": scenes.labels}
        if self.name in SEGMENTED:
            found = [regions.proposals(image) for image in scenes.images]
            batch["regions"] = torch.nn.utils.rnn.pad_sequence(found, batch_first=True)
        return batch

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        parts = network(list(batch["images"]), truth(batch))
        return {"loss": torch.stack(list(parts.values())).sum()} | parts

    @torch.inference_mode()
    def measure(self, network: nn.Module) -> dict[str, float]:
        """Average precision on scenes of digits and textures that are kept out."""
        device = next(network.parameters()).device
        scenes = held_out(self.other, MEASURED)
        found = [network([image.to(device) * 2 - 1])[0] for image in scenes.images]
        return judged(self.classes, scenes, found)

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        return network.state_dict()

    def card(self) -> dict[str, Any]:
        return {
            "kind": f"detector of up to {MOST} objects in a picture of {SIDE}×{SIDE} pixels",
            "classes": self.classes,
            "objects": len(self.drawer.digits),
            "textures": len(self.drawer.textures),
            "held_out": {"objects": len(self.other.digits), "textures": len(self.other.textures)},
        }


def truth(batch: Batch) -> list[Boxes]:
    """What is in each picture of a batch, as the detectors take it."""
    found = []
    for i, labels in enumerate(batch["labels"]):
        there = labels != NOTHING
        each = Boxes(boxes=batch["boxes"][i][there], labels=labels[there] + 1)
        if "regions" in batch:
            each["regions"] = batch["regions"][i][batch["regions"][i].any(1)]
        found.append(each)
    return found


def some(drawer: Drawer, count: int, random: torch.Generator) -> Scenes:
    """Scenes of one digit to MOST."""
    return drawer.scenes(torch.randint(1, MOST + 1, (count,), generator=random).tolist(), random)


def held_out(drawer: Drawer, count: int) -> Scenes:
    """The scenes that every detector is measured on."""
    return some(drawer, count, torch.Generator().manual_seed(0))


def judged(classes: list[str], scenes: Scenes, found: list[Found]) -> dict[str, float]:
    """Average precision at an overlap of 0.5, and over 0.5 to 0.95."""
    said = [
        {"image_id": row, "category_id": int(label) - 1, "bbox": xywh(box.tolist()), "score": float(score)}
        for row, each in enumerate(found)
        for box, score, label in zip(each["boxes"], each["scores"], each["labels"], strict=True)
    ]
    number = itertools.count(1)
    true = [
        {"id": next(number), "image_id": row, "category_id": int(label), "bbox": xywh(box.tolist())}
        | {"area": 0, "iscrowd": 0}
        for row, (boxes, labels) in enumerate(zip(scenes.boxes, scenes.labels, strict=True))
        for box, label in zip(boxes[labels != NOTHING], labels[labels != NOTHING], strict=True)
    ]
    facts = judge(range(len(found)), true, {name: i for i, name in enumerate(classes)}, said)
    return {name: facts[name] or 0.0 for name in ("ap50", "ap")}


def build(inputs: Inputs, name: str) -> Recipe:
    return ScenesRecipe(name, inputs)


BUILDS = {name: partial(build, name=name) for name in KINDS}
