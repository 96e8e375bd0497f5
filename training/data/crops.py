"""The aligned face crops that embedders are trained on, with a margin around them for augmentation."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from muster.errors import InputError
from muster.storage.photos.decode import Photo
from muster.tasks.base import inference_dtype
from muster.tasks.faces import Detections, FaceParameters, detect
from muster.tasks.geometry.align import align
from muster.tasks.models.fuse import for_inference
from muster.training.data.examples import Example, OnSkipped, find_examples, person_held_out, read_photos
from muster.training.inputs import Inputs
from muster.training.record import replace_file

MARGIN = 16
CACHE = "crops.npz"


@dataclass(frozen=True)
class Crops:
    """`pixels`: (N, 144, 144, 3) uint8 RGB. `names`, `labels`: of each. `kept_out`: (N,) bool, by person."""

    pixels: torch.Tensor
    names: list[str]
    labels: list[str | None]
    kept_out: np.ndarray[Any, np.dtype[np.bool_]]

    def part(self, rows: Sequence[int] | np.ndarray[Any, Any]) -> "Crops":
        chosen = [int(row) for row in rows]
        return Crops(
            self.pixels[chosen],
            [self.names[i] for i in chosen],
            [self.labels[i] for i in chosen],
            self.kept_out[chosen],
        )

    @property
    def training(self) -> "Crops":
        return self.part(np.flatnonzero(~self.kept_out))

    @property
    def measured(self) -> "Crops":
        return self.part(np.flatnonzero(self.kept_out))


def read_crops(inputs: Inputs, detector: torch.nn.Module) -> Crops:
    """The face nearest the centre of each image; kept in `inputs.out` for the next time.

    An image without a label counts as a person of its own when people are kept out. Raises InputError where no face is
    found at all.
    """
    examples = find_examples(inputs.images, inputs.label, inputs.limit)
    cache = inputs.out / CACHE
    found = _cached(cache, examples)
    if found is None:
        found = _find_crops(examples, detector, inputs.on_skipped)
        if not found[0]:
            raise InputError(f"no face was found in {', '.join(inputs.images)} (images: {len(examples)})")
        _keep(cache, examples, *found)
    rows, pixels = found
    chosen = [examples[row] for row in rows]
    kept_out = np.array([person_held_out(each) for each in chosen], bool)
    if kept_out.all():
        people = ", ".join(sorted({str(e.label) for e in chosen})[:5])
        raise InputError(
            f"all {len(chosen)} faces are of people kept out to measure with ({people}): give more people; a person is"
            " named by the column of `label`, or by the folder"
        )
    return Crops(torch.from_numpy(pixels), [e.name for e in chosen], [e.label for e in chosen], kept_out)


def _find_crops(
    examples: Sequence[Example], detector: torch.nn.Module, on_skipped: OnSkipped
) -> tuple[list[int], np.ndarray[Any, np.dtype[np.uint8]]]:
    device = torch.device("cpu")
    dtype = inference_dtype(device)
    network, parameters = for_inference(detector, device, dtype), FaceParameters()
    position = {id(example): row for row, example in enumerate(examples)}
    rows: list[int] = []
    crops: list[torch.Tensor] = []
    batch: list[tuple[Example, Photo]] = []

    def finish() -> None:
        with torch.inference_mode():
            faces = detect(network, [photo.pixels for _, photo in batch], parameters, device, dtype)
        for (example, photo), found in zip(batch, faces, strict=True):
            if len(found.scores):
                rows.append(position[id(example)])
                crops.append(align([photo.pixels], found.landmarks[[_central(found, photo)]], MARGIN))
            else:
                on_skipped(f"{example.name}: no face found")
        batch.clear()

    for pair in read_photos(examples, parameters.max_side, on_skipped):
        batch.append(pair)
        if len(batch) == 64:
            finish()
    finish()
    return rows, torch.cat(crops).numpy() if crops else np.empty((0, 1, 1, 3), np.uint8)


def _central(found: Detections, photo: Photo) -> int:
    middle = torch.tensor([photo.pixels.shape[1], photo.pixels.shape[0]]) / 2
    return int(((found.boxes[:, :2] + found.boxes[:, 2:]) / 2 - middle).norm(dim=1).argmin())


def _cached(cache: Path, examples: Sequence[Example]) -> tuple[list[int], np.ndarray[Any, np.dtype[np.uint8]]] | None:
    """What an earlier start of this training found in the same images."""
    try:
        with cache.open("rb") as file, np.load(file, allow_pickle=False) as kept:  # np.load leaves a bad file open
            if kept["uris"].tolist() == [example.uri for example in examples]:
                return kept["rows"].tolist(), kept["pixels"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # none yet, or damaged
        pass
    return None


def _keep(
    cache: Path, examples: Sequence[Example], rows: list[int], pixels: np.ndarray[Any, np.dtype[np.uint8]]
) -> None:
    def write(file: IO[bytes]) -> None:
        np.savez(file, uris=np.array([e.uri for e in examples]), rows=np.array(rows), pixels=pixels)

    cache.parent.mkdir(parents=True, exist_ok=True)
    replace_file(cache, write)
