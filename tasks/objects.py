"""The task `objects`: boxes of things of known classes, from images to one row per thing, best first.

A detector gives candidates; which of them become rows, by class, score, overlap and number, is the same for all.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.arrays import Pixels
from muster.errors import TaskError
from muster.tasks.base import IMAGE_ID, Findings, Image, Option, StateDict, Task, number, shrink, to_device
from muster.tasks.models import coco_labels, fastestdet, filter_scores, torchvision_detectors, yolo, zoo
from muster.tasks.models.fuse import for_inference

Suppress = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float], torch.Tensor]
# Images of FastestDet's size at once: on one thread 14.6, 8.5, 7.9, 10.5 ms per image by 1, 4, 8, 16.
_BATCH = 8

SCHEMA = pa.schema(
    [
        IMAGE_ID,
        pa.field("label", pa.string()),
        pa.field("label_id", pa.int32()),
        pa.field("score", pa.float32()),
        pa.field("box_xyxy", pa.list_(pa.float32(), 4)),
    ]
)


@dataclass(frozen=True)
class ObjectParameters:
    """What changes the rows. Scores and overlaps (intersection over union, of one class) in 0..1."""

    min_score: float
    max_overlap: float
    classes: Mapping[str, float] = field(default_factory=dict)  # class → least score; all, with min_score, where empty
    most: int = 100  # per image


class Found(NamedTuple):
    """Things in one image: `boxes` (N, 4) xyxy in parts of its sides, `scores` (N,), `labels` (N,) class indices."""

    boxes: torch.Tensor
    scores: torch.Tensor
    labels: torch.Tensor


Detector = Callable[[Sequence[Pixels]], list[Found]]  # uint8 RGB (H, W, 3), any sizes → what each may show


class _FastestDet:
    """In float32 everywhere: in bf16, 16 of 408 cells with a score of 0.65 went or came (32 photos of COCO)."""

    def __init__(self, network: nn.Module, device: torch.device, min_score: float) -> None:
        self.network, self.device = for_inference(network, device, torch.float32), device

    def __call__(self, images: Sequence[Pixels]) -> list[Found]:
        found = []
        for start in range(0, len(images), _BATCH):
            squares = torch.cat([_square(pixels) for pixels in images[start : start + _BATCH]])
            bgr = to_device(squares, self.device).flip(1).contiguous(memory_format=torch.channels_last) / 255
            parts = [part.cpu() for part in fastestdet.decode(self.network(bgr))]
            found += [Found(*each) for each in zip(*parts, strict=True)]
        return found


def _square(pixels: Pixels, side: int = fastestdet.SIDE) -> torch.Tensor:
    """uint8 RGB (H, W, 3) → (1, 3, side, side): stretched, sampled without averaging, as the network was trained.

    Averaging would make finds depend less on the size an image was decoded at, but not much: of those in 28 photos
    decoded at 640 and at 1,280 pixels 95 % were the same without it, 96 % with; and AP on coco128 falls by .002.
    """
    return F.interpolate(torch.tensor(pixels).permute(2, 0, 1)[None], (side, side), mode="bilinear")


class _Torchvision:
    """One image at a time: these networks pad those of a batch to one another, which changes what they find."""

    def __init__(self, network: nn.Module, device: torch.device, min_score: float) -> None:
        self.network, self.device = network.eval().requires_grad_(False).to(device), device
        torchvision_detectors.set_min_score(network, min_score)

    def __call__(self, images: Sequence[Pixels]) -> list[Found]:
        return [self._detect(pixels) for pixels in images]

    def _detect(self, pixels: Pixels) -> Found:
        height, width = pixels.shape[:2]
        found = torchvision_detectors.detect(self.network, to_device(torch.tensor(pixels), self.device))
        boxes, scores, labels = (part.cpu() for part in found)
        return Found(boxes / torch.tensor([width, height, width, height]), scores, labels)


class _Yolo:
    """Muster's own, one image at a time: they differ in size. In float32, as it was measured when trained."""

    def __init__(self, network: nn.Module, device: torch.device, min_score: float) -> None:
        self.network, self.device = for_inference(network, device, torch.float32), device

    def __call__(self, images: Sequence[Pixels]) -> list[Found]:
        return [self._detect(pixels) for pixels in images]

    def _detect(self, pixels: Pixels) -> Found:
        height, width = pixels.shape[:2]
        x = to_device(torch.tensor(pixels), self.device).permute(2, 0, 1)[None] / 127.5 - 1
        padded = F.pad(x, (0, -width % 32, 0, -height % 32), value=-1.0)  # black, as in its training
        boxes, scores, labels = (part[0].cpu() for part in yolo.decode(self.network(padded)))
        return Found(boxes / torch.tensor([width, height, width, height]), scores, labels)


