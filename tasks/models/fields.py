"""Receptive fields: which pixels of what goes into a network reach which position of which of its maps.

Followed along the network's graph, axis by axis and channel by channel, from kernels, strides, paddings and dilations:
exact for chains and for branches that meet again, whatever padding and ceil mode do at the border, where a field ends
with the picture. Of a dilated kernel it is the whole span, and a node of a kind that is not known here is taken to see
the whole picture. The arithmetic is that of Araujo, Norris, Sim, Computing Receptive Fields of Convolutional Neural
Networks, Distill 2019, for each position instead of the middle one.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import fx, nn

Ints = np.ndarray[Any, np.dtype[np.int64]]

NONE = 1 << 30  # where no pixel reaches a position, its span is from here to minus here: neutral to min and max


class Span(NamedTuple):
    """Along one axis, the pixels from `low` up to, and without, `high` reach a position: both (channels, positions),
    or (1, positions) where all channels see the same."""

    low: Ints
    high: Ints


class Field(NamedTuple):
    """Of the positions of a map: down, and across."""

    rows: Span
    columns: Span


# Of what goes into a node: the spans along axis 0 (down) or 1 (across), and how many channels each has; the shape of
# what comes out, (1, C, H, W) → the span of that.
_Rule = Callable[[Sequence[Span], Sequence[int], int, Sequence[int]], Span]

ACTIVATIONS = (
    nn.ELU,
    nn.GELU,
    nn.Hardsigmoid,
    nn.Hardswish,
    nn.Hardtanh,  # and ReLU6
    nn.LeakyReLU,
    nn.PReLU,
    nn.ReLU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Tanh,
)
# fmt: off
ACTIVATING = frozenset({  # names of functions and methods
    "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "prelu", "relu", "relu6", "relu_", "sigmoid", "silu",
    "tanh",
})
# fmt: on
_POINTWISE = ACTIVATING | {"clamp", "contiguous", "dropout", "float", "neg"}
_TOGETHER = {"add", "add_", "div", "iadd", "maximum", "minimum", "mul", "mul_", "sub", "truediv"}
_OVER_CHANNELS = {"amax", "softmax"}


def fields(graph: fx.GraphModule, height: int, width: int) -> dict[fx.Node, Field]:
    """The field of each map that a network makes of a picture of this size, (1, C, H, W); (1, C) counts as maps of one
    position.

    `graph`: the network traced, on the device "meta", where only shapes are computed.
    """
    found = shapes(graph, height, width)
    known: dict[fx.Node, Field] = {}
    for node, shape in found.items():
        channels = [found[each][1] for each in node.all_input_nodes if each in known]
        known[node] = Field(*(_along(graph, node, axis, shape, channels, known, (height, width)) for axis in (0, 1)))
    return known


def shapes(graph: fx.GraphModule, height: int, width: int) -> dict[fx.Node, tuple[int, ...]]:
    """The shapes of the maps that `fields` is about; of (1, C): (1, C, 1, 1)."""
    run = _Shapes(graph)
    run.run(torch.empty(1, 3, height, width, device="meta"))
    return run.found


class _Shapes(fx.Interpreter):
    """Notes the shapes of maps."""

    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.found: dict[fx.Node, tuple[int, ...]] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op != "output" and isinstance(value, torch.Tensor) and value.dim() in (2, 4):
            self.found[n] = (*value.shape, 1, 1)[:4]
        return value


def _along(
    graph: fx.GraphModule,
    node: fx.Node,
    axis: int,
    shape: Sequence[int],
    channels: Sequence[int],
    known: Mapping[fx.Node, Field],
    size: tuple[int, int],
) -> Span:
    if node.op == "placeholder":
        pixels = np.arange(size[axis])[None]
        return Span(pixels, pixels + 1)
    rule = _rule(graph, node)
    if node.op == "get_attr":  # a constant
        return Span(np.full((1, shape[2 + axis]), NONE), np.full((1, shape[2 + axis]), -NONE))
    if rule is None or not channels or len(channels) < len(node.all_input_nodes):
        return Span(np.zeros((1, shape[2 + axis]), int), np.full((1, shape[2 + axis]), size[axis]))
    return rule([known[each][axis] for each in node.all_input_nodes], channels, axis, shape)


# ---- what each kind of node does -------------------------------------------------------------------------------------


def _rule(graph: fx.GraphModule, node: fx.Node) -> _Rule | None:
    """None where it is not known: then a position may see everything."""
    if node.op == "call_module":
        return _of_module(graph.get_submodule(str(node.target)))
    if node.target is F.interpolate:
        return _resized(str(argument(node, 3, "mode", "nearest")), bool(argument(node, 4, "align_corners", False)))
    if node.target in (torch.cat, torch.concat):
        return _side_by_side if argument(node, 1, "dim", 0) == 1 else None
    if node.target is operator.getitem:
        return _picked(node.args[1])
    name = name_of(node)
    if name == "mean":
        return _averaged(argument(node, 1, "dim", None), bool(argument(node, 2, "keepdim", False)))
    if name == "flatten":
        return _mixed
    if name in _OVER_CHANNELS:
        return _any_channel if argument(node, 1, "dim", None) == 1 and argument(node, 2, "keepdim", True) else None
    if name in _POINTWISE:
        return _same
    return _together if name in _TOGETHER else None


def name_of(node: fx.Node) -> str:
    """Of the function or method that is called."""
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def argument(node: fx.Node, place: int, name: str, default: Any) -> Any:
    """What a function is called with, by place or name."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _of_module(module: nn.Module) -> _Rule | None:
    if isinstance(module, nn.Conv2d) and module.padding_mode == "zeros":
        return _convolved(module)
    if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
        return _windowed(module.kernel_size, module.stride, module.padding, getattr(module, "dilation", 1))
    if isinstance(module, nn.AdaptiveAvgPool2d | nn.AdaptiveMaxPool2d):
        return _adaptive
    if isinstance(module, nn.Upsample):
        return _resized(module.mode, bool(module.align_corners))
    if isinstance(module, nn.ChannelShuffle):
        return _shuffled(module.groups)
    if isinstance(module, nn.Linear | nn.Flatten):
        return _mixed
    return _same if isinstance(module, (*ACTIVATIONS, nn.BatchNorm2d, nn.Dropout, nn.Identity)) else None


