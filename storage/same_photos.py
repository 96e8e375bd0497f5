"""Which of the files that a scan finds are photos that the library knows, under another name or with another time.

A photo is what its bytes are: the table `images` has their SHA-256. What was not touched is believed to be what it was,
by name, size and time; so is what lies elsewhere now, where these tell (`_telling`), and none of a sample is another.
All else is read, if there is a photo of its size that it may be. Only local files are read, and images in local Parquet
files.
"""

import hashlib
import os
import re
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from muster.arrays import I64, Bools
from muster.errors import MusterError
from muster.storage import layout, tables
from muster.storage.files import open_regular
from muster.storage.library import LibraryFiles
from muster.storage.outcomes import IMAGES_FINGERPRINT
from muster.storage.photos.reader import Reader
from muster.storage.uris import container_of, local_path, path_of, split_inside

BURST = 16  # photos of one moment, at most: where more have one time, a program gave it to them, and it tells nothing
SAMPLE = 16  # of those told by name, size and time: read after all, as a program may have made others like them
THREADS = 4  # that read
BLOCK = 1 << 20  # bytes that each reads at once


@dataclass(frozen=True)
class Known:
    """What a library knows. `shards`: id and number of rows of each; `rows`: all of them, in this order.

    `gone`: not found, and to be dropped for it. `unseen`: not found, and not looked for.
    """

    library: LibraryFiles
    shards: Sequence[tuple[str, int]]
    rows: pa.Table
    gone: Bools
    unseen: Bools


@dataclass
class _File:
    """A row of what is found whose photo is sought, or a row of what is known whose file is.

    `stamp`: name, size and time where these tell, else None. `sides`: whether its counterpart may be of the roster
    (True), of anything else (False), or both.
    """

    row: int
    uri: str
    size: int | None
    stamp: tuple[str, int | None, int] | None
    sides: tuple[bool, ...]
    digest: str | None = None
    paired: bool = False


def same_photos(known: Known, found: pa.Table, verify: bool = False) -> tuple[I64, Bools]:
    """The row of `known` that each row of `found` is the photo of, or -1; and whether it has its name, size and time.
    None is given twice.

    `verify`: what looks untouched is read too. Where a photo's file is still there, another like it is a copy: a photo
    of its own. What is in the roster goes when a consent does. So it takes over no other photo, and another takes over
    one of the roster only where that would go anyway.
    """
    photo = find(_stamps(found), _stamps(known.rows))
    if verify:
        photo[_changed_in_place(known, found, photo)] = -1
    untouched = photo >= 0
    fresh = _sought(known, found, photo)
    free = _free(known, found, photo, {file.size for file in fresh})

    def pair(key: Callable[[_File], Hashable | None]) -> list[tuple[_File, _File]]:
        """Give each of `fresh`, in order, the first of `free` that has the same key. What was given what."""
        given: list[tuple[_File, _File]] = []
        offered: defaultdict[Hashable, deque[_File]] = defaultdict(deque)
        for file in free:
            if not file.paired and (its := key(file)) is not None:
                for side in file.sides:
                    offered[its, side].append(file)
        for file in fresh:
            if not file.paired and (its := key(file)) is not None:
                queue = offered[its, file.sides[0]]
                while queue and queue[0].paired:
                    queue.popleft()
                if queue:
                    photo[file.row] = queue[0].row
                    file.paired = queue[0].paired = True
                    given.append((file, queue[0]))
        return given

    if free:
        told = [each for each in pair(lambda file: None if verify and file.digest else file.stamp) if each[1].digest]
        if not _sample_holds(told):
            for file, before in told:
                photo[file.row], file.paired, before.paired = -1, False, False
        sizes = {file.size for file in free if file.digest and not file.paired}
        asked = [file for file in fresh if not file.paired and file.size in sizes]
        for file, digest in zip(asked, digests([file.uri for file in asked]), strict=True):
            file.digest = digest
        pair(lambda file: file.digest and (file.digest, file.uri))
        pair(lambda file: file.digest and (file.digest, _name(file.uri)))
        pair(lambda file: file.digest)
    return photo, untouched


def _sample_holds(pairs: Sequence[tuple[_File, _File]]) -> bool:
    """Whether none of some files has other bytes than the photo that it is taken for."""
    some = pairs[:: len(pairs) // SAMPLE + 1]
    now = digests([file.uri for file, _ in some])
    return all(digest in (None, photo.digest) for (_, photo), digest in zip(some, now, strict=True))


def find(values: pa.ChunkedArray, among: pa.ChunkedArray) -> I64:
    """For each value the first row of `among` that has it, or -1."""
    rows: I64 = pc.fill_null(pc.index_in(values, value_set=among), -1).to_numpy().astype(np.int64)
    return rows


def of_roster(rows: pa.Table) -> Bools:
    """Which rows a library's own roster has given. The library may have been elsewhere then."""
    pattern = f"/{re.escape(layout.ROSTER)}(\\?.*)?$"
    return np.array(pc.match_substring_regex(rows["source"], pattern).to_numpy(), bool)


def digests(uris: Sequence[str]) -> list[str | None]:
    """SHA-256 of each image; None of what does not lie on this machine's disks, or cannot be read."""
    groups: defaultdict[str, list[int]] = defaultdict(list)  # those inside one file are read one after the other
    for number, uri in enumerate(uris):
        groups[container_of(uri)].append(number)
    found: list[str | None] = [None] * len(uris)

    def read(numbers: Iterable[int]) -> None:
        reader = Reader()
        for number in numbers:
            found[number] = _digest(uris[number], reader)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(read, groups.values()))
    return found


