"""Which images are the same picture as others, and by what those that go are looked for afterwards."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.storage import manifest, same_photos, tables
from muster.storage.gallery import left_over
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT

SHARDS = 64  # read at once: with their pictures, at most about 100 MB
EMBEDDING = 16  # numbers from which on a list of floats is taken for an embedding; boxes have 4


@dataclass(frozen=True)
class Digests:
    """Of all embeddings and pictures that are to go: the search afterwards is for them, and keeps none. `faces`: how
    many of them are of faces."""

    faces: int
    embeddings: set[str]
    pictures: set[str]

    def without(self, shared: Collection[str]) -> "Digests":
        """Without what images that stay have too: that is theirs, and not looked for."""
        return replace(self, embeddings=self.embeddings - set(shared), pictures=self.pictures - set(shared))


@dataclass(frozen=True)
class Others:
    """What other images share with some. `images`: those in which one of their faces is. `digests`: those of them that
    others have too, of whatever they are."""

    images: set[str]
    digests: set[str]


def copies(library: LibraryFiles, known: pa.Table, images: Collection[str]) -> tuple[set[str], Digests]:
    """The other images that are the same picture as one of these: their file is, bit for bit, or a face in them. And
    the digests of them all. `known`: the faces of the gallery."""
    content = _content(library, images) | dict(_pairs(known, "image_id", "sha256"))
    same = {content.get(image) for image in images} - {None}
    found = {image for image, digest in content.items() if digest in same} | set(images)
    while True:
        sought = digests(library, _rows_of(known, found), found)
        others = others_of(library, known, found, sought)
        if not others.images:
            return found - set(images), sought.without(others.digests)
        found |= others.images


def _content(library: LibraryFiles, images: Collection[str]) -> dict[str, str | None]:
    """image_id → SHA-256 of its file, as a run has read it. Files that no run has seen are read now, if they are of the
    size of one of `images`: the next run would find the face in them."""
    shards = manifest.committed(library, IMAGES_FINGERPRINT)
    facts = tables.read(library, "images", IMAGES_FINGERPRINT, ["image_id", "status", "sha256"], shards)
    rows = manifest.read_manifest(library)
    seen = set(facts["image_id"].to_pylist()) if facts is not None else set[str]()
    sizes = {size for image, size in _pairs(rows, "image_id", "size") if image in images} - {None}
    fresh = rows.filter(pc.is_in(rows["size"], value_set=pa.array(sorted(sizes), pa.int64())))
    unread = {image: uri for image, uri in _pairs(fresh, "image_id", "uri") if image not in seen}
    content: dict[str, str | None] = dict(zip(unread, same_photos.digests(list(unread.values())), strict=True))
    whole = facts.filter(pc.equal(facts["status"], "ok")) if facts is not None else None
    return content | (dict(_pairs(whole, "image_id", "sha256")) if whole is not None else {})


def _pairs(rows: pa.Table, key: str, value: str) -> Iterator[tuple[str, Any]]:
    return zip(rows[key].to_pylist(), rows[value].to_pylist(), strict=True)


def digests(library: LibraryFiles, gone: pa.Table, images: Collection[str]) -> Digests:
    """Of these images, and of these faces of the gallery."""
    faces, others = [gone["embedding"]], list[pa.ChunkedArray]()
    pictures = left_over.picture_digests(gone["thumbnail"])
    for task, rows, vectors, jpegs in _personal_rows(library):
        rows = _rows_of(rows, images)
        pictures |= set[str]().union(*(left_over.picture_digests(rows[column]) for column in jpegs))
        (faces if task == "faces" else others).extend(rows[column] for column in vectors)
    whole = set[str]().union(*map(left_over.digests, faces))
    more = set[str]().union(*map(left_over.digests, others))
    half = set[str]().union(*(left_over.digests(each, np.float16) for each in (*faces, *others)))
    return Digests(len(whole), whole | more | half, pictures)


def others_of(library: LibraryFiles, staying: pa.Table, images: Collection[str], digests: Digests) -> Others:
    """`staying`: the faces of the gallery that may be others'."""
    found = Others(set(), set())
    kept = ("faces", staying, ["embedding"], ["thumbnail"])
    for task, rows, vectors, jpegs in chain([kept], _personal_rows(library)):
        rows = _rows_of(rows, images, others=True)
        for column, sought in [*((c, digests.embeddings) for c in vectors), *((c, digests.pictures) for c in jpegs)]:
            of = partial(digests_of, picture=column in jpegs)
            if shared := of(rows[column]) & sought:
                found.digests.update(shared)
                if task == "faces":
                    ids = rows["image_id"].to_pylist()
                    found.images.update(ids[i] for i in range(len(ids)) if of(rows[column].slice(i, 1)) & shared)
    return found


def _rows_of(rows: pa.Table, images: Collection[str], others: bool = False) -> pa.Table:
    mine = pc.is_in(rows["image_id"], value_set=pa.array(sorted(images), pa.string()))
    return rows.filter(pc.invert(mine) if others else mine)


def digests_of(column: pa.ChunkedArray, picture: bool) -> set[str]:
    if picture:
        return left_over.picture_digests(column)
    return left_over.digests(column) | left_over.digests(column, np.float16)


def _personal_rows(library: LibraryFiles) -> Iterator[tuple[str, pa.Table, list[str], list[str]]]:
    """Task, rows, and the columns of embeddings and of pictures, of every table that has some, shards by shards."""
    for name, what in tables.descriptions(library).items():
        shards = manifest.committed(library, name)
        vectors, jpegs = _personal(library, what["task"], name, shards[:1])
        for start in range(0, len(shards) if vectors or jpegs else 0, SHARDS):
            columns = ["image_id", *vectors, *jpegs]
            yield (
                what["task"],
                tables.require(library, what["task"], name, columns, shards[start : start + SHARDS]),
                vectors,
                jpegs,
            )


def _personal(
    library: LibraryFiles, table: str, fingerprint: str, shards: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The columns of embeddings, and those of pictures, in these shards of a table; its task need not be installed."""
    rows = tables.read(library, table, fingerprint, None, shards)
    fields = list(rows.schema) if rows is not None else []
    lists = [field for field in fields if pa.types.is_fixed_size_list(field.type)]
    vectors = [f for f in lists if pa.types.is_floating(f.type.value_type) and f.type.list_size >= EMBEDDING]
    return [field.name for field in vectors], [field.name for field in fields if pa.types.is_binary(field.type)]
