"""What every evaluation begins with: its photos take the same path as a user's."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pyarrow as pa

from muster.pipeline import forget
from muster.storage import manifest
from muster.storage.library import LibraryFiles, open_library
from muster.storage.photos.names import file_column
from muster.storage.texts import file_name, image_name


@contextmanager
def scanned(source: str, uri: str) -> Iterator[LibraryFiles]:
    """A library of the images of `source`: the one at `uri`, or one that is thrown away afterwards where that is ""."""
    with tempfile.TemporaryDirectory(prefix="muster-") as folder:
        library = open_library(uri or f"{folder}/library", create=True)
        with forget.locked(library):
            manifest.scan(library, [source])
        yield library


def file_names(images: pa.Table) -> list[str]:
    """How each image of the manifest is called in its labels: as a column says (`file`, `file_name`, `image_path`),
    else by its URI."""
    return [name or "" for name in images[file_column(images)].to_pylist()]


def short_names(images: pa.Table) -> list[str]:
    """These without folders, as files of labels are compared with them."""
    return list(map(image_name if file_column(images) == "uri" else file_name, file_names(images)))


def some(given: Iterable[str]) -> str:
    """The first three of some names, for a message."""
    names = list(given)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