@dataclass(frozen=True)
class Family:
    """How networks of one kind are run, and what suits them. `detector`: takes network, device and least score.

    `max_overlap`: of their publisher. `min_score`: chosen for looking through photos, where a false find is worse than
    one more thing missed. `classes`: what their class indices mean. `most`: finds per image. `by_words`: whether they
    look for whatever the user's classes name, which `detector` then takes too.
    """

    detector: Callable[..., Detector]
    max_side: int
    min_score: float
    max_overlap: float
    classes: tuple[str, ...] = coco_labels.NAMES
    most: int = 100
    by_words: bool = False


# Of FastestDet's finds on the 128 photos of coco128 with a score of at least 0.5, 45 % are right (they are 31 % of what
# is to be found); of those with 0.65, from which its publisher draws boxes, 66 % (25 %). The scores for the
# others are not measured.
_FAMILIES = {
    "fastestdet": Family(_FastestDet, 640, 0.65, 0.45),
    "ssdlite": Family(_Torchvision, 640, 0.5, 0.55),
    "fasterrcnn": Family(_Torchvision, 1333, 0.5, 0.5),
    "fasterrcnn-v2": Family(_Torchvision, 1333, 0.5, 0.5),
    "retinanet": Family(_Torchvision, 1333, 0.5, 0.5),
    "fcos": Family(_Torchvision, 1333, 0.5, 0.6),
    "muster-yolo": Family(_Yolo, 416, 0.5, 0.5),
}


def family_of(entry: str) -> Family:
    """How a detector is run. TaskError where an entry of another package does not say."""
    family = _FAMILIES.get(entry) or zoo.ENTRIES[entry].run
    if not isinstance(family, Family):
        raise TaskError(f"the detector {entry} must say by `run`, as a muster.tasks.objects.Family, how it is run")
    return family


def parse_classes(value: str | Mapping[str, Any]) -> dict[str, float | None]:
    """`person,dog=0.6`, or these as a mapping → {"person": None, "dog": 0.6}; ValueError where a score is none."""
    if isinstance(value, str):
        parts = [part.partition("=") for part in value.split(",") if part.strip()]
        value = {name.strip(): score if given else None for name, given, score in parts}
    if not isinstance(value, Mapping):
        raise ValueError("give names with their least scores, such as {'person': None, 'dog': 0.6}, or as a text")
    return {name: None if score is None else number(0, 1)(score) for name, score in value.items()}


MIN_SCORE = Option(number(0, 1), "least score of a find; by default the model's own")
CLASSES = Option(parse_classes, "only these classes, each with its least score if you like: person,dog=0.6")
_PHRASES = {name: f"with {name}" for name in ("broccoli", "scissors", "skis")} | {"tv": "with a TV"}


