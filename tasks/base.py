"""The contract of a task, the image it is given, and the registry of tasks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import torch
from PIL import Image as PillowImage

from muster.errors import TaskError

StateDict = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Image:
    """One decoded image.

    `pixels`: uint8 RGB, (height, width, 3), upright: EXIF orientation is applied.
    `scale`: decoded side ÷ full side, in (0, 1]. `size`: full upright (width, height) in pixels. `taken_at`: local time
    without zone, as the camera wrote it. `latitude`, `longitude`: decimal degrees, both or neither.
    """

    image_id: str
    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    scale: float
    size: tuple[int, int]
    taken_at: datetime | None = None
    latitude: float | None = None
    longitude: float | None = None


class Task(Protocol):
    """One vision task over images. `name` is also the name of its table.

    `version` counts the changes of code that change rows. `parameters` are the settings that change rows.
    `models` names the weights it needs: role → zoo entry. Together with the weights' digests these make the table's
    fingerprint. `max_side` is the longest image side it needs, in pixels; the worker decodes once, at the largest
    that any of its tasks asks for.
    """

    name: str
    version: int
    schema: pa.Schema
    max_side: int
    models: Mapping[str, str]
    parameters: Mapping[str, Any]

    def load(self, device: torch.device, weights: Mapping[str, StateDict]) -> None:
        """Build the networks on `device`; `weights`: zoo entry name → state dict. Called once, before any image."""

    def __call__(self, images: Sequence[Image]) -> pa.Table:
        """Rows for these images, in their order, with `schema`. Boxes and landmarks in full-size upright pixels."""


F = TypeVar("F", bound=Callable[..., "Task"])
_TASKS: dict[str, Callable[..., Task]] = {}
Options = Mapping[str, Any]  # what a user may choose of a task's parameters, by name; JSON values


def register(factory: F) -> F:
    name = factory.name  # type: ignore[attr-defined]
    if name in _TASKS:
        raise TaskError(f"task {name!r} is registered twice")
    _TASKS[name] = factory
    return factory


def create(name: str, model: str | None = None, options: Options | None = None) -> Task:
    """A task by its name, with one of its models (its default where None); TaskError lists the known names.

    `options`: only for tasks that say in their class attribute `options` which they take.
    """
    if name not in _TASKS:
        raise TaskError(f"no task {name!r}; known: {', '.join(sorted(_TASKS))}")
    return _TASKS[name](model, **(options or {}))


def options_of(name: str) -> tuple[str, ...]:
    """The names of the options that a task takes: its factory's keyword arguments beside the model."""
    return getattr(_TASKS[name], "options", ()) if name in _TASKS else ()


def names() -> list[str]:
    """The names of all registered tasks, sorted."""
    return sorted(_TASKS)


def shrink(image: Image, max_side: int) -> Image:
    """The image with its longest side at most `max_side`; itself where it is small enough."""
    height, width = image.pixels.shape[:2]
    factor = max_side / max(height, width)
    if factor >= 1:
        return image
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = PillowImage.fromarray(image.pixels).resize(size, PillowImage.Resampling.BILINEAR, reducing_gap=2)
    return replace(image, pixels=np.asarray(small), scale=image.scale * max(size) / max(height, width))


def inference_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it natively (AMX or AVX-512-BF16 on CPUs), else float32.

    oneDNN is asked as well as the processor: ONEDNN_MAX_CPU_ISA=AVX2 takes its bf16 away, and torch's slow way out
    takes 14 times as long (a convolution of 64 to 64 channels, 0.227 s in place of 0.016; in float32 it is 0.033 s).
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        cpu = torch.cpu.get_capabilities()
        native = cpu.get("amx_bf16") or cpu.get("avx512_bf16")
        return torch.bfloat16 if native and torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32
    return torch.float32
