"""The task `features`: a photo as a whole, as numbers that are near those of photos alike. One row per photo."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.nn.functional as F  # noqa: N812

from muster.arrays import F32
from muster.tasks.base import IMAGE_ID, Findings, Image, StateDict, Task, inference_dtype, shrink, to_device
from muster.tasks.models import zoo
from muster.tasks.models.classifiers import Classifier, Embedder
from muster.tasks.models.fuse import for_inference

BATCH = 16  # photos at once


def schema(width: int) -> pa.Schema:
    """Of photos whose embeddings have so many numbers."""
    return pa.schema([IMAGE_ID, pa.field("embedding", pa.list_(pa.float32(), width))])


class Features(Task):
    """`schema`: of the default model; a task that was made has that of its own."""

    name = "features"
    version = 1
    schema = schema(zoo.ENTRIES[zoo.MODELS["features"][zoo.DEFAULTS["features"]]["classifier"]].width)
    max_side = 640  # 256 of the shorter side, of photos up to 5:2
    findings = Findings(embedding="embedding", filters=False)

    def __init__(self, model: str | None = None) -> None:
        self.models = zoo.roles(self.name, model or zoo.DEFAULTS[self.name])
        self.schema = schema(zoo.ENTRIES[self.models["classifier"]].width)
        self.max_side = side_of(self.models["classifier"], self.max_side)

    def load(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        entry = zoo.ENTRIES[self.models["classifier"]]
        network = entry.build(weights[entry.name])
        if entry.run is None:
            self.embedder: Callable[[Sequence[Image]], F32] = PhotoEmbedder(network, device)
        else:
            run = entry.run(network, device)
            self.embedder = lambda images: run([shrink(image, self.max_side).pixels for image in images])

    def __call__(self, images: Sequence[Image]) -> pa.Table:
        if not images:
            return self.schema.empty_table()
        numbers = pa.array(self.embedder(images).ravel())
        ids = [image.image_id for image in images]
        kind = self.schema.field("embedding").type
        return pa.table([ids, pa.FixedSizeListArray.from_arrays(numbers, type=kind)], schema=self.schema)


def side_of(entry: str, least: int) -> int:
    """The longest side, in pixels, of the photos that a network is to see: twice what it makes of them, or `least`."""
    return max(least, *(2 * side for side in zoo.ENTRIES[entry].size or (0,)))


class PhotoEmbedder:
    """The embeddings of photos by a classifier, in the precision that is fastest on `device`."""

    def __init__(self, classifier: Any, device: torch.device) -> None:
        assert isinstance(classifier, Classifier)
        self.classifier, self.device, self.dtype = classifier, device, inference_dtype(device)
        self.network = for_inference(Embedder(classifier), device, self.dtype)

    @torch.inference_mode()
    def __call__(self, images: Sequence[Image]) -> F32:
        """(N, D), L2-normalised; all zeros where a network gives nothing else."""
        parts = [self._some(images[begin:][:BATCH]) for begin in range(0, len(images), BATCH)]
        return torch.cat(parts).numpy()

    def _some(self, images: Sequence[Image]) -> torch.Tensor:
        return F.normalize(self.network(shown(self.classifier, images, self.device).to(self.dtype)).float()).cpu()


def shown(classifier: Classifier, images: Sequence[Image], device: torch.device) -> torch.Tensor:
    """What a classifier is shown: (N, 3, side, side), RGB in 0..1, float32, channels-last in memory."""
    side = classifier.side
    squares = np.array([classifier.square(image.pixels) for image in images], np.uint8).reshape(-1, side, side, 3)
    photos = to_device(torch.from_numpy(squares), device).permute(0, 3, 1, 2).float() / 255
    return photos.contiguous(memory_format=torch.channels_last)
