"""What search holds of each photo of a library, in columns, in the order of time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import F64, I64, Bools
from muster.storage import tables
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES, IMAGES_FINGERPRINT
from muster.storage.search.words import folded
from muster.storage.tags.table import filled

READ = ["image_id", "status", "taken_at", "latitude", "longitude", "camera", "sha256", "phash"]
_NUMBER = re.compile("[0-9]+")
U64 = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]


@dataclass(frozen=True)
class Columns:
    """A row for each photo that could be read, oldest first, those without a date last; then by uri.

    `table`: image_id, uri, source, taken_at, latitude, longitude, camera, sha256, phash. `taken`: of the first rows,
    those with a date, microseconds since 1970, local. `latitudes`, `longitudes`: degrees, NaN where not known.
    `hashes`: perceptual ones, 0 where there is none.
    """

    table: pa.Table
    image_ids: pa.Array
    taken: I64
    latitudes: F64
    longitudes: F64
    hashes: U64

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def months(self) -> I64:
        """Of `taken`, 1 to 12."""
        return self.taken.view("datetime64[us]").astype("datetime64[M]").astype(np.int64) % 12 + 1

    def rows_of(self, image_ids: pa.ChunkedArray | pa.Array) -> I64:
        """The row of each image; -1 where it is none of these."""
        found = pc.index_in(image_ids, value_set=self.image_ids)
        return found.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)


def read(library: LibraryFiles, marks: pa.Table) -> Columns:
    """Of the manifest's photos, as far as they were looked at. Empty where none was. `marks`: the table of tags, whose
    dates and places are those of photos that have none."""
    from muster.storage import manifest  # it brings what reads photos; the live page is there before that

    shards = manifest.committed(library, IMAGES_FINGERPRINT)
    rows = tables.read(library, "images", IMAGES_FINGERPRINT, READ, shards)
    named = manifest.read_manifest(library).select(["image_id", "uri", "source"])
    return of(filled(IMAGES.empty_table().select(READ) if rows is None else rows, marks), named)


def of(images: pa.Table, named: pa.Table) -> Columns:
    """`images`: READ. `named`: image_id, uri, source of the manifest."""
    images = images.filter(pc.equal(images["status"], "ok")).drop_columns(["status"])
    at = pc.index_in(images["image_id"], value_set=named["image_id"])
    images, at = images.filter(pc.is_valid(at)), at.drop_null()
    table = images.append_column("uri", named["uri"].take(at)).append_column("source", named["source"].take(at))
    table = table.combine_chunks().sort_by([("taken_at", "ascending"), ("uri", "ascending")])  # nulls are last
    taken = table["taken_at"].drop_null().cast(pa.int64()).to_numpy()
    hashes = table["phash"].fill_null(0).to_numpy().astype(np.int64).view(np.uint64)
    latitudes, longitudes = (table[name].cast(pa.float64()).to_numpy() for name in ("latitude", "longitude"))
    return Columns(table, table["image_id"].combine_chunks(), taken, latitudes, longitudes, hashes)


@dataclass(frozen=True)
class Paths:
    """Where photos lie. `folders`: each once, as it is written; `below`: the same below the source that found it, in
    folded segments with "/" around each; `codes` (N,): whose photo is where. `names` (N,): of the files, folded, with a
    space around them. `forms`, `form` (N,): the same with 0 for each number, each once; most cameras have one."""

    folders: Sequence[str]
    below: Sequence[str]
    codes: I64
    names: pa.Array
    forms: pa.Array
    form: I64

    def named(self, text: str, anywhere: bool = False) -> Bools | None:
        """Photos whose file has these words in its name (folded); None: none has. `anywhere`: also within a word."""
        text = text if anywhere else f" {text} "
        likely = pc.match_substring(self.forms, _NUMBER.sub("0", text))  # without a number: exactly those
        if not (anywhere and _NUMBER.search(text)) and not pc.any(likely).as_py():
            return None
        if _NUMBER.search(text):
            return pc.match_substring(self.names, text).to_numpy(zero_copy_only=False)
        return likely.to_numpy(zero_copy_only=False)[self.form]

    @cached_property
    def words(self) -> frozenset[str]:
        """Of all names of files, without numbers."""
        return frozenset(word for form in self.forms.to_pylist() for word in form.split() if not _NUMBER.search(word))


def paths(columns: Columns) -> Paths:
    uris, sources = columns.table["uri"].combine_chunks(), columns.table["source"].combine_chunks()
    folders = pc.replace_substring_regex(uris, r"/[^/]*$", "")
    both = pc.binary_join_element_wise(folders, sources.fill_null(""), "\0").dictionary_encode()
    pairs = [text.partition("\0")[::2] for text in both.dictionary.to_pylist()]
    below = [f"/{'/'.join(filter(None, map(folded, text.split('/'))))}/" for text in _below(pairs)]
    names = _folded(pc.replace_substring_regex(uris, r"^.*/", ""))
    forms = pc.replace_substring_regex(names, "[0-9]+", "0").dictionary_encode()
    codes, form = (coded.indices.to_numpy().astype(np.int64) for coded in (both, forms))
    return Paths([folder for folder, _ in pairs], below, codes, names, forms.dictionary, form)


def _below(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Of each folder and its source, what is below the source; below what all folders share where it is none: else
    the name of a home folder would be on every photo."""
    shared: dict[str, str] = {}
    for folder, source in pairs:
        begin = shared.get(source, folder).split("/")
        shared[source] = "/".join(begin[: _common(begin, folder.split("/"))])
    found = []
    for folder, source in pairs:
        base = source.rstrip("/") if f"{folder}/".startswith(f"{source.rstrip('/')}/") else shared[source]
        found.append(folder[len(base) :])
    return found


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many of the first are equal."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _folded(names: pa.Array) -> pa.Array:
    """Names as `words.folded` has them, with a space around; in Arrow where they are ASCII, as most are."""
    lower = pc.replace_substring_regex(pc.ascii_lower(names), "[^a-z0-9]+", " ")
    plain = pc.string_is_ascii(names)
    if not pc.all(plain).as_py():
        others = pa.array([folded(name) for name in names.filter(pc.invert(plain)).to_pylist()], pa.string())
        lower = pc.replace_with_mask(lower, pc.invert(plain), others)
    return pc.binary_join_element_wise("", pc.utf8_trim_whitespace(lower), "", " ")
