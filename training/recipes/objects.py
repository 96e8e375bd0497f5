"""The detector of objects, from photos with boxes, and from others by what a published detector is sure of.

The parts of the loss: where (1 - GIoU, Rezatofighi et al., CVPR 2019, of the anchors that have an object), whether (the
object's logit towards the box's IoU, of all) and what (the classes' logits, of those that have one), as in Redmon et
al., You Only Look Once, CVPR 2016, equation 3, but with cross-entropies for squares, as YOLOv3 has it (section 2.1).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.errors import InputError
from muster.storage.exchange.coco import read_coco
from muster.tasks.metrics.coco import judge, xywh
from muster.tasks.models import coco_labels, fastestdet
from muster.tasks.models.coco_labels import NAMES
from muster.tasks.models.yolo import ANCHORS, REACH, STRIDES, Yolo, cells, decode
from muster.training.augment import lit
from muster.training.data.boxed_photos import NOTHING, BoxedPhotos, View, boxes_of, mosaics, stacked, views
from muster.training.data.examples import find_examples, held_out, read_photos
from muster.training.face_maps import overlap
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted, seed_of

SETTINGS = Settings(steps=8000, batch=32, learning_rate=1e-3, average=0.999, report_every=50)
SIDE = 416  # pixels of photos' longest side
SIDES = (256, 320, 384, 448)  # of training images, in turn by chance
ZOOM, MOSAIC_ZOOM = (0.7, 2.0), (0.4, 1.0)
MOSAICS = 0.5  # share of the batches
PHOTOS_HELD_OUT = 1 / 4  # of the photos with boxes
SURE = 0.6  # score from which the teacher's finds are labels
PARTS = {"box": 1.0, "object": 8.0, "class": 4.0}  # weights, so that none drowns the others
LEVELS = (4.0, 1.0, 0.4)  # weights of the object losses: small strides have more cells, nearly all empty
RATIO = 4.0  # how many times longer or shorter than its anchor a side may be


class ObjectsRecipe:
    """A detector of the classes that COCO files name."""

    name = "objects"

    def __init__(self, inputs: Inputs) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        labelled = read_labelled(inputs)
        out = torch.tensor([held_out(name, PHOTOS_HELD_OUT) for name in labelled.names])
        if out.all():
            raise InputError(f"all {len(out)} photos are among those kept out to measure with: give more")
        self.measured = labelled.rows(out.nonzero()[:, 0])
        kept = labelled.rows((~out).nonzero()[:, 0]).to(self.device)
        self.parts = [kept] + ([read_taught(inputs, self.device)] if inputs.scenes else [])
        self.settings = adjusted(SETTINGS, inputs, SETTINGS.batch)

    def network(self) -> nn.Module:
        network = Yolo(len(NAMES))
        for stride, head in zip(STRIDES, network.heads, strict=True):  # objects are rare, and one class in 80
            bias = head.get_parameter("1.bias").detach().view(len(ANCHORS[0]), -1)
            bias[:, 4] = float(np.log(8 / (SIDE / stride) ** 2))
            bias[:, 5:] = float(np.log(0.6 / len(NAMES)))
        return network

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        random = np.random.default_rng([self.settings.seed, step])
        crop, mosaic = int(random.choice(SIDES)), random.random() < MOSAICS
        part = self.parts[step % len(self.parts)]
        each = self.settings.batch // ranks * (4 if mosaic else 1)
        chosen = random.choice(len(part.names), (ranks, each))[rank]
        generator = torch.Generator(self.device).manual_seed(seed_of(self.settings.seed, step, rank + 1))
        photos = part.rows(torch.from_numpy(chosen).to(self.device))
        images, boxes, labels = self._view(photos, crop, mosaic, generator)
        return {"images": lit(images, generator) * 2 - 1, "boxes": boxes, "labels": labels, "names": photos.names}

    def _view(self, photos: BoxedPhotos, crop: int, mosaic: bool, generator: torch.Generator) -> View:
        return mosaics(photos, crop, MOSAIC_ZOOM, generator) if mosaic else views(photos, crop, ZOOM, generator)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        outputs = network(batch["images"].contiguous(memory_format=torch.channels_last))
        parts = losses(outputs, batch["boxes"], batch["labels"])
        return {"loss": torch.stack([weight * parts[name] for name, weight in PARTS.items()]).sum()} | parts

    @torch.inference_mode()
    def measure(self, network: nn.Module) -> dict[str, float]:
        """AP at an overlap of 0.5 and over 0.5 to 0.95, on the photos kept out."""
        if not self.measured.names:
            return {}
        device = next(network.parameters()).device
        found: list[dict[str, Any]] = []
        for row in range(len(self.measured.names)):
            height, width = (-(-extent // 32) * 32 for extent in self.measured.sizes[row].tolist())
            photo = self.measured.images[row : row + 1, :, :height, :width].to(device)
            boxes, scores, labels = decode(network(photo.float() / 127.5 - 1))
            found += [
                {"image_id": row, "category_id": int(label), "bbox": xywh(box), "score": float(score)}
                for box, score, label in zip(*suppressed((boxes[0], scores[0], labels[0])), strict=True)
            ]
        facts = judge(range(len(self.measured.names)), self._truth(), {name: i for i, name in enumerate(NAMES)}, found)
        return {name: facts[name] or 0.0 for name in ("ap", "ap50")}

    def _truth(self) -> list[dict[str, Any]]:
        rows, columns = (self.measured.labels != NOTHING).nonzero(as_tuple=True)
        boxes, labels = self.measured.boxes[rows, columns].tolist(), self.measured.labels[rows, columns].tolist()
        return [
            {"id": i, "image_id": row, "category_id": label, "bbox": xywh(box), "area": 0, "iscrowd": 0}
            for i, (row, label, box) in enumerate(zip(rows.tolist(), labels, boxes, strict=True), 1)
        ]

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        return network.state_dict()

    def card(self) -> dict[str, Any]:
        return {
            "kind": "one-stage detector of objects with anchors",
            "photos": len(self.parts[0].names),
            "photos_labelled_by_fastestdet": sum(len(part.names) for part in self.parts[1:]),
            "held_out": {"photos": len(self.measured.names)},
            "loss": f"{PARTS}: 1 - GIoU, and cross-entropies of object and classes",
            "augmentation": f"{MOSAICS:.0%} mosaics of four, sides {SIDES}, scale, mirror, light",
        }


def suppressed(
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor], least: float = 0.01, most: int = 100
) -> tuple[Any, Any, Any]:
    """Boxes (M, 4), scores and labels (M,), as arrays, best first; none overlaps by half with a better of its class."""
    from torchvision.ops import batched_nms

    sure = found[1] > least
    boxes, scores, labels = (each[sure] for each in found)
    kept = batched_nms(boxes, scores, labels, 0.5)[:most]
    return tuple(each[kept].float().cpu().numpy() for each in (boxes, scores, labels))  # type: ignore[return-value]


def losses(outputs: list[torch.Tensor], boxes: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """`boxes` (N, B, 4) xyxy in pixels, `labels` (N, B) → the mean of each part of the loss."""
    totals = {name: outputs[0].new_zeros((), dtype=torch.float32) for name in PARTS}
    owner, row = (labels != NOTHING).nonzero(as_tuple=True)
    known, classes = boxes[owner, row], labels[owner, row]
    for level, output in enumerate(outputs):
        place, logits = cells(output, level)
        wanted = torch.zeros_like(logits[..., 0])
        which, anchor, y, x = assigned(known, output.shape[2:], level)
        if len(which):
            mine = place[owner[which], anchor, y, x]
            corners = torch.cat([mine[:, :2] - mine[:, 2:] / 2, mine[:, :2] + mine[:, 2:] / 2], 1)
            iou, generalised = overlap(corners, known[which])
            totals["box"] = totals["box"] + (1 - generalised).mean() / len(outputs)
            wanted[owner[which], anchor, y, x] = iou.detach().clamp_min(0)
            said = logits[owner[which], anchor, y, x, 1:]
            targets = F.one_hot(classes[which], said.shape[1]).float()
            totals["class"] = totals["class"] + F.binary_cross_entropy_with_logits(said, targets) / len(outputs)
        objects = F.binary_cross_entropy_with_logits(logits[..., 0], wanted)
        totals["object"] = totals["object"] + LEVELS[level] * objects / len(outputs)
    return totals


def assigned(
    boxes: torch.Tensor, shape: torch.Size, level: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Which box each anchor of each cell is to find: rows of `boxes` (M, 4), anchors, y and x, all (K,).

    Anchors of about its shape, in its own cell and in the nearest one to the side and above or below, as
    build_targets in github.com/ultralytics/yolov5, utils/loss.py: three times as many to learn from.
    """
    anchors = torch.tensor(ANCHORS[level], device=boxes.device, dtype=torch.float32)
    ratio = (boxes[:, None, 2:] - boxes[:, None, :2]) / anchors  # (M, A, 2)
    row, anchor = (torch.maximum(ratio, 1 / ratio.clamp_min(1e-6)).amax(2) < min(RATIO, REACH)).nonzero(as_tuple=True)
    centre = (boxes[row, :2] + boxes[row, 2:]) / 2 / STRIDES[level]
    own = centre.floor()
    aside = torch.where(centre - own < 0.5, -1.0, 1.0)
    steps = [torch.zeros_like(own), aside * torch.tensor([1.0, 0.0]).to(own), aside * torch.tensor([0.0, 1.0]).to(own)]
    cell = torch.cat([own + step for step in steps]).long()
    inside = ((cell >= 0) & (cell < torch.tensor([shape[1], shape[0]], device=cell.device))).all(1)
    return row.repeat(3)[inside], anchor.repeat(3)[inside], cell[inside, 1], cell[inside, 0]


