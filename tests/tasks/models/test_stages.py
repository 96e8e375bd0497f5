"""Stages are the network's own values, and filters look at colours as photos have them."""

import numpy as np
import pytest
import torch
from torch import nn

from muster.tasks.models.classifiers import Classifier, Shown
from muster.tasks.models.stages import first_filters, stages, step


def test_stages_are_what_the_network_computes() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(36, 2)
    ).eval()
    picture = torch.rand(1, 3, 14, 14)
    found = list(stages(network, picture))
    assert [stage.kind for stage in found] == [
        "convolution 3×3, stride 2",
        "ReLU",
        "max pooling 2×2, stride 2",
        "fully connected",
    ]
    with torch.inference_mode():
        first = network[0](picture)
        np.testing.assert_allclose(found[0].maps, first[0], rtol=1e-5)  # and not what ReLU made of it
        np.testing.assert_allclose(found[1].maps, first.relu()[0], rtol=1e-5)
        np.testing.assert_allclose(found[-1].maps.ravel(), network(picture)[0], rtol=1e-4)
    assert (found[0].maps < 0).any()
    assert network[1].inplace  # it is left as it was


def test_filters_are_in_red_green_and_blue() -> None:
    """A network that is given blue first, and looks at its last channel, looks for red."""
    conv = nn.Conv2d(3, 2, 3)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 2, 1, 1] = 0.5
        conv.weight[1, 0, 0, 2] = -2
    made = Classifier(nn.Sequential(conv), Shown(16, 16, flipped=True), ())

    def normalised(pixels: np.ndarray) -> torch.Tensor:  # type: ignore[type-arg]
        return made.normalised(torch.tensor(made.square(pixels)).permute(2, 0, 1)[None].float() / 255)

    found = first_filters(made.network, normalised)
    assert found.shape == (2, 3, 3, 3)
    assert found[0, 1, 1].tolist() == pytest.approx([1, 0, 0])
    assert found[1, 0, 2].tolist() == pytest.approx([0, 0, -1])
    assert np.count_nonzero(np.abs(found) > 1e-6) == 2


def test_a_network_that_looks_at_no_colours_has_no_filters() -> None:
    assert len(first_filters(nn.Sequential(nn.Conv2d(1, 2, 3)), lambda pixels: torch.zeros(1, 3, 4, 4))) == 0


def test_steps_are_said_in_words() -> None:
    assert step(nn.Conv2d(3, 4, (3, 5))) == "convolution 3×5"
    assert step(nn.AdaptiveAvgPool2d(1)) == "average of everything"
    assert step(nn.GELU()) == "GELU"
    assert step(nn.Dropout()) == ""
