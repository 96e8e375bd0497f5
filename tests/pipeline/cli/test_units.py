import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.fixtures import Outcome

Muster = Callable[..., Outcome]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    path = tmp_path / "a\x1b[31m<b>&\u202e.png"
    Image.fromarray(noise).resize((160, 120)).save(path)
    return path


def test_the_stages_of_a_photo_need_no_library(muster: Muster, photo: Path, tmp_path: Path) -> None:
    outcome = muster("units", "--image", photo, "--out", tmp_path / "out", "--device", "cpu", "--json")
    assert outcome.code == 0, outcome.err
    facts = json.loads(outcome.out)
    assert facts["stages"] > 10
    text = (tmp_path / "out" / "index.html").read_text()
    assert "\x1b" not in text
    assert "<b>" not in text
    assert "\u202e" not in text
    assert len(list((tmp_path / "out" / "stages").iterdir())) == facts["stages"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--image", "none.jpg"], "none.jpg"),
        (["--model", "units=squeeznet"], "no model 'squeeznet'; known: daynight, "),
        (["--model", "faces=own"], "this command is about units"),
        (["-l", "nowhere"], "no library at nowhere"),
    ],
)
def test_mistakes_are_named(
    muster: Muster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = muster("units", "--out", "out", *options)
    assert outcome.code == 2
    assert said in outcome.err
    assert not (tmp_path / "out").exists()
