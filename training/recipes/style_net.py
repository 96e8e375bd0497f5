"""A network that paints photos in the style of one picture: Johnson et al., 2016 (muster.tasks.models.style_net).

What it is taught is what `Transfer` descends: the cost of the picture that it makes of a photo, by the same objective
and network (muster.tasks.models.style_costs), of photos of any kind, without labels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from muster.arrays import Pixels
from muster.colour import in_srgb
from muster.errors import InputError
from muster.storage.photos.picture import read_picture
from muster.tasks.models import classifiers, style_costs
from muster.tasks.models.style_costs import Costs, Maps, Objective, gram
from muster.tasks.models.style_net import StyleNet
from muster.tasks.models.zoo.style import LAYERS
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted, seed_of
from muster.training.recipes import features

TEACHER = "squeezenet"
ALPHA = 0.05  # of the content; beta is 1
SETTINGS = Settings(
    steps=1300, batch=2, learning_rate=3e-3, weight_decay=0.0, average=0.99, clip=1.0, measure_every=250
)
SIDE = 128  # pixels of the views of photos that it learns from
STYLE_SIDE = 384  # longest side of the picture of the style, pixels: how large its strokes are
MEASURED = 16  # photos


class StyleNetRecipe:
    name = "style-net"

    def __init__(self, inputs: Inputs) -> None:
        if not inputs.styles:
            raise InputError(f"recipe {self.name} learns a style: name a picture of it with `styles`")
        pictures = [read_picture("styles", name, STYLE_SIDE, style_costs.LEAST) for name in inputs.styles]
        photos = features.read(inputs)
        self.photos = [photo for photo in photos if not photo.held_out] or photos
        self.measured = ([photo for photo in photos if photo.held_out] or photos)[:MEASURED]
        self.settings = adjusted(SETTINGS, inputs, len(self.photos))
        self.chances = features.chances([photo.source for photo in self.photos])
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        content, layers = LAYERS[TEACHER]
        self.recipe = style_costs.Recipe(ALPHA, 1.0, content, dict.fromkeys(layers, 1.0))
        self.maps = Maps(classifiers.squeezenet(inputs.weights[TEACHER]).to(self.device), [content, *layers])
        self.styles = [picture.sha256 for picture in pictures]
        with torch.no_grad():
            found = [self.maps(_tensor([in_srgb(p.pixels, p.profile)]).to(self.device)) for p in pictures]
        self.aims = {name: torch.stack([gram(maps[name]) for maps in found]).mean(0) for name in layers}

    def network(self) -> nn.Module:
        return StyleNet()

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        seed = seed_of(self.settings.seed, step)
        random = torch.Generator().manual_seed(seed)
        rows = torch.multinomial(self.chances, self.settings.batch, replacement=True, generator=random).tolist()
        draw = np.random.default_rng(seed)
        views = [features.view(self.photos[row].pixels, draw, SIDE) for row in rows]
        return {"photos": _tensor(views[rank::ranks]), "names": [self.photos[row].name for row in rows[rank::ranks]]}

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        photos = batch["photos"].contiguous(memory_format=torch.channels_last)
        return self._costs(photos, network(photos))

    @torch.no_grad()
    def measure(self, network: nn.Module) -> dict[str, float]:
        """On the middles of photos kept out: J, and its parts; `photo`: J of the photos as they are."""
        views = _tensor([features.middle_of(photo.pixels, SIDE) for photo in self.measured]).to(self.device)
        painted = self._costs(views, torch.cat([network(view[None]) for view in views]))
        of_photos = self._costs(views, views)
        found = {"cost": painted["loss"], **painted, "photo": of_photos["loss"]}
        return {name: float(value) for name, value in found.items() if name != "loss"}

    def _costs(self, photos: torch.Tensor, pictures: torch.Tensor) -> dict[str, torch.Tensor]:
        """J as `loss`, and its parts, each the mean over the photos; in single precision."""
        found = list[Costs]()
        with torch.autocast(photos.device.type, enabled=False):
            for photo, picture in zip(photos.split(1), pictures.float().split(1), strict=True):
                found.append(Objective(self.maps, self.recipe, photo, self.aims)(picture))
        total, content, layers = (torch.stack(each).mean(0) for each in zip(*found, strict=True))
        return {"loss": total, "content": content, "style": layers.mean()}

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        return network.state_dict()

    def card(self) -> dict[str, Any]:
        return {
            "kind": "photos painted in one style",
            "styles": {"sha256": self.styles, "side": STYLE_SIDE},
            "teacher": f"{TEACHER}, ImageNet: {self.recipe.content}; {', '.join(self.aims)}",
            "photos": len(self.photos),
            "held_out": {"share_of_photos": features.HELD_OUT, "photos": len(self.measured)},
            "loss": f"{ALPHA} × content + style, as muster.tasks.models.style_costs has them",
            "augmentation": f"views of at least {features.LEAST_AREA:.0%} of a photo, mirror",
        }


def build(inputs: Inputs) -> Recipe:
    return StyleNetRecipe(inputs)


def _tensor(pictures: Sequence[Pixels]) -> torch.Tensor:
    """Pictures of one size, uint8 RGB (H, W, 3) → (N, 3, H, W) in 0..1."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
