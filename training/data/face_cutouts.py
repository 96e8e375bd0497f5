"""Real faces to paste into scenes: photos with the box and landmarks that a published detector finds in them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from muster.arrays import F32
from muster.errors import InputError
from muster.tasks.base import inference_dtype
from muster.tasks.faces import Detections, FaceParameters, detect
from muster.tasks.models.fuse import for_inference
from muster.training.data.examples import Example, find_examples, person_held_out, read_photos
from muster.training.inputs import Inputs

FACES = 5000  # at most, evenly chosen; more would delay the start and add little to a detector
MAX_SIDE = 256  # of a photo, in pixels
SURE = 0.8  # score from which a find is taken for a face
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Cutout:
    """`pixels`: a photo, uint8 RGB (H, W, 3). `box` (4,) xyxy and `landmarks` (5, 2) of its face: float32, pixels."""

    name: str
    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    box: F32
    landmarks: F32


def read_cutouts(inputs: Inputs, teacher: torch.nn.Module) -> tuple[list[Cutout], list[Cutout]]:
    """The faces of the inputs' images to train with, and those of people kept out to measure with.

    Raises InputError where no image shows a face that the teacher is sure of.
    """
    examples = find_examples(inputs.images, inputs.label, inputs.limit)
    examples = examples[:: -(-len(examples) // FACES)]
    training: list[Cutout] = []
    measured: list[Cutout] = []
    for example, face in _found(examples, for_inference(teacher, _CPU, inference_dtype(_CPU)), inputs):
        if face is None:
            inputs.on_skipped(f"{example.name}: no face to cut out")
        else:
            (measured if person_held_out(example) else training).append(face)
    if not training:
        raise InputError(
            f"no face to cut out was found in {len(examples)} images of {', '.join(inputs.images)}: give photos that"
            f" show one face each, at least {MAX_SIDE // 8} pixels wide"
        )
    return training, measured


def _found(
    examples: Sequence[Example], network: torch.nn.Module, inputs: Inputs
) -> Iterator[tuple[Example, Cutout | None]]:
    photos = read_photos(examples, MAX_SIDE, inputs.on_skipped)
    while batch := list(islice(photos, 64)):
        with torch.inference_mode():
            pixels = [photo.pixels for _, photo in batch]
            faces = detect(network, pixels, FaceParameters(), _CPU, inference_dtype(_CPU))
        for (example, photo), found in zip(batch, faces, strict=True):
            yield example, _largest(found, example.name, photo.pixels)


def _largest(found: Detections, name: str, pixels: np.ndarray[Any, Any]) -> Cutout | None:
    sizes = (found.boxes[:, 2:] - found.boxes[:, :2]).amin(1)
    if not len(sizes) or found.scores[best := int(sizes.argmax())] < SURE or sizes[best] < MAX_SIDE / 8:
        return None
    return Cutout(name, pixels, found.boxes[best].numpy(), found.landmarks[best].numpy())
