"""The bytes of an image by its URI, wherever it lies, also inside a Parquet file or an archive."""

import threading
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import pyarrow as pa

from muster.errors import ImageError, MusterError, UnreachableError
from muster.storage import parquet_pages
from muster.storage.http.addresses import private_addresses
from muster.storage.http.hosts import AT_ONCE
from muster.storage.photos import decode
from muster.storage.photos.containers import Container, Opened
from muster.storage.photos.first_bytes import PARQUET_SUFFIXES, suffix_of
from muster.storage.photos.image_column import image_column, images_of
from muster.storage.photos.kinds import is_in_order, of_suffix
from muster.storage.photos.row_batches import batch_rows
from muster.storage.uris import (
    Inside,
    bucket_of,
    exists,
    is_http,
    local_path,
    open_parquet,
    place_of,
    plain_source,
    refusal,
    split_inside,
    unread,
)

THREADS = {(False, False): 4, (False, True): 16, (True, False): 0, (True, True): 1}  # by in order, and remote
WEB_THREADS = 64  # at most, for files of web servers, each of which is asked by a few at once
OPEN = 16  # containers that one Reader holds open
BATCHES_HELD = 4  # with at least 5 rows each, a thread 15 rows behind the others still finds its row
BUCKETS = 16  # asked at once before a run
IMAGES_TRIED = 3  # images asked for in a bucket; if none may be read, no image of it may


_walked: dict[tuple[str, int, int, int], parquet_pages.Column] = {}  # file, bytes of its footer, row group, column


