"""The task `masks`: which pixels are what, one row per class of an image or per thing in it.

A mask is kept in the frame that the network decided in (the decoded image, its longest side at most the model's
`max_side`), not at full size: at 12 megapixels it says no more, and takes seven times the storage of 640×480. Whoever
needs it at full size has muster.tasks.geometry.rle.resized. Where the image is no larger than `max_side` both frames
are the same.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image as PillowImage

from muster.arrays import Bools, Pixels, matrix
from muster.errors import TaskError
from muster.tasks.base import IMAGE_ID, Findings, Image, Option, StateDict, Task, shrink, to_device
from muster.tasks.geometry import rle
from muster.tasks.models import coco_labels, zoo
from muster.tasks.models.fuse import for_inference
from muster.tasks.models.zoo import masks
from muster.tasks.models.zoo.masks import Form, Instances, Prompted, Segmenter, Semantic
from muster.tasks.objects import CLASSES, MIN_SCORE, Objects

CPU = torch.device("cpu")
SCHEMA = pa.schema(
    [
        IMAGE_ID,
        pa.field("label", pa.string()),
        pa.field("label_id", pa.int32()),
        pa.field("score", pa.float32()),
        pa.field("box_xyxy", pa.list_(pa.float32(), 4)),  # of the mask, tight
        pa.field("area", pa.int64()),  # pixels of the rle, as are height and width
        pa.field("height", pa.int32()),
        pa.field("width", pa.int32()),
        pa.field("rle", pa.string()),  # the counts of COCO's compressed form
    ]
)


class Find(NamedTuple):
    """`label_id`: which of the model's classes. `score` in 0..1. `mask`: (H, W)."""

    label_id: int
    score: float
    mask: Bools


class Masks(Task):
    name = "masks"
    version = 1
    schema = SCHEMA
    options: Mapping[str, Option] = {
        "classes": CLASSES,
        "min_score": MIN_SCORE,
        "subtask": Option(str, "of a model that can do several: panoptic, instance or semantic; boxes or points"),
    }
    # No filters: a class of pixels is not yet a thing that somebody looks for; `objects` says that.
    findings = Findings(noun="mask", label="label", score="score", box="box_xyxy", mask="rle", filters=False)

    def __init__(
        self,
        model: str | None = None,
        classes: Mapping[str, float | None] | None = None,
        min_score: float | None = None,
        subtask: str | None = None,
    ) -> None:
        """`classes`: only these, each with its least score (None: `min_score`). `min_score`: the model's where None.
        `subtask`: what a model is to do that can do several things; the first of them where None.

        TaskError where the model does not know a class, or no such subtask.
        """
        model = model or zoo.DEFAULTS[self.name]
        self.models = zoo.roles(self.name, model)
        self.form = form_of(self.models["segmenter"], subtask)
        least = self.form.min_score if min_score is None else min_score
        self.least = chosen(model, self.form, classes or {}, least)
        self.max_side, self.classes = self.form.max_side, tuple(self.form.classes[i] for i in _foreground(self.form))
        same = max(self.least.values())
        everything = self.least == chosen(model, self.form, {}, same)  # however that was asked for
        scores = {self.form.classes[i]: score for i, score in sorted(self.least.items())}
        self.parameters: Mapping[str, Any] = {"least": same if everything else scores}
        if isinstance(self.form, Prompted):
            self.prompts = Objects(None, classes, min_score)
            self.parameters |= {"prompts": {"version": Objects.version, **self.prompts.parameters}}
        if subtask is not None:
            self.parameters |= {"subtask": subtask}

    def load(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        entry = self.models["segmenter"]
        network = zoo.ENTRIES[entry].build(weights[entry])
        self.device = device
        if isinstance(self.form, Semantic):
            # In single precision everywhere: in bf16 SINet changed 0.2 % of the pixels of 10 photos.
            self.network = for_inference(network, device, torch.float32)
            return
        self.network = network.eval().requires_grad_(False).to(device)
        if isinstance(self.form, Prompted):
            self.prompts.load(device, weights)
        elif isinstance(self.form, Instances):
            network.roi_heads.score_thresh = min(self.least.values())  # type: ignore[union-attr]

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image]) -> pa.Table:
        """One image at a time: in a batch, rounding would let a few pixels depend on the others."""
        rows = [_row(image, find, self.form) for image in images for find in self.find(shrink(image, self.max_side))]
        return pa.Table.from_pylist(rows, SCHEMA)

    def find(self, image: Image) -> Iterator[Find]:
        """What is wanted of an image no larger than `max_side`."""
        if isinstance(self.form, Semantic):
            labels, chances = segment(self.network, image.pixels, self.form, self.device)
            found = by_class(labels, chances, self.form.background)
        elif isinstance(self.form, Prompted):
            found = prompted(self.network, image, self.prompts, self.form)
        elif isinstance(self.form, Segmenter):
            least = min(self.least.values())
            found = (Find(*each) for each in self.form.find(self.network, image.pixels, least, self.device))
        else:
            found = instances(self.network, image.pixels, self.form, self.device)
        return (f for f in found if f.score >= self.least.get(f.label_id, np.inf) and f.mask.any())


