"""Tiles of a picture that a network sees as it sees the whole: each with as much around it as reaches its own cells.

A cell is a position of a layer's map, and is one tile's own. Tiles begin at multiples of the network's stride. What
reaches a cell is known from fields.py: it is the same in the tile as in the whole, or there are no tiles.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from torch import nn

from muster.errors import TaskError
from muster.tasks.models.fields import Field, Span, fields
from muster.tasks.models.fuse import traced

UNCUT = "the network has no tiles: a cell of its maps sees the whole picture, or what it sees is not known"


class Part(NamedTuple):
    """Along one axis of a picture. `crop`: pixels that the network is shown. `own`: of each layer's map of the crop,
    the cells that are this part's."""

    crop: slice
    own: Mapping[str, slice]


class Tile(NamedTuple):
    rows: Part
    columns: Part

    @property
    def crop(self) -> tuple[slice, slice]:
        return self.rows.crop, self.columns.crop

    def own(self, layer: str) -> tuple[slice, slice]:
        return self.rows.own[layer], self.columns.own[layer]


class Cutter:
    """Cuts pictures for some layers of a network."""

    def __init__(self, network: nn.Module, layers: Sequence[str]) -> None:
        """`layers`: as torch names modules. TaskError where the network cannot be followed from layer to layer."""
        try:
            self._graph = traced(network).to("meta")
        except Exception as error:  # of whatever fx cannot follow
            raise TaskError(f"the network cannot be followed from layer to layer: {error}") from error
        graph = self._graph.graph
        ends = {module: node for node in graph.nodes for module in node.meta.get("nn_module_stack", ())}
        if not all(layer in ends for layer in layers):
            raise TaskError(UNCUT)
        self._nodes = {layer: ends[layer] for layer in layers}
        [output] = [node for node in graph.nodes if node.op == "output"]
        output.args = (tuple(self._nodes.values()),)
        graph.eliminate_dead_code()
        self._graph.recompile()

    def tiles(self, height: int, width: int, side: int) -> list[Tile]:
        """Of a picture of this size, row by row; `side`: of what is a tile's own, in pixels, at most about. TaskError
        where a cell would not see in its tile what it sees in the whole."""
        whole = self._fields(height, width)
        rows, columns = (
            self._parts({layer: field[axis] for layer, field in whole.items()}, axis, length, side)
            for axis, length in enumerate((height, width))
        )
        return [Tile(row, column) for row in rows for column in columns]

    def _parts(self, whole: Mapping[str, Span], axis: int, length: int, side: int) -> list[Part]:
        count = -(-length // side)
        if count == 1:
            return [Part(slice(0, length), {layer: slice(None) for layer in whole})]
        strides = {layer: _stride(span) for layer, span in whole.items()}
        stride = max(strides.values())
        if not all(each and stride % each == 0 for each in strides.values()):
            raise TaskError(UNCUT)
        coarse = min(_cells(span) for layer, span in whole.items() if strides[layer] == stride)
        edges = [stride * round(coarse * number / count) for number in range(count)]
        parts = []
        for begin, end in zip(edges, [*edges[1:], None], strict=True):
            cells = {
                layer: slice(begin // each, _cells(whole[layer]) if end is None else end // each)
                for layer, each in strides.items()
            }
            seen = {layer: _of(span, cells[layer]) for layer, span in whole.items()}
            first = min(int(span.low.min()) for span in seen.values()) // stride * stride
            crop = slice(first, max(int(span.high.max()) for span in seen.values()))
            own = {
                layer: slice(each.start - first // strides[layer], each.stop - first // strides[layer])
                for layer, each in cells.items()
            }
            there = self._fields(crop.stop - first, crop.stop - first)
            for layer, span in seen.items():
                low, high = _of(there[layer][axis], own[layer])
                if not (np.array_equal(low + first, span.low) and np.array_equal(high + first, span.high)):
                    raise TaskError(UNCUT)
            parts.append(Part(crop, own))
        return parts

    def _fields(self, height: int, width: int) -> dict[str, Field]:
        known = fields(self._graph, height, width)
        return {layer: known[node] for layer, node in self._nodes.items()}


def _cells(span: Span) -> int:
    return int(span.low.shape[1])


def _of(span: Span, cells: slice) -> Span:
    return Span(span.low[:, cells], span.high[:, cells])


def _stride(span: Span) -> int:
    """Pixels from one cell to the next, by the last two, whose fields do not begin before the picture; 0: they see all,
    or there is but one."""
    return int(np.diff(span.low[:, -2:]).max(initial=0))
