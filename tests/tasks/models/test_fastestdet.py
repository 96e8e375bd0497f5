from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import TaskError
from muster.tasks.models import fastestdet
from muster.tasks.models.fastestdet import FastestDet, decode, from_published
from muster.tasks.models.fuse import for_inference


@pytest.fixture(scope="module")
def state(weights: Path) -> dict[str, torch.Tensor]:
    return torch.load(weights / "fastestdet_coco80.pth", "cpu", weights_only=True)


def test_the_published_weights_fit(state: dict[str, torch.Tensor]) -> None:
    network = from_published(state).eval()
    assert network.state_dict().keys() == state.keys()
    assert sum(parameter.numel() for parameter in network.parameters()) == 244490
    with torch.inference_mode():
        output = network(torch.rand(2, 3, 352, 352))
        assert network(torch.rand(1, 3, 64, 96)).shape == (1, 85, 4, 6)
    assert output.shape == (2, 85, 22, 22)
    assert 0 <= float(output[:, 0].min()) <= float(output[:, 0].max()) <= 1
    torch.testing.assert_close(output[:, 5:].sum(1), torch.ones(2, 22, 22))


def test_the_numbers_stay_when_it_is_fused(state: dict[str, torch.Tensor]) -> None:
    network, images = from_published(state).eval(), torch.rand(3, 3, 96, 128)
    fused = for_inference(network, torch.device("cpu"), torch.float32)
    assert not any(isinstance(module, torch.nn.BatchNorm2d | torch.nn.ReLU) for module in fused.modules())
    with torch.inference_mode():
        torch.testing.assert_close(fused(images), network(images), rtol=1e-3, atol=1e-3)


def test_channels_are_shuffled_as_published() -> None:
    """The publication's channel_shuffle, step by step."""
    block, x = fastestdet._Block(8).eval(), torch.randn(2, 8, 3, 5)
    n, channels, height, width = x.shape
    pairs = x.reshape(n * channels // 2, 2, height * width).permute(1, 0, 2)
    kept, changed = pairs.reshape(2, -1, channels // 2, height, width)
    with torch.inference_mode():
        torch.testing.assert_close(block(x), torch.cat([kept, block.branch_main(changed)], 1))


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 4), st.integers(1, 5))
def test_decode_cell_by_cell(seed: int, images: int, height: int, width: int) -> None:
    generator = np.random.default_rng(seed)
    output = generator.normal(0, 2, (images, 5 + 7, height, width)).astype(np.float32)
    output[:, 0], output[:, 5:] = (
        generator.random((images, height, width)),
        generator.random((images, 7, height, width)),
    )
    boxes, scores, labels = (part.numpy() for part in decode(torch.from_numpy(output)))
    assert boxes.shape == (images, height * width, 4)
    for n in range(images):
        for y in range(height):
            for x in range(width):
                i = y * width + x
                box, score, label = _decoded(output[n, :, y, x], x / width, y / height, width, height)
                np.testing.assert_allclose(boxes[n, i], box, atol=1e-5)
                np.testing.assert_allclose(scores[n, i], score, atol=1e-5)
                assert labels[n, i] == label


def _decoded(cell: Any, left: float, top: float, columns: int, rows: int) -> tuple[list[float], float, int]:
    x, y = left + np.tanh(cell[1]) / columns, top + np.tanh(cell[2]) / rows
    w, h = 1 / (1 + np.exp(-cell[3])), 1 / (1 + np.exp(-cell[4]))
    label = int(cell[5:].argmax())
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2], cell[0] ** 0.6 * cell[5 + label] ** 0.4, label


def test_weights_for_another_number_of_classes() -> None:
    with pytest.raises(TaskError, match="know 20 classes, not the 80 of COCO"):
        from_published(FastestDet(classes=20).state_dict())
