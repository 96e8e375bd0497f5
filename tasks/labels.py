"""The task `labels`: what a photo shows as a whole. The likeliest few labels, a row each.

They are ImageNet's 1,000 categories, or the classes of a head that was learnt on a network's embeddings: exactly one of
them, or any number.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from muster.arrays import F32
from muster.errors import TaskError
from muster.tasks.base import IMAGE_ID, Findings, Image, Option, StateDict, Task, number, shrink, whole
from muster.tasks.features import BATCH, PhotoEmbedder, shown, side_of
from muster.tasks.models import zoo
from muster.tasks.models.classifiers import Classifier
from muster.tasks.models.fuse import for_inference
from muster.tasks.models.head import Head

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
        "min_score": Option(number(0, 1), "the least probability of a label; below it nothing is said of a photo", 0.3),
        "most": Option(whole(1, 100_000), "labels of a photo at most, the likeliest", 20),
    }
    findings = Findings(noun="label", label="label", score="score")

    def __init__(self, model: str | None = None, min_score: float = 0.3, most: int = 20) -> None:
        self.models = zoo.roles(self.name, model or zoo.DEFAULTS[self.name])
        self.max_side = side_of(self.models["classifier"], self.max_side)
        self.min_score, self.most = min_score, most
        self.own: Any = None  # what runs a network at an address
        self.parameters: Mapping[str, Any] = {"min_score": min_score, "most": most}

    def load(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        entry = zoo.ENTRIES[self.models["classifier"]]
        if entry.run is not None:
            self.own = entry.run(entry.build(weights[entry.name]), device)
            self.categories = self.own.categories
            return
        built = {role: zoo.ENTRIES[entry].build(weights[entry]) for role, entry in self.models.items()}
        classifier = built["classifier"]
        assert isinstance(classifier, Classifier)
        self.device, self.classifier, self.categories = device, classifier, classifier.categories
        if "head" in built:
            self._load_head(built["head"])
        else:  # in single precision everywhere: labels are those of a plain loop over the network, to five digits
            self.network = for_inference(classifier, device, torch.float32)

    def _load_head(self, head: Any) -> None:
        assert isinstance(head, Head)
        if head.base != zoo.original(self.models["classifier"]):
            raise TaskError(
                f"it was learnt on what {head.base} gives, and this model has {self.models['classifier']}: choose"
                " the model of labels that has the former"
            )
        self.head, self.categories = head.eval(), head.classes  # on the CPU: it is tiny
        self.embedder = PhotoEmbedder(self.classifier, self.device)

    def __call__(self, images: Sequence[Image]) -> pa.Table:
        rows = [
            {"image_id": image.image_id, "label": self.categories[i], "label_id": i, "score": score}
            for begin in range(0, len(images), BATCH)
            for image, chances in zip(images[begin:][:BATCH], self.chances(images[begin:][:BATCH]), strict=True)
            for i, score in best(chances, self.min_score, self.most)
        ]
        return pa.Table.from_pylist(rows, SCHEMA)

    @torch.inference_mode()
    def chances(self, images: Sequence[Image]) -> F32:
        """(N, number of categories): how probable each is for each image."""
        if self.own is not None:
            found: F32 = self.own([shrink(image, self.max_side).pixels for image in images])
        elif "head" in self.models:
            found = self.head(torch.from_numpy(self.embedder(images))).numpy()
        else:
            found = self.network(shown(self.classifier, images, self.device)).softmax(1).cpu().numpy()
        return found


def best(chances: F32, least: float, most: int) -> list[tuple[int, float]]:
    """The likeliest categories of a photo with their probabilities, the likeliest first; of equals the first."""
    order = np.argsort(-chances, kind="stable")[:most]
    return [(int(i), score) for i in order if (score := float(chances[i])) >= least]