class Reader:
    """Reads the bytes of images by their URI. Made for inline images asked for in nearly rising order of rows.

    Threads may share one: they then see one stream over the Parquet file, of which the last few batches are held.
    Going back further than that, or to another file, is right but slow: it reads a row group from its start. Memory:
    the batches, and about three pages of the file; pyarrow puts 1,024 images into a page if not told otherwise
    (measured: 0.7 GB for one row group of 4,096 images of 200 kB, 0.2 GB for row groups of 128).
    """

    def __init__(self, uris: Iterable[str] = ()) -> None:
        """`uris`: all that will be read; tells whether they lie in one place or in several, see `_from_elsewhere`.

        `threads`: how many are worth while: rows of a Parquet file come one after another, and if that lies here, the
        system has read ahead; 0: none. `far`: whether some of them may be waited for so long that all others should be
        read meanwhile, as files of web servers.
        """
        self._lock = threading.Lock()
        where = {(_in_order(uri), place_of(uri), _on_the_web(uri)) for uri in uris}
        self._several = len({place for _, place, _ in where}) > 1
        self.far = any(web for *_, web in where)
        self.threads = max((THREADS[in_order, bool(place)] for in_order, place, _ in where), default=0)
        if self.far:
            self.threads = min(WEB_THREADS, AT_ONCE * len({place for _, place, web in where if web}))
        self._kept: OrderedDict[str, Opened] = OrderedDict()  # containers, the one used last behind the others
        self._playing: tuple[str, Opened] | None = None  # of those that are read in order, the last one
        self._answered: set[str] = set()  # places that have answered
        self._away: dict[str, str] = {}  # place that has not answered → why
        self._forget()

    def read(self, uri: str, source: str = "") -> bytes:
        """The bytes of one image, found in a row of `source` or named by it; "" is like any local one.

        Raises ImageError, also where a row may not name this; UnreachableError where its bucket does not answer.
        """
        if local_path(uri) is not None:
            return self._bytes(uri)
        if (reason := refusal(uri, source)) is not None:
            raise ImageError("unreadable" if unread(uri) is None else "unsupported", reason)
        with private_addresses(plain_source(source)[1]):
            return self._bytes(uri) if _on_the_web(uri) else self._from_elsewhere(uri, place_of(uri))

    def _from_elsewhere(self, uri: str, place: str) -> bytes:
        """Read from a bucket. A place that never answers costs its own images an error, where others answer.

        Raises UnreachableError, which fails the whole shard, where there is no other place. It is waited for once.
        """
        if place in self._away:
            raise ImageError("unreadable", self._away[place])
        try:
            data = self._bytes(uri)
        except UnreachableError as error:
            if place in self._answered or not self._several:
                raise
            self._away[place] = str(error)
            raise ImageError("unreadable", str(error)) from error
        except ImageError as error:
            if error.kind in ("not_found", "permission"):
                self._answered.add(place)
            raise
        self._answered.add(place)
        return data

    def _bytes(self, uri: str) -> bytes:
        inside = split_inside(uri)
        if inside is None:
            return decode.read(uri)
        if not _in_parquet(inside):
            return self._item(uri, inside)
        with self._lock:
            try:
                data = self._value(inside.container, int(inside.key))
            except (OSError, pa.ArrowException, IndexError, KeyError, ValueError) as error:
                self._forget()
                raise _image_error(uri, error) from error
            except MusterError:
                self._forget()
                raise
        if data is None:
            raise ImageError("empty", f"{uri}: the row has no bytes")
        return data

    def _item(self, uri: str, inside: Inside) -> bytes:
        kind = of_suffix(suffix_of(inside.container))
        if kind is None:
            raise ImageError("unsupported", f"{uri}: nothing here reads what is inside such files")
        try:
            if not kind.in_order:
                return self._opened(kind, inside.container).read(inside.key)
            with self._lock:
                return self._in_turn(kind, inside.container).read(inside.key)
        except (OSError, pa.ArrowException, ValueError, LookupError, OverflowError) as error:  # a row may say anything
            raise _image_error(uri, error) from error

    def _in_turn(self, kind: Container, container: str) -> Opened:
        """One that is read in order is not gone back to: only the last one stays open. The caller holds the lock."""
        if self._playing is None or self._playing[0] != container:
            if self._playing is not None:
                self._playing[1].close()
                self._playing = None
            self._playing = container, kind.open(container)
        return self._playing[1]

    def _opened(self, kind: Container, container: str) -> Opened:
        with self._lock:
            kept = self._kept.pop(container, None) or kind.open(container)
            self._kept[container] = kept
            if len(self._kept) > OPEN:  # whoever reads from it still closes it, once it is done
                self._kept.popitem(last=False)
            return kept

    def _forget(self) -> None:
        self._parquet = ""
        self._starts: list[int] = []  # first row of each row group, and the number of rows
        self._stream: Iterator[pa.RecordBatch] = iter(())
        self._next = 0  # the row that the stream gives next
        self._held: deque[tuple[int, pa.Array]] = deque(maxlen=BATCHES_HELD)  # (first row, images)

    def _value(self, parquet: str, row: int) -> bytes | None:
        if parquet != self._parquet:
            self._open(parquet)
        while True:
            for first, column in self._held:
                if first <= row < first + len(column):
                    value: bytes | None = column[row - first].as_py()
                    return value
            if row < self._next or self._group(row) > self._group(self._next):
                self._seek(self._group(row))
            batch = next(self._stream, None)
            if batch is None:
                if self._group(self._next) == self._entered:
                    raise pa.ArrowInvalid("a row group has fewer rows than the file says")
                self._enter(self._group(self._next))
                continue
            self._held.append((self._next, images_of(batch, self._image)))
            self._next += batch.num_rows

    def _open(self, parquet: str) -> None:
        self._forget()
        self._file, self._source = open_parquet(parquet)
        image = image_column(self._file.schema_arrow)
        if image is None:
            raise pa.ArrowInvalid("no column of images")
        self._image = image
        paths = [self._file.schema.column(number).path for number in range(len(self._file.schema))]
        # Arrow reads all that begin so: `image.width`, too, which is a column of its own where JSON was made flat.
        self._columns = [i for i, path in enumerate(paths) if path == image.leaf or path.startswith(f"{image.leaf}.")]
        groups = [self._file.metadata.row_group(i) for i in range(self._file.num_row_groups)]
        self._starts = [0, *accumulate(g.num_rows for g in groups)]
        self._parquet, self._next = parquet, self._starts[-1]

    def _group(self, row: int) -> int:
        """The row group that holds this row."""
        if row >= self._starts[-1]:
            raise IndexError(f"it has {self._starts[-1]} rows")
        return bisect_right(self._starts, row) - 1

    def _seek(self, group: int) -> None:
        self._next = self._starts[group]
        self._enter(group)

    def _enter(self, group: int) -> None:
        """Have the stream go on with this row group."""
        self._entered = group
        rows = batch_rows(
            [self._size(group, column) for column in self._columns], self._starts[group + 1] - self._starts[group]
        )
        self._stream = self._file.iter_batches(rows, row_groups=[group], columns=[self._image.leaf])

    def _size(self, group: int, column: int) -> parquet_pages.Column:
        known = (self._parquet, self._file.metadata.serialized_size, group, column)
        if known not in _walked:  # every shard of a row group comes by here, and in a bucket each page costs a request
            _walked[known] = parquet_pages.column(self._source, self._file, group, column)
        return _walked[known]


