from pathlib import Path
from typing import Any

import pytest

from muster.storage import index, layout
from muster.storage.library import open_library


def test_every_index_goes(tmp_path: Path) -> None:
    library = open_library(tmp_path / "L", create=True)
    for name in ("1111", "2222"):
        library.write(layout.index(name, "faces"), b"lists")
    index.drop(library)
    assert library.names(layout.INDEX) == []
    index.drop(library)  # where there is none


def test_one_that_does_not_go_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds embeddings: nobody may believe that they are gone."""
    library = open_library(tmp_path / "L", create=True)
    library.write(layout.index("1111", "faces"), b"x")

    def stays(*arguments: Any, **options: Any) -> None:
        raise PermissionError("stays")

    monkeypatch.setattr("shutil.rmtree", stays)
    with pytest.raises(PermissionError, match="stays"):
        index.drop(library)
