"""Receptive fields, held to what not-a-number does: it reaches every value that it has any part in, and no other."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import fx, nn

from muster.tasks.models.daynight import DayNight
from muster.tasks.models.fields import NONE, Span, fields
from muster.tasks.models.fuse import traced
from muster.tasks.models.plain import CIFAR, DIGITS, chain
from muster.tasks.models.segmenter import Segmenter
from muster.tasks.models.sinet import SINet


class Values(fx.Interpreter):
    def __init__(self, graph: fx.GraphModule) -> None:
        super().__init__(graph)
        self.found: dict[fx.Node, torch.Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        if n.op not in ("output", "get_attr") and isinstance(value, torch.Tensor) and value.dim() in (2, 4):
            self.found[n] = value.reshape(*value.shape[:2], *(*value.shape[2:], 1, 1)[:2])
        return value


def probed(graph: fx.GraphModule, height: int, width: int) -> dict[fx.Node, tuple[Span, Span]]:
    """By experiment: a picture for each row, and one for each column, in which that is not a number."""
    spans: dict[fx.Node, list[Span]] = {}
    for axis, side in ((0, height), (1, width)):
        pictures = torch.rand(side, 3, height, width, dtype=torch.float64)  # in double precision no tile is shared
        for place in range(side):
            pictures[place].select(1 + axis, place).fill_(torch.nan)
        run = Values(graph)
        with torch.inference_mode():
            run.run(pictures)
        for node, value in run.found.items():
            reached = value.isnan().any(3 - axis).numpy()  # (side, channels, positions)
            first, last = reached.argmax(0), side - reached[::-1].argmax(0)
            some = reached.any(0)
            spans.setdefault(node, []).append(Span(np.where(some, first, NONE), np.where(some, last, -NONE)))
    return {node: (rows, columns) for node, (rows, columns) in spans.items()}


def check(network: nn.Module, height: int, width: int) -> None:
    graph = traced(network.double())
    found = fields(copy.deepcopy(graph).float().to("meta"), height, width)
    by_name = {node.name: field for node, field in found.items()}
    for node, wanted in probed(graph, height, width).items():
        for span, truth in zip(by_name[node.name], wanted, strict=True):
            for ours, theirs in zip(span, truth, strict=True):
                np.testing.assert_array_equal(np.broadcast_to(ours, theirs.shape), theirs, err_msg=node.name)


def squeezenet() -> nn.Module:
    from torchvision.models import squeezenet1_0

    network = squeezenet1_0(weights=None)
    network.classifier[1] = nn.Conv2d(512, 1000, 1, padding=1)  # as published: its border sees nothing of the picture
    return network


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "squeezenet": (squeezenet, 51, 60),
    "daynight": (DayNight, 64, 64),
    "segmenter": (lambda: Segmenter(3, (4, 4, 6, 6, 8)), 64, 96),
    "sinet": (SINet, 64, 96),
    "digits": (lambda: chain(DIGITS, 10), 28, 28),
    "cifar": (lambda: chain(CIFAR, 10), 32, 32),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_fields_are_what_an_experiment_finds(name: str) -> None:
    build, height, width = NETWORKS[name]
    check(build(), height, width)


@st.composite
def layers(draw: st.DrawFn) -> nn.Module:
    k, s, d = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    kind = draw(st.sampled_from(["conv", "grouped", "max", "mean"]))
    if kind in ("conv", "grouped"):
        return nn.Conv2d(4, 4, k, s, draw(st.integers(0, 3)), d, groups=4 if kind == "grouped" else 1)
    padding, ceil = draw(st.integers(0, k // 2)), draw(st.booleans())
    return nn.MaxPool2d(k, s, padding, ceil_mode=ceil) if kind == "max" else nn.AvgPool2d(k, s, padding, ceil)


@settings(max_examples=40)
@given(chain=st.lists(layers(), min_size=1, max_size=4))
def test_so_are_those_of_any_chain(chain: list[nn.Module]) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), *chain)
    graph = fx.symbolic_trace(network.double())
    truth = {}
    try:
        truth = probed(graph, 40, 40)
    except RuntimeError:  # nothing is left of the picture
        return
    holes = any(isinstance(each, nn.Conv2d) and each.dilation[0] > 1 for each in chain)
    found = {n.name: each for n, each in fields(copy.deepcopy(graph).float().to("meta"), 40, 40).items()}
    for node, wanted in truth.items():
        for span, (low, high) in zip(found[node.name], wanted, strict=True):
            assert (np.broadcast_to(span.low, low.shape) == low).all() or (holes and (span.low <= low).all())
            assert (np.broadcast_to(span.high, high.shape) == high).all() or (holes and (span.high >= high).all())


def test_what_is_not_known_sees_the_whole_picture() -> None:
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flip(3)

    graph = fx.symbolic_trace(Odd())
    rows, columns = list(fields(graph, 6, 8).values())[-1]
    assert (rows.low.tolist(), rows.high.tolist()) == ([[0] * 6], [[6] * 6])
    assert (columns.low.tolist(), columns.high.tolist()) == ([[0] * 8], [[8] * 8])
