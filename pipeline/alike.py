"""Photos of a library that look like one, in it or not: by the embeddings of the task `features`."""

from pathlib import Path

import numpy as np

from muster.arrays import F32, I64, matrix
from muster.errors import ImageError, InputError, NotYetError
from muster.pipeline.run import fetch_weights
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.machine import Machine
from muster.pipeline.work.worker import image_of
from muster.storage import downloads, tables
from muster.storage.photos import decode
from muster.storage.photos.picture import from_anywhere
from muster.storage.search.alike import TABLE, Alike
from muster.storage.search.index import Index
from muster.storage.search.meanings import photos_called
from muster.storage.uris import local_path


def nearest(
    library: str,
    index: Index,
    photo: str,
    among: I64,
    most: int,
    machine: Machine,
    on_download: downloads.OnDownload | None,
) -> tuple[F32, I64]:
    """Those `among` an index's photos that look most like `photo`, the nearest first, without itself: cosine
    similarities and rows, both (M,).

    `photo`: one of the library by where it lies, a file, or an image_id or file name of the library. NotYetError where
    the library has no embeddings, InputError where the photo cannot be had.
    """
    if index.alike is None:
        raise NotYetError(f"library {library} has no features of its photos yet", "run", library, (TABLE,))
    uri = from_anywhere(photo)
    own = photos_called(index, uri)
    if not len(own) and not Path(local_path(uri) or "").is_file():  # else a name, which others may have too
        own = photos_called(index, photo)
    queries = index.alike.of(own) if len(own) else _embedded(index.alike, photo, uri, machine, on_download)
    if not len(queries):
        raise NotYetError(f"{photo} has no features yet", "run", library, (TABLE,))
    return index.alike.nearest(queries, most, np.setdiff1d(among, own))


def _embedded(alike: Alike, photo: str, uri: str, machine: Machine, on_download: downloads.OnDownload | None) -> F32:
    """The embedding of a file, by the network that the library's are of."""
    known = tables.descriptions(alike.library)[alike.fingerprint]
    choice = TaskChoice(name=TABLE, model=known["model"])
    if choice.fingerprint != alike.fingerprint:
        raise InputError(
            f"`like` {photo}: it is not in the library, whose features are of other weights or of another version than"
            " those that are here: name a photo of the library, or run features again"
        )
    try:
        found = decode.decode(decode.read(uri), choice.task.max_side)
    except ImageError as error:
        raise InputError(f"`like` {photo}: no photo of the library is called so, and as a file: {error}") from None
    fetch_weights(RunConfig(library=alike.library.uri, choices=(choice,), machine=machine), on_download)
    task = choice.load(machine.torch_device, machine.weights_dir)
    return matrix(task([image_of("like", found)])["embedding"])
