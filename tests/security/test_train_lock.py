"""`muster train` locks its folder; who can write there must not choose which file that opens."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image


def test_07_a_link_at_the_lock_of_a_training_is_not_followed(muster: Callable[..., Any], tmp_path: Path) -> None:
    precious, out = tmp_path / "precious.txt", tmp_path / "model"
    precious.write_text("years of work")
    out.mkdir()
    (out / ".lock").symlink_to(precious)
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "photos/a.jpg")
    outcome = muster("train", "daynight", "--images", tmp_path / "photos", "--out", out)
    assert outcome.code == 1
    assert ".lock" in outcome.error
    assert precious.read_text() == "years of work"
