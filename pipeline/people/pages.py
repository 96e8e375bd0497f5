"""The people pages of a clustered library."""

from collections.abc import Mapping
from pathlib import Path

from muster.errors import InputError
from muster.pipeline.findings.annotations import sources_of
from muster.pipeline.people.faces import faces_fingerprint
from muster.pipeline.people.grouping import read_clusters
from muster.pipeline.work.choice import TaskChoice
from muster.storage import manifest, tables
from muster.storage.library import Library
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.tasks.models import filter_scores
from muster.web.album import LABEL_TABLES
from muster.web.people import PagesSource, PagesSummary, write_pages


def write_people(library: Library, model: str | None, out: Path) -> PagesSummary:
    """The people pages of a clustered library, in the folder `out`. The caller holds the lock, see forget.locked."""
    fingerprint = faces_fingerprint(library, model)
    try:
        clusters = read_clusters(library, fingerprint)
    except FileNotFoundError:
        raise InputError(
            f"library {library.uri} is not clustered yet: run `muster cluster -l {library.uri}` first"
        ) from None
    images = manifest.read_manifest(library)
    fingerprints = {
        "images": IMAGES_FINGERPRINT,
        "faces": fingerprint,
        "previews": TaskChoice(name="previews").fingerprint,
    }
    fingerprints |= _label_fingerprints(library)
    uris = dict(zip(images["image_id"].to_pylist(), images["uri"].to_pylist(), strict=True))
    least = {"objects": _least_scores(library, fingerprints["objects"])} if "objects" in fingerprints else {}
    source = PagesSource(library, manifest.committed(library, fingerprint), fingerprints, clusters, uris, least)
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
