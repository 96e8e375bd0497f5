"""What the live page holds of a library: its photos and faces as columns, without a picture, a name or an embedding.

Of 40,000 photos with 120,000 faces these are some 30 MB; a dataclass for each face would be ten times as much, and
seconds of work before the first page.
"""

import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from muster.arrays import F32, I64, matrix
from muster.errors import MusterError
from muster.storage import clusters, layout, tables
from muster.storage.encryption import MAGIC
from muster.storage.library import LibraryFiles
from muster.storage.people.view import Claim
from muster.storage.search.alike import TextsOf
from muster.storage.tags.table import filled
from muster.web.album import LabelTable, PagesSource

if TYPE_CHECKING:
    from muster.tasks.people.graph import Strangers

PHOTO_COLUMNS = ["image_id", "status", "width", "height", "taken_at", "sha256"]
TAG_COLUMNS = ["image_id", "taken_at"]  # what photos themselves do not say of their date
FACE_COLUMNS = ["image_id", "face_id", "box_xyxy", "quality"]
READERS = 4  # files that are read at once
I32 = np.ndarray[Any, np.dtype[np.int32]]
Times = np.ndarray[Any, np.dtype[np.datetime64]]


@dataclass(frozen=True)
class LiveSource:
    """What the live page is made from. `fingerprints`: those of the tables "images", "faces" and "previews".

    `claims(faces)`: what gallery and tags say of these faces (face_id, image_id, box_xyxy). `strangers()`: those that
    come with the model of faces. `labels()`: the tables by whose labels photos are searched. `texts_of`: what compares
    texts with the embeddings of photos.
    """

    library: LibraryFiles
    fingerprints: Mapping[str, str]
    claims: Callable[[pa.Table], Sequence[Claim]]
    strangers: "Callable[[], Strangers | None]"
    labels: Callable[[], Sequence[LabelTable]] = tuple
    texts_of: TextsOf | None = None

    def pages(self) -> PagesSource:
        """As the static pages take it."""
        named = self.named()
        uris = dict(zip(*(named[name].to_pylist() for name in ("image_id", "uri")), strict=True))
        return PagesSource(self.library, self.shards("images"), self.fingerprints, pa.table({}), uris)

    def named(self) -> pa.Table:
        """image_id and uri of all images; after a scan that was cut off, one may stand in it twice."""
        names = [name for name in self.library.names(layout.MANIFEST) if name.startswith("shard-")]
        parts = _read(self.library, [f"{layout.MANIFEST}/{name}" for name in names], ["image_id", "uri"])
        return pa.concat_tables(parts) if parts else pa.table({"image_id": [], "uri": []})

    def shards(self, table: str) -> list[str]:
        """Those of the manifest that this table has rows of, in order of id."""
        known = {name for name in self.library.names(layout.MANIFEST) if name.startswith("shard-")}
        done = tables.committed(self.library, self.fingerprints[table])
        return [shard for shard in done if f"shard-{shard}.parquet" in known]

    @property
    def state(self) -> tuple[object, ...]:
        """Differs where tables, clusters, names of files (but in a bucket, where folders have no time) or who is
        enrolled have changed, whose consent may end with a day; a few listings, and no file is read."""
        names = (layout.clusters(self.fingerprints["faces"]), layout.TAGS, layout.GALLERY, layout.MANIFEST)
        changed = [self.library.fs.get_file_info(self.library.at(each)).mtime_ns for each in names]
        return date.today(), *changed, *(tuple(self.shards(table)) for table in ("images", "faces"))

    @property
    def forgotten(self) -> tuple[object, ...]:
        """Differs where somebody was forgotten, or is at this moment."""
        return self.library.has(layout.FORGETTING), *self.library.names(layout.RECEIPTS)


@dataclass(frozen=True)
class Columns:
    """Photos (N,) that could be read, in order of shards, and their faces (F,).

    `content`: equal for photos of the same bytes. `taken`: NaT where it is not known. `photo`: the row of a face's
    photo. `box`: (F, 4), [x0, y0, x1, y1] in full-size upright pixels. `cluster`: of each face, the place of its
    cluster in `cluster_ids`; -1: none. `certainty`: NaN where it is not known. `faces`, `clusters`: the tables that
    this was made from, as muster.storage.people.view takes them.
    """

    shards: Sequence[str]
    image_id: pa.Array
    shard: I32
    width: I32
    height: I32
    taken: Times
    sha256: pa.Array
    content: I32
    face_id: pa.Array
    photo: I32
    box: F32
    quality: F32
    cluster: I32
    cluster_ids: Sequence[str]
    certainty: F32
    faces: pa.Table
    clusters: pa.Table

    @cached_property
    def in_time_order(self) -> I64:
        """Rows of photos, oldest first, those without a date last, of equals as they stand in the library."""
        return np.argsort(self.taken, kind="stable")

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return {image_id: row for row, image_id in enumerate(self.image_id.to_pylist())}

    def row_of_photo(self, image_id: str) -> int:
        """-1 where there is none."""
        return self._rows.get(image_id, -1)

    @cached_property
    def copies(self) -> Mapping[str, int]:
        """sha256 → how many photos have it, of those that more than one has."""
        counts = np.bincount(self.content)
        rows = np.flatnonzero(counts[self.content] > 1)
        return dict(zip(self.sha256.take(pa.array(rows)).to_pylist(), counts[self.content[rows]].tolist(), strict=True))

    def row_of_face(self, face_id: str) -> int:
        return int(pc.index(self.face_id, face_id).as_py())

    def places_of(self, face_ids: pa.ChunkedArray) -> I64:
        """The row of each of these faces, -1 where there is none."""
        found = pc.index_in(face_ids, self.faces["face_id"].combine_chunks())
        return found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)

    def rows_of_faces(self, face_ids: Sequence[str]) -> list[int]:
        """-1 where there is none."""
        return pc.index_in(pa.array(face_ids, pa.string()), self.face_id).fill_null(-1).to_pylist()


