"""A library's tables as they are: of its manifest, its images, and what each task found."""

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from muster.errors import InputError
from muster.pipeline.findings.sources import chosen_source
from muster.pipeline.people.faces import faces_fingerprint
from muster.pipeline.people.naming import everybody
from muster.storage import clusters, duplicates, manifest, outcomes, tables
from muster.storage.library import LibraryFiles
from muster.storage.tags import table as tags
from muster.tasks import registry


def table(library: LibraryFiles, name: str, model: str | None, columns: Sequence[str] | None) -> pa.Table:
    """Rows of the manifest's images. `name`: "manifest", "images", "errors", "clusters", "people", "tags",
    "duplicates", or a task.

    `model`: of a task, or of the faces that were clustered; see `muster.pipeline.findings.sources.sources_of`.
    Raises NotYetError where there are none, InputError where they have not all `columns`.
    """
    if name in _READERS:
        found = _READERS[name](library, model)
        return found if columns is None else found.select(_among(columns, name, found))
    tasks = {*registry.names(), *(what["task"] for what in tables.descriptions(library).values())}
    if name not in tasks | {"images"}:
        raise InputError(f"there is no table {name!r}; known: {', '.join(sorted({*_READERS, *tasks, 'images'}))}")
    if name == "images":
        fingerprint = outcomes.IMAGES_FINGERPRINT
    else:
        fingerprint = chosen_source(library, name, model, dict(manifest.shards(library))).fingerprint
    shards = manifest.committed(library, fingerprint)
    if columns is not None:  # before they are asked of each file, where one that lacks them is a damaged one
        columns = _among(columns, name, tables.require(library, name, fingerprint, None, shards[:1]))
    return tables.require(library, name, fingerprint, columns, shards)


def _among(columns: Sequence[str], name: str, rows: pa.Table) -> list[str]:
    if strange := [column for column in columns if column not in rows.column_names]:
        raise InputError(f"table {name} has no column {strange[0]!r}; it has {', '.join(rows.column_names)}")
    return list(columns)


def _errors(library: LibraryFiles, model: str | None) -> pa.Table:
    """Images on which a task failed, of every task and model."""
    found = [
        tables.read(library, "errors", fingerprint, None, manifest.committed(library, fingerprint))
        for fingerprint in tables.descriptions(library)
    ]
    return pa.concat_tables([outcomes.ERRORS.empty_table(), *(rows for rows in found if rows is not None)])


_READERS: Mapping[str, Callable[[LibraryFiles, str | None], pa.Table]] = {
    "manifest": lambda library, model: manifest.read_manifest(library),
    "clusters": lambda library, model: clusters.require(library, faces_fingerprint(library, model)),
    "errors": _errors,
    "people": everybody,
    "tags": lambda library, model: tags.read(library),
    "duplicates": lambda library, model: duplicates.require(library),
}
