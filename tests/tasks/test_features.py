"""tasks/features.py: photos alike have embeddings alike."""

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data as photos

from muster.arrays import matrix
from muster.pipeline.work.choice import TaskChoice
from muster.tasks.base import Image
from muster.tasks.features import BATCH, Features

CPU = torch.device("cpu")
NAMES = ("coffee", "astronaut", "chelsea", "rocket")


def image(name: str, pixels: np.ndarray) -> Image:
    return Image(name, pixels, 1.0, (pixels.shape[1], pixels.shape[0]))


@pytest.fixture(scope="module", params=["own", "squeezenet"])
def task(request: pytest.FixtureRequest, weights: Path) -> Features:
    found = TaskChoice(name="features", model=request.param).load(CPU, weights)
    assert isinstance(found, Features)
    return found


def test_a_photo_is_nearest_to_what_was_made_of_it(task: Features) -> None:
    """Mirrored, cut, and darker."""
    whole = [getattr(photos, name)() for name in NAMES]
    changed = [(pixels[20:-30, 40:-10][:, ::-1] * 0.7).astype(np.uint8) for pixels in whole]
    rows = task([image(str(number), pixels) for number, pixels in enumerate([*whole, *changed])])
    vectors = matrix(rows["embedding"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors[4:] @ vectors[:4].T).argmax(1).tolist() == [0, 1, 2, 3]


def test_more_photos_than_go_at_once(task: Features) -> None:
    pixels = photos.coffee()
    rows = task([image(str(number), pixels[number:]) for number in range(BATCH + 3)])
    assert rows["image_id"].to_pylist() == [str(number) for number in range(BATCH + 3)]


def test_its_width_is_that_of_the_model() -> None:
    assert [Features(model).schema.field("embedding").type.list_size for model in ("own", "squeezenet", "swin")] == [
        320,
        512,
        768,
    ]