def _digest(uri: str, reader: Reader) -> str | None:
    path = local_path(uri)
    try:
        if path is None:
            return None
        if split_inside(uri):
            return tables.digest(reader.read(uri))
        digest = hashlib.sha256()
        with open_regular(path) as file:
            left = os.fstat(file.fileno()).st_size  # at most: files of /proc claim 0 bytes, and some never end
            while left > 0 and (data := file.read(min(left, BLOCK))):
                digest.update(data)
                left -= len(data)
        return digest.hexdigest()
    except (OSError, ValueError, MusterError):
        return None


def _changed_in_place(known: Known, found: pa.Table, photo: I64) -> list[int]:
    """Found rows that look untouched, and whose bytes are others than those that were processed."""
    rows = np.flatnonzero(photo >= 0)
    content = _content(known, photo[rows])
    told = [(int(row), digest) for row in rows if (digest := content.get(int(photo[row])))]
    uris = found["uri"].take(pa.array([row for row, _ in told], pa.int64())).to_pylist()
    read = zip(told, digests(uris), strict=True)
    return [row for (row, digest), now in read if now is not None and now != digest]


def _sought(known: Known, found: pa.Table, photo: I64) -> list[_File]:
    """What was found, and is not what it was, untouched."""
    rows = np.flatnonzero(photo < 0)
    if not len(rows):
        return []
    tells = _telling(found) & (find(found["uri"], known.rows["uri"]) < 0)
    own = of_roster(found)
    return [
        _File(row, uri, size, stamp if tells[row] else None, (bool(own[row]),))
        for row, uri, size, stamp in _files(found, rows)
    ]


def _free(known: Known, found: pa.Table, photo: I64, sizes: set[int | None]) -> list[_File]:
    """Photos, of these sizes, whose file is not there any more or holds something else."""
    if not sizes:
        return []
    lost = known.gone | known.unseen
    fit = np.array(pc.is_in(known.rows["size"], value_set=pa.array(sizes, pa.int64())).to_numpy(), bool)
    fit &= lost | (find(known.rows["uri"], found["uri"]) >= 0)
    fit[photo[photo >= 0]] = False
    there = cache(_is_there)
    rows = [
        each
        for each in _files(known.rows, np.flatnonzero(fit))
        if not (known.unseen[each[0]] and there(container_of(each[1])))
    ]
    if not rows:
        return []
    content = _content(known, np.array([row for row, *_ in rows], np.int64))
    tells, own, free = _telling(known.rows) & lost, of_roster(known.rows), []
    for row, uri, size, stamp in rows:
        digest = content.get(row)
        if row in content and digest is None:  # it could not be read where it was: perhaps it can be now
            continue
        sides = {bool(own[row]), bool(own[row] and not known.gone[row])}
        free.append(_File(row, uri, size, stamp if tells[row] else None, tuple(sides), digest))
    return free


def _files(rows: pa.Table, numbers: I64) -> Iterator[tuple[int, str, int | None, tuple[str, int | None, int]]]:
    """Row, uri, size, and name, size and time of each of these rows."""
    some = rows.take(pa.array(numbers))
    columns = (some["uri"].to_pylist(), some["size"].to_pylist(), some["modified"].cast("int64").to_pylist())
    for row, uri, size, time in zip(numbers.tolist(), *columns, strict=True):
        yield row, uri, size, (_name(uri), size, time)


def _telling(rows: pa.Table) -> Bools:
    """Which files are told from all others by size and time, and have a time that was not given to many at once."""
    size, time = (pc.fill_null(rows[name].cast("int64"), -1).to_numpy() for name in ("size", "modified"))
    _, size = np.unique(size, return_inverse=True)
    _, moment, of_moment = np.unique(time, return_inverse=True, return_counts=True)
    _, alike, of_alike = np.unique(moment * len(size) + size, return_inverse=True, return_counts=True)
    tells: Bools = (of_moment[moment] <= BURST) & (of_alike[alike] == 1) & pc.is_valid(rows["modified"]).to_numpy()
    return tells


def _stamps(rows: pa.Table) -> pa.ChunkedArray:
    texts = (rows["uri"], rows["size"].cast("string"), rows["modified"].cast("int64").cast("string"))
    return pc.binary_join_element_wise(*texts, "\0", null_handling="replace", null_replacement="?")


def _name(uri: str) -> str:
    return os.path.basename(path_of(uri))


def _is_there(uri: str) -> bool:
    """Whether a file is where it was, or may be: it is not local, or its folder cannot be looked into."""
    path = local_path(uri)
    try:
        return path is None or bool(os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True


def _content(known: Known, rows: I64) -> dict[int, str | None]:
    """Row → SHA-256 of its image, as a run has read it; None where it could not. Not of what no run has seen."""
    if not len(rows):
        return {}
    starts = np.cumsum([number for _, number in known.shards])
    wanted = {known.shards[i][0] for i in np.unique(np.searchsorted(starts, rows, side="right")).tolist()}
    shards = wanted.intersection(tables.committed(known.library, IMAGES_FINGERPRINT))
    images = tables.read(known.library, "images", IMAGES_FINGERPRINT, ["image_id", "sha256"], shards)
    if images is None:
        return {}
    place = find(known.rows["image_id"].take(pa.array(rows)), images["image_id"])
    read = images["sha256"].to_pylist()
    return {row: read[i] for row, i in zip(rows.tolist(), place.tolist(), strict=True) if i >= 0}