def _same(spans: Sequence[Span], channels: Sequence[int], axis: int, shape: Sequence[int]) -> Span:
    return spans[0]


def _together(spans: Sequence[Span], channels: Sequence[int], axis: int, shape: Sequence[int]) -> Span:
    """Of a sum or product: whatever reaches any of them."""
    lows, highs = (np.broadcast_arrays(*each) for each in zip(*spans, strict=True))
    return Span(np.minimum.reduce(lows), np.maximum.reduce(highs))


def _side_by_side(spans: Sequence[Span], channels: Sequence[int], axis: int, shape: Sequence[int]) -> Span:
    """Of channels put behind each other, each its own."""
    if all(len(span.low) == 1 and _equal(span, spans[0]) for span in spans):
        return spans[0]
    full = [_for_each(*each) for each in zip(spans, channels, strict=True)]
    return Span(*(np.concatenate(parts) for parts in zip(*full, strict=True)))


def _equal(one: Span, other: Span) -> bool:
    return all(map(np.array_equal, one, other))


def _for_each(span: Span, channels: int) -> Span:
    return Span(*(np.broadcast_to(each, (channels, each.shape[1])) for each in span))


def _any_channel(spans: Sequence[Span], channels: Sequence[int], axis: int, shape: Sequence[int]) -> Span:
    return Span(spans[0].low.min(0, keepdims=True), spans[0].high.max(0, keepdims=True))


def _averaged(axes: Any, kept: bool) -> _Rule | None:
    if axes in ((2, 3), [2, 3]):
        return _mean
    return _any_channel if axes in (1, (1,), [1]) and kept else None


def _mean(spans: Sequence[Span], channels: Sequence[int], axis: int, shape: Sequence[int]) -> Span:
    """Of a channel's mean over all positions."""
    return Span(spans[0].low.min(1, keepdims=True), spans[0].high.max(1, keepdims=True))


def _mixed(spans: Sequence[Span], channels: Sequence[int], axis: int, shape: Sequence[int]) -> Span:
    """Of what all channels and positions have a part in."""
    positions = (1, shape[2 + axis])
    return Span(np.full(positions, spans[0].low.min()), np.full(positions, spans[0].high.max()))


