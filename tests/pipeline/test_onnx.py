"""pipeline/onnx.py: each network as ONNX, beside itself in torch."""

import hashlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from helpers.fixtures import Outcome
from muster.errors import InputError
from muster.pipeline.onnx import export
from muster.pipeline.work.weights import load_weights
from muster.tasks.models import plain, zoo
from muster.tasks.models.classifiers import exported as written_of
from muster.tasks.models.zoo.entry import Entry
from muster.training.loop import half

# Each kind of network once: an export takes 5 s.
EXPORTED = (
    "muster-detector",
    "mobilefacenet",
    "muster-person",
    "fastestdet",
    "sinet-portrait",
    "muster-digits",
    "muster-features",
)


@pytest.fixture(scope="module", params=EXPORTED)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, weights: Path
) -> tuple[Entry, Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    return zoo.ENTRIES[request.param], path, export(request.param, path, weights)


def test_it_computes_what_torch_computes(exported: tuple[Entry, Path, dict[str, Any]], weights: Path) -> None:
    import onnxruntime

    entry, path, _ = exported
    network = written_of(entry.build(load_weights(entry, weights))).eval()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for number, height, width in ((1, 224, 32), (3, 96, 160)):  # neither is the size it was traced with
        generator = torch.Generator().manual_seed(number)
        images = 255 * torch.rand(number, 3, *(entry.size or (height, width)), generator=generator)
        images = images if entry.size is None else images / 127.5 - 1
        with torch.inference_mode():
            expected = network(images)
        outputs = session.run(None, {"images": images.numpy()})
        for mine, its in zip([expected] if isinstance(expected, torch.Tensor) else expected, outputs, strict=True):
            assert mine.shape == its.shape
            assert (mine - torch.from_numpy(its)).abs().max() < 1e-4 * mine.abs().max()


def test_what_the_file_says(exported: tuple[Entry, Path, dict[str, Any]]) -> None:
    import onnxruntime

    entry, path, facts = exported
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    for name in ("name", "licence", "source", "training_data", "preprocessing", "sha256"):
        assert said[name] == getattr(entry, name)
    [images] = session.get_inputs()
    sides = ["32*rows", "32*columns"] if entry.size is None else list(entry.size)
    assert (images.name, images.shape, images.type) == ("images", ["batch", 3, *sides], "tensor(float)")
    assert tuple(output.name for output in session.get_outputs()) == entry.outputs
    assert facts.items() >= {"path": str(path), "bytes": path.stat().st_size, "metadata": said}.items()
    assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_by_the_command(muster: Callable[..., Outcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest network of our own, for which nothing need be fetched."""
    monkeypatch.chdir(tmp_path)
    outcome = muster("models", "export", "muster-daynight", "--json")
    assert (outcome.code, outcome.facts["path"]) == (0, "muster-daynight.onnx")
    assert outcome.facts["input"] == "images (batch × 3 × 64 × 64)"
    before = (tmp_path / "muster-daynight.onnx").read_bytes()
    outcome = muster("models", "export", "muster-daynight")
    assert (outcome.code, outcome.out) == (2, "")
    assert (
        outcome.error == "muster: --out muster-daynight.onnx is there already, and is not overwritten: give a new name"
    )
    assert (tmp_path / "muster-daynight.onnx").read_bytes() == before


def test_with_the_weights_of_a_training_of_yours(muster: Callable[..., Outcome], tmp_path: Path) -> None:
    """Three classes in place of ten."""
    import onnxruntime

    torch.manual_seed(0)
    network = plain.chain(plain.CIFAR, 3).eval()
    file, path = tmp_path / "cifar.safetensors", tmp_path / "x.onnx"
    file.write_bytes(safetensors.torch.save(half(network.state_dict())))
    outcome = muster("models", "export", "muster-cifar", "--weights", file, "--out", path, "--json")
    assert (outcome.code, outcome.facts["input"]) == (0, "images (batch × 3 × 32 × 32)")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = torch.rand(5, 3, 32, 32) * 2 - 1
    [found] = session.run(None, {"images": images.numpy()})
    assert (network(images).detach() - torch.from_numpy(found)).abs().max() < 1e-3
    said = session.get_modelmeta().custom_metadata_map
    assert said["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert said["training_data"] == "yours"


def test_weights_of_another_network(muster: Callable[..., Outcome], tmp_path: Path) -> None:
    file, text = tmp_path / "digits.safetensors", tmp_path / "text.safetensors"
    file.write_bytes(safetensors.torch.save(half(plain.chain(plain.DIGITS, 10).state_dict())))
    text.write_bytes(b"no weights")
    for given, said in (
        (file, r"these are not weights of muster-cifar \(.*\): it has no 'conv3\.weight'"),
        (text, "cannot be read as weights"),
        (tmp_path / "none", "`?-*weights`? .*none: no such file"),
    ):
        outcome = muster("models", "export", "muster-cifar", "--weights", given, "--out", tmp_path / "x.onnx")
        assert (outcome.code, outcome.out) == (2, "")
        assert re.search(said, outcome.error), outcome.error
    assert not (tmp_path / "x.onnx").exists()


def test_what_cannot_be(tmp_path: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no weights 'yolo'; known: yunet-n"):
        export("yolo", None, weights)
    with pytest.raises(InputError, match=r"`out` .*none/x\.onnx: no folder"):
        export("yunet-n", tmp_path / "none" / "x.onnx", weights)
    with pytest.raises(InputError, match="muster-quality-own cannot be written as ONNX: it takes no image"):
        export("muster-quality-own", tmp_path / "x.onnx", weights)
    with pytest.raises(InputError, match="maskrcnn-resnet50-fpn cannot be written as ONNX"):
        export("maskrcnn-resnet50-fpn", tmp_path / "x.onnx", weights)
    with pytest.raises(InputError, match="no weights of muster-yolo: train it with `muster train objects"):
        export("muster-yolo", tmp_path / "x.onnx", weights)
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # as if it were not installed
    with pytest.raises(InputError, match=r"pip install onnxscript"):
        export("yunet-n", tmp_path / "x.onnx", weights)
    assert list(tmp_path.iterdir()) == []
