from pathlib import Path

import pytest
import torch

from muster.errors import InputError
from muster.training import loop
from muster.training.inputs import Inputs
from muster.training.recipes import supervised

CPU = torch.device("cpu")
JOHNS = "photos/johns"  # five people, eleven photos each


@pytest.fixture(scope="module")
def published(weights: Path) -> dict:
    return {"yunet-n": torch.load(weights / "yunet_n.pth", map_location="cpu", weights_only=True)}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Crops are found once, and kept here."""
    return tmp_path_factory.mktemp("supervised")


@pytest.mark.parametrize("build", [supervised.build_triplet, supervised.build_margin])
def test_the_loss_falls(build, data: Path, published: dict, out: Path, tmp_path: Path) -> None:
    inputs = Inputs(images=[str(data / JOHNS)], out=out, weights=published, steps=8, rate=2e-4)
    recipe = build(inputs)
    assert set(recipe.crops.labels) <= {path.name for path in (data / JOHNS).iterdir()}
    loop.train(recipe, tmp_path, CPU, lambda report: None)
    assert (tmp_path / f"{recipe.name}.safetensors").exists()
    batch = recipe.batch(0, 0, 1)
    torch.manual_seed(recipe.settings.seed)
    untrained, trained = recipe.network(), recipe.network()
    trained.load_state_dict(torch.load(tmp_path / loop.CHECKPOINT, weights_only=True)["network"])
    assert recipe.loss(trained, batch)["loss"] < recipe.loss(untrained, batch)["loss"]


def test_batches_hold_people_with_two_photos_or_more(data: Path, published: dict, out: Path) -> None:
    recipe = supervised.build_triplet(Inputs(images=[str(data / JOHNS)], out=out, weights=published))
    batch = recipe.batch(3, 0, 1)
    labels, counts = batch["labels"].unique(return_counts=True)
    assert counts[labels >= 0].min() >= 1
    assert counts.max() <= supervised.PHOTOS_OF_A_PERSON
    assert torch.equal(recipe.batch(3, 0, 1)["crops"], batch["crops"])
    last = recipe.batch(recipe.settings.steps - 1, 0, 1)
    assert (batch["hard"], last["hard"]) == (False, True)


def test_without_labels(data: Path, published: dict, tmp_path: Path) -> None:
    inputs = Inputs(images=[str(data / "lfw/lfw.parquet")], out=tmp_path, weights=published, limit=4)
    with pytest.raises(InputError, match=r"4 of 4 images have no label.*`label`"):
        supervised.build_margin(inputs)


def test_people_with_one_photo_make_no_triplets(data: Path, published: dict, tmp_path: Path) -> None:
    inputs = Inputs(images=[str(data / "lfw/lfw.parquet")], out=tmp_path, label="file", weights=published, limit=8)
    with pytest.raises(InputError, match="0 people have 2 photos or more"):
        supervised.build_triplet(inputs)
