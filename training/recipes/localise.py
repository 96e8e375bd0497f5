"""One digit, or none, in a picture over textures of photos: whether, where and which.

The loss is that of the lecture on object localisation: a logistic one for p_c, and where there is an object, α times
the squared error of b_x, b_y, b_h, b_w, and a softmax's for the class. Where there is none, nothing but p_c counts.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torchvision.ops import box_iou

from muster.errors import InputError
from muster.tasks.models.localiser import Localiser, corners, middles
from muster.tasks.scenes import thumbnail
from muster.training.data.digit_scenes import SIDE, Drawer, Scenes, texture
from muster.training.data.examples import find_examples, read_photos, said_or_held_out
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted, seed_of

SETTINGS = Settings(steps=6000, batch=32, learning_rate=1.5e-3, average=0.998, report_every=50)
ALPHA = 20.0  # of the boxes' squared error, whose numbers are in 0..1
SIZES = (28.0, 90.0)  # pixels of the square that the digit is drawn in: it is what the picture is of
EMPTY = 0.1  # share of scenes without a digit
DIGIT = 28  # pixels
HELD_OUT = 1 / 6
MEASURED = 600  # scenes


class LocaliseRecipe:
    name = "localise"

    def __init__(self, inputs: Inputs) -> None:
        self.classes, learnt, kept = read_digits(inputs)
        textures, others = read_textures(inputs)
        self.drawer, self.other = Drawer(*learnt, textures, SIZES), Drawer(*kept, others, SIZES)
        self.settings = adjusted(SETTINGS, inputs, SETTINGS.batch)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def network(self) -> nn.Module:
        return Localiser(len(self.classes))

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        """Drawn for each step anew; nothing is seen twice."""
        random = torch.Generator().manual_seed(seed_of(self.settings.seed, step, rank))
        return self._shown(some(self.drawer, max(2, self.settings.batch // ranks), random))

    def _shown(self, scenes: Scenes) -> dict[str, Any]:
        images = (scenes.images * 2 - 1).to(self.device).contiguous(memory_format=torch.channels_last)
        return {
            "images": images,
            "boxes": middles(scenes.boxes[:, 0]).to(self.device),
            "classes": scenes.labels[:, 0].to(self.device),
        }

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        found, there = network(batch["images"]), batch["classes"] >= 0
        whether = F.binary_cross_entropy_with_logits(found.there, there.float())
        where = (found.boxes - batch["boxes"])[there].square().sum() / len(there)
        what = F.cross_entropy(found.classes[there], batch["classes"][there], reduction="sum") / len(there)
        return {"loss": whether + ALPHA * where + what, "whether": whether, "where": where, "what": what}

    @torch.inference_mode()
    def measure(self, network: nn.Module) -> dict[str, float]:
        """On scenes of digits and textures that are kept out: the mean overlap of boxes, whether a digit is there, and
        which, of scenes that have one."""
        scenes = some(self.other, MEASURED, torch.Generator().manual_seed(0))
        shown = self._shown(scenes)
        parts = [network(images) for images in shown["images"].split(64)]
        there, boxes, classes = (torch.cat(each).cpu() for each in zip(*parts, strict=True))
        has = scenes.labels[:, 0] >= 0
        overlap = box_iou(corners(boxes)[has], scenes.boxes[has, 0]).diagonal()
        right = classes.argmax(1)[has] == scenes.labels[has, 0]
        figures = {"iou": overlap, "class_accuracy": right, "there": (there > 0) == has}
        return {name: float(value.double().mean()) for name, value in figures.items()}

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        return network.state_dict()

    def card(self) -> dict[str, Any]:
        return {
            "kind": f"one object in a picture of {SIDE}×{SIDE} pixels: whether, where and which",
            "classes": self.classes,
            "objects": len(self.drawer.digits),
            "textures": len(self.drawer.textures),
            "held_out": {"objects": len(self.other.digits), "textures": len(self.other.textures)},
            "loss": f"logistic + {ALPHA:g} × squared error + softmax",
        }


def some(drawer: Drawer, count: int, random: torch.Generator) -> Scenes:
    """Scenes of one digit, and a share EMPTY of none."""
    none = torch.rand(count, generator=random) < EMPTY
    return drawer.scenes([0 if empty else 1 for empty in none.tolist()], random)


Digits = tuple[torch.Tensor, torch.Tensor]


def read_digits(inputs: Inputs) -> tuple[list[str], Digits, Digits]:
    """The names of the classes, and pictures (N, 28, 28) in 0..1 with their classes: those to learn from, and those
    kept out. InputError where either are too few."""
    listed = find_examples(inputs.images, inputs.label, inputs.limit)
    read = [(e, p) for e, p in read_photos(listed, 4 * DIGIT, inputs.on_skipped) if e.label]
    classes = sorted({str(example.label) for example, _ in read})
    number = {name: i for i, name in enumerate(classes)}
    out = [said_or_held_out(example, HELD_OUT) for example, _ in read]
    if len(classes) < 2 or all(out) or not any(out):
        raise InputError(
            f"{len(read)} pictures of {len(classes)} classes, of which {sum(out)} are kept out to measure with: this"
            " training needs some of both, and two classes. Name their column with `label`"
        )
    pixels = torch.from_numpy(np.stack([thumbnail(photo.pixels, DIGIT).mean(2) for _, photo in read])).float() / 255
    labels = torch.tensor([number[str(example.label)] for example, _ in read])
    kept = torch.tensor(out)
    return classes, (pixels[~kept], labels[~kept]), (pixels[kept], labels[kept])


def read_textures(inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 3, S, S) uint8: those to learn over, and those kept out."""
    if not inputs.scenes:
        raise InputError("this training draws over textures: name photos for them with `scenes`")
    made: tuple[list[Any], list[Any]] = ([], [])
    for example, photo in read_photos(find_examples(inputs.scenes, None), 4 * SIDE, inputs.on_skipped):
        made[said_or_held_out(example, HELD_OUT)].append(texture(photo.pixels))
    if not all(made):
        raise InputError(f"{len(made[0])} textures to learn over and {len(made[1])} kept out: give more `scenes`")
    learnt, kept = (torch.from_numpy(np.stack(each)) for each in made)
    return learnt, kept


def build(inputs: Inputs) -> Recipe:
    return LocaliseRecipe(inputs)
