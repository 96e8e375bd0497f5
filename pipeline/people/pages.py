"""The people pages of a clustered library."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from muster.errors import InputError
from muster.pipeline.findings.sources import sources_of, tasks_of
from muster.pipeline.people.faces import faces_fingerprint
from muster.pipeline.people.who import people_now
from muster.pipeline.work.choice import TaskChoice
from muster.storage import clusters, duplicates, manifest, tables
from muster.storage.encryption import key_of
from muster.storage.layout import MARKER, PAGES
from muster.storage.library import LibraryFiles, open_library
from muster.storage.new_files import check_local
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.uris import local_path
from muster.tasks import registry
from muster.web.album import LabelTable
from muster.web.people import PagesSource, PagesSummary, write_pages


def folder_for(library: str, out: str | Path | None) -> Path:
    """The folder of a library's pages: `out`, or `people` in the library's own. The library need not be there yet.

    Raises InputError where it is in a bucket and `out` is None, or where it is encrypted and the folder lies in it.
    """
    local = local_path(library)
    if out is None and local is None:
        raise InputError(f"library {library} is not on this machine: say with `out` where the pages go")
    place = Path(library if local is None else local).expanduser()
    folder = place / PAGES if out is None else check_local(out)
    key = open_library(library).key if (place / MARKER).is_file() else key_of(os.environ)
    if key is not None and folder.resolve().is_relative_to(place.resolve()):
        raise InputError(
            f"library {library} is encrypted, and pages with copies of its photos are not: say with `out` in which"
            " folder outside of it they go"
        )
    return folder


def write_people(library: LibraryFiles, model: str | None, out: Path) -> PagesSummary:
    """The people pages of a clustered library, in the folder `out`. The caller holds the lock, see forget.locked.

    The faces are those that `cluster` takes; all other rows those that `export` does: see `sources_of`.
    """
    source = replace(source_of(library, model), labels=label_tables(library), duplicates=duplicates.read(library))
    return write_pages(source, out)


def source_of(library: LibraryFiles, model: str | None) -> PagesSource:
    """A clustered library, as pages are made from it, without labels to narrow photos down by."""
    shards = dict(manifest.shards(library))
    faces = faces_fingerprint(library, model)  # which `cluster` took
    found = clusters.require(library, faces)
    images = manifest.read_manifest(library)
    previews = sources_of(library, "previews", shards)
    fingerprints = {
        "images": IMAGES_FINGERPRINT,
        "faces": faces,
        "previews": previews[0].fingerprint if previews else TaskChoice(name="previews").fingerprint,
    }
    uris = dict(zip(images["image_id"].to_pylist(), images["uri"].to_pylist(), strict=True))
    done = manifest.committed(library, faces)
    people = people_now(library, model)
    return PagesSource(library, done, fingerprints, found, uris, people=people)


def label_tables(library: LibraryFiles) -> list[LabelTable]:
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
