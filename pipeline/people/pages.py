"""The people pages of a clustered library."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muster.errors import InputError
from muster.pipeline.findings.sources import chosen_source, sources_of, tasks_of
from muster.pipeline.people.grouping import read_clusters
from muster.pipeline.work.worker import IMAGES_DESCRIPTION, describe
from muster.storage import manifest, tables
from muster.storage.library import Library
from muster.tasks import registry
from muster.web.album import LabelTable
from muster.web.people import PagesSource, PagesSummary, write_pages


def write_people(library: Library, model: str | None, out: Path) -> PagesSummary:
    """The people pages of a clustered library, in the folder `out`. The caller holds the lock, see forget.locked.

    All rows on them are those that `muster export` takes: see `sources_of`.
    """
    shards = dict(manifest.shards(library))
    faces = chosen_source(library, "faces", model, shards).fingerprint
    try:
        clusters = read_clusters(library, faces)
    except FileNotFoundError:
        raise InputError(
            f"library {library.uri} is not clustered yet: run `muster cluster -l {library.uri}` first"
        ) from None
    images = manifest.read_manifest(library)
    previews = sources_of(library, "previews", shards)
    fingerprints = {
        "images": tables.fingerprint(IMAGES_DESCRIPTION),
        "faces": faces,
        "previews": previews[0].fingerprint if previews else tables.fingerprint(describe("previews", None)),
    }
    uris = dict(zip(images["image_id"].to_pylist(), images["uri"].to_pylist(), strict=True))
    done = manifest.committed(library, faces)
    source = PagesSource(library, done, fingerprints, clusters, uris, label_tables(library))
    return write_pages(source, out)


def label_tables(library: Library) -> list[LabelTable]:
    """The tables of a library by whose labels photos may be narrowed down."""
    shards = dict(manifest.shards(library))
    tasks = tasks_of(library, lambda findings: bool(findings.label) and findings.filters)
    chosen = [sources[0].fingerprint for task in tasks if (sources := sources_of(library, task, shards))]
    described = tables.descriptions(library)
    return [label_table(fingerprint, described[fingerprint]) for fingerprint in chosen]


def label_table(fingerprint: str, description: Mapping[str, Any]) -> LabelTable:
    """What the findings of a task say of its labels, for the rows under this fingerprint."""
    says = registry.find(description["task"]).findings
    return LabelTable(
        table=description["task"],
        fingerprint=fingerprint,
        label=says.label or "label",
        score=says.score,
        placed=says.placed,
        phrases=says.phrases,
        hidden=says.hidden,
        least_scores=says.least_scores and says.least_scores(description.get("weights") or {}),
    )
