"""The task `labels`: what a photo shows as a whole, by ImageNet's 1,000 categories. The likeliest few, a row each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from muster.arrays import F32
from muster.tasks.base import IMAGE_ID, Findings, Image, Option, StateDict, Task, number
from muster.tasks.models import zoo
from muster.tasks.models.classifiers import Classifier
from muster.tasks.models.fuse import for_inference

MOST = 5  # labels of a photo
BATCH = 16  # photos at once

SCHEMA = pa.schema(
    [
        IMAGE_ID,
        pa.field("label", pa.string()),
        pa.field("label_id", pa.int32()),
        pa.field("score", pa.float32()),
    ]
)


class Labels(Task):
    name = "labels"
    version = 1
    schema = SCHEMA
    max_side = 640  # 256 of the shorter side, of photos up to 5:2
    options: Mapping[str, Option] = {
        "min_score": Option(number(0, 1), "the least probability of a label; below it nothing is said of a photo", 0.3)
    }
    findings = Findings(noun="label", label="label", score="score")

    def __init__(self, model: str | None = None, min_score: float = 0.3) -> None:
        self.models = zoo.roles(self.name, model or zoo.DEFAULTS[self.name])
        self.min_score = min_score
        self.parameters: Mapping[str, Any] = {"min_score": min_score, "most": MOST}

    def load(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        entry = self.models["classifier"]
        classifier = zoo.ENTRIES[entry].build(weights[entry])
        assert isinstance(classifier, Classifier)
        self.categories, self.square = classifier.categories, classifier.square
        # In single precision everywhere: labels are those of a plain loop over torchvision's network, to five digits.
        self.network, self.device = for_inference(classifier, device, torch.float32), device

    def __call__(self, images: Sequence[Image]) -> pa.Table:
        rows = [
            {"image_id": image.image_id, "label": self.categories[i], "label_id": i, "score": score}
            for begin in range(0, len(images), BATCH)
            for image, chances in zip(images[begin:][:BATCH], self.chances(images[begin:][:BATCH]), strict=True)
            for i, score in best(chances, self.min_score)
        ]
        return pa.Table.from_pylist(rows, SCHEMA)

    @torch.inference_mode()
    def chances(self, images: Sequence[Image]) -> F32:
        """(N, number of categories): how probable each is for each image."""
        squares = np.stack([self.square(image.pixels) for image in images])
        photos = torch.from_numpy(squares).to(self.device).permute(0, 3, 1, 2).float() / 255
        found: F32 = self.network(photos.contiguous(memory_format=torch.channels_last)).softmax(1).cpu().numpy()
        return found


def best(chances: F32, least: float) -> list[tuple[int, float]]:
    """The likeliest categories of a photo with their probabilities, the likeliest first; of equals the first."""
    order = np.argsort(-chances, kind="stable")[:MOST]
    return [(int(i), score) for i in order if (score := float(chances[i])) >= least]
