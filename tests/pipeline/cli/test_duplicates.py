import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import muster as face_of
from helpers.fixtures import Outcome
from helpers.seen import seen
from muster.storage import duplicates

Muster = Callable[..., Outcome]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two copies of one photo, and another photo."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, names in {1: ["a.png", "b\x1b[31m.jpg"], 2: ["c.jpg"]}.items():
        noise = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
        for name in names:
            Image.fromarray(noise).resize((400, 300), Image.Resampling.BICUBIC).save(folder / name)
    return folder


def test_what_is_found_is_said(muster: Muster, photos: Path, tmp_path: Path) -> None:
    seen(tmp_path / "L", photos)
    outcome = muster("duplicates", "-l", tmp_path / "L")
    assert outcome.code == 0, outcome.err
    size = (photos / "a.png").stat().st_size / 1e6
    assert outcome.out.splitlines() == [
        f"1 picture with copies: 1 copy, 0 of them exact, {size:.1f} MB",
        "0 moments with several photos",
        f"same picture 1: keep {photos}/b\\x1b[31m.jpg (in a camera's format)",
        f"    {photos}/a.png",
    ]


def test_as_json(muster: Muster, photos: Path, tmp_path: Path) -> None:
    library = seen(tmp_path / "L", photos)
    facts = json.loads(muster("duplicates", "-l", tmp_path / "L", "--json").out)
    assert (facts["photos"], facts["pictures"], facts["copies"], facts["moments"]) == (3, 1, 1, 0)
    [group] = facts["groups"]
    assert (group["kind"], group["reason"]) == ("picture", "in a camera's format")
    assert [photo["uri"] for photo in group["photos"]] == [f"{photos}/b\x1b[31m.jpg", f"{photos}/a.png"]
    assert [photo["best"] for photo in group["photos"]] == [True, False]
    assert duplicates.require(library).num_rows == 2


def test_photos_without_a_preview_are_counted(muster: Muster, photos: Path, tmp_path: Path) -> None:
    seen(tmp_path / "L", photos, previews=False)
    outcome = muster("duplicates", "-l", tmp_path / "L")
    assert outcome.code == 0
    assert "2 photos without a preview, compared by hash alone" in outcome.err


def test_before_a_run(muster: Muster, photos: Path, tmp_path: Path) -> None:
    muster("scan", photos, "-l", tmp_path / "L")
    outcome = muster("duplicates", "-l", tmp_path / "L")
    assert outcome.code == 2
    assert "muster run -l" in outcome.err


def test_the_table_is_read_by_its_name(photos: Path, tmp_path: Path) -> None:
    seen(tmp_path / "L", photos)
    library = face_of.open(tmp_path / "L")
    with pytest.raises(face_of.errors.NotYetError, match="`duplicates` first"):
        library.table("duplicates")
    found = library.duplicates()
    assert library.table("duplicates").equals(found.table.drop(["uri"]))