class Objects(Task):
    name = "objects"
    version = 1
    schema = SCHEMA
    options: Mapping[str, Option] = {"classes": CLASSES, "min_score": MIN_SCORE}
    findings = Findings(
        noun="object",
        label="label",
        score="score",
        box="box_xyxy",
        phrases=_PHRASES,
        hidden=({"label": "person"},),  # which every photo of a person shows
        least_scores=filter_scores.least_scores,
    )

    def __init__(
        self,
        model: str | None = None,
        classes: Mapping[str, float | None] | None = None,
        min_score: float | None = None,
    ) -> None:
        """`classes`: name → least score, None for `min_score`; all where empty. TaskError for a name nobody knows."""
        self.models = zoo.roles(self.name, model or zoo.DEFAULTS[self.name])
        self.family = family_of(self.models["detector"])
        least = self.family.min_score if min_score is None else min_score
        if self.family.by_words and not classes:
            raise TaskError("this model looks for what words name: give `classes`, such as 'red car, our dog'")
        self.classes = tuple(sorted(classes or {})) if self.family.by_words else self.family.classes
        chosen = choose(classes or {}, self.classes, least)
        self._parameters = ObjectParameters(least, self.family.max_overlap, chosen, self.family.most)
        unused = {"min_score"} if chosen else set()  # each of these has its own
        self.parameters: Mapping[str, Any] = {k: v for k, v in asdict(self._parameters).items() if k not in unused}
        self.max_side = self.family.max_side

    def load(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        # Not above: importing torchvision costs each worker 1.1 s and 160 MB, and most runs are without this task.
        from torchvision.ops import batched_nms

        self.suppress: Suppress = batched_nms
        entry = self.models["detector"]
        self.least = thresholds(self._parameters, self.classes)
        network = zoo.ENTRIES[entry].build(weights[entry])
        words = (self.classes,) if self.family.by_words else ()
        self.detector = self.family.detector(network, device, float(self.least.min()), *words)

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image]) -> pa.Table:
        found = self.detector([shrink(image, self.max_side).pixels for image in images])
        kept = [
            select(each, image.size, self.least, self._parameters, self.suppress)
            for each, image in zip(found, images, strict=True)
        ]
        return _rows(images, kept, self.classes)


def choose(classes: Mapping[str, float | None], known: Sequence[str], least: float) -> dict[str, float]:
    """Class → its least score, in the order of the names; TaskError names the nearest of the known ones on a miss."""
    chosen = {}
    for given, score in classes.items():
        name = given if given in known else coco_labels.SPELLINGS.get(given, given)
        if name not in known:
            nearest = ", ".join(difflib.get_close_matches(name, known, n=3, cutoff=0))
            raise TaskError(f"no class {given!r}; the nearest of the {len(known)} that this model knows: {nearest}")
        chosen[name] = least if score is None else score
    return dict(sorted(chosen.items()))


def thresholds(parameters: ObjectParameters, known: Sequence[str]) -> torch.Tensor:
    """The least score of each class, (C,) float32; infinite for those not wanted."""
    if not parameters.classes:
        return torch.full((len(known),), parameters.min_score)
    return torch.tensor([parameters.classes.get(name, float("inf")) for name in known])


def select(
    found: Found, size: tuple[int, int], least: torch.Tensor, parameters: ObjectParameters, suppress: Suppress
) -> Found:
    """The finds that are sure enough and that no better one of their class overlaps, best first.

    `size`: the image's (width, height) in pixels; the boxes are then in these, and inside. `least`: (C,) as
    `thresholds` gives. `suppress`: torchvision.ops.batched_nms.
    """
    sides = torch.tensor([*size, *size], dtype=torch.float32)
    boxes = (found.boxes * sides).clamp_min(0).minimum(sides)
    kept = (found.scores >= least[found.labels]) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    boxes, scores, labels = boxes[kept], found.scores[kept], found.labels[kept]
    if parameters.max_overlap < 1:
        best = suppress(boxes, scores, labels, parameters.max_overlap)
    else:  # by rounding, what lies on a like box overlaps it by more than all of it
        best = scores.argsort(descending=True, stable=True)
    best = best[: parameters.most]
    return Found(boxes[best], scores[best], labels[best])


def _rows(images: Sequence[Image], found: Sequence[Found], names: Sequence[str]) -> pa.Table:
    """`found`: of each image; the rows are in their order."""
    none = Found(torch.empty(0, 4), torch.empty(0), torch.empty(0, dtype=torch.int64))
    boxes, scores, labels = (torch.cat(parts).numpy() for parts in zip(none, *found, strict=True))
    columns = [
        [image.image_id for image, each in zip(images, found, strict=True) for _ in each.scores],
        [names[label] for label in labels],
        labels.astype(np.int32),
        scores,
        pa.FixedSizeListArray.from_arrays(pa.array(boxes.reshape(-1)), type=SCHEMA.field("box_xyxy").type),
    ]
    return pa.table(columns, SCHEMA)
