"""Which faces are one person: `clusters/<fingerprint>/clusters.parquet`, a row for each face of that fingerprint."""

import pyarrow as pa
import pyarrow.compute as pc

from muster.errors import MusterError, NotYetError
from muster.storage import layout
from muster.storage.library import LibraryFiles
from muster.storage.tables import from_parquet, to_parquet

EDITS = "muster.edits"


def edits_of(rows: pa.Table) -> str | None:
    """Which edits counted when these were clustered; None: there were none."""
    found = (rows.schema.metadata or {}).get(EDITS.encode())
    return None if found is None else found.decode()


def read(library: LibraryFiles, fingerprint: str) -> pa.Table:
    """Raises FileNotFoundError where these faces were not clustered, MusterError where the file is damaged."""
    name = layout.clusters(fingerprint)
    data = library.read(name)
    try:
        return from_parquet(data)
    except (OSError, pa.ArrowException) as error:
        raise MusterError(f"{library.at(name)} is damaged ({error}): delete it, and `cluster` again") from None


def require(library: LibraryFiles, fingerprint: str) -> pa.Table:
    """`read`; NotYetError where these faces were not clustered."""
    try:
        return read(library, fingerprint)
    except FileNotFoundError:
        raise NotYetError(f"library {library.uri} is not clustered yet", "cluster", library.uri) from None


def write(library: LibraryFiles, fingerprint: str, rows: pa.Table, how: str, edits: str | None = None) -> None:
    """`rows`: face_id, image_id, cluster_id, certainty, and found_id where users have said something. `how` they were
    found stands in the file, and which `edits` counted (muster.storage.people.counted). The caller holds the lock."""
    said = {} if edits is None else {EDITS: edits}
    rows = rows.replace_schema_metadata({"muster.method": how, "muster.fingerprint": fingerprint, **said})
    library.write(layout.clusters(fingerprint), to_parquet(rows))


def forget(library: LibraryFiles, images: pa.ChunkedArray) -> None:
    """Drop the rows of all but these images (image_ids), under every fingerprint. The caller holds the lock."""
    for fingerprint in library.names(layout.CLUSTERS):
        try:
            rows = read(library, fingerprint)
        except FileNotFoundError:
            continue
        kept = rows.filter(pc.is_in(rows["image_id"], value_set=images.combine_chunks()))
        if kept.num_rows < rows.num_rows:
            library.write(layout.clusters(fingerprint), to_parquet(kept))
