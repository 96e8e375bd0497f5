"""Small ONNX files: networks that say what a test wants, whatever they are shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18


def network(
    outputs: Mapping[str, Any],
    shape: Sequence[Any] = ("n", 3, 64, 96),
    metadata: Mapping[str, str] | None = None,
    kind: int = TensorProto.FLOAT,
    inputs: Sequence[str] = ("images",),
    domain: str = "",
) -> onnx.ModelProto:
    """A network whose outputs are these arrays. `domain`: of an operator that nobody knows, as its first."""
    nodes, fixed = [], []
    given = [helper.make_tensor_value_info(name, kind, list(shape)) for name in inputs]
    if domain:
        nodes.append(helper.make_node("Unknown", [inputs[0]], ["strange"], domain=domain))
    for name, value in outputs.items():
        fixed.append(numpy_helper.from_array(np.asarray(value), f"{name}_value"))
        nodes.append(helper.make_node("Identity", [f"{name}_value"], [name]))
    made = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(value).dtype), None)
        for name, value in outputs.items()
    ]
    return model(nodes, given, made, fixed, metadata, [domain] if domain else [])


def mean(shape: Sequence[Any] = ("n", 3, "h", "w"), kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """The mean of each image, (N, 1), times two."""
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "one"], ["column"]),
        helper.make_node("Add", ["column", "column"], ["twice"]),
    ]
    fixed = [numpy_helper.from_array(np.array(v), n) for n, v in (("axes", [1, 2, 3]), ("one", [1]))]
    given = [helper.make_tensor_value_info("images", kind, list(shape))]
    return model(nodes, given, [helper.make_tensor_value_info("twice", kind, None)], fixed)


def model(
    nodes: Sequence[Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    fixed: Sequence[Any] = (),
    metadata: Mapping[str, str] | None = None,
    domains: Sequence[str] = (),
) -> onnx.ModelProto:
    """Of nodes, and tensors that are `fixed`."""
    graph = helper.make_graph(list(nodes), "graph", list(inputs), list(outputs), list(fixed))
    opsets = [helper.make_opsetid("", OPSET), *(helper.make_opsetid(name, 1) for name in domains)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    helper.set_model_props(made, dict(metadata or {}))
    return made


def save(made: onnx.ModelProto, path: Path, beside: str | None = None) -> Path:
    """The file, and the YAML file beside it."""
    path.write_bytes(made.SerializeToString())
    if beside is not None:
        path.with_suffix(".yaml").write_text(beside)
    return path
