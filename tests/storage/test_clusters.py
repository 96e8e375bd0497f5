from pathlib import Path

import pyarrow as pa
import pytest

from muster.errors import MusterError, NotYetError
from muster.storage import clusters, layout
from muster.storage.library import LibraryFiles, open_library

ROWS = pa.table(
    {
        "face_id": ["a0", "a1", "b0"],
        "image_id": ["a", "a", "b"],
        "cluster_id": ["p", None, "p"],
        "certainty": pa.array([0.9, None, 0.8], pa.float32()),
    }
)


@pytest.fixture
def library(tmp_path: Path) -> LibraryFiles:
    return open_library(tmp_path / "L", create=True)


def test_what_was_written_is_read(library: LibraryFiles) -> None:
    clusters.write(library, "1111", ROWS, "graph")
    found = clusters.read(library, "1111")
    assert found.equals(ROWS)
    assert found.schema.metadata == {b"muster.method": b"graph", b"muster.fingerprint": b"1111"}


def test_faces_that_were_not_clustered(library: LibraryFiles) -> None:
    with pytest.raises(FileNotFoundError):
        clusters.read(library, "1111")
    with pytest.raises(NotYetError, match="is not clustered yet: `cluster` first"):
        clusters.require(library, "1111")


def test_a_damaged_file_is_named(library: LibraryFiles) -> None:
    library.write(layout.clusters("1111"), b"no Parquet")
    for use in (
        clusters.read,
        clusters.require,
        lambda library, _: clusters.forget(library, pa.chunked_array([["a"]])),
    ):
        with pytest.raises(
            MusterError, match=r"clusters/1111/clusters\.parquet is damaged .*: delete it, and `cluster`"
        ):
            use(library, "1111")


def test_faces_are_forgotten_with_their_images(library: LibraryFiles) -> None:
    clusters.write(library, "1111", ROWS, "graph")
    clusters.write(library, "2222", ROWS, "kmeans")
    clusters.forget(library, pa.chunked_array([["b", "c"]]))
    for name, how in (("1111", b"graph"), ("2222", b"kmeans")):
        assert clusters.read(library, name).equals(ROWS.slice(2))
        assert clusters.read(library, name).schema.metadata[b"muster.method"] == how
    clusters.forget(library, pa.chunked_array([], pa.string()))
    assert clusters.read(library, "1111").num_rows == 0
