from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from muster.errors import TaskError
from muster.tasks.models import sinet
from muster.tasks.models.fuse import for_inference
from muster.tasks.models.zoo import masks

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As in a worker; on busy cores several wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def state(weights: Path) -> dict[str, torch.Tensor]:
    return torch.load(weights / "sinet_portrait.pth", map_location="cpu", weights_only=True)


def test_the_published_weights_fit_and_fusing_changes_no_pixel(state: dict[str, torch.Tensor], data: Path) -> None:
    network = sinet.from_published(state).eval()
    fused = for_inference(network, CPU, torch.float32)
    x = _input(data / "person_masks/images/001.jpg")
    with torch.inference_mode():
        before, after = network(x), fused(x)
    assert before.shape == (1, 2, 224, 224)
    torch.testing.assert_close(after.softmax(1), before.softmax(1), rtol=1e-3, atol=1e-3)
    assert (before.argmax(1) == after.argmax(1)).float().mean() > 0.9999


def test_mean_iou_on_photos_of_people(state: dict[str, torch.Tensor], data: Path) -> None:
    """As its publisher prepares images, which the zoo describes: in RGB it is .74, without the second ÷ 255 .34."""
    network = for_inference(sinet.from_published(state), CPU, torch.float32)
    both, either = np.zeros(2), np.zeros(2)
    for path in sorted((data / "person_masks/images").iterdir())[::3]:
        mask = Image.open(data / f"person_masks/masks/{path.stem}.png").resize((224, 224), Image.Resampling.NEAREST)
        truth = np.asarray(mask) > 127
        with torch.inference_mode():
            found = network(_input(path))[0].argmax(0).numpy() == 1
        both += (~truth & ~found).sum(), (truth & found).sum()
        either += (~truth | ~found).sum(), (truth | found).sum()
    assert (both / either).mean() == pytest.approx(0.775, abs=0.01)


def _input(path: Path) -> torch.Tensor:
    from muster.tasks.masks import normalised

    form: Any = masks.FORMS["sinet-portrait"]
    return normalised(np.asarray(Image.open(path).convert("RGB")), form)


def test_weights_of_another_number_of_classes() -> None:
    with pytest.raises(TaskError, match="know 5 classes, SINet here 2"):
        sinet.from_published(sinet.SINet(5).state_dict())
