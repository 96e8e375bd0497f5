"""Nearest neighbours among the embeddings of a library: kept below `index/`, and made again when they are needed."""

from muster.storage import layout
from muster.storage.library import LibraryFiles


def drop(library: LibraryFiles) -> None:
    """Remove every index: they are made of embeddings, and so of faces that may have to go."""
    library.remove_folder(layout.INDEX)
