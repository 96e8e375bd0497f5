"""The face embedder, taught by the published one: it learns to give what its teacher gives for the same crop.

The teacher is the expensive half of a step, so crops come in pools: each is augmented and shown to the teacher once,
with its mirror image, and to the student USES times, upright and mirrored. The student learns the average of the
teacher's two views from either, and so needs only one view itself.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.tasks.base import inference_dtype
from muster.tasks.faces import normalised
from muster.tasks.models import face_embedder, mobilefacenet, yunet
from muster.tasks.models.fuse import for_inference
from muster.training import losses, measures
from muster.training.augment import augmented
from muster.training.data.crops import MARGIN, read_crops
from muster.training.data.examples import PEOPLE_HELD_OUT
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted, seed_of

SETTINGS = Settings(steps=13500, batch=256, learning_rate=2e-3, average=0.999, measure_every=1000)
POOL = 3072  # crops of a pool, at most
USES = 4
AT_ONCE = {"cpu": 64, "cuda": 1024}  # crops shown to the teacher together
MAPS_WEIGHT = 0.5
MIXED = 0.5  # share of crops that are faces of nobody, at first; towards the end there are only faces of somebody


class _Teacher(nn.Module):
    """Embedding and the maps (N, 128, 7, 7) it comes from."""

    def __init__(self, network: mobilefacenet.MobileFaceNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        net = self.network
        maps = net.features(net.dw_conv(net.conv1(crops)))
        return net.bn(net.conv3(net.gdconv(net.conv2(maps)))).flatten(1), maps


class _Student(nn.Module):
    """The embedder with a projection of its maps onto the teacher's, which is only for training."""

    def __init__(self) -> None:
        super().__init__()
        self.embedder = face_embedder.FaceEmbedder()
        self.projection = nn.Conv2d(256, 128, 1)

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.embedder.maps(crops)
        return self.embedder.head(maps.flatten(1)), self.projection(maps)


def to_window(maps: torch.Tensor) -> torch.Tensor:
    """The teacher's maps (N, C, 7, 7) at the places of the student's (N, C, 6, 6).

    Both have a stride of 16 pixels. The student's window begins at (8, 16), half a cell right and one cell down.
    """
    return F.avg_pool2d(maps[:, :, 1:], (1, 2), stride=1)


class _Distillation:
    name = "embedder"

    def __init__(self, inputs: Inputs) -> None:
        crops = read_crops(inputs, yunet.from_published(inputs.weights["yunet-n"]))
        self.crops, self.measured = crops.training, crops.measured
        self.settings = adjusted(SETTINGS, inputs, len(self.crops.names))
        self.pool_size = min(POOL, max(len(self.crops.names), self.settings.batch))
        self.steps_a_pool = self.pool_size * USES // self.settings.batch
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        teacher = _Teacher(mobilefacenet.from_published(inputs.weights["mobilefacenet"]))
        self.device, self.dtype = device, inference_dtype(device)
        self.teacher = for_inference(teacher, device, self.dtype)
        self.pool: tuple[int, dict[str, torch.Tensor], list[str]] = (-1, {}, [])

    def network(self) -> nn.Module:
        return _Student()

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        number, within = divmod(step, self.steps_a_pool)
        if self.pool[0] != number:
            self.pool = (number, *self._make_pool(number))
        random = torch.Generator().manual_seed(seed_of(self.settings.seed, number, 1))
        order = torch.cat([torch.randperm(2 * self.pool_size, generator=random) for _ in range(USES // 2)])
        chosen = order[within * self.settings.batch :][: self.settings.batch][rank::ranks]
        names = [self.pool[2][row] for row in (chosen % self.pool_size).tolist()]
        chosen = chosen.to(self.device)
        rows, mirror = chosen % self.pool_size, (chosen >= self.pool_size).view(-1, 1, 1, 1)
        crops = normalised(self.pool[1]["crops"][rows]).permute(0, 3, 1, 2)
        crops = torch.where(mirror, crops.flip(3), crops).contiguous(memory_format=torch.channels_last)
        maps = torch.where(mirror, self.pool[1]["mirrored_maps"][rows], self.pool[1]["maps"][rows])
        return {"crops": crops, "embeddings": self.pool[1]["embeddings"][rows], "maps": maps, "names": names}

    @torch.no_grad()
    def _make_pool(self, number: int) -> tuple[dict[str, torch.Tensor], list[str]]:
        seed = seed_of(self.settings.seed, number, 0)
        order, random = torch.Generator().manual_seed(seed), torch.Generator(self.device).manual_seed(seed)
        photos = len(self.crops.names)
        rows = torch.cat([torch.randperm(photos, generator=order) for _ in range(-(-self.pool_size // photos))])
        rows = rows[: self.pool_size]
        mixed = MIXED * max(0.0, 1 - number * self.steps_a_pool / self.settings.steps)
        parts: dict[str, list[torch.Tensor]] = {"crops": [], "embeddings": [], "maps": [], "mirrored_maps": []}
        for chosen in rows.split(AT_ONCE[self.device.type]):
            images = augmented(self.crops.pixels[chosen].to(self.device), random, mixed)
            crops = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
            upright = normalised(crops).permute(0, 3, 1, 2).to(self.dtype)
            one, maps = self.teacher(upright.contiguous(memory_format=torch.channels_last))
            other, mirrored = self.teacher(upright.flip(3).contiguous(memory_format=torch.channels_last))
            parts["crops"].append(crops.contiguous())
            parts["embeddings"].append(F.normalize(F.normalize(one.float()) + F.normalize(other.float())))
            parts["maps"].append(to_window(maps.float()).half())
            parts["mirrored_maps"].append(to_window(mirrored.float()).half())
        return {k: torch.cat(v) for k, v in parts.items()}, [self.crops.names[row] for row in rows.tolist()]

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        embeddings, maps = network(batch["crops"])
        embedding = losses.distillation(embeddings, batch["embeddings"])
        places = losses.map_distillation(maps, batch["maps"])
        return {"loss": embedding + MAPS_WEIGHT * places, "embedding": embedding, "maps": places}

    def measure(self, network: nn.Module) -> dict[str, float]:
        assert isinstance(network, _Student)
        return measures.embedder(network.embedder, self.measured)

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        assert isinstance(network, _Student)
        return network.embedder.state_dict()

    def card(self) -> dict[str, Any]:
        return {
            "kind": "face embedder, distilled",
            "teacher": "mobilefacenet, averaged over a crop and its mirror image",
            "photos": len(self.crops.names),
            "people": len(set(self.crops.labels)),
            "held_out": {"share_of_people": PEOPLE_HELD_OUT, "photos": len(self.measured.names)},
            "loss": f"1 - cosine and similarity matrix; {MAPS_WEIGHT} × cosine of the last maps",
            "augmentation": f"place (margin {MARGIN}), light, focus, noise, cover; bent, and two faces mixed",
            "pools": f"of {self.pool_size} crops, each used {USES} times",
        }


def build(inputs: Inputs) -> Recipe:
    return _Distillation(inputs)
