"""Photos with a class for every pixel, from folders of label images or a COCO file, as tensors to cut crops from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from pycocotools import mask as coco_mask

from muster.arrays import U8
from muster.errors import InputError
from muster.storage.exchange.coco import read_coco
from muster.storage.exchange.label_images import read_label_image
from muster.storage.texts import files_in
from muster.tasks.geometry.rle import decode
from muster.training.augment import lit, uniform
from muster.training.data.examples import find_examples, read_photos
from muster.training.inputs import Inputs

VOID = 255  # no class, in a tensor of labels
FULL = 1 << 14  # pixels: photos are read at their full size, as their label images are

Reader = Callable[[str, tuple[int, int]], U8]  # name of a photo and its (height, width) → its classes


@dataclass(frozen=True)
class MaskedPhotos:
    """`images` (N, 3, S, S) and `labels` (N, S, S): uint8, each photo in the top left corner, VOID around it.

    `sizes` (N, 2): height and width of each there. `first`: how many are of the first source, before the others.
    """

    images: torch.Tensor
    labels: torch.Tensor
    sizes: torch.Tensor
    names: Sequence[str]
    first: int = 0

    def rows(self, chosen: Sequence[int]) -> "MaskedPhotos":
        at = torch.tensor(chosen, dtype=torch.int64)
        names = [self.names[row] for row in chosen]
        return MaskedPhotos(self.images[at], self.labels[at], self.sizes[at], names)

    def to(self, device: torch.device) -> "MaskedPhotos":
        return MaskedPhotos(self.images.to(device), self.labels.to(device), self.sizes.to(device), self.names)


def read_masked(inputs: Inputs, side: int, values: Mapping[int, int | None], coco_class: str | None) -> MaskedPhotos:
    """Every photo of `inputs.images` with its labels, the longest side at most `side`.

    `values`: what stands in label images → class; None, and all else, is VOID. `coco_class`: which category of a COCO
    file is class 1, all else being 0; None: COCO files do not do. Raises InputError where labels are missing or of
    another size.
    """
    if len(inputs.labels) != len(inputs.images):
        raise InputError(
            f"{len(inputs.images)} `images` and {len(inputs.labels)} `labels`: this recipe needs for each source of"
            " photos a folder of label images, in the same order"
        )
    found: list[tuple[str, Any, U8]] = []
    first = 0
    for source, labels in zip(inputs.images, inputs.labels, strict=True):
        reader = coco_reader(Path(labels), coco_class) if labels.endswith(".json") else folder_reader(labels, values)
        found += _fitted(source, reader, side, inputs)
        first = first or len(found)
    if len(found) < 2:
        raise InputError(f"{len(found)} photos with labels in {', '.join(inputs.images)}: at least 2 are needed")
    images = np.zeros((len(found), side, side, 3), np.uint8)
    classes = np.full((len(found), side, side), VOID, np.uint8)
    for row, (_, pixels, label) in enumerate(found):
        images[row, : pixels.shape[0], : pixels.shape[1]] = pixels
        classes[row, : label.shape[0], : label.shape[1]] = label
    sizes = torch.tensor([label.shape for _, _, label in found])
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return MaskedPhotos(
        images=planes, labels=torch.from_numpy(classes), sizes=sizes, names=[name for name, _, _ in found], first=first
    )


def _fitted(source: str, reader: Reader, side: int, inputs: Inputs) -> Iterator[tuple[str, Any, U8]]:
    for example, photo in read_photos(find_examples([source], None, inputs.limit), FULL, inputs.on_skipped):
        height, width = photo.pixels.shape[:2]
        labels = reader(example.name, (height, width))
        if labels.shape != (height, width):
            raise InputError(
                f"the labels of {example.name} are {labels.shape[1]}×{labels.shape[0]} pixels, the photo is"
                f" {width}×{height}: they must be of one size"
            )
        factor = min(1.0, side / max(height, width))
        small = (max(1, round(width * factor)), max(1, round(height * factor)))
        pixels = Image.fromarray(photo.pixels).resize(small, Image.Resampling.BILINEAR, reducing_gap=2.0)
        yield (
            example.name,
            np.asarray(pixels),
            np.asarray(Image.fromarray(labels).resize(small, Image.Resampling.NEAREST)),
        )


def folder_reader(folder: str, values: Mapping[int, int | None]) -> Reader:
    """Of label images of the same names in a folder."""
    table, there = np.full(256, VOID, np.uint8), files_in(Path(folder))
    for value, number in values.items():
        table[value] = VOID if number is None else number

    def read(name: str, size: tuple[int, int]) -> U8:
        label = f"{Path(name).stem}.png"
        if label not in there:
            raise InputError(f"`labels` {folder} has no {label}, the labels of {name}: add it, or drop the photo")
        return table[read_label_image(there[label])]

    return read


def coco_reader(path: Path, coco_class: str | None) -> Reader:
    """Of the polygons of one class in a COCO file: 1 inside, 0 outside, VOID where only a crowd is marked."""
    if coco_class is None:
        raise InputError(f"`labels` {path}: this recipe needs a folder of label images")
    file = read_coco(path, {})
    if coco_class not in file.categories:
        raise InputError(f"`labels` {path}: it has no category {coco_class}")
    marked = file.of_photos()
    number = file.categories[coco_class]

    def read(name: str, size: tuple[int, int]) -> U8:
        if name not in marked:
            raise InputError(f"{path} has no entry for {name}: remove the photo, or add it there")
        labels = np.zeros(size, np.uint8)
        for each in sorted(
            marked[name], key=lambda each: -each["iscrowd"]
        ):  # crowds first, so that outlined people are painted over them
            if each["category_id"] == number:
                labels[_drawn(each["segmentation"], *size, f"{path}, {name}")] = VOID if each["iscrowd"] else 1
        return labels

    return read


def _drawn(segmentation: Any, height: int, width: int, where: str) -> Any:
    """(height, width) bool of COCO's polygons or runs, compressed or not; InputError where it is neither."""
    if isinstance(segmentation, dict) and list(segmentation.get("size", ())) == [height, width]:
        pass
    elif not isinstance(segmentation, list) or not segmentation or any(len(each) < 6 for each in segmentation):
        raise InputError(f"`labels` {where}: an annotation is outlined by no polygon, nor by runs of the photo's size")
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], str):
        return decode(segmentation) == 1
    coded = coco_mask.frPyObjects(segmentation, height, width)
    coded = coco_mask.merge(coded) if isinstance(coded, list) else coded
    return decode({**coded, "counts": coded["counts"].decode("ascii")}) == 1


