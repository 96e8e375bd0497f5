"""What a network makes of one picture, stage by stage, and the filters that it begins with: as numbers to draw.

The order and the names are those of the network's graph: convolution, activation, pooling, and what puts branches
together, down to the scores.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import fx, nn

from muster.arrays import F32, U8
from muster.tasks.models.fields import ACTIVATIONS, name_of
from muster.tasks.models.fuse import traced

_KINDS: tuple[tuple[type[nn.Module], str], ...] = (
    (nn.Conv2d, "convolution"),
    (nn.BatchNorm2d, "batch norm"),
    (nn.MaxPool2d, "max pooling"),
    (nn.AvgPool2d, "average pooling"),
    (nn.AdaptiveAvgPool2d, "average of everything"),
    (nn.Linear, "fully connected"),
    (nn.Upsample, "enlarged"),
)
_FUNCTIONS = {
    "add": "sum",
    "cat": "put behind each other",
    "interpolate": "enlarged",
    "mean": "average",
    "mul": "product",
    "relu": "ReLU",
}
_NOTHING = (nn.Dropout, nn.Identity, nn.Flatten)


class Stage(NamedTuple):
    """One step of a network: its name in the graph, what it does, in words, and (C, H, W), of a vector (C, 1, 1)."""

    name: str
    kind: str
    maps: F32


def stages(network: nn.Module, picture: torch.Tensor) -> Iterator[Stage]:
    """`picture`: (1, 3, H, W) as the network takes it, on its device."""
    graph = traced(network)
    for each in graph.modules():
        if hasattr(each, "inplace"):
            setattr(each, "inplace", False)  # noqa: B010 - what came before it is a stage too
    run = _Values(graph)
    with torch.inference_mode():
        run.run(picture)
    for node, value in run.found:
        module = run.module.get_submodule(str(node.target)) if node.op == "call_module" else None
        kind = step(module) if module is not None else _FUNCTIONS.get(name_of(node), "")
        if kind:
            maps = value[0].float().cpu().numpy().reshape(value.shape[1], *(*value.shape[2:], 1, 1)[:2])
            yield Stage(node.name if module is None else str(node.target), kind, maps)


class _Values(fx.Interpreter):
    module: fx.GraphModule

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.found: list[tuple[fx.Node, torch.Tensor]] = []

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op.startswith("call") and isinstance(value, torch.Tensor) and value.dim() in (2, 4):
            self.found.append((n, value))
        return value


def step(module: nn.Module) -> str:
    """What a module does, in words: "convolution 3×3, stride 2"; empty for one that changes no values."""
    return f"{_of_module(module)} {_about(module)}".strip()


def _of_module(module: nn.Module) -> str:
    if isinstance(module, _NOTHING):
        return ""
    return next((kind for types, kind in _KINDS if isinstance(module, types)), type(module).__name__)


def _about(module: Any) -> str:
    if isinstance(module, ACTIVATIONS) or not hasattr(module, "kernel_size"):
        return ""
    kernel, stride = (each if isinstance(each, tuple) else (each, each) for each in (module.kernel_size, module.stride))
    return f"{kernel[0]}×{kernel[1]}" + (f", stride {stride[0]}" if stride[0] > 1 else "")


def first_filters(network: nn.Module, normalised: Callable[[U8], torch.Tensor]) -> F32:
    """The filters of the first convolution as they look at photos: (units, height, width, 3), red, green, blue; each in
    -1..1, its greatest number -1 or 1. Empty where it looks at no colours.

    `normalised`: a photo, uint8 RGB (H, W, 3) → what the network is shown, (1, 3, h, w), by any affine map of colours.
    """
    first = next((module for module in network.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None or first.in_channels != 3 or first.groups != 1:
        return np.empty((0, 1, 1, 3), np.float32)
    colours = np.concatenate([np.zeros((1, 3)), np.eye(3)]) * 255
    shown = [normalised(np.full((64, 64, 3), colour, np.uint8)) for colour in colours]
    black, *primary = (each[0, :, 0, 0].double() for each in shown)
    to_input = torch.stack([each - black for each in primary], 1)  # (channels of the input, red green blue)
    filters = torch.einsum("uchw,cr->uhwr", first.weight.detach().double().cpu(), to_input.cpu())
    return (filters / filters.abs().amax((1, 2, 3), keepdim=True).clamp(1e-12)).float().numpy()
