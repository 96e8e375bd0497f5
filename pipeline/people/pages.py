"""The people pages of a clustered library."""

import os
from collections.abc import Mapping
from pathlib import Path

from muster.errors import InputError
from muster.pipeline.findings.annotations import sources_of
from muster.pipeline.people.faces import faces_fingerprint
from muster.pipeline.work.choice import TaskChoice
from muster.storage import clusters, manifest, tables
from muster.storage.encryption import key_of
from muster.storage.layout import MARKER, PAGES
from muster.storage.library import Library, open_library
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.tasks.models import filter_scores
from muster.web.album import LABEL_TABLES
from muster.web.people import PagesSource, PagesSummary, write_pages


def folder_for(library: str, out: str | Path | None) -> Path:
    """The folder of a library's pages: `out`, or `people` in the library's own. The library need not be there yet.

    Raises InputError where it is in a bucket and `out` is None, or where it is encrypted and the folder lies in it.
    """
    if out is None and "://" in library:
        raise InputError(f"library {library} is not on this machine: say with `out` where the pages go")
    place = Path(library).expanduser()
    folder = place / PAGES if out is None else Path(out).expanduser()
    key = open_library(library).key if (place / MARKER).is_file() else key_of(os.environ)
    if key is not None and folder.resolve().is_relative_to(place.resolve()):
        raise InputError(
            f"library {library} is encrypted, and pages with copies of its photos are not: say with `out` in which"
            " folder outside of it they go"
        )
    return folder


def write_people(library: Library, model: str | None, out: Path) -> PagesSummary:
    """The people pages of a clustered library, in the folder `out`. The caller holds the lock, see forget.locked."""
    fingerprint = faces_fingerprint(library, model)
    found = clusters.require(library, fingerprint)
    images = manifest.read_manifest(library)
    fingerprints = {
        "images": IMAGES_FINGERPRINT,
        "faces": fingerprint,
        "previews": TaskChoice(name="previews").fingerprint,
    }
    fingerprints |= _label_fingerprints(library)
    uris = dict(zip(images["image_id"].to_pylist(), images["uri"].to_pylist(), strict=True))
    least = {"objects": _least_scores(library, fingerprints["objects"])} if "objects" in fingerprints else {}
    source = PagesSource(library, manifest.committed(library, fingerprint), fingerprints, found, uris, least)
    return write_pages(source, out)


def _label_fingerprints(library: Library) -> dict[str, str]:
    """Of `objects` and `scenes`, where there are any: those that `muster export` takes by itself."""
    images = dict(manifest.shards(library))
    found = {table: sources_of(library, table, images) for table in LABEL_TABLES}
    return {table: sources[0].fingerprint for table, sources in found.items() if sources}


def _least_scores(library: Library, fingerprint: str) -> Mapping[str, float]:
    """Class → the score from which on the pages say that a photo shows it, of the objects under this fingerprint."""
    weights = tables.descriptions(library)[fingerprint].get("weights")
    for name, scores in filter_scores.MEASURED.items():
        if weights == TaskChoice(name="objects", model=name).description["weights"]:
            return scores
    return filter_scores.UNMEASURED
