import hashlib
import re
import tomllib
from pathlib import Path

import pytest
import safetensors.torch
import torch

from muster import tasks
from muster.errors import TaskError
from muster.pipeline.work.weights import load_weights
from muster.tasks import registry
from muster.tasks.models import zoo
from muster.tasks.models.classifiers import exported
from muster.tasks.models.yolo import Yolo
from muster.tasks.models.zoo.entry import Entry


def test_every_entry_says_where_it_comes_from() -> None:
    for name, entry in zoo.ENTRIES.items():
        assert entry.name == name
        assert entry.given or re.fullmatch(r"[0-9a-f]{8}|[0-9a-f]{64}", entry.sha256)
        if entry.given:
            assert (entry.url, entry.packaged) == ("", False)
            assert "--weights " in entry.how
        elif not entry.packaged:
            assert entry.url.startswith("https://")
            assert len(entry.sha256) == 64 or entry.url.endswith(f"-{entry.sha256}.pth")
        assert entry.licence
        assert entry.training_data
        assert entry.source
        assert entry.preprocessing


OWN = [entry for entry in zoo.ENTRIES.values() if entry.packaged]


@pytest.mark.parametrize("entry", OWN, ids=lambda entry: entry.name)
def test_weights_of_our_own_are_shipped(entry: Entry) -> None:
    file = Path(tasks.__file__).parent / "weights" / entry.file
    assert file.suffix == ".safetensors"
    assert file.stat().st_size <= 8 << 20
    assert hashlib.sha256(file.read_bytes()).hexdigest() == entry.sha256
    assert {value.dtype for value in safetensors.torch.load_file(file).values()} == {torch.float16}


def test_nothing_else_is_shipped() -> None:
    files = {file.name for file in (Path(tasks.__file__).parent / "weights").iterdir()}
    assert files == {entry.file for entry in OWN}
    metadata = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    assert metadata["tool"]["setuptools"]["package-data"]["muster.tasks"] == ["weights/*.safetensors"]


def test_every_network_gives_what_its_entry_says(weights: Path) -> None:
    for entry in (entry for entry in zoo.ENTRIES.values() if entry.outputs and not entry.given):
        network = exported(entry.build(load_weights(entry, weights))).eval()
        with torch.inference_mode():
            outputs = network(torch.rand(2, 3, *(entry.size or (64, 96))))
        assert len([outputs] if isinstance(outputs, torch.Tensor) else outputs) == len(entry.outputs), entry.name


def test_weights_of_ours_for_another_number_of_classes(weights: Path) -> None:
    streets = load_weights(zoo.ENTRIES["muster-streets"], weights)
    with pytest.raises(TaskError, match=r"know 11 classes, not the 2 of this model \(background, person\)"):
        zoo.ENTRIES["muster-person"].build(streets)
    assert zoo.ENTRIES["muster-streets"].build(streets)
    with pytest.raises(TaskError, match="these weights of muster-yolo know 20 classes, not the 80 of COCO"):
        zoo.ENTRIES["muster-yolo"].build(Yolo(20).state_dict())


def test_models_name_known_entries_and_tasks() -> None:
    for task, models in zoo.MODELS.items():
        assert task in registry.names()
        assert zoo.DEFAULTS[task] in models
        assert all(name in zoo.ENTRIES for roles in models.values() for name in roles.values())


def test_an_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(TaskError, match="known: own, published"):
        zoo.roles("faces", "nonsense")
