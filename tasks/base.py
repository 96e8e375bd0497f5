"""The contract of a task, and the image it is given. docs/plugins.md shows how to write one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from PIL import Image as PillowImage

if TYPE_CHECKING:  # torch takes seconds to import, and a list of names needs none of it
    import torch

StateDict = Mapping[str, "torch.Tensor"]
Options = Mapping[str, Any]  # what a user may choose of a task's parameters, by name; JSON values

# Of a table whose rows were chosen among all images of a shard: where one of those goes, the rest is not the choice
# that would be made among the others, and the shard is processed again.
CHOSEN = {"muster.chosen": "of all images of the shard"}

IMAGE_ID = pa.field("image_id", pa.string(), nullable=False)  # the first column of every table


@dataclass(frozen=True, slots=True)
class Image:
    """One decoded image.

    `pixels`: uint8 RGB, (height, width, 3), upright: EXIF orientation is applied.
    `scale`: decoded side ÷ full side, in (0, 1]. `size`: full upright (width, height) in pixels. `taken_at`: local time
    without zone, as the camera wrote it. `latitude`, `longitude`: decimal degrees, both or neither. `profile`: the
    ICC profile that the pixels are in, None where there is none; networks see them as they are, and what is shown to
    people goes through `muster.colour.in_srgb`. `sha256`: of the file's bytes; None where there is no file.
    """

    image_id: str
    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    scale: float
    size: tuple[int, int]
    taken_at: datetime | None = None
    latitude: float | None = None
    longitude: float | None = None
    profile: bytes | None = None
    sha256: str | None = None


# ---- what a task says of itself --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Option:
    """A parameter of a task that a user may choose, by `--set TASK.NAME=VALUE` or from Python.

    `parse`: a text, or a value as Python has it → the value, as JSON could hold it; ValueError says what is wrong.
    `help`: one line. `default`: what the task is given where the user chose nothing.
    """

    parse: Callable[[Any], Any]
    help: str
    default: Any = None


def number(least: float, most: float) -> Callable[[Any], float]:
    """For `Option.parse`: a number between these, both included."""

    def parse(value: Any) -> float:
        try:
            found = float(value)
        except (TypeError, ValueError):
            found = float("nan")
        if not least <= found <= most:
            raise ValueError(f"give a number from {least:g} to {most:g}")
        return found

    return parse


def whole(least: int, most: int) -> Callable[[Any], int]:
    """For `Option.parse`: a whole number between these, both included."""

    def parse(value: Any) -> int:
        found = number(least, most)(value)
        if found != int(found):
            raise ValueError(f"give a whole number from {least} to {most}")
        return int(found)

    return parse


def one_of(*names: str) -> Callable[[Any], str]:
    """For `Option.parse`: one of these texts."""

    def parse(value: Any) -> str:
        if value not in names:
            raise ValueError(f"give {' or '.join(names)}")
        return str(value)

    return parse


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What the rows of a task mean, as names of their columns: export, overlay, pages, status and counts follow it.

    `noun`: what one row is ("face"); several are called as the task is. Without a column of labels it is the label.
    `label`: text, what is there: one of the task's `classes` where there is a `box` or `mask`; else null where the task
    is not sure. `score`: in 0..1. `box`: four floats, x0, y0, x1, y1, in pixels of the full-size upright image; without
    `box` and `mask` a row is about the whole image. `mask`: text, the counts of COCO's compressed form, in a frame of
    the sizes in the columns `height` and `width`. `landmarks`: lists of x, y, as boxes. `embedding`: a list of as many
    floats as the schema says. `id`: text that names a row for good.

    What follows is for the pages, which let photos be narrowed down by label. `filters`: whether they do by these.
    `phrases`: label → how they say it; the others are "with a LABEL" where there is a box or mask, else as they are.
    `hidden`: rows that have one of these sets of values are left out. `least_scores`: the weights, as a description has
    them (role → name and sha256) → label → the score from which on a row counts, and no label that is not named;
    without it all rows count.
    """

    noun: str = ""
    label: str | None = None
    score: str | None = None
    box: str | None = None
    mask: str | None = None
    landmarks: str | None = None
    embedding: str | None = None
    id: str | None = None
    filters: bool = True
    phrases: Mapping[str, str] = field(default_factory=dict)
    hidden: Sequence[Mapping[str, str]] = ()
    least_scores: Callable[[Mapping[str, Any]], Mapping[str, float]] | None = None

    @property
    def placed(self) -> bool:
        """Whether its rows say where in the image something is, so that they can be exported."""
        return bool(self.box or self.mask)

    @property
    def drawn(self) -> bool:
        """Whether its rows are something to draw."""
        return bool(self.label or self.placed)

    @property
    def columns(self) -> list[str]:
        """All that are named above, but the embedding."""
        frame = ("height", "width") if self.mask else ()
        named = (self.label, self.score, self.box, self.mask, *frame, self.landmarks, self.id)
        return [name for name in named if name]


