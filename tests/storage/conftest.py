"""What tests of storage begin with."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from muster.storage.library import LibraryFiles, open_library


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return open_library(tmp_path / "library", create=True)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture(scope="module")
def no_fsync() -> Iterator[None]:
    """For tests that do not cut the power: waiting for the disk takes most of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield
