"""The task `faces`: detection, alignment, embedding and quality, from images to one row per face."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import simplejpeg
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image as PillowImage

from muster.arrays import F32, Pixels
from muster.colour import in_srgb
from muster.errors import TaskError
from muster.tasks.base import IMAGE_ID, Findings, Image, StateDict, Task, inference_dtype, shrink, to_device
from muster.tasks.geometry.align import align, misfit
from muster.tasks.geometry.frontal import frontal
from muster.tasks.geometry.head import pose
from muster.tasks.models import zoo
from muster.tasks.models.fuse import for_inference
from muster.tasks.models.landmarks68 import find68
from muster.tasks.models.yunet import STRIDES

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_DETECT_PIXELS = 16 * 640 * 640  # per batch: activations of larger ones leave the caches
_EMBED_CROPS = 16
FRONTAL_FROM = 15.0  # degrees of yaw
FRONTAL_WEIGHT = 0.5  # of what the embedder says of a face from in front, beside what it says of the face as it is
POSE = ("yaw", "pitch", "roll")


def schema(width: int, pose: bool = False) -> pa.Schema:
    """Of faces whose embeddings have so many numbers. `pose`: with the columns of `POSE`."""
    return pa.schema(
        [
            IMAGE_ID,
            pa.field("face_id", pa.string(), nullable=False),
            pa.field("box_xyxy", pa.list_(pa.float32(), 4)),
            pa.field("score", pa.float32()),
            pa.field("landmarks", pa.list_(pa.list_(pa.float32(), 2), 5)),
            pa.field("quality", pa.float32()),
            pa.field("embedding", pa.list_(pa.float32(), width)),
            pa.field("thumbnail", pa.binary()),
            *(pa.field(name, pa.float32()) for name in POSE if pose),
        ]
    )


@dataclass(frozen=True)
class FaceParameters:
    """What changes the rows. Sides in pixels of the decoded image, scores in 0..1."""

    max_side: int = 1280  # a face 2.5 % of a phone photo's width is 32 pixels wide here, 16 at 640
    half_above: int = 640  # above this, also looked at in half size: the detector fades beyond faces of 450 pixels
    min_score: float = 0.6
    max_overlap: float = 0.3  # intersection over union
    double_between: tuple[int, int] | None = None  # images this long are also looked at in double size
    frontal_from: float | None = None  # FRONTAL_FROM where turned faces are also looked at from in front
    max_inside: float = 0.7  # share of a find that lies in a better one: eyes of a face too large to be seen whole


class Detections(NamedTuple):
    """Faces of one image, best first: `boxes` (N, 4) xyxy, `scores` (N,), `landmarks` (N, 5, 2); float32, in pixels."""

    boxes: torch.Tensor
    scores: torch.Tensor
    landmarks: torch.Tensor


_EMPTY = Detections(torch.empty(0, 4), torch.empty(0), torch.empty(0, 5, 2))


class Faces(Task):
    """`schema`: of the default model; a task that was made has that of its own, by the width of its embedder."""

    name = "faces"
    version = 3
    schema = schema(zoo.ENTRIES[zoo.MODELS["faces"][zoo.DEFAULTS["faces"]]["embedder"]].width)
    classes = ("face",)
    findings = Findings(
        noun="face", score="score", box="box_xyxy", landmarks="landmarks", embedding="embedding", id="face_id"
    )

    def __init__(self, model: str | None = None, parameters: FaceParameters | None = None) -> None:
        self.models = zoo.roles(self.name, model or zoo.DEFAULTS[self.name])
        double = zoo.ENTRIES[self.models["detector"]].double_between
        self._frontal = "landmarks" in self.models
        least = FRONTAL_FROM if self._frontal else None
        self._parameters = parameters or FaceParameters(double_between=double)
        self._parameters = replace(self._parameters, frontal_from=least)
        self.parameters: Mapping[str, Any] = {k: v for k, v in asdict(self._parameters).items() if v is not None}
        self.max_side = self._parameters.max_side
        self.width = zoo.ENTRIES[self.models["embedder"]].width
        self.schema = schema(self.width, self._frontal)

    def load(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        self.load_networks(device, weights)
        judge = self.models["quality"]
        self.quality = zoo.ENTRIES[judge].build(weights[judge]).eval()  # on the CPU: it is tiny
        known = self.quality.get_buffer("strangers").shape[1]
        if known != self.width:
            raise TaskError(f"{judge} knows embeddings of {known} numbers, and those of its embedder have {self.width}")

    def load_networks(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        """All but the quality: what `find` takes, and what a quality is learnt from."""
        self.device, self.dtype = device, inference_dtype(device)
        detector, embedder = (self.models[role] for role in ("detector", "embedder"))
        self.detector = for_inference(zoo.ENTRIES[detector].build(weights[detector]), device, self.dtype)
        self.mirror = zoo.ENTRIES[embedder].mirror
        self.embedder = for_inference(zoo.ENTRIES[embedder].build(weights[embedder]), device, self.dtype)
        if self._frontal:
            name = self.models["landmarks"]
            self.landmarks = for_inference(zoo.ENTRIES[name].build(weights[name]), device, self.dtype)

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image]) -> pa.Table:
        found = self.find(images)
        return _rows(found, self.quality(found.signs).sigmoid().numpy(), self.schema)

    @torch.inference_mode()
    def find(self, images: Sequence[Image], min_score: float | None = None) -> "Found":
        """The faces of these images, down to `min_score` (the task's own by default)."""
        images = [shrink(image, self.max_side) for image in images]
        parameters = self._parameters if min_score is None else replace(self._parameters, min_score=min_score)
        found = detect(self.detector, [image.pixels for image in images], parameters, self.device, self.dtype)
        owners = [image for image, faces in zip(images, found, strict=True) for _ in faces.scores]
        faces = Detections(*(torch.cat(parts) for parts in zip(_EMPTY, *found, strict=True)))
        crops = align([image.pixels for image in owners], faces.landmarks)
        vectors = embed(self.embedder, crops, self.dtype, self.mirror)
        said = signs(crops, faces, vectors)
        if self._frontal:
            vectors = self.with_frontal(owners, faces.landmarks, vectors)
        return Found(owners, faces, vectors, said)

    def with_frontal(self, owners: Sequence[Image], landmarks: torch.Tensor, vectors: "Vectors") -> "Vectors":
        """Of turned faces the embedding of what they are from in front too, as a sum; the others as they are."""
        turned = (pose(landmarks)[:, 0].abs() > FRONTAL_FROM).nonzero()[:, 0]  # of no known pose: none
        parts = []
        for part in turned.split(_EMBED_CROPS):  # one, empty, of none
            images = [owners[i].pixels for i in part.tolist()]
            parts.append(frontal(images, find68(self.landmarks, images, landmarks[part])))
        crops = torch.cat(parts)
        there = (crops > 0).flatten(1).any(1)  # where the 68 landmarks are none of a face, it is black
        turned, crops = turned[there], crops[there]
        other = embed(self.embedder, crops, self.dtype, self.mirror).embeddings
        embeddings = vectors.embeddings.clone()
        embeddings[turned] = F.normalize(embeddings[turned] + FRONTAL_WEIGHT * other)
        return vectors._replace(embeddings=embeddings)


@dataclass(frozen=True)
class Found:
    """The faces of some images, those of one together. `owners`: the image of each, as large as it was looked at."""

    owners: Sequence[Image]
    faces: Detections
    vectors: "Vectors"
    signs: torch.Tensor


def _rows(found: Found, quality: F32, schema: pa.Schema) -> pa.Table:
    owners = found.owners
    boxes, scores, landmarks = (part.numpy() for part in found.faces)
    scale = np.array([image.scale for image in owners], np.float32)
    numbers: Counter[str] = Counter()
    names = []
    for image in owners:
        names.append(f"{image.image_id}-{numbers[image.image_id]}")
        numbers[image.image_id] += 1
    columns = [
        [image.image_id for image in owners],
        names,
        _lists(boxes / scale[:, None], schema.field("box_xyxy").type),
        scores,
        _lists(landmarks / scale[:, None, None], schema.field("landmarks").type),
        quality,
        _lists(found.vectors.embeddings.numpy(), schema.field("embedding").type),
        [thumbnail(image.pixels, box, image.profile) for image, box in zip(owners, boxes, strict=True)],
    ]
    if set(POSE) <= set(schema.names):
        columns += [pa.array(each, pa.float32(), from_pandas=True) for each in pose(found.faces.landmarks).T.numpy()]
    return pa.table(columns, schema)


def _lists(values: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    """An array (N, K) or (N, K, 2) as fixed-size lists."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    if values.ndim == 3:
        flat = pa.FixedSizeListArray.from_arrays(flat, type=kind.value_type)
    return pa.FixedSizeListArray.from_arrays(flat, type=kind)


def thumbnail(pixels: Pixels, box: F32, profile: bytes | None = None, side: int = 160) -> bytes:
    """The square around a face, 1.6 times its box, shifted to stay in the image: a JPEG of `side` pixels, in sRGB."""
    height, width = pixels.shape[:2]
    half = min(0.8 * max(box[2] - box[0], box[3] - box[1]), width / 2, height / 2)
    x = min(max((box[0] + box[2]) / 2, half), width - half)
    y = min(max((box[1] + box[3]) / 2, half), height - half)
    left, top = max(int(x - half), 0), max(int(y - half), 0)
    part = pixels[top : math.ceil(y + half), left : math.ceil(x + half)]
    square = (max(x - half, 0) - left, max(y - half, 0) - top, min(x + half, width) - left, min(y + half, height) - top)
    small = PillowImage.fromarray(part).resize((side, side), PillowImage.Resampling.BILINEAR, square, reducing_gap=2)
    return simplejpeg.encode_jpeg(in_srgb(np.asarray(small), profile), quality=85, colorsubsampling="420")


def detect(
    network: torch.nn.Module,
    images: Sequence[Pixels],
    parameters: FaceParameters,
    device: torch.device,
    dtype: torch.dtype,
) -> list[Detections]:
    """Faces of each image (uint8 RGB, (H, W, 3), any sizes), in pixels of that image.

    Images are padded to multiples of 32, or of 64 where they are also looked at in half size, never to one another, so
    that what is found does not depend on the batch.
    """
    found: dict[int, Detections] = {}
    for batch, padded in _batches(images, parameters):
        found |= zip(batch, _detect_batch(network, to_device(padded, device), parameters, dtype), strict=True)
    return [found[i] for i in range(len(images))]


def _batches(images: Sequence[Pixels], parameters: FaceParameters) -> Iterator[tuple[list[int], torch.Tensor]]:
    """Images of one padded size together: their positions, and (N, H, W, 3) uint8."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for i, pixels in enumerate(images):
        step = 64 if max(pixels.shape[:2]) > parameters.half_above else 32
        height, width = (-(-side // step) * step for side in pixels.shape[:2])
        by_size.setdefault((height, width), []).append(i)
    for (height, width), members in by_size.items():
        largest = height * width * (4 if _doubled(height, width, parameters) else 1)
        count = max(1, _DETECT_PIXELS // largest)
        for start in range(0, len(members), count):
            batch = members[start : start + count]
            padded = np.zeros((len(batch), height, width, 3), np.uint8)
            for j, i in enumerate(batch):
                padded[j, : images[i].shape[0], : images[i].shape[1]] = images[i]
            yield batch, torch.from_numpy(padded)


def _doubled(height: int, width: int, parameters: FaceParameters) -> bool:
    low, high = parameters.double_between or (0, 0)
    return low < max(height, width) <= high


def _detect_batch(
    network: torch.nn.Module, padded: torch.Tensor, parameters: FaceParameters, dtype: torch.dtype
) -> list[Detections]:
    bgr = padded.flip(3).permute(0, 3, 1, 2).to(dtype)  # (N, 3, H, W), channels-last in memory
    levels = [_decode(network(bgr), scale=1)]
    if max(padded.shape[1:3]) > parameters.half_above:
        levels.append(_decode(network(F.avg_pool2d(bgr, 2)), scale=2))
    if _doubled(padded.shape[1], padded.shape[2], parameters):
        double = F.interpolate(bgr, scale_factor=2.0, mode="bilinear", align_corners=False)
        levels.append(_decode(network(double), scale=0.5))
    faces = torch.cat(levels, 1).cpu()  # (N, cells, 15)
    return [_suppress(each[each[:, 4] > parameters.min_score], parameters) for each in faces]


def _decode(outputs: list[torch.Tensor], scale: float) -> torch.Tensor:
    """The detector's maps as (N, cells, 15): box xyxy, score, landmarks, in pixels × `scale`."""
    levels = []
    for stride, output in zip(STRIDES, outputs, strict=True):
        n, _, height, width = output.shape
        cells = output.float().permute(0, 2, 3, 1).reshape(n, height * width, 16)
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        corner = torch.stack([x, y], -1).view(1, -1, 2).to(cells)
        score = (cells[..., 0].sigmoid() * cells[..., 1].sigmoid()).sqrt()  # class × object
        centre, half = corner + cells[..., 2:4], cells[..., 4:6].exp() / 2
        landmarks = (corner[:, :, None] + cells[..., 6:].unflatten(-1, (5, 2))).flatten(-2)
        boxes = torch.cat([centre - half, centre + half], -1)
        pixels = stride * scale
        levels.append(torch.cat([boxes * pixels, score[..., None], landmarks * pixels], -1))
    return torch.cat(levels, 1)


def _suppress(faces: torch.Tensor, parameters: FaceParameters) -> Detections:
    """(N, 15) → the faces that no better one overlaps or holds, best first.

    But for `max_inside` the same as torchvision's nms, which is not used because importing torchvision costs each
    worker 1.1 s and 160 MB.
    """
    faces = faces[faces[:, 4].argsort(descending=True, stable=True)]
    low, high = faces[:, None, :2].maximum(faces[:, :2]), faces[:, None, 2:4].minimum(faces[:, 2:4])
    shared, area = (high - low).clamp_min(0).prod(2), (faces[:, 2:4] - faces[:, :2]).prod(1)
    apart = shared <= parameters.max_overlap * (area[:, None] + area - shared)
    apart &= shared <= parameters.max_inside * area
    left = torch.ones(len(faces), dtype=torch.bool)
    kept = []
    for i in range(len(faces)):
        if left[i]:
            kept.append(i)
            left &= apart[i]
    best = faces[kept]
    return Detections(best[:, :4], best[:, 4], best[:, 5:].unflatten(-1, (5, 2)))


def normalised(crops: torch.Tensor) -> torch.Tensor:
    """Crops (N, 112, 112, 3; uint8 RGB) as embedders take them: float32, less ImageNet's mean, over its deviation."""
    mean, std = (torch.tensor(v, device=crops.device) * 255 for v in (_IMAGENET_MEAN, _IMAGENET_STD))
    return (crops - mean) / std


class Vectors(NamedTuple):
    """`embeddings` (N, D), L2-normalised. `lengths` (N,): of what the network gave, before. `agreement` (N,): cosine
    of what it gave for the crop and for its mirror image; 1 where it was not shown that. float32."""

    embeddings: torch.Tensor
    lengths: torch.Tensor
    agreement: torch.Tensor


def embed(network: torch.nn.Module, crops: torch.Tensor, dtype: torch.dtype, mirror: bool) -> Vectors:
    """Embeddings of aligned crops (N, 112, 112, 3; uint8 RGB), as many numbers each as the network gives.

    With `mirror`, the sum of the normalised outputs for a crop and its mirror image, normalised again.
    """
    device = next(chain(network.parameters(), network.buffers())).device
    parts = []
    for batch in crops.split(_EMBED_CROPS):  # one, empty, of none: it has the width too
        upright = normalised(to_device(batch, device)).permute(0, 3, 1, 2).to(dtype)  # channels-last in memory
        one = network(upright).float()
        other = one
        if mirror:
            other = network(upright.flip(3).contiguous(memory_format=torch.channels_last)).float()
        lengths = (one.norm(dim=1) + other.norm(dim=1)) / 2
        one, other = F.normalize(one), F.normalize(other)
        each = Vectors(F.normalize(one + other) if mirror else one, lengths, (one * other).sum(1))
        parts.append(Vectors(*(part.cpu() for part in each)))
    return Vectors(*map(torch.cat, zip(*parts, strict=True)))


def signs(crops: torch.Tensor, faces: Detections, vectors: Vectors) -> torch.Tensor:
    """What tells whether a face can be recognised: (N, 8) float32, as `FaceQuality` takes them.

    `crops`: (N, 112, 112, 3) uint8. In this order: logarithm of the vector's length, which falls with what an embedder
    cannot make out (Meng et al., MagFace, CVPR 2021, arXiv:2103.06627, section 3); agreement with the mirror image; the
    logit of the score; logarithms of the box's shorter side, in pixels of the decoded image, and of the sharpness; yaw;
    logarithms of how badly the landmarks fit a face, in pixels of the crop, and of the contrast.
    """
    contrast = crops[:, 16:-16, 16:-16, 1].numpy().std((1, 2)).astype(np.float32)
    columns = [
        vectors.lengths.clamp_min(1e-6).log(),
        vectors.agreement,
        faces.scores.clamp(1e-3, 1 - 1e-3).logit(),
        (faces.boxes[:, 2:] - faces.boxes[:, :2]).amin(1).clamp_min(1).log(),
        (torch.from_numpy(sharpness(crops.numpy())) + 0.5).log(),
        torch.from_numpy(yaw(faces.landmarks.numpy())),
        (misfit(faces.landmarks) + 0.5).log(),
        (torch.from_numpy(contrast) + 1).log(),
    ]
    return torch.stack(columns, 1).float()


def sharpness(crops: Pixels) -> F32:
    """Mean absolute Laplacian over standard deviation, of the green channel inside the face, in per cent: (N,)."""
    grey = crops[:, 16:-16, 16:-16, 1].astype(np.float32)
    laplacian = (
        4 * grey[:, 1:-1, 1:-1] - grey[:, :-2, 1:-1] - grey[:, 2:, 1:-1] - grey[:, 1:-1, :-2] - grey[:, 1:-1, 2:]
    )
    contrast = grey.std((1, 2)) + 1
    return 100 * np.abs(laplacian).mean((1, 2)) / contrast


def yaw(landmarks: F32) -> F32:
    """How far the nose stands off the line between eyes and mouth, in half eye distances: (N,), 0 = frontal."""
    eyes, mouth = landmarks[:, :2].mean(1), landmarks[:, 3:].mean(1)
    across = landmarks[:, 1] - landmarks[:, 0] + landmarks[:, 4] - landmarks[:, 3]
    length = np.maximum(np.linalg.norm(across, axis=1), 1e-3)
    offset = ((landmarks[:, 2] - (eyes + mouth) / 2) * across).sum(1) / length
    return np.abs(offset) / (length / 4)
