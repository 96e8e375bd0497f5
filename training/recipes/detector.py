"""The face detector, taught by the published one cell by cell, and by the faces pasted into its scenes.

Where COCO files say where a photo's people are, whatever the teacher or the student finds outside every one of them is
no face: the teacher's scores are taken back there, and the loss sees to the student's.

Making a scene (training/data/scenes_of_faces.py) and showing it to the teacher costs as much as a step of the student,
so scenes come in pools; each is used USES times, upright and mirrored in turn. Beside a GPU, all cores make scenes.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count, islice
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from muster.arrays import F32
from muster.errors import InputError
from muster.tasks.base import inference_dtype
from muster.tasks.faces import Detections, FaceParameters, detect
from muster.tasks.models import yunet
from muster.tasks.models.face_detector import FaceDetector
from muster.tasks.models.fuse import for_inference
from muster.tasks.models.yunet import STRIDES
from muster.training import face_maps
from muster.training.data.examples import find_examples, held_out, read_photos
from muster.training.data.face_cutouts import Cutout, read_cutouts
from muster.training.data.people_in_photos import PHOTOS_HELD_OUT, read_people
from muster.training.data.scenes_of_faces import SIDE, Backdrop, Scene, make_scene
from muster.training.face_maps import Cells
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted

SETTINGS = Settings(
    steps=6500, batch=64, learning_rate=3e-3, weight_decay=0.02, average=0.999, report_every=100, measure_every=500
)
POOL, USES = 512, 4  # scenes of a pool (a multiple of the batch), and how often each is used
AT_ONCE = 64  # scenes shown to the teacher together
PHOTO_SIDE = 640  # pixels, of those photos
SMALLEST_PHOTO = 64
MEASURED, CALIBRATED = 64, 256  # scenes
FALSE_SHARE = 0.04
BOX_WEIGHT, LANDMARK_WEIGHT = 1.0, 8.0
INPUT_SCALE = 1 / 64  # so that the first layer's weights are as large as the others; folded into them at the end
_KEPT_OUT, _CALIBRATION, _ORDER = (
    1 << 40,
    1 << 41,
    1 << 42,
)  # first scene numbers of other uses, which no training reaches

_BIAS = "heads.{}.3.bias"  # of a level's last layer; the first two are the scores

Photos = Sequence[Backdrop]


class _Scaled(nn.Module):
    """The detector while it is trained, and then measured: it takes 0..255 and works on 0..4."""

    def __init__(self) -> None:
        super().__init__()
        self.detector = FaceDetector()
        for level in range(len(STRIDES)):  # faces are rare: Lin et al., Focal Loss, arXiv:1708.02002, section 3.3
            nn.init.constant_(self.detector.get_parameter(_BIAS.format(level))[:2], -3.5)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        outputs: list[torch.Tensor] = self.detector(images * INPUT_SCALE)
        return outputs


class _Scenes(Dataset[Scene]):
    """Scene number i of a training, for any i."""

    def __init__(self, photos: Photos, faces: Sequence[Cutout], seed: int) -> None:
        self.photos, self.faces, self.seed = photos, faces, seed

    def __getitem__(self, number: int) -> Scene:
        return make_scene(self.photos, self.faces, _random(self.seed, number))

    def after(self, first: int, workers: int) -> Iterator[list[Scene]]:
        """All scenes from number `first` on, AT_ONCE at a time, made ahead by so many processes."""
        loader = DataLoader(self, AT_ONCE, sampler=count(first), num_workers=workers, collate_fn=list)
        return iter(loader)


def _random(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, number])


@dataclass(frozen=True)
class _Pool:
    """`images` (POOL, 3, SIDE, SIDE) uint8 BGR."""

    number: int
    images: torch.Tensor
    targets: Cells
    names: list[str]


class DetectorRecipe:
    """See the top of this file."""

    name = "detector"

    def __init__(self, inputs: Inputs) -> None:
        self.photos, self.measured_photos = read_scenes(inputs)
        teacher = yunet.from_published(inputs.weights["yunet-n"])
        self.faces, self.measured_faces = read_cutouts(inputs, teacher)
        self.settings = adjusted(SETTINGS, inputs, SETTINGS.batch)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = inference_dtype(self.device)
        self.teacher = for_inference(teacher, self.device, self.dtype)
        self.grid = face_maps.grid_of(SIDE, SIDE, self.device)
        self.mirror = face_maps.mirror_order(SIDE, SIDE).to(self.device)
        self.scenes = _Scenes(self.photos, self.faces, self.settings.seed)
        self.coming: Iterator[list[Scene]] = iter(())
        self.pool: _Pool | None = None

    def network(self) -> nn.Module:
        return _Scaled()

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        number, within = divmod(step * self.settings.batch, POOL * USES)
        if self.pool is None or self.pool.number != number:
            if self.pool is None or self.pool.number != number - 1:
                workers = len(os.sched_getaffinity(0)) // ranks - 2 if self.device.type == "cuda" else 0
                self.coming = self.scenes.after(number * POOL, max(0, workers))
            self.pool = self._make_pool(number)
        order = np.concatenate([self._random(_ORDER + number * USES + use).permutation(POOL) for use in range(USES)])
        mirrored = within % (2 * POOL) >= POOL
        chosen = order[within : within + self.settings.batch][rank::ranks]
        rows = torch.from_numpy(chosen).to(self.device)
        images, targets = self.pool.images[rows], Cells(*(part[rows] for part in self.pool.targets.parts()))
        if mirrored:
            images, targets = images.flip(3), face_maps.mirrored(targets, self.mirror, self.grid[0], SIDE)
        score, boxes, landmarks = targets.parts()
        names = [self.pool.names[row] for row in chosen]
        return {"images": images, "score": score, "boxes": boxes, "landmarks": landmarks, "names": names}

    def _make_pool(self, number: int) -> _Pool:
        images, targets, names = [], [], []
        for scenes in islice(self.coming, POOL // AT_ONCE):
            pixels = torch.from_numpy(np.stack([scene.pixels for scene in scenes])).to(self.device)
            images.append(pixels.flip(3).permute(0, 3, 1, 2))  # BGR, channels-last in memory
            targets.append(self._targets(images[-1], scenes).parts())
            names += [scene.name for scene in scenes]
        return _Pool(number, torch.cat(images), Cells(*map(torch.cat, zip(*targets, strict=True))), names)

    def _random(self, number: int) -> np.random.Generator:
        return _random(self.settings.seed, number)

    @torch.no_grad()  # not inference mode, whose tensors no loss can take
    def _targets(self, images: torch.Tensor, scenes: Sequence[Scene]) -> Cells:
        found = face_maps.decoded(face_maps.flat(self.teacher(images.to(self.dtype))), *self.grid)
        face_maps.deny(found, *self._together([scene.possible for scene in scenes]), SIDE)
        of, boxes = self._together([scene.boxes for scene in scenes])
        _, landmarks = self._together([scene.landmarks for scene in scenes])
        face_maps.add_known(found, of, boxes, landmarks, self.grid)
        return found

    def _together(self, of_scenes: Sequence[F32]) -> tuple[torch.Tensor, torch.Tensor]:
        """What scenes have several of, one after another, and before it the scene each is of."""
        of = torch.tensor([i for i, rows in enumerate(of_scenes) for _ in rows], dtype=torch.int64)
        return of.to(self.device), torch.from_numpy(np.concatenate(of_scenes)).to(self.device)

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        targets = Cells(batch["score"], batch["boxes"], batch["landmarks"])
        parts = face_maps.losses(face_maps.flat(network(batch["images"].float())), targets, self.grid)
        total = parts["score"] + BOX_WEIGHT * parts["box"] + LANDMARK_WEIGHT * parts["landmarks"]
        return {"loss": total} | parts

    def measure(self, network: nn.Module) -> dict[str, float]:
        """Beside the teacher on scenes of photos and people kept out, at the score that detection uses."""
        if not self.measured_photos or not self.measured_faces:
            return {}
        scenes, theirs = self._kept_out
        return compared(theirs, self._find(self._ready(network), scenes))

    @cached_property
    def _kept_out(self) -> tuple[list[Scene], list[Detections]]:
        sources = self.measured_photos, self.measured_faces
        scenes = [make_scene(*sources, self._random(_KEPT_OUT + i)) for i in range(MEASURED)]
        return scenes, self._theirs(scenes)

    def _theirs(self, scenes: Sequence[Scene]) -> list[Detections]:
        """The teacher's finds where a face may be."""
        return [possible(found, scene) for found, scene in zip(self._find(self.teacher, scenes), scenes, strict=True)]

    def _ready(self, network: nn.Module) -> nn.Module:
        return for_inference(network, self.device, self.dtype)

    @torch.inference_mode()
    def _find(self, network: nn.Module, scenes: Sequence[Scene], min_score: float = 0.6) -> list[Detections]:
        parameters = FaceParameters(min_score=min_score)
        return detect(network, [scene.pixels for scene in scenes], parameters, self.device, self.dtype)

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        assert isinstance(network, _Scaled)
        state = {name: value.clone() for name, value in network.detector.state_dict().items()}
        state["stem.0.0.weight"] *= INPUT_SCALE
        shift = self._calibration(network)
        for level in range(len(STRIDES)):
            state[_BIAS.format(level)][:2] += shift
        return state

    def _calibration(self, network: nn.Module) -> float:
        """What to add to the logits so that FALSE_SHARE of what passes the usual score is not seen by the teacher."""
        usual = FaceParameters().min_score
        scenes = [make_scene(self.photos, self.faces, self._random(_CALIBRATION + i)) for i in range(CALIBRATED)]
        theirs = self._theirs(scenes)
        passing = least_score(theirs, self._find(self._ready(network), scenes, 0.1), FALSE_SHARE)
        return 0.0 if passing is None else math.log(usual / (1 - usual)) - math.log(passing / (1 - passing))

    def card(self) -> dict[str, Any]:
        return {
            "kind": "face detector with five landmarks, distilled",
            "teacher": "yunet-n",
            "faces": len(self.faces),
            "photos": len(self.photos),
            "photos_with_boxes_of_people": sum(photo.people is not None for photo in self.photos),
            "held_out": {"faces": len(self.measured_faces), "photos": len(self.measured_photos)},
            "loss": f"quality focal loss, {BOX_WEIGHT} × (1 - GIoU), {LANDMARK_WEIGHT} × smooth L1 of landmarks",
            "scenes": f"{SIDE}×{SIDE} pixels, pools of {POOL} used {USES} times; faces pasted that the teacher misses",
        }


