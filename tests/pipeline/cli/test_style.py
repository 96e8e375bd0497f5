from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

import muster as face_of
from helpers.fixtures import Outcome
from muster.pipeline.cli.style import _weighted

Muster = Callable[..., Outcome]


@pytest.fixture
def place(tmp_path: Path, make_photos: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    face_of.scan(make_photos(tmp_path / "photos", range(2)), library=tmp_path / "library")
    Image.new("RGB", (40, 40), "red").save(tmp_path / "a=2.png")
    return tmp_path


@pytest.mark.usefixtures("ray_cluster")
def test_photos_are_painted(muster: Muster, place: Path) -> None:
    asked = ("style", "--style", "a=2.png=3", "--out", "out", "--side", "32", "--steps", "1", "--workers", "1")
    outcome = muster(*asked, "--set", "style.optimiser=adam")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("2 photos of 2 painted: out/a=2-")
    facts = muster(*asked, "--set", "style.optimiser=adam", "--json").facts
    assert (facts["photos"], facts["painted"], facts["runs"][0]["processed"]) == (2, 2, 0)
    assert len(list(Path(facts["pictures"]).glob("*.jpg"))) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--alpha", "-1"), "style.alpha=-1: give a number from 0"),
        (("--alpha", "0", "--beta", "0"), "both 0"),
        (("--set", "objects.min_score=1"), "about style, not objects"),
        (("--model", "objects=yolo"), "about style|no model"),
        (("--model", "style=net"), "--style: the model `net` has learnt its style, and takes no other"),
        (("--style", "none.jpg"), "none.jpg: no such file"),
        (("--set", "style.layers=features.99"), "no layer 'features.99'; the nearest it has: features.9"),
    ],
)
def test_bad_input(muster: Muster, place: Path, arguments: tuple[str, ...], says: str) -> None:
    outcome = muster("style", "--style", "a=2.png", "--out", "out", *arguments)
    assert outcome.code == 2
    assert any(word in outcome.error for word in says.split("|")), outcome.error
    assert not (place / "out").exists()


def test_a_weight_stands_behind_the_last_sign_unless_the_file_is_called_so(place: Path) -> None:
    assert _weighted("a=2.png") == ("a=2.png", 1.0)
    assert _weighted("b.png=0.5") == ("b.png", 0.5)
    assert _weighted("b=c.png") == ("b=c.png", 1.0)