def load(source: LiveSource) -> Columns:
    """Raises MusterError where a file is damaged, NotYetError where the faces are not clustered."""
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(clusters.require, source.library, source.fingerprints["faces"])
        shards = source.shards("images")
        photos = _photos(source, shards)
        faces = read_columns(source, "faces", FACE_COLUMNS, source.shards("faces"))
        return _joined(shards, photos, faces, found.result())


def _photos(source: LiveSource, shards: Sequence[str]) -> pa.Table:
    parts = _parts(source, "images", PHOTO_COLUMNS, shards)
    photos = pa.concat_tables(parts) if parts else pa.table({name: [] for name in PHOTO_COLUMNS})
    shard = np.repeat(np.arange(len(parts), dtype=np.int32), [part.num_rows for part in parts])
    photos = photos.append_column("shard", pa.Array.from_buffers(pa.int32(), len(shard), [None, pa.py_buffer(shard)]))
    photos = photos.filter(pc.equal(photos["status"], "ok"))
    if not source.library.has(layout.TAGS):
        return photos
    return filled(photos, read_part(source.library, layout.TAGS, TAG_COLUMNS))


def _joined(shards: Sequence[str], photos: pa.Table, faces: pa.Table, found: pa.Table) -> Columns:
    image_id = _whole(photos["image_id"])
    sha256 = _whole(pc.coalesce(photos["sha256"], photos["image_id"]))
    with ThreadPoolExecutor(1) as pool:  # what takes time are Arrow's kernels, two of which can work at once
        clustered = pool.submit(_clustered, faces["face_id"], found)
        photo = pc.index_in(faces["image_id"], image_id)
        content = sha256.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int32)
        cluster, cluster_ids, certainty = clustered.result()
    faces = faces.append_column("photo", photo)
    if photo.null_count:
        known = pc.is_valid(photo)
        kept = known.to_numpy()
        faces, cluster, certainty = faces.filter(known), cluster[kept], certainty[kept]
    face_id = _whole(faces["face_id"])
    return Columns(
        shards=shards,
        image_id=image_id,
        **{name: photos[name].to_numpy().astype(np.int32) for name in ("shard", "width", "height")},
        taken=photos["taken_at"].to_numpy().astype("datetime64[us]"),
        sha256=sha256,
        content=content,
        face_id=face_id,
        photo=faces["photo"].to_numpy().astype(np.int32),
        box=matrix(faces["box_xyxy"]) if len(face_id) else np.zeros((0, 4), np.float32),
        quality=faces["quality"].to_numpy().astype(np.float32),
        cluster=cluster,
        cluster_ids=cluster_ids,
        certainty=certainty,
        faces=faces.select(["face_id", "image_id", "box_xyxy"]),
        clusters=found,
    )


def _clustered(face_id: pa.ChunkedArray, found: pa.Table) -> tuple[I32, list[str], F32]:
    place = pc.index_in(face_id, _whole(found["face_id"]))
    ids = _whole(found["cluster_id"]).dictionary_encode()
    number = ids.indices.take(_whole(place)).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int32)
    if "certainty" not in found.column_names:  # what an older Muster clustered
        return number, ids.dictionary.to_pylist(), np.full(len(number), np.nan, np.float32)
    certain = _whole(found["certainty"]).take(_whole(place)).to_numpy(zero_copy_only=False)
    return number, ids.dictionary.to_pylist(), certain.astype(np.float32)


def _whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def read_columns(source: LiveSource, table: str, columns: Sequence[str], shards: Sequence[str]) -> pa.Table:
    """These columns of a table, in order of shards."""
    parts = _parts(source, table, columns, shards)
    return pa.concat_tables(parts) if parts else pa.table({name: [] for name in columns})


def _parts(source: LiveSource, table: str, columns: Sequence[str], shards: Sequence[str]) -> list[pa.Table]:
    return _read(source.library, [layout.rows(table, source.fingerprints[table], shard) for shard in shards], columns)


def _read(library: LibraryFiles, names: Sequence[str], columns: Sequence[str]) -> list[pa.Table]:
    if library.disk is not None:  # threads would spend more on waiting for each other
        return [read_part(library, name, columns) for name in names]
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(lambda name: read_part(library, name, columns), names))


def read_part(library: LibraryFiles, name: str, columns: Sequence[str]) -> pa.Table:
    """These columns of one file. On a local disk no more is read than they take, and pages are compared with their
    checksums; the digest of the whole file is not. MusterError where it is missing or damaged."""
    try:
        with _buffer(library, name) as data:
            parquet = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True, pre_buffer=False)
            return parquet.read(columns=list(columns), use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: an empty file cannot be mapped
        raise MusterError(f"{library.at(name)} is missing or damaged ({error}): run again") from None


@contextmanager
def _buffer(library: LibraryFiles, name: str) -> Iterator[pa.Buffer]:
    """The bytes of a file; files of a library are replaced and never shortened, so that a mapped one stays whole."""
    if library.disk is None or library.key is not None:
        yield pa.py_buffer(library.read(name))
        return
    with library.disk.open(name) as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if mapped[: len(MAGIC)] == MAGIC:
            library.read(name)  # which says that the library has got a key since
        yield pa.py_buffer(mapped)
