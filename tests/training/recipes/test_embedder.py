from pathlib import Path

import pytest
import torch

from muster.tasks.models import face_embedder
from muster.training import loop
from muster.training.inputs import Inputs
from muster.training.recipes import embedder
from muster.training.record import METRICS, read_metrics

pytestmark = pytest.mark.precision

CPU = torch.device("cpu")
STEPS = 16


@pytest.fixture(scope="module")
def published(weights: Path) -> dict:
    files = {"yunet-n": "yunet_n.pth", "mobilefacenet": "mobilefacenet.pt"}
    return {k: torch.load(weights / v, map_location="cpu", weights_only=True) for k, v in files.items()}


def inputs(data: Path, published: dict, out: Path, steps: int = STEPS) -> Inputs:
    lfw = [str(data / "lfw/lfw.parquet")]
    return Inputs(images=lfw, out=out, label="person", weights=published, limit=24, steps=steps, rate=5e-4)


def test_a_training_of_a_minute(data: Path, published: dict, tmp_path: Path) -> None:
    recipe = embedder.build(inputs(data, published, tmp_path))
    reports: list[loop.Report] = []
    path = loop.train(recipe, tmp_path, CPU, reports.append)
    lines = read_metrics(tmp_path / METRICS)
    assert lines[-1]["step"] == STEPS
    network = face_embedder.from_state(_load(path))
    assert network.eval()(torch.zeros(1, 3, 112, 112)).shape == (1, 128)
    first, last = (recipe.loss(net, recipe.batch(0, 0, 1)) for net in (recipe.network(), _trained(recipe, tmp_path)))
    assert last["loss"] < 0.95 * first["loss"]


def _load(path: Path) -> dict:
    from safetensors.torch import load_file

    return load_file(path)


def _trained(recipe: loop.Recipe, out: Path) -> torch.nn.Module:
    network = recipe.network()
    state = torch.load(out / loop.CHECKPOINT, weights_only=True)["network"]
    network.load_state_dict(state)
    return network


def test_batches_are_the_same_whenever_they_are_asked_for(data: Path, published: dict, tmp_path: Path) -> None:
    """In another order, from another process: a resumed training sees what it would have seen."""
    one, other = (embedder.build(inputs(data, published, tmp_path)) for _ in range(2))
    later = one.batch(7, 0, 1)
    one.batch(0, 0, 1)
    assert torch.equal(other.batch(7, 0, 1)["crops"], later["crops"])
    assert torch.equal(one.batch(7, 0, 1)["embeddings"], later["embeddings"])
    halves = [other.batch(7, rank, 2) for rank in range(2)]
    assert sorted(halves[0]["names"] + halves[1]["names"]) == sorted(later["names"])
    torch.testing.assert_close(later["embeddings"].norm(dim=1), torch.ones(len(later["names"])))


def test_the_teachers_maps_come_to_the_students_places() -> None:
    """A map that says where each of its cells is: the student's lie half a cell right and one down."""
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(7.0), indexing="ij")
    at = embedder.to_window(torch.stack([x, y])[None])[0]
    assert at.shape == (2, 6, 6)
    assert at[0, 0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert at[1, :, 0].tolist() == [1, 2, 3, 4, 5, 6]
