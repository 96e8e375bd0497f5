"""Files that appear whole, and where none may appear."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.exchange import CATEGORIES, DOG, SAMPLE, SCHEMA, SKY, photo
from muster.errors import InputError
from muster.storage.exchange.formats import FORMATS, DataSet, check_out
from muster.storage.library import open_library


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    library = open_library(tmp_path / "L", create=True)
    with pytest.raises(InputError, match="lies in the library"):
        check_out(tmp_path / "L" / "look", library, folder=True)
    for name in ("new", "empty"):
        check_out(tmp_path / name, library, folder=True)
    for name in ("file", "full", "link"):
        with pytest.raises(InputError, match="is there already, and is not overwritten: give an empty folder"):
            check_out(tmp_path / name, library, folder=True)
    for name in ("file", "full", "empty", "link"):
        with pytest.raises(InputError, match="give a new name"):
            check_out(tmp_path / name, library, folder=False)
    with pytest.raises(InputError, match="no folder"):
        check_out(tmp_path / "none" / "new", library, folder=False)


def test_one_format_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def photos() -> Any:
        yield photo("1.jpg", DOG, SKY)
        raise KeyboardInterrupt

    def samples() -> Any:
        yield SAMPLE
        raise KeyboardInterrupt

    for each in FORMATS.values():
        out = tmp_path / "out"
        given = (samples(), out, SCHEMA) if isinstance(each, DataSet) else (photos(), out, CATEGORIES, {})
        write: Callable[..., object] = each.write
        with pytest.raises(KeyboardInterrupt):
            write(*given)
        assert list(tmp_path.iterdir()) == []
