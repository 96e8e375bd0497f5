"""Detectors as ONNX, of layouts that others export: what an image is made into, and what the outputs mean."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image as PillowImage
from torch import nn

from muster.arrays import F32, Pixels
from muster.errors import TaskError
from muster.tasks.hub.kinds import max_side
from muster.tasks.models import fastestdet
from muster.tasks.models.session import Session
from muster.tasks.objects import Family, Found
from muster.tasks.onnx.declared import Declared

# Boxes (M, 4) xyxy in parts of the sides of what went in, scores and class indices (M,)
Read = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Frame = tuple[int, int, int, int]  # left, top, width and height of the photo in what goes in, in pixels
_STRIDES = (8, 16, 32)  # of YOLOX


def family_of(declared: Declared) -> Family:
    """How the task `objects` runs it."""
    return Family(
        partial(_Declared, declared),
        max_side(max(declared.size)),
        declared["min_score"],
        declared["max_overlap"],
        declared.classes,
        most=300,
    )


class _Declared:
    """One image at a time, in single precision: what is found on one does not depend on others."""

    def __init__(self, declared: Declared, network: nn.Module, device: torch.device, min_score: float) -> None:
        assert isinstance(network, Session)
        self.declared, self.network, self.min_score = declared, network.to(device), min_score

    def __call__(self, images: Sequence[Pixels]) -> list[Found]:
        return [self._detect(pixels) for pixels in images]

    def _detect(self, pixels: Pixels) -> Found:
        shown, (left, top, width, height) = prepared(pixels, self.declared)
        boxes, scores, labels = read(self.network, shown, self.declared)
        kept = scores >= self.min_score
        boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
        check_finds(scores, labels, self.declared)
        rows, columns = self.declared.size
        corner, part = torch.tensor([left, top, left, top]), torch.tensor([width, height, width, height])
        return Found((boxes * torch.tensor([columns, rows, columns, rows]) - corner) / part, scores, labels)


def check_finds(scores: torch.Tensor, labels: torch.Tensor, declared: Declared) -> None:
    """TaskError where scores are no probabilities, or labels none of the classes."""
    if len(scores) and float(scores.max()) > 1.001:  # a rounding above 1 is none
        raise TaskError(f"scores of up to {float(scores.max()):.3g} are no probabilities: it has another layout")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(declared.classes):
        strange = int(labels.max()) if int(labels.max()) >= len(declared.classes) else int(labels.min())
        raise TaskError(f"it finds class {strange}, and {len(declared.classes)} are declared, which begin with 0")


def prepared(pixels: Pixels, declared: Declared) -> tuple[F32, Frame]:
    """uint8 RGB (H, W, 3) → (1, 3, rows, columns) as declared, and where in it the photo is."""
    rows, columns = declared.size
    height, width = pixels.shape[:2]
    left = top = 0
    if declared["input.resize"] == "stretch":
        size = (columns, rows)
    else:
        factor = min(columns / width, rows / height)
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        if declared["input.resize"] == "letterbox":
            left, top = (columns - size[0]) // 2, (rows - size[1]) // 2
    canvas = np.full((rows, columns, 3), declared["input.padding"], np.float32)
    photo = PillowImage.fromarray(pixels).resize(size, PillowImage.Resampling.BILINEAR)
    canvas[top : top + size[1], left : left + size[0]] = np.asarray(photo)
    if declared["input.colour"] == "bgr":
        canvas = canvas[:, :, ::-1]
    mean, std = (np.array(declared[f"input.{name}"], np.float32) for name in ("mean", "std"))
    shown = (canvas / np.float32(declared["input.scale"]) - mean) / std
    return np.ascontiguousarray(shown.transpose(2, 0, 1)[None]), (left, top, *size)


# ---- what comes out --------------------------------------------------------------------------------------------------


def read(network: Session, shown: F32, declared: Declared) -> Read:
    """What a detector says of one image, (1, 3, rows, columns). TaskError where its outputs are not of its layout."""
    outputs = zip(network.outputs, map(torch.from_numpy, network.run(shown)), strict=True)
    return _READ[declared.layout](
        {name: each.float() if each.is_floating_point() else each for name, each in outputs}, declared
    )


def _output(outputs: Mapping[str, torch.Tensor], declared: Declared, key: str, *shape: int | None) -> torch.Tensor:
    """The output that `outputs.KEY` names, the only one where it names none, without its batch. `shape`: what it must
    have, None: any number."""
    name = declared.facts.get(f"outputs.{key}", next(iter(outputs)) if len(outputs) == 1 else "")
    if name not in outputs:
        asked = f"has no output {name!r}" if name else "has several outputs"
        raise TaskError(f"it {asked}: say which it is by `outputs.{key}`, one of {', '.join(outputs)}")
    found = outputs[name]
    fits = found.dim() == len(shape) + 1 and all(
        want in (None, have) for want, have in zip((1, *shape), found.shape, strict=True)
    )
    if not fits:
        wanted, given = " × ".join(str(side or "any") for side in (1, *shape)), " × ".join(map(str, found.shape))
        raise TaskError(
            f"the layout {declared.layout} with {len(declared.classes)} classes has an output of {wanted} numbers, and"
            f" its {name!r} has {given}"
        )
    return found[0]


def _pixels(centres: torch.Tensor, declared: Declared) -> torch.Tensor:
    """Boxes (M, 4) as centre and size in pixels of what went in → xyxy in parts of its sides."""
    height, width = declared.size
    return _corners(centres / torch.tensor([width, height, width, height]))


def _corners(centres: torch.Tensor) -> torch.Tensor:
    middle, half = centres[:, :2], centres[:, 2:] / 2
    return torch.cat([middle - half, middle + half], 1)


def _yolov8(outputs: Mapping[str, torch.Tensor], declared: Declared) -> Read:
    """(4 + classes, M): centre and size in pixels, and how probable each class is."""
    found = _output(outputs, declared, "found", 4 + len(declared.classes), None).T
    return _pixels(found[:, :4], declared), *found[:, 4:].max(1)


def _yolov5(outputs: Mapping[str, torch.Tensor], declared: Declared) -> Read:
    """(M, 5 + classes): centre and size in pixels, how probable it is that there is a thing, and of it each class."""
    found = _output(outputs, declared, "found", None, 5 + len(declared.classes))
    scores, labels = found[:, 5:].max(1)
    return _pixels(found[:, :4], declared), scores * found[:, 4], labels


def _yolox(outputs: Mapping[str, torch.Tensor], declared: Declared) -> Read:
    """(M, 5 + classes) of the cells of three grids; as YOLOX's demo_postprocess (yolox/utils/demo_utils.py)."""
    grids = []
    for stride in _STRIDES:
        y, x = torch.meshgrid(*(torch.arange(side // stride) for side in declared.size), indexing="ij")
        grids.append(torch.stack([x, y, torch.full_like(x, stride)], -1).flatten(0, 1))
    cells = torch.cat(grids).float()
    found = _output(outputs, declared, "found", len(cells), 5 + len(declared.classes))
    scores, labels = found[:, 5:].max(1)
    centres = torch.cat([found[:, :2] + cells[:, :2], found[:, 2:4].exp()], 1) * cells[:, 2:]
    return _pixels(centres, declared), scores * found[:, 4], labels


def _yolov10(outputs: Mapping[str, torch.Tensor], declared: Declared) -> Read:
    """(M, 6): corners in pixels, score, class."""
    found = _output(outputs, declared, "found", None, 6)
    height, width = declared.size
    return found[:, :4] / torch.tensor([width, height, width, height]), found[:, 4], found[:, 5].long()


def _fastestdet(outputs: Mapping[str, torch.Tensor], declared: Declared) -> Read:
    """(5 + classes, rows, columns), as `fastestdet.decode` takes it."""
    found = _output(outputs, declared, "found", 5 + len(declared.classes), None, None)
    boxes, scores, labels = fastestdet.decode(found[None])
    return boxes[0], scores[0], labels[0]


def _detr(outputs: Mapping[str, torch.Tensor], declared: Declared) -> Read:
    """Logits (M, classes), with one for "nothing" behind them where it is a softmax; centre and size (M, 4) in parts of
    the sides."""
    softmax = declared["scores"] == "softmax"
    logits = _output(outputs, declared, "scores", None, len(declared.classes) + softmax)
    boxes = _output(outputs, declared, "boxes", len(logits), 4)
    chances = logits.softmax(1)[:, :-1] if softmax else logits.sigmoid()
    return _corners(boxes), *chances.max(1)


def _boxes(outputs: Mapping[str, torch.Tensor], declared: Declared) -> Read:
    """Corners (M, 4), scores and labels (M,), of what is left once overlaps are out; by torchvision without a batch."""
    sides = {declared["outputs.boxes"]: 3}
    named = {name: each[None] if each.dim() < sides.get(name, 2) else each for name, each in outputs.items()}
    boxes = _output(named, declared, "boxes", None, 4)
    scores, labels = (_output(named, declared, name, len(boxes)) for name in ("scores", "labels"))
    if declared["boxes"] == "yxyx":
        boxes = boxes[:, [1, 0, 3, 2]]
    if declared["units"] == "pixels":
        height, width = declared.size
        boxes = boxes / torch.tensor([width, height, width, height])
    there = labels >= declared["first_label"]  # what is below is the background
    return boxes[there], scores[there], labels[there].long() - declared["first_label"]


_READ: Mapping[str, Callable[[Mapping[str, torch.Tensor], Declared], Any]] = MappingProxyType(
    {
        "yolov5": _yolov5,
        "yolov8": _yolov8,
        "yolov10": _yolov10,
        "yolox": _yolox,
        "fastestdet": _fastestdet,
        "detr": _detr,
        "boxes": _boxes,
    }
)
