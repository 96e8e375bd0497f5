"""Zoo entries as ONNX, for use on a device."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from muster.errors import InputError
from muster.pipeline.work.weights import build_given, find_entry, load_weights
from muster.storage import downloads
from muster.storage.new_files import check_new, new_file
from muster.tasks.models.classifiers import exported
from muster.tasks.models.zoo.entry import Entry

OPSET = 18  # which torch's exporter is written for; to older ones it would have to convert
INPUT = "images"


def export(
    name: str,
    out: Path | None,
    weights_dir: Path | None,
    on_download: downloads.OnDownload | None = None,
    weights: Path | None = None,
) -> dict[str, Any]:
    """Write a network with its weights to `out` (default: NAME.onnx here): float32, any batch; facts of the file.

    The graph is the network's forward pass: what its entry calls preprocessing comes before it, and its outputs are as
    the network's docstring says; of a classifier, logits and embeddings. `weights`: a file of a training of the user's,
    in place of the entry's own. Raises InputError where there is no such entry, they are not its weights, `out` exists,
    or onnxscript is not installed.
    """
    entry = find_entry(name)
    if not entry.outputs:
        reason = "it takes no image, or what it finds is chosen by code outside the network"
        raise InputError(f"{name} cannot be written as ONNX: {reason}")
    path = (out or Path(f"{name}.onnx")).expanduser()
    _check(path)
    if weights is None:
        network = entry.build(load_weights(entry, weights_dir, on_download))
    else:
        network, digest = build_given(entry, weights)
        entry = replace(entry, sha256=digest, licence="that of your data", training_data="yours")
    program = _program(exported(network).eval(), entry)
    metadata = _metadata(entry)
    program.model.metadata_props.update(metadata)
    with new_file(path) as file:
        file.write(program.model_proto.SerializeToString())
    sides = " × ".join(str(side) for side in program.model.graph.inputs[0].shape or ())
    facts = {"opset": OPSET, "input": f"{INPUT} ({sides})", "outputs": list(entry.outputs), "metadata": metadata}
    return {"path": str(path), "bytes": path.stat().st_size, **facts}


def _check(path: Path) -> None:
    check_new(path)
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise InputError("writing ONNX needs the package onnxscript: pip install onnxscript") from None


def _program(network: nn.Module, entry: Entry) -> torch.onnx.ONNXProgram:
    """The network as ONNX; batch norm folded. Dimensions that torch.export is to leave open must not be 1 here."""
    dimension = torch.export.Dim
    shape = {0: dimension("batch")}
    if entry.size is None:  # (N, 3, H, W) of any multiples of 32
        shape |= {2: 32 * dimension("rows"), 3: 32 * dimension("columns")}
    images = torch.rand(2, 3, *(entry.size or (64, 96)))
    program = torch.onnx.export(
        network,
        (images,),
        dynamo=True,
        dynamic_shapes=(shape,),
        input_names=[INPUT],
        output_names=list(entry.outputs),
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None  # what `dynamo` promises
    for node in program.model.graph:
        node.metadata_props.clear()  # the lines of source that each came from, with the paths of this machine
    return program


def _metadata(entry: Entry) -> Mapping[str, str]:
    facts = ("name", "licence", "source", "training_data", "preprocessing", "sha256")
    return {fact: str(getattr(entry, fact)) for fact in facts}