def form_of(entry: str, subtask: str | None = None) -> Form:
    """What a segmenter makes of an image. `subtask`: of one that can do several things, the first where None. TaskError
    where it does no such thing, or an entry of another package does not say."""
    form = masks.FORMS.get(zoo.original(entry)) or zoo.ENTRIES[entry].run
    several = form if isinstance(form, Mapping) else {}
    if subtask is not None and subtask not in several:
        raise TaskError(f"`subtask` {subtask}: this model does {' or '.join(several) or 'one thing alone'}")
    if several:
        form = several[subtask or next(iter(several))]
    if not isinstance(form, Form):
        raise TaskError(
            f"the segmenter {entry} must say by `run`, as a muster.tasks.models.zoo.masks.Form, how it is run"
        )
    return form


def chosen(model: str, form: Form, classes: Mapping[str, float | None], least: float) -> dict[int, float]:
    """Class → least score, of these classes (of all but the background where empty).

    TaskError names the nearest where the model does not know one.
    """
    known = {_spelled(form.classes[i]): i for i in _foreground(form)}
    for name in classes:
        if _spelled(name) not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0)
            raise TaskError(f"`classes` {name}: no such class of masks={model}; nearest: {', '.join(near)}")
    scores = classes or dict.fromkeys(known)
    return {known[_spelled(name)]: least if score is None else score for name, score in scores.items()}


def _foreground(form: Form) -> list[int]:
    """The classes that make rows."""
    background = form.background if isinstance(form, Semantic | Segmenter) else None
    return [i for i in range(len(form.classes)) if i != background]


def _spelled(name: str) -> str:
    """COCO's name of a class of Pascal VOC."""
    return coco_labels.SPELLINGS.get(name, name)


def segment(
    network: torch.nn.Module, pixels: Pixels, form: Semantic, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 RGB (H, W, 3) → the class of each pixel and its probability, both (H, W), on `device`."""
    x = normalised(pixels, form, device)
    height, width = x.shape[2:]
    padded = F.pad(x, (0, -width % form.multiple, 0, -height % form.multiple), value=form.padding)
    logits = network(padded).contiguous()  # of channels-last ones resizing takes 10 ms, not 1.6
    logits = _resized(logits, padded.shape[2], padded.shape[3])[..., :height, :width]
    logits = _resized(logits, *pixels.shape[:2])[0]
    return logits.max(0).indices, logits.softmax(0).amax(0)


def normalised(pixels: Pixels, form: Semantic, device: torch.device = CPU) -> torch.Tensor:
    """uint8 RGB (H, W, 3) → (1, 3, h, w) float32 as the network takes it, not yet padded; channels-last in memory."""
    height, width = form.input_size(*pixels.shape[:2])
    if (height, width) != pixels.shape[:2]:
        pixels = np.asarray(PillowImage.fromarray(pixels).resize((width, height), PillowImage.Resampling.BILINEAR))
    mean, std = torch.tensor(form.mean, device=device), torch.tensor(form.std, device=device)
    x = to_device(torch.tensor(pixels), device)
    x = x.flip(2) if form.bgr else x
    return ((x / 255 - mean) / std).permute(2, 0, 1)[None]


def _resized(logits: torch.Tensor, height: int, width: int) -> torch.Tensor:
    if logits.shape[2:] == (height, width):
        return logits
    return F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)


def by_class(labels: torch.Tensor, chances: torch.Tensor, background: int | None) -> Iterator[Find]:
    """The pixels of each class that an image shows, and their mean probability; both (H, W)."""
    pixels = torch.bincount(labels.flatten())
    sums = torch.bincount(labels.flatten(), chances.flatten().double())
    for label in pixels.nonzero().flatten().tolist():
        if label != background:
            yield Find(label, float(sums[label] / pixels[label]), (labels == label).cpu().numpy())


def instances(network: torch.nn.Module, pixels: Pixels, form: Instances, device: torch.device) -> Iterator[Find]:
    """The things in an image, uint8 RGB (H, W, 3), best first."""
    x = to_device(torch.tensor(pixels), device).permute(2, 0, 1) / 255
    [found] = network([x])
    for label, score, chance in zip(found["labels"].tolist(), found["scores"].tolist(), found["masks"], strict=True):
        if form.class_of[label] >= 0:
            yield Find(form.class_of[label], score, (chance[0] > 0.5).cpu().numpy())


def prompted(network: torch.nn.Module, image: Image, prompts: Objects, form: Prompted) -> Iterator[Find]:
    """The mask of each thing that `prompts` finds, in its order.

    Score: the box's times the overlap with the true mask that the network expects, as Huang et al., Mask Scoring R-CNN,
    CVPR 2019, section 3.1.
    """
    rows = prompts([image])
    height, width = image.pixels.shape[:2]
    sides = np.array([width, height] * 2, np.float32) / np.array([*image.size, *image.size], np.float32)
    boxes = torch.from_numpy(matrix(rows["box_xyxy"]) * sides)
    found = form.masks_in(network, image.pixels, boxes)
    for label, score, (mask, overlap) in zip(rows["label_id"], rows["score"], found, strict=True):
        yield Find(label.as_py(), score.as_py() * overlap, mask)


def _row(image: Image, find: Find, form: Form) -> dict[str, Any]:
    coded = rle.encode(find.mask)
    height, width = coded["size"]
    across, down = image.size[0] / width, image.size[1] / height
    x0, y0, x1, y1 = rle.box(coded)
    return {
        "image_id": image.image_id,
        "label": form.classes[find.label_id],
        "label_id": find.label_id,
        "score": find.score,
        "box_xyxy": [x0 * across, y0 * down, x1 * across, y1 * down],
        "area": rle.area(coded),
        "height": height,
        "width": width,
        "rle": coded["counts"],
    }