def _in_parquet(inside: Inside) -> bool:
    return inside.kind == "row" and suffix_of(inside.container) in PARQUET_SUFFIXES


def _on_the_web(uri: str) -> bool:
    """Whether it is a file of its own on a web server; these are judged one by one (muster.storage.http)."""
    return is_http(uri) and split_inside(uri) is None


def _in_order(uri: str) -> bool:
    """Whether it is read after those in front of it in its file: a row of a Parquet file, a moment of a video."""
    inside = split_inside(uri)
    return inside is not None and (_in_parquet(inside) or is_in_order(inside.container))


def check_access(images_of: Iterable[tuple[str, str]]) -> None:
    """See that there is something to read: that a bucket of these images answers, and lets one of a few be read.

    `images_of`: URI and source of each, as Reader.read takes them. Raises MusterError where no bucket does: without
    credentials, a run would make an error row of every image.
    """
    buckets: dict[str, list[str]] = {}
    for uri, source in images_of:
        if refusal(uri, source) is None:  # web servers, of which there may be millions, ask for no credentials
            buckets.setdefault("" if is_http(uri) else place_of(uri), []).append(uri)
    if (
        "" in buckets or not 1 <= len(buckets) <= BUCKETS
    ):  # local files, or so many buckets that one of them will answer
        return
    tried = [some[:IMAGES_TRIED] for some in buckets.values()]
    with ThreadPoolExecutor(BUCKETS) as pool:
        reasons = list(pool.map(_refusal, tried))
    if all(reasons):
        raise MusterError(
            f"cannot read from {bucket_of(tried[0][0])}: {reasons[0]} (tried {len(tried[0])} images of it)"
        )


def _refusal(uris: Iterable[str]) -> str | None:
    """Why none of these images may be read; None if one may be read or does not exist.

    A bucket that answers "not found" has let us in: strangers are told "access denied".
    """
    reason = None
    for uri in uris:
        try:
            exists(uri)
            return None
        except UnreachableError as error:  # asking for the others would take as long again
            return str(error)
        except PermissionError as error:
            reason = error.strerror or str(error)
        except (OSError, pa.ArrowException):  # a fault of this image: it becomes its error row
            return None
    return reason


def _image_error(uri: str, error: Exception) -> ImageError:
    if isinstance(error, FileNotFoundError):
        return ImageError("not_found", f"{uri}: no such file")
    if isinstance(error, PermissionError):
        return ImageError("permission", f"{uri}: not allowed to read it")
    if isinstance(error, IndexError):
        return ImageError("unreadable", f"{uri}: {error}")
    # Not what Arrow says: it lists the columns of a file that is no collection of images.
    return ImageError("unreadable", f"{uri}: the file that it lies in cannot be read, or is no collection of images")
