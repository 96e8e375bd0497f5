"""Features of photos, taught by SqueezeNet: any photos, no labels.

The teacher is the expensive half of a step, so views of photos come in pools: each is cut out, changed, mixed with
another and shown to the teacher once, and to the student USES times. Both see the very same view, however far from a
photograph it is: Beyer et al., Knowledge distillation: A good teacher is patient and consistent, CVPR 2022, section 3.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import nn

from muster.arrays import Pixels
from muster.errors import InputError
from muster.tasks.base import inference_dtype
from muster.tasks.models import classifiers
from muster.tasks.models.features import SIDE, WIDTH, Features
from muster.tasks.models.fuse import for_inference
from muster.training import losses
from muster.training.augment import lit, uniform
from muster.training.data.examples import TRAIN, Example, find_examples, held_out, read_photos
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted, seed_of

SETTINGS = Settings(steps=20_000, batch=128, learning_rate=2e-3, average=0.999, measure_every=1000)
KEPT = 192  # pixels of the shorter side of photos, as they are kept in memory
POOL, USES = 2048, 4
AT_ONCE = 32  # views shown to the teacher together
HELD_OUT = 0.25  # of the photos: whatever is measured of features is measured on these
LEAST_AREA = 0.1  # of a photo, that a view shows
MIXED = 0.3  # share of views that are two photos
TEMPERATURE = 2.0
MAPS_WEIGHT = 2.0
TEACHERS = (512, 512)  # channels of its maps
MIDDLE = 11  # of its layers, the first after which maps are taken; at 27×27 places, at the end at 13×13


@dataclass(frozen=True)
class Photo:
    """`pixels`: uint8 RGB (H, W, 3), the shorter side at most KEPT."""

    name: str
    pixels: Pixels
    source: str
    held_out: bool


class Teacher(nn.Module):
    """SqueezeNet's logits, and its maps further up and at its end, at the places of the student's."""

    def __init__(self, squeezenet: classifiers.Classifier) -> None:
        super().__init__()
        layers = list(squeezenet.network.get_submodule("features").children())
        self.squeezenet, self.middle, self.end = (
            squeezenet,
            nn.Sequential(*layers[:MIDDLE]),
            nn.Sequential(*layers[MIDDLE:]),
        )
        self.classifier = squeezenet.network.get_submodule("classifier")

    def forward(self, views: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        side = self.squeezenet.side
        views = F.interpolate(views, (side, side), mode="bilinear", align_corners=False)
        middle = self.middle(self.squeezenet.normalised(views))
        end = self.end(middle)
        logits = self.classifier(end).flatten(1)
        return logits, F.adaptive_avg_pool2d(middle, SIDE // 16), F.adaptive_avg_pool2d(end, SIDE // 32)


class Student(nn.Module):
    """The network with projections of its maps onto the teacher's, which are only for training."""

    def __init__(self) -> None:
        super().__init__()
        self.features = Features()
        self.projections = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 1) for inputs, outputs in zip((192, WIDTH), TEACHERS, strict=True)
        )

    def forward(self, views: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        maps = self.features.maps(views)
        logits = self.features.head(maps[1].mean((2, 3)))
        return logits, [project(each) for project, each in zip(self.projections, maps, strict=True)]


class Distillation:
    name = "features"

    def __init__(self, inputs: Inputs) -> None:
        photos = read(inputs)
        self.photos = [photo for photo in photos if not photo.held_out] or photos
        self.measured = [photo for photo in photos if photo.held_out] or photos[:1]
        self.settings = adjusted(SETTINGS, inputs, len(self.photos))
        self.chances = chances([photo.source for photo in self.photos])
        self.pool_size = max(self.settings.batch, POOL // self.settings.batch * self.settings.batch)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = inference_dtype(self.device)
        teacher = Teacher(classifiers.squeezenet(inputs.weights["squeezenet"]))
        self.teacher = for_inference(teacher, self.device, self.dtype)
        self.pool: tuple[int, dict[str, torch.Tensor], list[str]] = (-1, {}, [])

    def network(self) -> nn.Module:
        return Student()

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        steps = self.pool_size * USES // self.settings.batch
        number, within = divmod(step, steps)
        if self.pool[0] != number:
            self.pool = (number, *self._make_pool(number))
        random = torch.Generator().manual_seed(seed_of(self.settings.seed, number, 1))
        order = torch.cat([torch.randperm(self.pool_size, generator=random) for _ in range(USES)])
        rows = order[within * self.settings.batch :][: self.settings.batch][rank::ranks]
        names = [self.pool[2][row] for row in rows.tolist()]
        taken = {name: value[rows.to(value.device)].float() for name, value in self.pool[1].items()}
        taken["views"] = shown(taken["views"])
        return {**taken, "names": names}

    def _make_pool(self, number: int) -> tuple[dict[str, torch.Tensor], list[str]]:
        seed = seed_of(self.settings.seed, number, 0)
        random = torch.Generator().manual_seed(seed)
        rows = torch.multinomial(self.chances, self.pool_size, replacement=True, generator=random).tolist()
        draw = np.random.default_rng(seed)
        cut = np.stack([view(self.photos[row].pixels, draw) for row in rows])
        parts = [self._taught(torch.from_numpy(some), random) for some in np.array_split(cut, -(-len(cut) // AT_ONCE))]
        pool = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return pool, [self.photos[row].name for row in rows]

    @torch.no_grad()
    def _taught(self, cut: torch.Tensor, random: torch.Generator) -> dict[str, torch.Tensor]:
        """Views (N, S, S, 3), uint8, changed; and what the teacher says of them."""
        views = mixed(lit(cut.permute(0, 3, 1, 2).float() / 255, random), random)
        views = (views.clamp(0, 1) * 255).round().to(torch.uint8)
        logits, middle, end = self.teacher((views.to(self.device) / 255).to(self.dtype))
        return {"views": views, "logits": logits.half(), "middle": middle.half(), "end": end.half()}

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        logits, maps = network(batch["views"].contiguous(memory_format=torch.channels_last))
        said = losses.softened(logits, batch["logits"], TEMPERATURE)
        places = losses.map_distillation(maps[0], batch["middle"]) + losses.map_distillation(maps[1], batch["end"])
        return {"loss": said + MAPS_WEIGHT * places, "said": said, "places": places}

    @torch.inference_mode()
    def measure(self, network: nn.Module) -> dict[str, float]:
        """On the middles of photos kept out: how often the first category is the teacher's, and how near maps are."""
        assert isinstance(network, Student)
        device = next(network.parameters()).device
        same, near = [], []
        for begin in range(0, len(self.measured), AT_ONCE):
            photos = self.measured[begin : begin + AT_ONCE]
            views = torch.from_numpy(np.stack([middle_of(photo.pixels) for photo in photos])).permute(0, 3, 1, 2)
            logits, _, end = self.teacher((views.to(self.device) / 255).to(self.dtype))
            own, maps = network(shown(views.to(device).float()))
            same.append(own.argmax(1).cpu() == logits.argmax(1).cpu())
            near.append(F.cosine_similarity(maps[1].float().cpu(), end.float().cpu()).mean((1, 2)))
        return {"same_category": float(torch.cat(same).float().mean()), "maps": float(torch.cat(near).mean())}

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        assert isinstance(network, Student)
        return network.features.state_dict()

    def card(self) -> dict[str, Any]:
        return {
            "kind": "features of photos, distilled",
            "teacher": "squeezenet, ImageNet",
            "photos": len(self.photos),
            "held_out": {"share_of_photos": HELD_OUT, "photos": len(self.measured)},
            "loss": f"soft cross-entropy at temperature {TEMPERATURE}; {MAPS_WEIGHT} × cosine of maps at two depths",
            "augmentation": f"views of at least {LEAST_AREA:.0%} of a photo, mirror, light; {MIXED:.0%} mixed",
            "pools": f"of {self.pool_size} views, each used {USES} times",
        }


def build(inputs: Inputs) -> Recipe:
    return Distillation(inputs)


def read(inputs: Inputs) -> list[Photo]:
    """Raises InputError where fewer than two photos can be read."""
    examples = find_examples(inputs.images, inputs.label, inputs.limit)
    found = [
        Photo(example.name, small(photo.pixels), example.source, kept_out(example, inputs))
        for example, photo in read_photos(examples, 4 * KEPT, inputs.on_skipped)
    ]
    if len(found) < 2:
        raise InputError(f"{len(found)} of {len(examples)} photos can be read: this training needs at least 2")
    return found


def kept_out(example: Example, inputs: Inputs) -> bool:
    """Whether a photo is not learnt from: as its table says in a column `split`, and a share by name; by that of the
    person where a column names them, so that whoever is kept out of other trainings is kept out of this."""
    whose = (example.label if inputs.label else None) or example.name
    return example.split not in (None, TRAIN) or held_out(whose, HELD_OUT)


def small(pixels: Pixels) -> Pixels:
    """A copy, its shorter side made KEPT pixels long where it is longer; of one that is long and narrow, its middle."""
    height, width = pixels.shape[:2]
    least = min(height, width)
    top, left = (max(0, (each - 3 * least) // 2) for each in (height, width))
    box = (left, top, width - left, height - top)
    scale = min(1.0, KEPT / least)
    size = (max(1, round((box[2] - left) * scale)), max(1, round((box[3] - top) * scale)))
    return np.array(Image.fromarray(pixels).resize(size, Image.Resampling.BOX, box))


def chances(sources: Sequence[str]) -> torch.Tensor:
    """How often each photo is drawn: of a source with 16 times as many photos, twice as many are."""
    counts = Counter(sources)
    return torch.tensor([counts[source] ** -0.75 for source in sources])


def view(pixels: Pixels, draw: np.random.Generator, size: int = SIDE) -> Pixels:
    """(size, size, 3): a part of a photo of any place, size and nearly any shape, half of them mirrored."""
    height, width = pixels.shape[:2]
    area, ratio = draw.uniform(LEAST_AREA, 1) * height * width, np.exp(draw.uniform(-0.3, 0.3))
    across, down = min(width, (area * ratio) ** 0.5), min(height, (area / ratio) ** 0.5)
    left, top = draw.uniform(0, width - across), draw.uniform(0, height - down)
    box = (left, top, left + across, top + down)
    found = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box))
    return found[:, ::-1] if draw.random() < 0.5 else found


def middle_of(pixels: Pixels, size: int = SIDE) -> Pixels:
    """(size, size, 3): the largest square in the middle of a photo."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR, box))


def mixed(views: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """A share MIXED of them blended with another."""
    own = torch.where(uniform(len(views), 0, 1, random) < MIXED, uniform(len(views), 0.2, 0.8, random), 1.0)
    weight = own.view(-1, 1, 1, 1)
    return views * weight + views[torch.randperm(len(views), generator=random)] * (1 - weight)


def shown(views: torch.Tensor) -> torch.Tensor:
    """RGB in 0..255 → as the network is shown it: -1..1."""
    return views / 127.5 - 1
