"""The face embedder from people's labels alone: by triplets, or by a softmax with an additive margin.

There to be compared with the one that has a teacher (docs/models/muster-embedder.md has the table), and for collections
large enough not to need one.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from muster.errors import InputError
from muster.tasks.faces import normalised
from muster.tasks.models import face_embedder, yunet
from muster.training import losses, measures
from muster.training.augment import augmented
from muster.training.data.crops import Crops, read_crops
from muster.training.data.examples import PEOPLE_HELD_OUT
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted, seed_of

SETTINGS = Settings(steps=3000, batch=128, learning_rate=1e-3, measure_every=200)
PHOTOS_OF_A_PERSON = 4  # in a batch
MARGIN = 0.2  # of squared distances; FaceNet, section 4
CHANNELS_LAST = torch.channels_last


class _Supervised:
    """What both recipes share. `people`: the rows of each person who has as many photos as it takes."""

    name: str
    least_photos: int

    def __init__(self, inputs: Inputs) -> None:
        crops = read_crops(inputs, yunet.from_published(inputs.weights["yunet-n"]))
        if any(label is None for label in crops.labels):
            raise InputError(
                f"{sum(label is None for label in crops.labels)} of {len(crops.labels)} images have no label, and"
                f" {self.name} needs them: name their column with `label`, or put each person's photos into a folder"
            )
        self.crops, self.measured = crops.training, crops.measured
        rows_of = _rows_by_label(self.crops)
        self.people = [rows for rows in rows_of.values() if len(rows) >= self.least_photos]
        self.single = [rows[0] for rows in rows_of.values() if len(rows) < self.least_photos]
        if len(self.people) < 2:
            raise InputError(
                f"{len(self.people)} people have {self.least_photos} photos or more, {len(self.single)} have fewer:"
                f" {self.name} needs at least 2 people with so many"
            )
        self.settings = adjusted(SETTINGS, inputs, len(self.crops.names))
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def _batch(self, rows: torch.Tensor, random: torch.Generator) -> dict[str, Any]:
        images = augmented(self.crops.pixels[rows].to(random.device), random, 0.0)
        crops = normalised((images * 255).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        names = [self.crops.names[row] for row in rows.tolist()]
        return {"crops": crops.contiguous(memory_format=CHANNELS_LAST), "names": names}

    def measure(self, network: nn.Module) -> dict[str, float]:
        return measures.embedder(_embedder(network), self.measured)

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        return _embedder(network).state_dict()

    def card(self) -> dict[str, Any]:
        return {
            "kind": f"face embedder, from labels: {type(self).__doc__}",
            "photos": len(self.crops.names),
            "people": len(self.people),
            "people_with_fewer_photos": len(self.single),
            "held_out": {"share_of_people": PEOPLE_HELD_OUT, "photos": len(self.measured.names)},
        }


def _embedder(network: nn.Module) -> face_embedder.FaceEmbedder:
    found = network.embedder if isinstance(network, _WithPeople) else network
    assert isinstance(found, face_embedder.FaceEmbedder)
    return found


def _rows_by_label(crops: Crops) -> dict[str, list[int]]:
    rows_of: dict[str, list[int]] = {}
    for row, label in enumerate(crops.labels):
        rows_of.setdefault(str(label), []).append(row)
    return rows_of


class _Triplet(_Supervised):
    """triplets, semi-hard in the first half of the steps and hard in the second."""

    name = "embedder-triplet"
    least_photos = 2

    def network(self) -> nn.Module:
        return face_embedder.FaceEmbedder()

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        """People with at least two photos, up to four of each; a quarter are people with one, as negatives."""
        random = np.random.default_rng(seed_of(self.settings.seed, step, rank))
        size = self.settings.batch // ranks
        alone = min(size // 4, len(self.single))
        rows: list[int] = list(random.choice(self.single, alone, replace=False)) if alone else []
        labels = list(range(-1, -alone - 1, -1))
        for person in random.permutation(len(self.people)):
            chosen = random.permutation(self.people[person])[: min(PHOTOS_OF_A_PERSON, size - len(rows))]
            rows += chosen.tolist()
            labels += [int(person)] * len(chosen)
            if len(rows) >= size:
                break
        generator = torch.Generator(self.device).manual_seed(seed_of(self.settings.seed, step, rank, 1))
        batch = self._batch(torch.tensor(rows), generator)
        return batch | {"labels": torch.tensor(labels), "hard": step >= self.settings.steps // 2}

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        value, counted = losses.triplet(network(batch["crops"]), batch["labels"], MARGIN, batch["hard"])
        return {"loss": value, "triplets": torch.tensor(float(counted))}


class _WithPeople(nn.Module):
    """The embedder with a learned vector per person, which is only for training."""

    def __init__(self, people: int) -> None:
        super().__init__()
        self.embedder = face_embedder.FaceEmbedder()
        self.people = nn.Parameter(torch.randn(people, face_embedder.DIMENSIONS))

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.embedder(crops), self.people


class _Margin(_Supervised):
    """a softmax over people with an additive margin."""

    name = "embedder-margin"
    least_photos = 2  # a class of one photo teaches only what augmentation already does

    def network(self) -> nn.Module:
        return _WithPeople(len(self.people))

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        """Photos of people drawn evenly, so that nobody with hundreds of photos fills it."""
        random = np.random.default_rng(seed_of(self.settings.seed, step, rank))
        labels = random.integers(len(self.people), size=self.settings.batch // ranks)
        rows = torch.tensor([int(random.choice(self.people[label])) for label in labels])
        generator = torch.Generator(self.device).manual_seed(seed_of(self.settings.seed, step, rank, 1))
        return self._batch(rows, generator) | {"labels": torch.from_numpy(labels)}

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        embeddings, people = network(batch["crops"])
        return {"loss": losses.additive_margin_softmax(embeddings, people, batch["labels"])}


def build_triplet(inputs: Inputs) -> Recipe:
    return _Triplet(inputs)


def build_margin(inputs: Inputs) -> Recipe:
    return _Margin(inputs)
