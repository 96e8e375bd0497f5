"""What a user gives to a training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from muster.tasks.base import StateDict


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """`images`: sources as `muster scan` takes them. `label`: their column that says who or what it is; None: the
    folder an image lies in. `labels`: for each source of images, a folder of label images of the same names, or a COCO
    file (segmenters, objects, labels); COCO files that say where people are in the scenes (detector, quality).
    `scenes`: sources of photos to paste faces into (detector), to draw over (localise, and the detectors of scenes), or
    in which to look for what is no face (quality).
    `styles`: pictures whose style is learnt (style-net). `weights`: zoo entry → state dict of the published networks
    the recipe learns from. `out`: the training's folder, where prepared data may be kept. `limit`: take the first so
    many images. `steps`, `rate`, `seed`: in place of the recipe's own. `on_skipped` is told of each image that cannot
    be used. `start`: the folder of an earlier training, to begin with its weights.
    """

    images: Sequence[str]
    out: Path
    label: str | None = None
    labels: Sequence[str] = ()
    scenes: Sequence[str] = ()
    styles: Sequence[str] = ()
    weights: Mapping[str, StateDict] = field(default_factory=dict)
    limit: int | None = None
    steps: int | None = None
    rate: float | None = None
    seed: int | None = None
    start: Path | None = None
    on_skipped: Callable[[str], None] = lambda text: None
