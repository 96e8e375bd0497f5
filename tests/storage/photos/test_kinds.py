"""Kinds of files that hold images are found by suffix, those of other packages too."""

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from helpers.originals import picture
from muster.errors import ImageError
from muster.storage.photos import kinds
from muster.storage.photos.containers import Container, Items
from muster.storage.photos.listing import File
from muster.storage.photos.reader import Reader
from muster.storage.photos.rows import rows_of
from muster.storage.photos.sources import find_images
from muster.storage.photos.wishes import Wishes
from muster.storage.uris import inside_uri


class _Album:
    """A text file with the names of photos beside it, one a line."""

    def __init__(self, uri: str) -> None:
        self.folder = Path(uri).parent

    def read(self, key: str) -> bytes:
        try:
            return (self.folder / key).read_bytes()
        except FileNotFoundError:
            raise ImageError("not_found", key) from None

    def close(self) -> None:
        pass


def _list(file: File, wishes: Wishes) -> Items:
    names = Path(file.uri).read_text().split()
    return Items(rows_of([File(inside_uri(file.uri, "item", name), None, file.modified) for name in names]))


ALBUM = Container(suffixes=(".album",), list=_list, open=_Album)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    entry = EntryPoint("album", "test_kinds:ALBUM", kinds.GROUP)
    monkeypatch.setattr(entry.__class__, "load", lambda self: ALBUM)
    monkeypatch.setattr(kinds, "entry_points", lambda group: [entry] if group == kinds.GROUP else [])
    kinds._by_suffix.cache_clear()
    yield
    kinds._by_suffix.cache_clear()


def test_a_kind_of_another_package(installed: Callable[[], None], tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    (tmp_path / "x.album").write_text("a.jpg gone.jpg")
    first, second = find_images(str(tmp_path / "x.album"), None).rows["uri"].to_pylist()
    assert (first, Reader().read(first)) == (f"{tmp_path}/x.album#item=a.jpg", picture())
    with pytest.raises(ImageError):
        Reader().read(second)


def test_what_nothing_reads(tmp_path: Path) -> None:
    assert kinds.of_suffix(".album") is None
    with pytest.raises(ImageError) as error:
        Reader().read(f"{tmp_path}/x.album#item=a.jpg")
    assert error.value.kind == "unsupported"