def read_scenes(inputs: Inputs) -> tuple[Photos, Photos]:
    """The photos to make scenes of, and those kept out; InputError where there are too few, or labels are of others."""
    if not inputs.scenes:
        raise InputError("the detector needs photos to paste faces into: name folders or files with `scenes`")
    parts: tuple[list[Backdrop], list[Backdrop]] = ([], [])
    people = read_people(inputs)
    for example, photo in read_photos(find_examples(inputs.scenes, None), PHOTO_SIDE, inputs.on_skipped):
        height, width = photo.pixels.shape[:2]
        if min(height, width) < SMALLEST_PHOTO:
            inputs.on_skipped(f"{example.name}: {width}×{height} pixels are too few for a scene")
        else:
            boxes = people.get(example.name)
            backdrop = Backdrop(example.name, photo.pixels, None if boxes is None else boxes * photo.scale)
            parts[held_out(example.name, PHOTOS_HELD_OUT)].append(backdrop)
    if not parts[0]:
        raise InputError(f"none of the photos in {', '.join(inputs.scenes)} can be used as a scene: give more of them")
    if inputs.labels and all(photo.people is None for part in parts for photo in part):
        raise InputError(
            f"{', '.join(inputs.labels)}: no photo in {', '.join(inputs.scenes)} has a box there, by its name"
        )
    return parts[0], parts[1]


