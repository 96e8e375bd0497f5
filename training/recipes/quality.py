"""Which faces can be recognised: learnt from faces that were recognised or were not, and from what is no face.

A face counts as recognised where its person comes first among everybody with several photos, above the score that one
stranger in a hundred reaches; so the quality is the chance of that. Finds outside every person are never recognised.
With the weights come strangers: means of at least `LEAST_TOGETHER` people's faces, or of as many things, for
`muster.tasks.people.graph` to tell where faces lie close together.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import faiss
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.errors import InputError
from muster.tasks.faces import Faces
from muster.tasks.models.face_quality import FaceQuality
from muster.tasks.people.graph import lookalikes
from muster.training.data.examples import PEOPLE_HELD_OUT
from muster.training.data.found_faces import NEEDED, Known, NoFaces, read_known, read_scenes
from muster.training.data.people_in_photos import PHOTOS_HELD_OUT, read_people
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted, seed_of

SETTINGS = Settings(
    steps=3000, batch=256, learning_rate=2e-3, weight_decay=0.05, average=0.995, report_every=100, measure_every=1000
)
NO_FACES = 0.25  # share of a batch
SAME = 0.65  # cosine from which two faces that go into the strangers may be one person's
TOGETHER, LEAST_TOGETHER = 5, 3  # strangers whose mean is one, on average and at least
LOW = 0.25  # quality below which faces start no person, and are never named


class _Quality:
    def __init__(self, inputs: Inputs, model: str) -> None:
        self.name, self.model = f"quality-{model}", model
        if not (inputs.scenes and read_people(inputs)):  # read_scenes says it too, after minutes of looking at photos
            raise InputError(NEEDED)
        task = Faces(model)
        task.load_networks(torch.device("cuda" if torch.cuda.is_available() else "cpu"), inputs.weights)
        self.known, people = read_known(inputs, task)
        self.no_faces, others = read_scenes(inputs, task)
        learnt = torch.from_numpy(~self.no_faces.kept_out)
        things = self.no_faces.finds.embeddings[learnt]
        self.strangers = torch.cat([crowd(apart(torch.cat([people, others]))), crowd(things)])
        self.usual = float(np.median(lookalikes(people.numpy(), self.strangers.numpy())))
        self.settings = adjusted(SETTINGS, inputs, len(self.known.recognised))
        self.faces, self.others = (np.flatnonzero(~part.kept_out) for part in (self.known, self.no_faces))

    def network(self) -> nn.Module:
        network = FaceQuality(*self.strangers.shape)
        signs = torch.cat([self.known.finds.signs[self.faces], self.no_faces.finds.signs[self.others]])
        network.mean.copy_(signs.mean(0))
        network.deviation.copy_(signs.std(0).clamp_min(1e-3))
        network.strangers.copy_(self.strangers)
        network.usual.fill_(self.usual)
        return network

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        random = np.random.default_rng(seed_of(self.settings.seed, step))
        share = round(self.settings.batch * NO_FACES)
        faces = random.choice(self.faces, self.settings.batch - share)[rank::ranks]
        others = random.choice(self.others, share)[rank::ranks]
        signs = torch.cat([self.known.finds.signs[faces], self.no_faces.finds.signs[others]])
        targets = np.concatenate([self.known.recognised[faces], np.zeros(len(others))])
        names = [self.known.names[i] for i in faces] + [self.no_faces.names[i] for i in others]
        return {"signs": signs, "targets": torch.from_numpy(targets).float(), "names": names}

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        logits = network(batch["signs"]).float()
        return {"loss": F.binary_cross_entropy_with_logits(logits, batch["targets"])}

    def measure(self, network: nn.Module) -> dict[str, float]:
        return measured(network, self.known, self.no_faces)

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        return network.state_dict()

    def card(self) -> dict[str, Any]:
        return {
            "kind": f"how likely a face is to be recognised by faces={self.model}",
            "faces": len(self.faces),
            "recognised": round(float(self.known.recognised[self.faces].mean()), 4),
            "no_faces": len(self.others),
            "strangers": len(self.strangers),
            "lookalikes": round(self.usual, 4),
            "held_out": {"share_of_people": PEOPLE_HELD_OUT, "share_of_photos": PHOTOS_HELD_OUT},
            "loss": "binary cross-entropy",
        }


def apart(embeddings: torch.Tensor) -> torch.Tensor:
    """Those of embeddings (M, D) that are less alike than `SAME` to every one before them: a face for each person."""
    alike = embeddings @ embeddings.T >= SAME
    kept = torch.ones(len(embeddings), dtype=torch.bool)
    for row in range(len(embeddings)):
        kept[row] = not (alike[row, :row] & kept[:row]).any()
    return embeddings[kept]


def crowd(embeddings: torch.Tensor) -> torch.Tensor:
    """Means (K, D), L2-normalised, of at least `LEAST_TOGETHER` strangers' faces (M, D) each, by k-means."""
    faces = np.ascontiguousarray(embeddings.numpy())
    model = faiss.Kmeans(
        faces.shape[1], max(1, len(faces) // TOGETHER), niter=15, spherical=True, seed=0, min_points_per_centroid=1
    )
    model.train(faces)
    nearest = model.index.search(faces, 1)[1][:, 0]
    kept = np.bincount(nearest, minlength=model.k) >= LEAST_TOGETHER
    return torch.from_numpy(np.asarray(model.centroids)[kept])


@torch.inference_mode()
def measured(network: nn.Module, known: Known, no_faces: NoFaces) -> dict[str, float]:
    """On people and photos kept out: what share of faces of some quality is recognised, and who is below `LOW`."""
    device = next(network.parameters()).device
    faces, others = (
        network(part.finds.signs.to(device)).sigmoid().cpu().numpy()[part.kept_out] for part in (known, no_faces)
    )
    recognised, plain = known.recognised[known.kept_out], known.plain[known.kept_out]
    figures = {"brier": float(np.square(faces - recognised).mean())}
    for low, high in ((0, 0.1), (0.1, 0.25), (0.25, 0.45), (0.45, 0.55), (0.55, 0.75), (0.75, 0.9), (0.9, 1.01)):
        here = (faces >= low) & (faces < high)
        figures[f"recognised_{low:g}_{min(high, 1):g}"] = float(recognised[here].mean()) if here.any() else float("nan")
    usual = others[no_faces.usual[no_faces.kept_out]]
    for name, values in (("plain", faces[plain]), ("no_faces", others), ("usual_no_faces", usual)):
        figures[f"{name}_below_{LOW}"] = float((values < LOW).mean()) if len(values) else float("nan")
    return figures


def _build(inputs: Inputs, model: str) -> Recipe:
    return _Quality(inputs, model)


build_own = partial(_build, model="own")
build_published = partial(_build, model="published")
