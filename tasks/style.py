"""The task `style`: each photo painted anew in the style of other pictures, one row for each.

How: muster.tasks.models.style_transfer, or by a network that has learnt a style, muster.tasks.models.style_net. One
photo takes up to minutes, so that `muster style` gives each a shard of its own (docs/adr/0039-style.md).
"""

import base64
import binascii
import math
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
import torch

from muster.arrays import Pixels
from muster.colour import in_srgb
from muster.errors import TaskError
from muster.tasks.base import IMAGE_ID, Findings, Image, Option, StateDict, Task, number, one_of, shrink, whole
from muster.tasks.models import zoo
from muster.tasks.models.style_costs import LEAST, Recipe
from muster.tasks.models.style_net import Painter, StyleNet
from muster.tasks.models.style_transfer import Painted, Transfer
from muster.tasks.models.zoo.style import LAYERS, MODELS, NET

QUALITY = 92
SECONDS_PER_STEP = 5.0  # that an evaluation at 256 pixels may take: VGG-19 takes 1 on a slow core


# ---- options ---------------------------------------------------------------------------------------------------------


def encoded(pixels: Pixels, sha256: str, weight: float = 1.0) -> dict[str, Any]:
    """A picture as the option `style` takes it, which travels to the workers: uint8 RGB (H, W, 3). `sha256`: of its
    file. ValueError where it is too narrow to have a style."""
    height, width = pixels.shape[:2]
    if min(height, width) < LEAST:
        raise ValueError(f"{width}×{height} pixels: a style needs at least {LEAST} on each side")
    data = base64.b64encode(zlib.compress(np.ascontiguousarray(pixels).tobytes())).decode()
    return {"size": [height, width], "rgb": data, "sha256": sha256, "weight": weight}


def _decoded(style: Mapping[str, Any]) -> Pixels:
    """The pixels that `encoded` was given."""
    height, width = style["size"]
    packed = base64.b64decode(style["rgb"], validate=True)
    data = zlib.decompressobj().decompress(packed, height * width * 3 + 1)  # no more, whatever it would become
    return np.frombuffer(data, np.uint8).reshape(height, width, 3)


def _styles(value: Any) -> list[Any]:
    """Pictures as `encoded` gives them; what is in them is looked at where a task is made."""
    if isinstance(value, str):
        raise ValueError("pictures of style are read by `style`")
    return list(value)


def _pictures(styles: Sequence[Mapping[str, Any]]) -> list[tuple[Pixels, float]]:
    """Pixels and weight of each. TaskError where it is no picture, or too narrow, or its weight not above 0."""
    try:
        found = [(_decoded(each), float(each["weight"])) for each in styles]
        narrow = [pixels.shape for pixels, _ in found if min(pixels.shape[:2]) < LEAST]
    except (KeyError, TypeError, ValueError, binascii.Error, zlib.error):
        raise TaskError("style: give a list of what muster.tasks.style.encoded makes of pictures") from None
    if narrow:
        raise TaskError(f"style: pictures must have at least {LEAST} pixels on each side")
    if not all(0 < weight < math.inf for _, weight in found):
        raise TaskError("style: weights of pictures must be greater than 0")
    return found


def _layers(value: Any) -> dict[str, float]:
    """`features.1,features.4=0.5`, or a mapping of layer → λ."""
    if isinstance(value, str):
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        value = {name.strip(): weight if equals else 1.0 for name, equals, weight in pairs}
    try:
        found = {str(name): float(weight) for name, weight in value.items()}
    except (AttributeError, TypeError, ValueError):
        raise ValueError("give layers as NAME or NAME=WEIGHT, with commas") from None
    if not found or not all(0 < weight < math.inf for weight in found.values()):
        raise ValueError("give at least one layer, with weights greater than 0")
    return found


OPTIONS: Mapping[str, Option] = {
    "style": Option(_styles, "Pictures whose style is taken, with weights."),
    "alpha": Option(number(0, 1e6), "How much the picture is held to the photo.", 0.02),
    "beta": Option(number(0, 1e6), "How much it is held to the style.", 1.0),
    "content": Option(str, "Layer whose maps are the content.", None),
    "layers": Option(_layers, "Layers whose Gram matrices are the style: NAME or NAME=WEIGHT, with commas.", None),
    "side": Option(whole(LEAST, 4096), "Longest side of the pictures, in pixels.", 512),
    "steps": Option(whole(1, 100_000), "Evaluations of the cost and its gradient.", 200),
    "optimiser": Option(one_of("lbfgs", "adam"), "lbfgs or adam.", "lbfgs"),
    "start": Option(one_of("content", "noise"), "Where it begins: content, the photo, or noise.", "content"),
    "colours": Option(
        one_of("style", "photo"), "Whose colours: style, or photo, of which brightness alone changes.", "style"
    ),
    "seed": Option(whole(0, 2**31 - 1), "Of the noise.", 0),
}