_NONE: Mapping[str, Any] = MappingProxyType({})


class Task(Protocol):
    """One vision task over images. `name` is also the name of its table. What has a value here may be left out by a
    task that is a subclass.

    `version` counts the changes of code that change rows. `parameters` are the settings that change rows.
    `models` names the weights it needs: role → zoo entry. Together with the weights' digests these make the table's
    fingerprint. `max_side` is the longest image side it needs, in pixels; the worker decodes once, at the largest
    that any of its tasks asks for. `classes`: all labels that its rows may have, of tasks whose rows have labels and
    places. `default_model`: the name under which a user finds the model that it takes by itself, if it has any.
    `patience`: seconds that an image may take before its worker is given up.

    """

    name: str
    version: int
    schema: pa.Schema
    max_side: int
    models: Mapping[str, str] = _NONE
    parameters: Mapping[str, Any] = _NONE
    options: Mapping[str, Option] = _NONE
    findings: Findings = Findings()
    classes: Sequence[str] = ()
    default_model: str | None = None
    patience: float = 5.0

    def __init__(self, model: str | None = None, **options: Any) -> None:
        """`model`: the name of one, None for its default. `options`: a value for each that the task has."""

    def load(self, device: "torch.device", weights: Mapping[str, StateDict]) -> None:
        """Build the networks on `device`; `weights`: zoo entry name → state dict. Called once, before any image."""

    def __call__(self, images: Sequence[Image]) -> pa.Table:
        """Rows for these images, in their order, with `schema`. Boxes and landmarks in full-size upright pixels."""

    def reduced(self, rows: pa.Table) -> pa.Table:
        """What a shard keeps of the rows of several calls: all of them, but for a task that chooses among images.

        The same rows, however they were put together: `reduced` of parts that were reduced is that of the whole. The
        schema of a task that leaves rows out has `CHOSEN` as metadata.
        """
        return rows


# ---- images ----------------------------------------------------------------------------------------------------------


def shrink(image: Image, max_side: int) -> Image:
    """The image with its longest side at most `max_side`; itself where it is small enough."""
    height, width = image.pixels.shape[:2]
    factor = max_side / max(height, width)
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = PillowImage.fromarray(image.pixels).resize(size, PillowImage.Resampling.BILINEAR, reducing_gap=2)
    return replace(image, pixels=np.asarray(small), scale=image.scale * max(size) / max(height, width))


def to_device(pixels: "torch.Tensor", device: "torch.device") -> "torch.Tensor":
    """Pixels as they are, uint8, on the device that is to normalise them: a quarter of what is moved in float32.

    To a GPU by way of pinned memory, which torch keeps for the next ones: nothing waits for the copy but what uses it.
    """
    if device.type != "cuda":
        return pixels.to(device)
    return pixels.pin_memory().to(device, non_blocking=True)


def inference_dtype(device: "torch.device") -> "torch.dtype":
    """bfloat16 where the device multiplies it natively (AMX or AVX-512-BF16 on CPUs), else float32.

    oneDNN is asked as well as the processor. ONEDNN_MAX_CPU_ISA=AVX2 takes its bf16 away, and what torch does instead
    takes 14 times as long (a convolution of 64 to 64 channels: 0.227 s, not 0.016; in float32 it is 0.033 s).
    """
    import torch

    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        cpu = torch.cpu.get_capabilities()
        native = cpu.get("amx_bf16") or cpu.get("avx512_bf16")
        return torch.bfloat16 if native and torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32
    return torch.float32
