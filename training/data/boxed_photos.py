"""Photos with boxes and their classes, as tensors to cut crops and mosaics from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from muster.arrays import F32
from muster.errors import InputError
from muster.storage.exchange.coco import CocoFile
from muster.training.augment import uniform

NOTHING = -1  # the label of a row of `boxes` that holds none
LEAST_VISIBLE, LEAST_SIDE = 0.35, 4.0  # boxes cut to less than this share of their area, or these pixels, are left out


Boxes = Mapping[str, tuple[F32, Sequence[int]]]  # name of a photo → (M, 4) xyxy in its pixels, class of each


@dataclass(frozen=True)
class BoxedPhotos:
    """`images` (N, 3, S, S) uint8, each photo in the top left corner; `sizes` (N, 2): height and width there; `boxes`
    (N, B, 4) xyxy in pixels there; `labels` (N, B), NOTHING behind the last."""

    images: torch.Tensor
    sizes: torch.Tensor
    boxes: torch.Tensor
    labels: torch.Tensor
    names: Sequence[str]

    def rows(self, at: torch.Tensor) -> "BoxedPhotos":
        names = [self.names[row] for row in at.tolist()]
        return BoxedPhotos(
            images=self.images[at], sizes=self.sizes[at], boxes=self.boxes[at], labels=self.labels[at], names=names
        )

    def to(self, device: torch.device) -> "BoxedPhotos":
        parts = {name: getattr(self, name).to(device) for name in ("images", "sizes", "boxes", "labels")}
        return replace(self, **parts)


def boxes_of(file: CocoFile, names: Sequence[str]) -> Boxes:
    """The boxes of a COCO file by photo, crowds left out; InputError where a category is not one of `names`."""
    if unknown := [name for name in file.categories if name not in names]:
        raise InputError(f"{file.path}: this detector has no class {unknown[0]}; take it out of the categories")
    classes = {number: names.index(name) for name, number in file.categories.items()}
    found = {}
    for photo, annotations in file.of_photos().items():
        kept = [each for each in annotations if not each["iscrowd"]]
        boxes = np.array([each["bbox"] for each in kept], np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        found[photo] = (boxes, [classes[each["category_id"]] for each in kept])
    return found


def stacked(photos: Sequence[tuple[str, Any, F32, Sequence[int]]], side: int) -> BoxedPhotos:
    """Name, pixels (H, W, 3), boxes and classes of each photo, its longest side scaled down to `side`."""
    most = max([1, *(len(labels) for *_, labels in photos)])
    images = torch.zeros(len(photos), 3, side, side, dtype=torch.uint8)
    boxes, labels = torch.zeros(len(photos), most, 4), torch.full((len(photos), most), NOTHING)
    sizes = torch.zeros(len(photos), 2, dtype=torch.int64)
    for row, (_, pixels, known, classes) in enumerate(photos):
        factor = min(1.0, side / max(pixels.shape[:2]))
        height, width = (max(1, round(extent * factor)) for extent in pixels.shape[:2])
        small = Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        images[row, :, :height, :width] = torch.from_numpy(np.array(small)).permute(2, 0, 1)
        sizes[row] = torch.tensor([height, width])
        boxes[row, : len(classes)] = torch.from_numpy(known * factor)
        labels[row, : len(classes)] = torch.tensor(classes, dtype=torch.int64)
    return BoxedPhotos(images=images, sizes=sizes, boxes=boxes, labels=labels, names=[name for name, *_ in photos])


View = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # images (N, 3, C, C) 0..1, boxes (N, B, 4), labels (N, B)


def views(photos: BoxedPhotos, crop: int, zoom: tuple[float, float], random: torch.Generator) -> View:
    """A square part of each photo, `crop` pixels wide, scaled within `zoom`, half of them mirrored."""
    n, side = len(photos.sizes), photos.images.shape[-1]
    scale = uniform(n, float(np.log(zoom[0])), float(np.log(zoom[1])), random).exp()
    sizes = photos.sizes.to(scale).flip(1)  # width, height
    slack = (sizes - crop / scale[:, None]) / 2
    middle = sizes / 2 + slack * torch.stack([uniform(n, -1, 1, random) for _ in range(2)], 1)
    mirror = torch.where(uniform(n, 0, 1, random) < 0.5, -1.0, 1.0)
    across, zero = crop / (scale * side), torch.zeros(n, device=scale.device)
    place = 2 * middle / side - 1
    rows = [
        torch.stack([across * mirror, zero, place[:, 0]], 1),
        torch.stack([zero, across, place[:, 1]], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 3, crop, crop], align_corners=False)
    images = F.grid_sample(photos.images.float() / 255, grid, align_corners=False)
    corners = (photos.boxes.unflatten(-1, (2, 2)) - middle[:, None, None]) * scale.view(n, 1, 1, 1)
    corners = corners * torch.stack([mirror, torch.ones_like(mirror)], 1)[:, None, None] + crop / 2
    whole = torch.cat([corners.amin(2), corners.amax(2)], -1)
    boxes = whole.clamp(0, crop)
    area, visible = ((each[..., 2:] - each[..., :2]).prod(-1) for each in (whole, boxes))
    kept = (visible > LEAST_VISIBLE * area) & ((boxes[..., 2:] - boxes[..., :2]).amin(-1) > LEAST_SIDE)
    return images, boxes, torch.where(kept, photos.labels, NOTHING)


def mosaics(photos: BoxedPhotos, crop: int, zoom: tuple[float, float], random: torch.Generator) -> View:
    """Four photos in each image, from 4·N photos: small objects, and neighbours that no photo shows.

    Bochkovskiy et al., YOLOv4, 2020, arXiv:2004.10934, section 3.4.
    """
    images, boxes, labels = views(photos, crop // 2, zoom, random)
    half, n = crop // 2, len(images) // 4
    whole = images.view(n, 2, 2, 3, half, half).permute(0, 3, 1, 4, 2, 5).reshape(n, 3, crop, crop)
    corner = torch.tensor([[0, 0], [half, 0], [0, half], [half, half]], device=boxes.device).repeat(n, 2).view(-1, 1, 4)
    return whole, (boxes + corner).reshape(n, -1, 4), labels.reshape(n, -1)
