"""A clustered library, served; found by what stands in it, without importing a network.

`pages.source_of` asks the tasks for their fingerprints, and torch takes 3 seconds to import.
"""

import gc
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from muster import tasks
from muster.errors import NotYetError
from muster.pipeline.texts import texts_of
from muster.storage import layout, tables
from muster.storage.library import LibraryFiles
from muster.storage.models import read_models
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.people.view import Claim
from muster.web.album import LabelTable
from muster.web.live.columns import LiveSource

if TYPE_CHECKING:
    from muster.tasks.people.graph import Strangers
    from muster.web.live.password import Password

# tasks by which photos cannot be narrowed down
WITHOUT_LABELS = {"answers", "captions", "faces", "features", "images", "masks", "previews", "style", "units"}


def serve_library(
    library: LibraryFiles,
    model: str | None,
    on_ready: Callable[[str, Sequence[str]], None],
    port: int | None = None,
    host: str = "127.0.0.1",
    password: "Password | None" = None,
) -> None:
    """Until KeyboardInterrupt. `on_ready`: called with the address to open, and those for others in the network, who
    are let in by `password`. `model`: as `live_source` takes it. `port`: None: one that is free."""
    if library.has(layout.FORGETTING):  # whoever is to be forgotten is not shown
        from muster.pipeline.forget import settled

        settled(library)
    gc.disable()  # all that is made now stays, and to look through it takes .1 s
    try:
        from muster.web.live.album import LiveAlbum

        album = LiveAlbum(live_source(library, model))
        album.load()
        from muster.web.live.app import app
        from muster.web.live.guard import Doors, is_loopback
        from muster.web.live.serving import addresses, answer, listening

        doors, bound = Doors(password=password), listening(host, port)
        doors.port = bound.getsockname()[1]
        served = app(album, doors, _readonly(library))
        gc.freeze()
    finally:
        gc.enable()
    shown = host if is_loopback(host) else "127.0.0.1"
    url = f"http://{f'[{shown}]' if ':' in shown else shown}:{doors.port}/?token={doors.token}"

    def ready() -> None:
        on_ready(url, addresses(doors.port) if password is not None else [])
        album.search.begin(album)

    answer(served, bound, ready)


def _readonly(library: LibraryFiles) -> str:
    """Why nothing can be edited; "": it can."""
    if library.local is None or os.access(library.local, os.W_OK):
        return ""
    return f"Nothing can be changed here: this user may not write to {library.local}, or its disk is read-only."


def live_source(library: LibraryFiles, model: str | None) -> LiveSource:
    """NotYetError where there is nothing to show yet. `model`: of faces; None: the library's."""
    known = tables.descriptions(library)
    faces = _faces(library, known, model)
    fingerprints = {"faces": faces, "images": IMAGES_FINGERPRINT, "previews": _most(library, known, "previews")}
    quality = str(((known[faces].get("weights") or {}).get("quality") or {}).get("name"))
    return LiveSource(
        library,
        fingerprints,
        lambda faces: _claims(library, faces),
        lambda: _strangers(quality),
        lambda: _labels(library),
        texts_of,
    )


def _faces(library: LibraryFiles, known: Mapping[str, Mapping[str, Any]], model: str | None) -> str:
    """The fingerprint of the faces that `cluster` takes."""
    clustered = set(library.names(layout.CLUSTERS))
    there = [name for name, what in known.items() if what["task"] == "faces" and tables.committed(library, name)]
    wanted = model or (read_models(library).get("faces") if len(there) > 1 else None)
    fitting = [name for name in there if wanted in (None, known[name]["model"])]
    if len(fitting) == 1 and fitting[0] in clustered:
        return fitting[0]
    from muster.pipeline.people.faces import faces_fingerprint  # several versions or none: what the tasks say

    found = faces_fingerprint(library, model)
    if found not in clustered:
        raise NotYetError(f"library {library.uri} is not clustered yet", "cluster", library.uri)
    return found


def _most(library: LibraryFiles, known: Mapping[str, Mapping[str, Any]], task: str) -> str:
    """The fingerprint under which most shards are; "0" * 16 where there are none."""
    there = sorted(name for name, what in known.items() if what["task"] == task)
    return max(there, key=lambda name: len(tables.committed(library, name)), default="0" * 16)


def _claims(library: LibraryFiles, faces: pa.Table) -> Sequence[Claim]:
    if not library.has(layout.GALLERY) and not library.has(layout.TAGS):
        return []
    from muster.pipeline.people.who import claims_of  # it brings what reads photos

    return claims_of(library, faces)


def _strangers(quality: str) -> "Strangers | None":
    """Those in the weights of that name, as `faces.strangers_of` has them; None where they are not of Muster's own."""
    from safetensors.numpy import load_file

    from muster.tasks.people.graph import Strangers

    file = Path(tasks.__file__).parent / "weights" / f"{quality}.safetensors"
    if not file.is_file():
        return None
    state = load_file(file)
    return Strangers(state["strangers"].astype(np.float32), float(state["usual"]))


def _labels(library: LibraryFiles) -> Sequence[LabelTable]:
    if {what["task"] for what in tables.descriptions(library).values()} <= WITHOUT_LABELS:
        return []
    from muster.pipeline.people.pages import label_tables  # it asks the tasks what their labels mean, and brings torch

    return label_tables(library)