def _picked(index: Any) -> _Rule | None:
    """Of `maps[:, some]`."""
    if not isinstance(index, tuple) or len(index) != 2 or index[0] != slice(None) or not isinstance(index[1], slice):
        return None
    if any(isinstance(each, fx.Node) for each in (index[1].start, index[1].stop, index[1].step)):
        return None

    def rule(spans: Sequence[Span], channels: Sequence[int], axis: int, shape: Sequence[int]) -> Span:
        return Span(*(each[index[1]] for each in _for_each(spans[0], channels[0])))

    return rule


def _shuffled(groups: int) -> _Rule:
    def rule(spans: Sequence[Span], channels: Sequence[int], axis: int, shape: Sequence[int]) -> Span:
        order = np.arange(channels[0]).reshape(groups, -1).T.ravel()
        return Span(*(each[order] for each in _for_each(spans[0], channels[0])))

    return rule


def _windowed(kernel: Any, stride: Any, padding: Any, dilation: Any) -> _Rule:
    def rule(spans: Sequence[Span], channels: Sequence[int], axis: int, shape: Sequence[int]) -> Span:
        k, s, p, d = (_pair(each)[axis] for each in (kernel, stride, padding, dilation))
        return _reached(spans[0], np.arange(shape[2 + axis])[:, None] * s - p + np.arange(k) * d)

    return rule


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _reached(span: Span, taps: Ints) -> Span:
    """`taps`: (positions, each the same number), the positions that each sees; those outside of the map are nothing."""
    there = (taps >= 0) & (taps < span.low.shape[1])
    at = taps.clip(0, span.low.shape[1] - 1)
    return Span(np.where(there, span.low[:, at], NONE).min(2), np.where(there, span.high[:, at], -NONE).max(2))


def _convolved(module: nn.Conv2d) -> _Rule:
    padding: Any = module.padding
    if isinstance(padding, str):  # "same" or "valid"
        spread = [d * (k - 1) // 2 for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        padding = 0 if padding == "valid" else tuple(spread)
    windows = _windowed(module.kernel_size, module.stride, padding, module.dilation)

    def rule(spans: Sequence[Span], channels: Sequence[int], axis: int, shape: Sequence[int]) -> Span:
        return windows([_of_groups(spans[0], module.groups, shape[1])], channels, axis, shape)

    return rule


def _of_groups(span: Span, groups: int, channels: int) -> Span:
    """What reaches any channel of a group, for each of the `channels` that come of it."""
    if len(span.low) == 1:
        return span
    low, high = (each.reshape(groups, -1, each.shape[1]) for each in span)
    each = 1 if groups == 1 else channels // groups
    return Span(low.min(1).repeat(each, 0), high.max(1).repeat(each, 0))


def _adaptive(spans: Sequence[Span], channels: Sequence[int], axis: int, shape: Sequence[int]) -> Span:
    before, after = spans[0].low.shape[1], shape[2 + axis]
    begin = np.arange(after) * before // after
    end = -(-(np.arange(after) + 1) * before // after)
    widest = np.arange((end - begin).max())
    return _reached(spans[0], np.minimum(begin[:, None] + widest, end[:, None] - 1))


def _resized(mode: str, corners: bool) -> _Rule | None:
    """As torch.nn.functional.interpolate: each position between two others (bilinear), or at one (nearest)."""
    if mode not in ("nearest", "bilinear"):
        return None

    def rule(spans: Sequence[Span], channels: Sequence[int], axis: int, shape: Sequence[int]) -> Span:
        before, after = spans[0].low.shape[1], shape[2 + axis]
        place = np.arange(after)
        if mode == "nearest":
            return _reached(spans[0], (place * before // after)[:, None])
        # In whole numbers, so that no rounding moves a position that lies on another.
        over, under = (
            (place * (before - 1), max(1, after - 1))
            if corners
            else (
                ((2 * place + 1) * before - after).clip(0),
                2 * after,
            )
        )
        first = over // under
        return _reached(spans[0], np.stack([first, np.minimum(first + 1, before - 1)], 1))

    return rule