def read_labelled(inputs: Inputs) -> BoxedPhotos:
    """The photos of `inputs.images` that their COCO files speak of; InputError where there is none."""
    if len(inputs.labels) != len(inputs.images):
        raise InputError(
            f"{len(inputs.images)} `images` and {len(inputs.labels)} `labels`: this recipe needs a COCO file for each"
            " source of photos, in the same order"
        )
    photos = []
    for source, path in zip(inputs.images, inputs.labels, strict=True):
        known = boxes_of(read_coco(Path(path), coco_labels.SPELLINGS), NAMES)
        for example, photo in read_photos(find_examples([source], None, inputs.limit), SIDE, inputs.on_skipped):
            if example.name in known:
                boxes, labels = known[example.name]
                photos.append((example.name, photo.pixels, boxes * photo.scale, labels))
            else:
                inputs.on_skipped(f"{example.name}: {path} has no entry for it")
    if len(photos) < 2:
        raise InputError(f"{len(photos)} photos with boxes in {', '.join(inputs.images)}: at least 2 are needed")
    return stacked(photos, SIDE)


def read_taught(inputs: Inputs, device: torch.device) -> BoxedPhotos:
    """The photos of `inputs.scenes` in which the published detector is sure of something, with its boxes."""
    teacher = fastestdet.from_published(inputs.weights["fastestdet"]).eval().to(device)
    photos = []
    for example, photo in read_photos(find_examples(inputs.scenes, None), SIDE, inputs.on_skipped):
        boxes, labels = taught(teacher, photo.pixels)
        if len(labels):
            photos.append((example.name, photo.pixels, boxes, labels))
    if not photos:
        raise InputError(f"the published detector is sure of nothing in {', '.join(inputs.scenes)}: give other photos")
    return stacked(photos, SIDE).to(device)


@torch.inference_mode()
def taught(teacher: nn.Module, pixels: Any) -> tuple[Any, list[int]]:
    """Boxes (M, 4) in pixels and classes, where the teacher's score is at least SURE."""
    device, side = next(teacher.parameters()).device, fastestdet.SIDE
    whole = torch.from_numpy(pixels.copy()).to(device).permute(2, 0, 1)[None].flip(1).float() / 255
    found = fastestdet.decode(teacher(F.interpolate(whole, size=(side, side), mode="bilinear", antialias=True)))
    boxes, _, labels = suppressed((found[0][0], found[1][0], found[2][0]), SURE)
    height, width = pixels.shape[:2]
    limits = np.array([width, height, width, height], np.float32)
    return (boxes * limits).clip(0, limits), [int(label) for label in labels]


def build(inputs: Inputs) -> Recipe:
    return ObjectsRecipe(inputs)
