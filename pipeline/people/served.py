"""A clustered library as the live page takes it: found by what stands in it, without importing a network.

`pages.source_of` asks the tasks for their fingerprints, and torch takes 3 seconds to import.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from muster import tasks
from muster.errors import NotYetError
from muster.storage import layout, tables
from muster.storage.library import LibraryFiles
from muster.storage.models import read_models
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.people.view import Claim
from muster.web.album import LabelTable
from muster.web.live.columns import LiveSource

if TYPE_CHECKING:
    from muster.tasks.people.graph import Strangers

WITHOUT_LABELS = {"faces", "images", "masks", "previews"}  # tasks by which photos cannot be narrowed down


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
