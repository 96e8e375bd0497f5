"""tasks/style.py: options, what the fingerprint holds, and the contract of a task."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from muster.arrays import Pixels
from muster.errors import TaskError
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.weights import parse
from muster.storage import downloads
from muster.tasks import registry
from muster.tasks.base import Image, Option
from muster.tasks.models import zoo
from muster.tasks.models.style_net import StyleNet
from muster.tasks.models.zoo.style import LAYERS, NET
from muster.tasks.style import OPTIONS, Style, _decoded, encoded
from muster.testing import check_task
from muster.training.loop import half


def picture(seed: int = 0, height: int = 40, width: int = 48) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


STYLE = [encoded(picture(), "a" * 64)]


class Quick(Style):
    """In little time, by a clock that stands still: `seconds` is the one column that differs from run to run."""

    options: Mapping[str, Option] = {
        **OPTIONS,
        "style": Option(OPTIONS["style"].parse, "As Style.", OPTIONS["style"].parse(STYLE)),
        "side": Option(OPTIONS["side"].parse, "As Style.", 48),
        "steps": Option(OPTIONS["steps"].parse, "As Style.", 2),
    }
    clock = staticmethod(lambda: 0.0)


def test_the_contract(weights: Path) -> None:
    check_task(Quick, weights_dir=weights)


def test_options_count(weights: Path) -> None:
    check_task(Quick, options={"alpha": 1, "colours": "photo", "start": "noise"}, weights_dir=weights)


@given(st.integers(32, 60), st.integers(32, 60), st.integers(0, 9))
def test_a_picture_comes_out_of_the_option_as_it_went_in(height: int, width: int, seed: int) -> None:
    pixels = picture(seed, height, width)
    [parsed] = OPTIONS["style"].parse([encoded(pixels, "b" * 64, 2)])
    assert np.array_equal(_decoded(parsed), pixels)


@pytest.mark.parametrize("shape", [(1, 400), (400, 1), (31, 40)])
def test_a_picture_that_is_too_narrow(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"{shape[1]}×{shape[0]} pixels: a style needs at least 32"):
        encoded(picture(0, *shape), "a" * 64)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"alpha": -1}, "style.alpha=-1: give a number from 0"),
        ({"beta": "-0.5"}, "style.beta=-0.5: give a number from 0"),
        ({"alpha": "nan"}, "style.alpha=nan: give a number"),
        ({"alpha": 0, "beta": 0}, "both 0"),
        ({"style": []}, "needs pictures"),
        ({"style": "a.jpg"}, "read by `style"),
        ({"style": [{**STYLE[0], "weight": 0}]}, "greater than 0"),
        ({"style": [{**STYLE[0], "size": [1, 1920]}]}, "at least 32 pixels"),
        ({"style": [{**STYLE[0], "size": [40, 49]}]}, "encoded"),
        ({"style": [{**STYLE[0], "rgb": "x"}]}, "encoded"),
        ({"style": [5]}, "encoded"),
        ({"style": 5}, "not iterable"),
        ({"steps": 0}, "from 1"),
        ({"steps": 1.5}, "whole number"),
        ({"side": 5000}, "from 32 to 4096"),
        ({"optimiser": "sgd"}, "give lbfgs or adam"),
        ({"colours": "both"}, "give style or photo"),
        ({"layers": ""}, "at least one layer"),
        ({"layers": "features.1=x"}, "NAME=WEIGHT"),
        ({"layers": "features.1=-1"}, "greater than 0"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], says: str) -> None:
    with pytest.raises(TaskError, match=says):
        registry.create("style", None, {"style": STYLE, **options})


def test_layers_may_have_weights() -> None:
    layers = OPTIONS["layers"].parse("features.1, features.4=0.5")
    assert layers == {"features.1": 1.0, "features.4": 0.5}


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """The weights of a small network, as a training writes them."""
    torch.manual_seed(0)
    file = tmp_path / "style-net.safetensors"
    file.write_bytes(safetensors.torch.save(half(StyleNet((4, 6, 8), 1).state_dict())))
    return file


class Learnt(Style):
    clock = staticmethod(lambda: 0.0)


@pytest.mark.parametrize("options", [{}, {"side": 48, "colours": "photo"}])
def test_the_contract_of_a_network_that_has_learnt_a_style(net: Path, options: dict[str, Any]) -> None:
    state = parse(downloads.read(net))
    check_task(Learnt, model=NET, options=options, weights={"muster-style-net": state})


def test_what_a_network_costs_is_not_known(net: Path) -> None:
    task = TaskChoice(name="style", model=NET, options={"side": 64}, weights=net).load(torch.device("cpu"), None)
    [row] = task([Image("a", picture(1, 70, 90), 1.0, (90, 70))]).to_pylist()
    assert (row["width"], row["height"], row["jpeg"][:2]) == (64, 50, b"\xff\xd8")
    costs = ("cost", "content_cost", "style_cost", "layer_costs", "costs", "steps")
    assert [row[name] for name in costs] == [None] * len(costs)


@pytest.mark.parametrize(
    "options", [{"alpha": 1}, {"beta": 0}, {"steps": 9}, {"layers": "features.1"}, {"seed": 1}, {"style": STYLE}]
)
def test_what_a_network_cannot_be_asked_for(options: dict[str, Any]) -> None:
    [name] = options
    with pytest.raises(TaskError, match=f"takes `side` and `colours`, and no `{name}`"):
        registry.create("style", NET, options)


def test_a_network_has_the_fingerprint_of_its_file(net: Path) -> None:
    usual, small = (TaskChoice(name="style", model=NET, options=each, weights=net) for each in ({}, {"side": 64}))
    found = {usual.fingerprint, small.fingerprint}
    net.write_bytes(safetensors.torch.save(half(StyleNet((4, 6, 8), 1).state_dict())))
    assert len(found | {TaskChoice(name="style", model=NET, weights=net).fingerprint}) == 3
    assert usual.description["parameters"] == {"side": 512, "colours": "style"}


def fingerprint(**options: Any) -> str:
    return TaskChoice(name="style", options={"style": STYLE, **options}).fingerprint


def test_the_fingerprint_holds_what_changes_rows_and_no_bytes_of_pictures() -> None:
    others = [
        fingerprint(style=[{**STYLE[0], "sha256": "c" * 64}]),
        fingerprint(style=[{**STYLE[0], "weight": 2.0}]),
        *(fingerprint(**{name: value}) for name, value in (("alpha", 1), ("side", 64), ("steps", 9), ("seed", 1))),
        *(fingerprint(**{name: value}) for name, value in (("colours", "photo"), ("layers", "features.1"))),
    ]
    assert len({fingerprint(), *others}) == 1 + len(others)
    assert fingerprint() == fingerprint(alpha="0.02")
    assert "rgb" not in str(TaskChoice(name="style", options={"style": STYLE}).description)


def test_every_model_has_layers() -> None:
    assert {roles["network"] for name, roles in zoo.MODELS["style"].items() if name != NET} == LAYERS.keys()


def test_more_is_waited_for_larger_pictures() -> None:
    small, large = (registry.create("style", None, {"style": STYLE, "side": side}) for side in (256, 512))
    assert large.patience == 4 * small.patience