@dataclass(frozen=True)
class Framing:
    """How crops are cut. `crop`: pixels of a side. `zoom`: least and greatest scale. `turn`: most, in radians."""

    crop: int
    zoom: tuple[float, float]
    turn: float = 0.15


def cropped(photos: MaskedPhotos, framing: Framing, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A part of each photo, scaled, turned, half of them mirrored: (N, 3, C, C) float32 0..1, (N, C, C) classes."""
    n, side, crop = len(photos.sizes), photos.images.shape[-1], framing.crop
    low, high = (torch.tensor(bound).log() for bound in framing.zoom)
    zoom = uniform(n, float(low), float(high), random).exp()
    half = crop / 2 / zoom
    sizes = photos.sizes.to(zoom)
    middles = []
    for extent in (sizes[:, 1], sizes[:, 0]):  # x, y: anywhere that the crop is full; else so that all is in it
        slack = (extent - 2 * half) / 2
        middles.append(extent / 2 + slack * uniform(n, -1, 1, random))
    angle, mirror = uniform(n, -framing.turn, framing.turn, random), uniform(n, 0, 1, random) < 0.5
    scale = crop / (zoom * side)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    across = torch.where(mirror, -1.0, 1.0)
    x, y = (2 * middle / side - 1 for middle in middles)
    rows = [torch.stack([cos * across, -sin, x], 1), torch.stack([sin * across, cos, y], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 3, crop, crop], align_corners=False)
    images = F.grid_sample(photos.images.float() / 255, grid, align_corners=False)
    shifted = (photos.labels + 1).float()[:, None]  # uint8: VOID becomes 0, what grid_sample puts outside
    labels = F.grid_sample(shifted, grid, mode="nearest", align_corners=False)[:, 0].round().long()
    return images, torch.where(labels == 0, VOID, labels - 1)


def pasted(
    images: torch.Tensor, labels: torch.Tensor, share: float, random: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Over a share of the crops, what is class 1 in another one, in other light and with its edge softened by a pixel.

    Ghiasi et al., Simple Copy-Paste is a Strong Data Augmentation Method, CVPR 2021, section 3.
    """
    n = len(images)
    order = torch.randperm(n, generator=random, device=random.device)
    chosen = (uniform(n, 0, 1, random) < share).view(n, 1, 1)
    above = (labels[order] == 1) & chosen
    alpha = F.avg_pool2d(above.float()[:, None], 3, 1, 1) * above[:, None]
    images = images * (1 - alpha) + lit(images[order], random) * alpha
    return images, torch.where(above, 1, labels)
