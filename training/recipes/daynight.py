"""Day or night: a small network over thumbnails, from photos in folders named `day` and `night`.

A webcam's frames are nearly one picture, so a third of the cameras is kept out, not of the frames: else the figures
would say how well views are remembered.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.arrays import Pixels
from muster.errors import InputError
from muster.storage.photos.decode import Photo
from muster.tasks.models.daynight import SIDE, DayNight
from muster.tasks.scenes import SceneParameters, Scenes, from_pixels, normalised, thumbnail
from muster.training.augment import lit, uniform
from muster.training.data.examples import Example, find_examples, of_each_label, read_photos
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted, seed_of

SETTINGS = Settings(
    steps=1200, batch=64, learning_rate=2e-3, average=0.99, report_every=50, measure_every=200, checkpoint_seconds=20
)
LABELS = ("night", "day")  # 0 and 1
FOLDS = 3  # of the cameras; one is kept out
WIDE = 96  # pixels of the thumbnails that training crops are cut from
BLENDED, SMOOTHING = 0.3, 0.05  # share of a batch; what is taken from a label's certainty


@dataclass(frozen=True)
class Thumbnails:
    """`wide` (N, 96, 96, 3) and `small` (N, 64, 64, 3): uint8 RGB. `day`: (N,) 0 or 1. `folds`: (N,) 0..2."""

    wide: torch.Tensor
    small: torch.Tensor
    day: torch.Tensor
    names: Sequence[str]
    cameras: Sequence[str]
    folds: torch.Tensor
    by_camera: bool


class DayNightRecipe:
    """Day or night, learnt from two thirds of the cameras and measured on the others."""

    name = "daynight"

    def __init__(self, photos: Thumbnails, settings: Settings, fold: int = 0) -> None:
        """`fold`: the third that is kept out."""
        self.photos, self.settings, self.fold = photos, settings, fold
        self.training = torch.where(photos.folds != fold)[0]
        self.chances = _chances(photos, self.training)

    def network(self) -> nn.Module:
        return DayNight()

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        random = torch.Generator().manual_seed(seed_of(self.settings.seed, step))
        chosen = torch.multinomial(self.chances, self.settings.batch, replacement=True, generator=random)
        rows = self.training[chosen][rank::ranks]
        random.manual_seed(seed_of(self.settings.seed, step, rank + 1))
        images = lit(framed(self.photos.wide[rows].permute(0, 3, 1, 2).float() / 255, random), random).clamp(0, 1)
        images, targets = blended(images, self.photos.day[rows].float(), random)
        names = [self.photos.names[row] for row in rows.tolist()]
        return {"images": images * 2 - 1, "targets": targets * (1 - SMOOTHING) + SMOOTHING / 2, "names": names}

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        return {"loss": F.binary_cross_entropy_with_logits(network(batch["images"]), batch["targets"])}

    @torch.inference_mode()
    def measure(self, network: nn.Module) -> dict[str, float]:
        kept = torch.where(self.photos.folds == self.fold)[0]
        device = next(network.parameters()).device
        chances = network(normalised(self.photos.small[kept].to(device))).sigmoid().cpu()
        return measured(chances, self.photos.day[kept])

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        return network.state_dict()

    def card(self) -> dict[str, Any]:
        photos, kept = self.photos, self.photos.folds == self.fold
        out = sorted({photos.cameras[row] for row in torch.where(kept)[0].tolist()})
        return {
            "kind": "day or night, one sigmoid",
            "photos": {LABELS[day]: int((photos.day == day).sum()) for day in (0, 1)},
            "held_out": {"photos": int(kept.sum()), "cameras": out if photos.by_camera else "cameras not told apart"},
            "loss": f"binary cross-entropy, labels smoothed by {SMOOTHING}",
            "augmentation": f"crops of at least half of each side, mirror, light; {BLENDED:.0%} blends of two photos",
        }


def build(inputs: Inputs) -> Recipe:
    """Raises InputError where the labels are not day and night, or there are too few photos of either."""
    photos = read_thumbnails(inputs)
    return DayNightRecipe(photos, adjusted(SETTINGS, inputs, len(photos.names)))


def read_thumbnails(inputs: Inputs) -> Thumbnails:
    examples = of_each_label(find_examples(inputs.images, inputs.label), inputs.limit)
    check_labels(examples)
    read = list(_thumbnails(read_photos(examples, Scenes.max_side, inputs.on_skipped)))
    check_labels([example for example, *_ in read])
    wide, small = (torch.from_numpy(np.stack(part)) for part in ([r[1] for r in read], [r[2] for r in read]))
    names, cameras = [row[0].name for row in read], [row[3] for row in read]
    day = torch.tensor([LABELS.index(str(row[0].label).lower()) for row in read])
    folds, by_camera = split(cameras, names, day.tolist())
    return Thumbnails(
        wide=wide, small=small, day=day, names=names, cameras=cameras, folds=torch.tensor(folds), by_camera=by_camera
    )


def _thumbnails(photos: Iterable[tuple[Example, Photo]]) -> Iterator[tuple[Example, Pixels, Pixels, str]]:
    for example, photo in photos:
        yield example, thumbnail(photo.pixels, WIDE), thumbnail(photo.pixels, SIDE), signature(photo)


def signature(photo: Photo) -> str:
    """What tells cameras apart: the full size and, where it is written, the camera's name.

    Two cameras may share a signature. Then they are kept out together, which does not flatter the measurement.
    """
    return f"{photo.size[0]}×{photo.size[1]} {photo.camera or ''}".strip()


def check_labels(examples: Sequence[Example]) -> None:
    """Raises InputError, with what was found, unless there are at least three photos labelled day and three night."""
    found = Counter("no label" if e.label is None else e.label for e in examples)
    others = [label for label in found if label.lower() not in LABELS]
    counts = Counter(label.lower() for label in found.elements())
    if others or any(counts[label] < FOLDS for label in LABELS):
        listed = ", ".join(f"{label} ({count})" for label, count in found.most_common(8))
        raise InputError(
            f"this training needs photos labelled day and night, at least {FOLDS} of each, and nothing else; it found"
            f" {listed or 'none'}. Put them in folders of these names, or name a column with `label`"
        )


def split(cameras: Sequence[str], names: Sequence[str], day: Sequence[int]) -> tuple[list[int], bool]:
    """The fold (0..2) of each photo, and whether cameras stay whole.

    Cameras in an order that depends on nothing but their signatures, each into the fold that has the fewest photos so
    far. Where that leaves a fold without day or without night (one camera, say), the photos of each label in turn.
    """
    fold_of: dict[str, int] = {}
    sizes = [0] * FOLDS
    for camera, count in sorted(Counter(cameras).items(), key=lambda item: _digest(item[0])):
        fold_of[camera] = sizes.index(min(sizes))
        sizes[fold_of[camera]] += count
    folds = [fold_of[camera] for camera in cameras]
    if len(set(zip(folds, day, strict=True))) == FOLDS * len(LABELS):
        return folds, True
    order = sorted(range(len(names)), key=lambda row: (day[row], _digest(names[row])))
    for turn, row in enumerate(order):
        folds[row] = turn % FOLDS
    return folds, False


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _chances(photos: Thumbnails, rows: torch.Tensor) -> torch.Tensor:
    """How often each photo is drawn: day as often as night, and of each, every camera as often as the others."""
    groups = [(photos.cameras[row], int(photos.day[row])) for row in rows.tolist()]
    sizes, cameras = Counter(groups), Counter(day for _, day in set(groups))
    return torch.tensor([1 / (sizes[group] * cameras[group[1]]) for group in groups])


def framed(wide: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """(N, 3, 96, 96) → (N, 3, 64, 64): a part of at least half of each side, half of them mirrored."""
    n = len(wide)
    across, down = uniform(n, 0.5, 1, random), uniform(n, 0.5, 1, random)
    x, y = (1 - across) * uniform(n, -1, 1, random), (1 - down) * uniform(n, -1, 1, random)
    mirror, zero = torch.where(uniform(n, 0, 1, random) < 0.5, -1.0, 1.0), torch.zeros(n)
    rows = [torch.stack([across * mirror, zero, x], 1), torch.stack([zero, down, y], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [n, 3, SIDE, SIDE], align_corners=False)
    return F.grid_sample(wide, grid, padding_mode="border", align_corners=False)


def blended(images: torch.Tensor, targets: torch.Tensor, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A share of the images mixed with others, and their targets with theirs, so that what is between is uncertain.

    Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018, equation 1; weights uniform, not of a beta law.
    """
    n = len(images)
    own = torch.where(uniform(n, 0, 1, random) < BLENDED, uniform(n, 0, 1, random), 1.0)
    other = torch.randperm(n, generator=random)
    weight = own.view(n, 1, 1, 1)
    return images * weight + images[other] * (1 - weight), targets * own + targets[other] * (1 - own)


def measured(chances: torch.Tensor, day: torch.Tensor) -> dict[str, float]:
    """Accuracy with the line at 0.5; with the abstain band, shares of the photos and counts by truth and label."""
    parameters = SceneParameters()
    said = [from_pixels(p, parameters) for p in chances.tolist()]
    truth = [LABELS[each] for each in day.tolist()]
    pairs = Counter(zip(truth, said, strict=True))
    sure = [a == b for a, b in zip(truth, said, strict=True) if b is not None]
    return {
        "accuracy": float(((chances >= 0.5) == (day == 1)).float().mean()),
        "accuracy_sure": sum(sure) / max(1, len(sure)),
        "abstained": 1 - len(sure) / len(said),
        **{f"{a}_as_{b or 'none'}": float(pairs[a, b]) for a in LABELS for b in (*LABELS, None)},
    }
