from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.findings import STREETS, commit, dog, face, scanned, sky
from muster.pipeline.work.choice import TaskChoice
from muster.storage.library import LibraryFiles


@pytest.fixture
def photos(tmp_path: Path, make_photos: Callable[..., Path]) -> Path:
    """20 photos in two folders; two have one name."""
    make_photos(tmp_path / "photos" / "a", range(10))
    make_photos(tmp_path / "photos" / "b", range(9, 19))
    return tmp_path / "photos"


@pytest.fixture
def found(tmp_path: Path, photos: Path) -> LibraryFiles:
    """A library of these, with a dog, a sky, a face and a label in each."""
    library = scanned(tmp_path / "library", photos)
    commit(library, TaskChoice(name="objects").description, lambda i: [dog(), dog(0.2)])
    commit(library, STREETS, lambda i: [sky()])
    commit(library, TaskChoice(name="faces").description, lambda i: [face(i)])
    commit(
        library, TaskChoice(name="scenes").description, lambda i: [{"label": "day", "source": "image", "p_day": 0.9}]
    )
    return library