def possible(found: Detections, scene: Scene) -> Detections:
    """Those finds whose middle is where the scene may have a face."""
    kept = face_maps.within(found.boxes[:, None], torch.from_numpy(scene.possible), SIDE).any(1)
    return Detections(found.boxes[kept], found.scores[kept], found.landmarks[kept])


def least_score(theirs: Sequence[Detections], mine: Sequence[Detections], false_share: float) -> float | None:
    """The lowest score down to which at most this share of finds overlaps with none of another's, if there is one."""
    right = []
    for truth, each in zip(theirs, mine, strict=True):
        iou = face_maps.overlap(each.boxes[:, None], truth.boxes[None])[0]
        right.append((iou >= 0.5).any(1))
    scores, order = torch.cat([each.scores for each in mine]).sort(descending=True)
    wrong = (~torch.cat(right)[order]).cumsum(0) / torch.arange(1, len(scores) + 1)
    kept = (wrong <= false_share).nonzero()
    return float(scores[kept.max()]) if len(kept) else None


def compared(theirs: Sequence[Detections], mine: Sequence[Detections]) -> dict[str, float]:
    """Recall and precision of detections with another's for truth, at an overlap (IoU) of 0.5, and the median error of
    landmarks in eye distances."""
    wanted, found = (sum(len(each.scores) for each in all_) for all_ in (theirs, mine))
    errors: list[float] = []
    for truth, each in zip(theirs, mine, strict=True):
        if len(truth.scores) and len(each.scores):
            iou = face_maps.overlap(truth.boxes[:, None], each.boxes[None])[0]
            best, which = iou.max(1)
            eyes = (truth.landmarks[:, 1] - truth.landmarks[:, 0]).norm(dim=1).clamp_min(1e-3)
            error = (each.landmarks[which] - truth.landmarks).norm(dim=2).mean(1) / eyes
            errors += error[best >= 0.5].tolist()
    return {
        "recall": len(errors) / max(1, wanted),
        "precision": len(errors) / max(1, found),
        "landmark_error": float(np.median(errors)) if errors else float("nan"),
    }


def build(inputs: Inputs) -> Recipe:
    return DetectorRecipe(inputs)
