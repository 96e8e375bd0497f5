from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from muster.errors import InputError
from muster.tasks.models.features import SIDE, Features
from muster.tasks.models.state_dict import load
from muster.training import loop
from muster.training.inputs import Inputs
from muster.training.recipes import features
from muster.training.record import METRICS, read_metrics

pytestmark = pytest.mark.precision


@pytest.fixture(scope="module")
def squeezenet(weights: Path) -> dict:
    return {"squeezenet": torch.load(weights / "squeezenet1_0_imagenet.pth", weights_only=True)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from skimage import data as pictures

    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        for part, side in enumerate((120, 200)):
            Image.fromarray(getattr(pictures, name)()[:side, :180]).save(folder / f"{name}{part}.png")
    return folder


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "POOL", 4)


def inputs(photos: Path, squeezenet: dict, out: Path, steps: int = 6) -> Inputs:
    return Inputs(images=[str(photos)], out=out, weights=squeezenet, steps=steps)


def recipe(photos: Path, squeezenet: dict, out: Path, steps: int = 6) -> features.Distillation:
    made = features.build(inputs(photos, squeezenet, out, steps))
    assert isinstance(made, features.Distillation)
    return made


@pytest.mark.usefixtures("few")
def test_it_comes_nearer_to_its_teacher(photos: Path, squeezenet: dict, tmp_path: Path) -> None:
    made = recipe(photos, squeezenet, tmp_path, 12)
    path = loop.train(made, tmp_path, torch.device("cpu"), lambda report: None)
    lines = read_metrics(tmp_path / METRICS)
    assert lines[-1]["step"] == 12
    torch.manual_seed(0)
    trained = made.network()
    trained.load_state_dict(torch.load(tmp_path / loop.CHECKPOINT, weights_only=True)["network"])
    batch = made.batch(0, 0, 1)
    first, last = (made.loss(network, batch)["loss"].item() for network in (made.network(), trained))
    assert last < 0.9 * first
    assert load(Features(), load_file(path)).eval()(torch.zeros(1, 3, SIDE, SIDE)).shape == (1, 1000)


@pytest.mark.usefixtures("few")
def test_batches_are_the_same_whenever_they_are_asked_for(photos: Path, squeezenet: dict, tmp_path: Path) -> None:
    one, other = (recipe(photos, squeezenet, tmp_path) for _ in range(2))
    later = one.batch(5, 0, 1)
    one.batch(0, 0, 1)
    again = other.batch(5, 0, 1)
    for name in ("views", "logits", "middle", "end"):
        assert torch.equal(again[name], later[name])
    halves = [other.batch(5, rank, 2)["names"] for rank in range(2)]
    assert sorted(halves[0] + halves[1]) == sorted(later["names"])


def test_a_quarter_is_kept_out_and_of_a_person_all_or_nothing(
    photos: Path, squeezenet: dict, data: Path, tmp_path: Path
) -> None:
    made = recipe(photos, squeezenet, tmp_path)
    assert {photo.name for photo in made.photos}.isdisjoint(photo.name for photo in made.measured)
    lfw = Inputs(images=[str(data / "lfw/lfw.parquet")], out=tmp_path, label="person", limit=60)
    found = features.read(lfw)
    assert 0 < sum(photo.held_out for photo in found) < len(found)
    people = {photo.name.rpartition("_")[0]: photo.held_out for photo in found}
    assert all(people[photo.name.rpartition("_")[0]] == photo.held_out for photo in found)


@given(st.integers(1, 900), st.integers(1, 900))
def test_photos_are_kept_small_and_never_long(height: int, width: int) -> None:
    found = features.small(np.zeros((height, width, 3), np.uint8))
    assert min(found.shape[:2]) == min(height, width, features.KEPT)
    assert max(found.shape[:2]) <= 3 * min(found.shape[:2]) + 2


@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 1 << 32))
def test_a_view_is_of_the_photo(height: int, width: int, seed: int) -> None:
    pixels = np.full((height, width, 3), 77, np.uint8)
    found = features.view(pixels, np.random.default_rng(seed))
    assert found.shape == (SIDE, SIDE, 3)
    assert (found == 77).all()


def test_large_sources_do_not_drown_small_ones() -> None:
    found = features.chances(["a"] * 16 + ["b"])
    assert found[:16].sum() == pytest.approx(2 * float(found[16]))


def test_one_photo_is_too_few(photos: Path, squeezenet: dict, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="1 of 1 photos can be read: this training needs at least 2"):
        recipe(photos / "coffee0.png", squeezenet, tmp_path)
