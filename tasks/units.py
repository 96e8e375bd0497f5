"""The task `units`: what the units of a network see. The parts of photos that excite each of them most.

After Zeiler, Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014 (arXiv:1311.2901), figure 2: for
each unit, a channel of a layer, the nine photos in which its value is greatest, and of each the part that it sees
there, its receptive field. Of equal values that of the photo with the smaller SHA-256 comes first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image as PillowImage
from torch import nn

from muster.arrays import F32, Pixels
from muster.errors import TaskError
from muster.tasks import masks, scenes
from muster.tasks.base import CHOSEN, IMAGE_ID, Findings, Image, StateDict, Task, shrink
from muster.tasks.models import zoo
from muster.tasks.models.ascent import Shown, ascended
from muster.tasks.models.classifiers import Classifier
from muster.tasks.models.daynight import SIDE, DayNight
from muster.tasks.models.fields import Ints
from muster.tasks.models.layers import Watched, up_to
from muster.tasks.models.stages import step
from muster.tasks.models.zoo.masks import FORMS, Semantic
from muster.tasks.models.zoo.plain import CLASSES

BEST = 9  # photos of each unit
_AT_ONCE = 1 << 19  # pixels that the network is shown at once: 8 photos of 227×227 fit into caches, 32 do not
_SQUARE_FROM = 1024  # pixels of the longest side: more than classifiers are shown of a photo of 4:1

SCHEMA = pa.schema(
    [
        IMAGE_ID,
        pa.field("sha256", pa.string()),
        pa.field("layer", pa.string()),
        pa.field("unit", pa.int32()),
        pa.field("value", pa.float32()),
        pa.field("box_xyxy", pa.list_(pa.float32(), 4)),
    ],
    CHOSEN,
)


class View(NamedTuple):
    """What a network is shown of a photo: `photo`, uint8 (h, w, 3), which begins at `corner` (x, y) of the whole one,
    resized to `whole` (width, height); and `input`, (1, 3, H, W), with it as numbers in the upper left corner."""

    photo: Pixels
    input: torch.Tensor
    corner: tuple[int, int]
    whole: tuple[int, int]

    @property
    def inside(self) -> tuple[int, int]:
        """Height and width of the photo in the input."""
        height, width = self.photo.shape[:2]
        return height, width

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """By which views can be looked at together."""
        return *self.input.shape[2:], *self.inside


class Units(Task):
    name = "units"
    version = 1
    schema = SCHEMA
    parameters: Mapping[str, Any] = {"best": BEST}
    findings = Findings(noun="unit")

    def __init__(self, model: str | None = None) -> None:
        self.models = zoo.roles(self.name, model or zoo.DEFAULTS[self.name])
        self.max_side = _longest_side(self.models["network"])

    def load(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        """TaskError for a network without spatial layers."""
        entry = self.models["network"]
        built = zoo.ENTRIES[entry].build(weights[entry]).eval().requires_grad_(False)
        self.device, self.view = device, view_of(entry, built)
        self.network: nn.Module = built.network if isinstance(built, Classifier) else built
        height, width = self.view(np.zeros((256, 256, 3), np.uint8)).input.shape[2:]
        self.size = (height, width)  # of what it is shown of a square photo
        self.watched = Watched(self.network, device, self.size)
        form = FORMS.get(entry)
        classes = form.classes if form else CLASSES.get(entry, ())
        self.categories: Sequence[str] = built.categories if isinstance(built, Classifier) else classes

    def __call__(self, images: Sequence[Image]) -> pa.Table:
        """Of each unit the best of these images alone; `reduced` puts those of several calls together."""
        views = [self.view(shrink(image, self.max_side).pixels) for image in images]
        units = int(self.watched.starts[-1])
        values = np.empty((len(views), units), np.float32)
        places = np.empty((2, len(views), units), np.int32)  # row and column, of a layer's map
        for same in _alike(views):
            batch = torch.cat([views[i].input for i in same]).to(self.device)
            peaks = self.watched.peaks(batch, views[same[0]].inside)
            values[same], places[:, same] = peaks.values, np.stack([peaks.rows, peaks.columns])
        image, unit = self._chosen(images, values)
        boxes = self._boxes(images, views, image, unit, *places[:, image, unit])
        return self._table(images, image, unit, values[image, unit], boxes)

    def reduced(self, rows: pa.Table) -> pa.Table:
        return best(rows)

    def about(self, layer: int) -> str:
        """What a layer is, and how much of a square photo a unit of it sees, for people to read."""
        what, field = self.watched.layers[layer], self.watched.fields(*self.size)[layer]
        seen = [min(int((span.high - span.low).max()), side) for span, side in zip(field, self.size, strict=True)]
        part = (
            "the whole picture"
            if tuple(seen) == self.size
            else f"{seen[1]}×{seen[0]} of {self.size[1]}×{self.size[0]} pixels"
        )
        kind = step(self.network.get_submodule(what.name.partition("#")[0]))
        return f"{kind}, {what.units} unit{'s' * (what.units != 1)}, each sees {part}"

    def label(self, layer: int, unit: int) -> str:
        """What a unit stands for: the category, of one of the last two layers that has a unit for each."""
        last = len(self.watched.layers) - layer <= 2
        return self.categories[unit] if last and self.watched.layers[layer].units == len(self.categories) else ""

    def scores(self, output: F32) -> list[tuple[str, float]]:
        """The chances of each category, best first, by what the network gives last, (C, 1, 1); none of other networks.

        Logits of several become chances by softmax, that of one by the logistic function.
        """
        values = torch.from_numpy(output).flatten().double()
        if len(self.categories) != len(values):
            return []
        chances = values if values.min() >= 0 and abs(float(values.sum()) - 1) < 1e-3 else values.softmax(0)
        if len(values) == 1:
            chances = values.sigmoid()
        ranked = sorted(zip(self.categories, chances.tolist(), strict=True), key=lambda each: -each[1])
        return [(label, chance) for label, chance in ranked]

    def ascended(self, layer: int, units: Sequence[int]) -> list[Pixels]:
        """For each of some units of a layer a picture that excites it, made from nothing: what it sees of that, uint8
        RGB (h, w, 3)."""
        height, width = self.size
        row, column = (span.low.shape[1] // 2 for span in self.watched.fields(height, width)[layer])
        chosen = torch.tensor(units, device=self.device)
        network = up_to(self.network, layer, self.size).to(self.device)
        pictures = ascended(network, chosen, (row, column), self.size, self._shown())
        pixels = (pictures * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        every, first = np.array(units), int(self.watched.starts[layer])
        at = (np.full(len(every), place) for place in (row, column))
        boxes = self.watched.boxes(self.size, self.size, first + every, *at)
        return [each[y0:y1, x0:x1] for each, (x0, y0, x1, y1) in zip(pixels, boxes.tolist(), strict=True)]

    def _shown(self) -> Shown:
        """By what it is shown of black, red, green and blue."""
        colours = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
        seen = [self.view(np.tile(colour, (64, 64, 1))).input[0, :, 0, 0] for colour in colours]
        black = seen[0]
        return Shown(torch.stack([each - black for each in seen[1:]], 1).to(self.device), black.to(self.device))

    def _chosen(self, images: Sequence[Image], values: F32) -> tuple[Ints, Ints]:
        """Of `values` (images, units) the best, as the index of an image and of a unit, in this order."""
        order: dict[str, int] = {}  # of exact copies the first by image_id
        for i in sorted(range(len(images)), key=lambda i: (images[i].sha256 or "", images[i].image_id)):
            order.setdefault(images[i].sha256 or images[i].image_id, i)
        distinct = np.array(list(order.values()), np.int64)
        ranked = np.argsort(-values[distinct], axis=0, kind="stable")[:BEST]
        image, unit = distinct[ranked].ravel(), np.tile(np.arange(values.shape[1]), len(ranked))
        rectified = np.repeat([layer.rectified for layer in self.watched.layers], np.diff(self.watched.starts))
        value = values[image, unit]
        fires = np.isfinite(value) & ((value > 0) | ~rectified[unit])
        image, unit = image[fires], unit[fires]
        sort = np.lexsort((unit, image))
        return image[sort], unit[sort]

    def _boxes(
        self, images: Sequence[Image], views: Sequence[View], image: Ints, unit: Ints, rows: Ints, columns: Ints
    ) -> F32:
        """Of the units of images, by their places in the maps: (K, 4) xyxy in full-size upright pixels."""
        boxes = np.empty((len(image), 4))
        shapes = [view.shape for view in views]
        for shape in set(shapes):
            mine = np.flatnonzero([each == shape for each in shapes])
            at = np.flatnonzero(np.isin(image, mine))
            boxes[at] = self.watched.boxes(shape[:2], shape[2:], unit[at], rows[at], columns[at])
        corner, whole = (np.array([getattr(v, name) for v in views]).reshape(-1, 2) for name in ("corner", "whole"))
        full = np.array([each.size for each in images]).reshape(-1, 2)
        return ((boxes + np.tile(corner, 2)[image]) * np.tile(full / whole, 2)[image]).astype(np.float32)

    def _table(self, images: Sequence[Image], image: Ints, unit: Ints, values: F32, boxes: F32) -> pa.Table:
        layers, starts = self.watched.layers, self.watched.starts
        layer = np.searchsorted(starts, unit, "right") - 1
        columns = [
            pa.array([each.image_id for each in images], pa.string()).take(pa.array(image)),
            pa.array([each.sha256 for each in images], pa.string()).take(pa.array(image)),
            pa.array([each.name for each in layers], pa.string()).take(pa.array(layer)),
            pa.array((unit - starts[layer]).astype(np.int32)),
            pa.array(values),
            pa.FixedSizeListArray.from_arrays(pa.array(boxes.ravel()), 4),
        ]
        return pa.Table.from_arrays(columns, schema=SCHEMA)


def best(rows: pa.Table) -> pa.Table:
    """The best photos of each unit, a photo once, in the order of the rows; whatever they are put together from."""
    if not rows.num_rows:
        return rows
    image, photo = _ranks(rows["image_id"]), _ranks(pc.coalesce(rows["sha256"], rows["image_id"]))
    unit = _ranks(rows["layer"]).astype(np.int64) * (1 << 32) + rows["unit"].to_numpy()
    order = np.lexsort((image, photo, -rows["value"].to_numpy(), unit))
    unit, photo = unit[order], photo[order]
    if photo.max() < image.max():  # exact copies of a photo: the first of each unit counts
        first = np.sort(np.unique(np.stack([unit, photo]), axis=1, return_index=True)[1])
        order, unit = order[first], unit[first]
    begins = np.flatnonzero(np.diff(unit, prepend=unit[0] - 1))
    rank = np.arange(len(unit)) - np.repeat(begins, np.diff([*begins, len(unit)]))
    return rows.take(pa.array(np.sort(order[rank < BEST])))


def _ranks(texts: pa.ChunkedArray) -> Ints:
    """Of each text its place among the different ones, sorted."""
    coded = texts.combine_chunks().dictionary_encode()
    return np.argsort(np.argsort(coded.dictionary.to_numpy(zero_copy_only=False)))[coded.indices.to_numpy()]


def _alike(views: Sequence[View]) -> Iterator[list[int]]:
    """The places of views of one shape, as many as are looked at together."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for place, view in enumerate(views):
        shapes.setdefault(view.shape, []).append(place)
    for (height, width, *_), places in shapes.items():
        count = max(1, _AT_ONCE // (height * width))
        yield from (places[i : i + count] for i in range(0, len(places), count))


# ---- what networks are shown -----------------------------------------------------------------------------------------


def _longest_side(entry: str) -> int:
    """Of the photo, in pixels, that an entry's network is shown a part or a smaller copy of."""
    if entry in FORMS:
        return FORMS[entry].max_side
    sides = zoo.ENTRIES[entry].size or (_SQUARE_FROM,)
    return min(4 * max(sides), _SQUARE_FROM)  # enough to average over


def view_of(entry: str, network: nn.Module) -> Callable[[Pixels], View]:
    """How a network is shown a photo, uint8 RGB (H, W, 3). TaskError where that is not known."""
    form = FORMS.get(entry)
    if isinstance(network, Classifier):
        return lambda pixels: _classified(network, pixels)
    if isinstance(network, DayNight) or entry in CLASSES:
        side, _ = zoo.ENTRIES[entry].size or (SIDE, SIDE)
        return lambda pixels: _thumbnail(pixels, side)
    if isinstance(form, Semantic):
        return lambda pixels: _segmented(form, pixels)
    raise TaskError(f"{entry} is shown no whole photos, or in a way that is not known here")


def _classified(network: Classifier, pixels: Pixels) -> View:
    whole, corner = network.frame(*pixels.shape[:2])
    photo = network.square(pixels)
    square = torch.tensor(photo).permute(2, 0, 1)[None].float() / 255
    return View(photo, network.normalised(square), corner, whole)


def _thumbnail(pixels: Pixels, side: int) -> View:
    photo = scenes.thumbnail(pixels, side)
    return View(photo, scenes.normalised(torch.tensor(photo)[None]), (0, 0), (side, side))


def _segmented(form: Semantic, pixels: Pixels) -> View:
    height, width = form.input_size(*pixels.shape[:2])
    if pixels.shape[:2] != (height, width):
        pixels = np.asarray(PillowImage.fromarray(pixels).resize((width, height), PillowImage.Resampling.BILINEAR))
    x = masks.normalised(pixels, form)
    padded = F.pad(x, (0, -width % form.multiple, 0, -height % form.multiple), value=form.padding)
    return View(pixels, padded, (0, 0), (width, height))