# ---- the task --------------------------------------------------------------------------------------------------------


class Style(Task):
    name = "style"
    version = 1
    schema = pa.schema(
        [
            IMAGE_ID,
            pa.field("width", pa.int32()),
            pa.field("height", pa.int32()),
            pa.field("cost", pa.float32()),
            pa.field("content_cost", pa.float32()),
            pa.field("style_cost", pa.float32()),
            pa.field("layer_costs", pa.list_(pa.float32())),
            pa.field("costs", pa.list_(pa.float32())),
            pa.field("steps", pa.int32()),
            pa.field("seconds", pa.float32()),
            pa.field("jpeg", pa.binary()),
        ]
    )
    options = OPTIONS
    findings = Findings(noun="styled photo", filters=False)
    clock = staticmethod(time.monotonic)
    parameters: Mapping[str, Any]

    def __init__(self, model: str | None = None, **options: Any) -> None:
        self.models = zoo.roles(self.name, model or zoo.DEFAULTS[self.name])
        self.learnt = self.models == MODELS[NET]
        if self.learnt:
            self._by_network(**options)
        else:
            self._by_descent(**options)

    def _by_descent(
        self,
        style: Sequence[Mapping[str, Any]] | None = None,
        alpha: float = 0.02,
        beta: float = 1.0,
        content: str | None = None,
        layers: Mapping[str, float] | None = None,
        **settings: Any,
    ) -> None:
        """`settings`: what is left of a Recipe."""
        if not style:
            raise TaskError("task 'style' needs pictures of a style: take `style`, which reads them")
        if not alpha and not beta:
            raise TaskError("style: `alpha` and `beta` are both 0, so that nothing is asked for: give one of them")
        usual_content, usual_layers = LAYERS.get(self.models["network"], (None, None))
        if not (content or usual_content) or not (layers or usual_layers):
            raise TaskError("style: `content` and `layers` must name layers of a network that Muster does not know")
        shares = layers or dict.fromkeys(usual_layers or (), 1.0)
        self.recipe = Recipe(alpha, beta, content or usual_content or "", shares, **settings)
        self.max_side = self.recipe.side
        self.patience = SECONDS_PER_STEP * self.recipe.steps * max(1.0, (self.max_side / 256) ** 2)
        self._pictures = _pictures(style)
        drawn = [{"sha256": str(each["sha256"]), "weight": float(each["weight"])} for each in style]
        self.parameters = {"style": drawn, **vars(self.recipe), "layers": dict(shares)}

    def _by_network(self, side: int = 512, colours: str = "style", **others: Any) -> None:
        """`others`: what a network that has learnt its style cannot be asked for."""
        for name, value in others.items():
            if value not in (None, OPTIONS[name].default):
                text = f"style: a network that has learnt its style takes `side` and `colours`, and no `{name}`"
                raise TaskError(text)
        self.max_side = side
        self.patience = SECONDS_PER_STEP * max(1.0, (side / 256) ** 2)
        self.parameters = {"side": side, "colours": colours}

    def load(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        entry = self.models["network"]
        network = zoo.ENTRIES[entry].build(weights[entry]).to(device)
        if isinstance(network, StyleNet):
            self.painter = Painter(network, device, self.parameters["colours"])
        else:
            self.transfer = Transfer(network, self.recipe, self._pictures)  # type: ignore[arg-type]

    def __call__(self, images: Sequence[Image]) -> pa.Table:
        return pa.Table.from_pylist([self._row(image) for image in images], self.schema)

    def _row(self, image: Image) -> dict[str, Any]:
        begun = self.clock()
        pixels = in_srgb(shrink(image, self.max_side).pixels, image.profile)
        if self.learnt:
            facts = _picture(self.painter(pixels))
            return {"image_id": image.image_id, "seconds": self.clock() - begun, **facts}
        painted = self.transfer(pixels)
        if not math.isfinite(painted.content + painted.style):
            raise TaskError("the cost was never a number: take a smaller `alpha` and `beta`")
        return {"image_id": image.image_id, "seconds": self.clock() - begun, **self._facts(painted)}

    def _facts(self, painted: Painted) -> dict[str, Any]:
        return {
            **_picture(painted.pixels),
            "cost": self.recipe.alpha * painted.content + self.recipe.beta * painted.style,
            "content_cost": painted.content,
            "style_cost": painted.style,
            "layer_costs": painted.layers,
            "costs": painted.curve,
            "steps": len(painted.curve),
        }


def _picture(pixels: Pixels) -> dict[str, Any]:
    jpeg = simplejpeg.encode_jpeg(pixels, quality=QUALITY, colorsubsampling="444")
    return {"width": pixels.shape[1], "height": pixels.shape[0], "jpeg": jpeg}
