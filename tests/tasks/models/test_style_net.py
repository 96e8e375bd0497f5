"""tasks/models/style_net.py: any size of photo, in strips as in one piece, and weights as a training writes them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers.styles import picture
from muster.errors import TaskError
from muster.tasks.models import style_net
from muster.tasks.models.style_net import Painter, StyleNet, from_state
from muster.tasks.models.style_transfer import LUMA
from muster.training.loop import half

CPU = torch.device("cpu")


def network(seed: int = 0) -> StyleNet:
    """Small, with norms that are no identity and a change that is seen."""
    torch.manual_seed(seed)
    made = StyleNet((4, 6, 8), 2)
    for parameter in made.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, 0.5, 0.3)
    nn.init.normal_(made.change.weight, 0, 0.02)
    nn.init.zeros_(made.change.bias)
    return made


@pytest.fixture(autouse=True)
def single(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style_net, "inference_dtype", lambda device: torch.float32)


@settings(max_examples=8)
@given(st.integers(2, 80), st.integers(2, 60), st.sampled_from(["style", "photo"]))
def test_in_strips_as_in_one_piece(height: int, width: int, colours: str) -> None:
    photo = picture(1, height, width)
    whole = Painter(network(), CPU, colours)(photo)
    strips = Painter(network(), CPU, colours, at_once=1)(photo)  # of 16 rows
    assert whole.shape == strips.shape == photo.shape
    assert np.abs(whole.astype(int) - strips).max() <= 1  # rounded the other way


def test_strips_are_told_what_the_whole_is_like() -> None:
    photo = np.concatenate([picture(1, 64, 64) // 8, 200 + picture(2, 64, 64) // 8])
    whole = Painter(network(), CPU)(photo).astype(int)
    apart = np.concatenate([Painter(network(), CPU)(part) for part in (photo[:64], photo[64:])])
    assert np.abs(whole - apart).mean() > 5
    assert np.abs(whole - Painter(network(), CPU, at_once=1)(photo)).mean() < 0.01


def test_what_strips_hold_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    painter = Painter(network(), CPU, at_once=64 * 32)
    painter.network.tail[1].register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[2]))
    painter(picture(1, 400, 64))
    assert max(seen) <= (32 + 2 * style_net.REACH) // 2


def test_a_photo_keeps_its_colours() -> None:
    photo = picture(3) // 3 + 80  # none is cut at black or white
    painted = Painter(network(), CPU, "photo")(photo).astype(float)
    assert np.abs(painted - photo).mean() > 0.5
    inside = ((painted > 0) & (painted < 255)).all(2)
    chroma = [(each - each @ np.array(LUMA)[:, None])[inside] for each in (painted, photo.astype(float))]
    assert np.abs(chroma[0] - chroma[1]).max() <= 1.01


def test_weights_of_a_training_of_any_width() -> None:
    made = network()
    again = from_state(half(made.state_dict()))
    photo = picture(3)
    assert len(again.body) == 2
    assert np.abs(Painter(made, CPU)(photo).astype(int) - Painter(again, CPU)(photo)).max() <= 2


@pytest.mark.parametrize("drop", ["head.0.conv.weight", "change.bias", "body.1.stages.0.conv.weight"])
def test_other_weights(drop: str) -> None:
    state = {name: value for name, value in network().state_dict().items() if name != drop}
    with pytest.raises(TaskError, match=f"no weights of a network of a style: .*{drop}"):
        from_state(state)


def test_weights_that_are_no_numbers() -> None:
    made = network()
    with torch.no_grad():
        made.change.bias[1] = torch.inf
    with pytest.raises(TaskError, match=r"change\.bias holds what is no number"):
        from_state(made.state_dict())
