"""A worker: loads its tasks once, then turns shards into committed tables.

`ShardWorker` does not know that it runs in a Ray actor. Reader threads run ahead by a bounded number of files, because
disks and networks are waited for. Decoding has threads of its own only where cores are left for them: beside a GPU, or
where fewer workers than cores were asked for. On one core they only cost what handing over costs.
"""

import ctypes
import errno
import os
import random
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import chain, islice
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from muster.errors import ImageError, LibraryGoneError, MusterError, TaskError
from muster.pipeline.work import gpu
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.dispatch import Order
from muster.pipeline.work.parts import IMAGES_PER_CALL, slice_of
from muster.pipeline.work.spans import Spans
from muster.pipeline.work.taken import Taken, place
from muster.storage import commit_facts, manifest, shared_shards, tables
from muster.storage.commit_facts import Facts
from muster.storage.library import open_library
from muster.storage.outcomes import ERRORS, IMAGES, IMAGES_FINGERPRINT
from muster.storage.photos import decode
from muster.storage.photos.decode import Photo
from muster.storage.photos.pixels import perceptual_hash
from muster.storage.photos.reader import Reader
from muster.tasks import base

T = TypeVar("T")
R = TypeVar("R")
Ceilings = dict[tuple[str, int], int]  # (task, bits of the longest side in pixels) → images that fit into memory

KEPT = 1 << 30  # bytes of resident memory above which a worker gives back what it does not use
FILES_AHEAD = 32  # are read before they are decoded
DECODED_AHEAD = 2 * IMAGES_PER_CALL  # beside decoders; more where these are more than 8
HELD = 128 << 20  # bytes of files of web servers that are read before they are wanted, beside those being read
AT_ONCE = 8  # files that one thread reads, and then decodes: to hand over a small one costs as much as to read it
OUT_OF_MEMORY = (
    "allocate memory",
    "CUDA error: out of memory",
    "ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",
)  # in the text of a RuntimeError
MIN_SIDE = 256  # where no task asks for more: eight pixels for each that the perceptual hash looks at

SKIPPED = {
    "crash": "the worker process died on this image: its decoder or a model crashed",
    "timeout": "the worker did not come back from this image in time",
}


class Row(NamedTuple):
    """An image of a shard, as Reader.read wants it."""

    image_id: str
    uri: str
    source: str


File = tuple[str, bytes | ImageError]  # image_id, and what is in its file


class LookedAt(NamedTuple):
    """An image, and what came of it. `phash`: of a photo, where the order wants it."""

    image_id: str
    outcome: Photo | ImageError
    phash: int | None = None


@dataclass
class _Found:
    """What comes of an order: rows of `images`; by task, its rows so far, and rows of `errors`."""

    facts: list[dict[str, Any]]
    rows: dict[str, list[pa.Table]]
    errors: dict[str, list[dict[str, str]]]

    def kinds(self) -> dict[str, str]:
        """image_id → error kind."""
        kinds = {fact["image_id"]: fact["error_kind"] for fact in self.facts if fact["status"] == "error"}
        return kinds | {row["image_id"]: row["error_kind"] for failed in self.errors.values() for row in failed}


class ShardWorker:
    def __init__(
        self, library: str, choices: Sequence[TaskChoice], device: str, weights_dir: Path | None, decoders: int = 0
    ) -> None:
        """`device`: "cpu" or "cuda". `decoders`: threads that decode; 0: the one that runs the tasks does."""
        if device == "cpu":
            torch.set_num_threads(1)
            _keep_memory()
        self.library = open_library(library, trusted=True)  # the driver has asked
        self.tasks = {choice.name: choice.load(torch.device(device), weights_dir) for choice in choices}
        pa.array(())  # for which pyarrow imports pandas, where that is installed: a fifth of a second
        self.fingerprints = {choice.name: choice.fingerprint for choice in choices}
        self.threads, self.decoders = decoders, ThreadPoolExecutor(decoders, "decoder") if decoders else None
        self.ceilings: Ceilings = {}
        self.process_name = f"worker {os.getpid()} on {socket.gethostname()}"
        self.seen = 0, time.monotonic()  # images that all tasks have been through, and when (pipeline/work/pace.py)
        self.through: Counter[str] = Counter()  # of these, by key of an order that is not given back
        self.counting = threading.Lock()
        # One shard at a time is computed, where two are processed (pipeline/distributed/actors.py); beside decoders,
        # only the tasks are.
        self.turn = threading.RLock()

    def process(self, order: Order) -> dict[str, Any]:
        """Do one shard and commit its tables. Returns counts, and when it did what.

        Raises MusterError where the library cannot be read or written.
        """
        order, spans, taken = self._possible(order), Spans(), Taken()
        given = [self.tasks[name] for name in order.tasks]
        found = _Found(
            facts=[], rows={t.name: [t.schema.empty_table()] for t in given}, errors={t.name: [] for t in given}
        )
        side = max([MIN_SIDE, *(task.max_side for task in given)])
        with self._reading(order, spans, taken) as (rows, files), nullcontext() if self.decoders else self._turn(spans):
            for chunk in chunks(self._looked_at(files, side, order.facts, spans, taken)):
                self._apply(given, chunk, order.facts, found, spans)
                if order.probe is None:
                    with self.counting:
                        self.seen = self.seen[0] + len(chunk), time.monotonic()
                        self.through[order.key] += len(chunk)
        with spans("commit", len(rows)):
            committed = order.probe is None and self._commit(order, found, taken)
        _give_back_memory()
        kinds = found.kinds()
        return {
            "images": len(rows),
            "errors": len(kinds),
            "errors_by": Counter(  # kind and place → images
                (kinds[row.image_id], place(row.uri, row.source)) for row in rows if row.image_id in kinds
            ),
            "bytes": sum(taken.sizes.values()),
            "ahead": {  # images, where something runs ahead
                name: taken.at_once * fmean(lay)
                for name, lay in (("read", taken.read), ("decoded", taken.decoded))
                if lay
            },
            "rows": {name: sum(each.num_rows for each in tables) for name, tables in found.rows.items()},
            "committed": committed,
            "waited": self._waited(spans),
            "process": self.process_name,
            "spans": spans.all,
        }

    def _waited(self, spans: Spans) -> dict[str, float]:
        """Seconds that the tasks waited for decoded images, and that these waited for the tasks."""
        if self.decoders:
            return {"decode": spans.seconds("wait"), "model": spans.seconds("turn", *self.tasks)}
        return {"decode": spans.seconds("wait", "decode", "hash"), "model": spans.seconds(*self.tasks)}

    @contextmanager
    def _turn(self, spans: Spans) -> Iterator[None]:
        """Wait until no other shard is computed."""
        with spans("turn"):
            self.turn.acquire()
        try:
            yield
        finally:
            self.turn.release()

    def _apply(
        self, given: Sequence[base.Task], chunk: Sequence[LookedAt], facts: bool, found: _Found, spans: Spans
    ) -> None:
        """Have the tasks see a chunk of images, and note what comes of each."""
        if facts:
            found.facts += map(_facts, chunk)
        good = [image_of(each.image_id, each.outcome) for each in chunk if isinstance(each.outcome, Photo)]
        for task in given if good else []:
            with self._turn(spans), spans(task.name, len(good)):
                rows_of_task, failed = apply(task, good, self.ceilings)
            found.rows[task.name] = [kept(task, [*found.rows[task.name], rows_of_task])]
            found.errors[task.name] += failed
        for task in given:  # so that a task knows what it lacks, whatever becomes of the row in `images`
            found.errors[task.name] += [
                _error(each.image_id, task.name, each.outcome) for each in chunk if isinstance(each.outcome, ImageError)
            ]

    def _images(self, order: Order) -> tuple[Reader, list[Row]]:
        """The images of an order, and what reads them."""
        table = manifest.read_shard(self.library, order.shard)
        named = zip(table["image_id"].to_pylist(), manifest.named(self.library, table), strict=True)
        rows = slice_of([Row(image_id, *each) for image_id, each in named], order.part)
        for wanted in (order.only, order.probe):
            rows = rows if wanted is None else [row for row in rows if row.image_id in set(wanted)]
        return Reader(table["uri"].to_pylist()), list(rows)

    @contextmanager
    def _reading(self, order: Order, spans: Spans, taken: Taken) -> Iterator[tuple[list[Row], Iterator[list[File]]]]:
        """The images of an order, and what the file of each holds, in lists of at most AT_ONCE; it reads at once."""
        with spans("manifest"):
            reader, rows = self._images(order)
        skip = dict(order.skip)

        def one(row: Row) -> File:
            if kind := skip.get(row.image_id):
                return row.image_id, ImageError(kind, SKIPPED[kind])
            data = taken.timed(row.image_id, _outcome, reader.read, row.uri, row.source)
            taken.sizes[row.image_id] = 0 if isinstance(data, ImageError) else len(data)
            return row.image_id, data

        def read(some: Sequence[Row]) -> list[File]:
            with spans("read", len(some)):
                return [one(row) for row in some]

        at_once = taken.at_once = 1 if reader.far else min(AT_ONCE, FILES_AHEAD // max(reader.threads, 1))
        if not reader.threads:
            yield rows, map(read, chunks(rows, at_once))
            return
        with ThreadPoolExecutor(reader.threads, "reader") as readers:
            try:
                if reader.far:
                    yield rows, far_ahead(readers, reader.threads, read, chunks(rows, at_once), taken.read)
                else:
                    yield rows, ahead(readers, read, chunks(rows, at_once), FILES_AHEAD // at_once, taken.read)
            finally:  # where a bucket stays away, those that wait for a thread would each try for a minute
                readers.shutdown(wait=False, cancel_futures=True)

    def _looked_at(
        self, files: Iterator[list[File]], max_side: int, hashed: bool, spans: Spans, taken: Taken
    ) -> Iterator[LookedAt]:
        """What came of each image, in order; beside decoders, they run ahead of the caller."""

        def photo(image_id: str, data: bytes | ImageError) -> Photo | ImageError:
            if isinstance(data, ImageError):
                return data
            return taken.timed(image_id, _outcome, decode.decode, data, max_side)

        def decoded(some: Sequence[File]) -> list[LookedAt]:
            with spans("decode", len(some)):
                photos = [(image_id, photo(image_id, data)) for image_id, data in some]
            if not hashed:
                return [LookedAt(*each) for each in photos]
            with spans("hash", len(some)):
                return [LookedAt(*each, _phash(each[1])) for each in photos]

        found: Iterator[list[LookedAt]]
        if self.decoders is None:
            found = map(decoded, timed(files, spans))
        else:
            limit = max(DECODED_AHEAD // taken.at_once, self.threads)
            with spans("wait"):  # for the first that are read
                decoding = ahead(self.decoders, decoded, files, limit, taken.decoded)
            found = timed(decoding, spans)
        return chain.from_iterable(found)

    def _commit(self, order: Order, found: "_Found", taken: Taken) -> bool:
        """Whether the shard is committed now; a part of one may have to wait for the others."""
        now = datetime.now(UTC)
        written: dict[str, dict[str, pa.Table]] = {}  # fingerprint → table → rows
        # Images first: a photo that cannot be read next time is then an error of the task, and has its row.
        if order.facts:
            written[IMAGES_FINGERPRINT] = {"images": pa.Table.from_pylist(found.facts, IMAGES)}
        for name, each in found.rows.items():
            failed = {"errors": pa.Table.from_pylist(found.errors[name], ERRORS)} if found.errors[name] else {}
            written[self.fingerprints[name]] = {name: pa.concat_tables(each), **failed}
        try:
            for fingerprint, rows in written.items():
                facts = commit_facts.made(now, taken.seconds if fingerprint == IMAGES_FINGERPRINT else {})
                if order.again:
                    self._write_again(order, fingerprint, rows, facts)
                elif order.part is None:
                    tables.write_shard(self.library, fingerprint, order.shard, rows, facts)
                else:
                    reduced = self._reduced()
                    shared_shards.write_part(self.library, fingerprint, order.shard, order.part, rows, reduced, facts)
            return all(tables.is_committed(self.library, fingerprint, order.shard) for fingerprint in written)
        except OSError as error:
            raise MusterError(f"cannot write to library {self.library.uri}: {error.strerror or error}") from error

    def _reduced(self) -> dict[str, Callable[[pa.Table], pa.Table]]:
        """Table → what a shard keeps of the rows of all its images."""
        return {name: partial(_kept, task) for name, task in self.tasks.items()}

    def _possible(self, order: Order) -> Order:
        """Of the whole shard, where a worker that died while it replaced the rows has left none for the others."""
        wanted = [IMAGES_FINGERPRINT, *(self.fingerprints[name] for name in order.tasks)]
        if order.only is None or all(tables.is_committed(self.library, each, order.shard) for each in wanted):
            return order
        return replace(order, only=None)

    def _write_again(self, order: Order, fingerprint: str, rows: dict[str, pa.Table], facts: Facts) -> None:
        """Replace the rows of a shard; where the order is for some of its images, theirs."""
        if order.only is not None:
            others, before = tables.rows_of_others(self.library, fingerprint, order.shard, order.only)
            images = manifest.read_shard(self.library, order.shard)["image_id"]
            rows, facts = together([others, rows], images, self._reduced()), commit_facts.joined([before, facts])
        tables.rewrite_shard(self.library, fingerprint, order.shard, rows, facts)


def together(
    parts: Sequence[Mapping[str, pa.Table]],
    images: pa.ChunkedArray,
    reduced: Mapping[str, Callable[[pa.Table], pa.Table]],
) -> dict[str, pa.Table]:
    """Table → the rows of all parts, in order of `images`, as far as a shard keeps them."""
    found = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        rows = pa.concat_tables([part[name] for part in parts if name in part])
        place = pc.index_in(rows["image_id"], value_set=images).to_numpy()
        rows = rows.take(np.argsort(place, kind="stable"))
        found[name] = reduced[name](rows) if name in reduced else rows
    return found


def chunks(items: Iterable[T], size: int = IMAGES_PER_CALL) -> Iterator[list[T]]:
    """The items in lists of `size`, in order. By default as many as a task sees at once, and parts of shards hold."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def timed(items: Iterable[T], spans: Spans) -> Iterator[T]:
    """The same items; how long each was waited for is noted."""
    iterator = iter(items)
    while True:
        with spans("wait"):
            item = next(iterator, None)
        if item is None:
            return
        yield item


def apply(task: base.Task, batch: Sequence[base.Image], ceilings: Ceilings) -> tuple[pa.Table, list[dict[str, str]]]:
    """A task's rows, and a row for each image it failed on, found by calling it again on halves.

    Out of memory halves the batch as well; where both halves then fit, that size is the ceiling for such images.
    """
    key = (task.name, max(max(image.pixels.shape[:2]) for image in batch).bit_length())
    if len(batch) > (most := ceilings.get(key, len(batch))):
        return _joined(apply(task, batch[i : i + most], ceilings) for i in range(0, len(batch), most))
    try:
        return checked(task(batch), task, batch), []
    except Exception as error:  # a task may fail in any way; its cause becomes the image's row
        if gpu.is_lost(error):  # of no image: whoever called is to end this process
            raise
        out_of_memory = is_out_of_memory(error)
        if isinstance(error, torch.OutOfMemoryError):
            torch.cuda.empty_cache()
        if len(batch) == 1:
            kind, text = "out_of_memory" if out_of_memory else "task", f"{type(error).__name__}: {error}"
            row = {"image_id": batch[0].image_id, "task": task.name, "error_kind": kind, "error": text}
            return task.schema.empty_table(), [row]
    middle = len(batch) // 2
    table, errors = _joined(apply(task, half, ceilings) for half in (batch[:middle], batch[middle:]))
    if out_of_memory and not any(row["error_kind"] == "out_of_memory" for row in errors):
        ceilings[key] = min(middle, ceilings.get(key, middle))
    return table, errors


def kept(task: base.Task, rows: Sequence[pa.Table]) -> pa.Table:
    """What a shard keeps of the rows of a task's calls. A task that is no subclass of base.Task keeps all."""
    together = pa.concat_tables(rows)
    return task.reduced(together) if hasattr(task, "reduced") else together


def _kept(task: base.Task, rows: pa.Table) -> pa.Table:
    return kept(task, [rows])


def checked(rows: pa.Table, task: base.Task, batch: Sequence[base.Image]) -> pa.Table:
    """TaskError where a task has not made what it says of itself: written, its rows would damage the table."""
    if not isinstance(rows, pa.Table) or not rows.schema.equals(task.schema):
        raise TaskError(f"task {task.name!r} did not return a table of its schema")
    if not set(pc.unique(rows["image_id"]).to_pylist()) <= {image.image_id for image in batch}:
        raise TaskError(f"task {task.name!r} returned rows of images that it was not given")
    says = task.findings
    for name in filter(None, (says.score, says.box, says.landmarks, says.embedding)):
        if not _is_finite(
            rows[name]
        ):  # of a network that overflowed, or weights that are none: nothing could compare it
            raise TaskError(f"task {task.name!r} returned NaN or infinity as {name!r}")
    return rows


def _is_finite(column: pa.ChunkedArray) -> bool:
    values = pc.list_flatten(column, recursive=True) if pa.types.is_nested(column.type) else column
    return bool(np.isfinite(values.drop_null().to_numpy()).all())


def _joined(results: Iterable[tuple[pa.Table, list[dict[str, str]]]]) -> tuple[pa.Table, list[dict[str, str]]]:
    parts, errors = zip(*results, strict=True)
    return pa.concat_tables(parts), [row for failed in errors for row in failed]


def is_out_of_memory(error: Exception) -> bool:
    """Of the device or the host; torch, and libraries below it, have RuntimeErrors of their own for both."""
    text = any(words in str(error) for words in OUT_OF_MEMORY) and isinstance(error, RuntimeError)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or text


def ahead(
    pool: ThreadPoolExecutor,
    function: Callable[[T], R],
    items: Iterable[T],
    limit: int,
    lay: list[int] | None = None,
) -> Iterator[R]:
    """`map` in a pool that runs at most `limit` items ahead of the caller, and begins at once.

    `lay`: how many were done by then is added, each time that one is wanted.
    """
    iterator, lay = iter(items), [] if lay is None else lay
    running: deque[Future[R]] = deque(pool.submit(function, item) for item in islice(iterator, limit))

    def results() -> Iterator[R]:
        while running:
            lay.append(sum(map(Future.done, running)))
            result = running.popleft().result()
            running.extend(pool.submit(function, item) for item in islice(iterator, 1))
            yield result

    return results()


def far_ahead(
    pool: ThreadPoolExecutor, threads: int, read: Callable[[T], list[File]], items: Iterable[T], lay: list[int]
) -> Iterator[list[File]]:
    """As `ahead`, of files that may be waited for very long: all others are read meanwhile, by so many threads, as long
    as what is read and not wanted yet takes no more than HELD; beyond that, only what is wanted. Those of a server,
    which stand side by side, are begun apart: where a part of it stalls, the rest still shows that it is there."""
    given = list(items)
    later = dict.fromkeys(random.Random(0).sample(range(len(given)), len(given)))  # in the order to begin them in
    found: dict[int, Future[list[File]]] = {number: Future() for number in range(len(given))}
    lock, held, idle, wanted = threading.Lock(), 0, threads, 0

    def read_one() -> None:
        nonlocal held, idle
        with lock:
            number = next(iter(later), wanted) if held <= HELD else wanted
            if number not in later:
                idle += 1
                return
            del later[number]
        try:
            files = read(given[number])
        except BaseException as error:
            found[number].set_exception(error)
        else:
            with lock:
                held += _size(files)
            found[number].set_result(files)
        pool.submit(read_one)  # RuntimeError once the pool is shut down: nobody asks this future for it

    def go_on() -> None:
        nonlocal idle
        with lock:
            some, idle = idle, 0
        for _ in range(some):
            pool.submit(read_one)

    def results() -> Iterator[list[File]]:
        nonlocal held, wanted
        for number in range(len(given)):
            with lock:
                wanted = number
            go_on()
            lay.append(sum(map(Future.done, found.values())))
            files = found[number].result()
            del found[number]
            with lock:
                held -= _size(files)
            yield files

    go_on()
    return results()


def _size(files: Iterable[File]) -> int:
    return sum(len(data) for _, data in files if not isinstance(data, ImageError))


def _outcome(function: Callable[..., R], *arguments: Any) -> R | ImageError:
    try:
        return function(*arguments)
    except ImageError as error:
        return error


def image_of(image_id: str, photo: Photo) -> base.Image:
    """A decoded photo as tasks take it."""
    names = ("pixels", "scale", "size", "taken_at", "latitude", "longitude", "profile", "sha256")
    return base.Image(image_id=image_id, **{name: getattr(photo, name) for name in names})


def _error(image_id: str, task: str, error: ImageError) -> dict[str, str]:
    """The row of `errors`."""
    return {"image_id": image_id, "task": task, "error_kind": error.kind, "error": str(error)}


def _facts(looked_at: LookedAt) -> dict[str, Any]:
    """The row of `images`."""
    image_id, outcome, phash = looked_at
    if isinstance(outcome, ImageError):
        width, height = outcome.size or (None, None)
        known = {"format": outcome.format, "sha256": outcome.sha256, "width": width, "height": height}
        return {"image_id": image_id, "status": "error", "error_kind": outcome.kind, "error": str(outcome), **known}
    width, height = outcome.size
    names = ("format", "orientation", "taken_at", "latitude", "longitude", "camera", "sha256")
    facts = {name: getattr(outcome, name) for name in names}
    return {"image_id": image_id, "status": "ok", "width": width, "height": height, **facts, "phash": phash}


def _phash(outcome: Photo | ImageError) -> int | None:
    return perceptual_hash(outcome.pixels) if isinstance(outcome, Photo) else None


def _keep_memory() -> None:
    """Have glibc keep the memory of activations for the next batch, instead of handing it back after each.

    In actor threads it came back page by page: up to 1,000 page faults and 2.7 ms of system time per 162-pixel image.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((-8, 1), (-3, 32 << 20), (-1, 256 << 20)):  # ARENA_MAX, MMAP_ and TRIM_THRESHOLD
            mallopt(option, value)


def _give_back_memory() -> None:
    """Once much is kept, as after photos of 200 megapixels: 2,333 hostile files had left a worker with 2.8 GiB."""
    statm, trim = Path("/proc/self/statm"), getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None and statm.exists() and int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") > KEPT:
        trim(0)


def is_fatal(error: BaseException) -> bool:
    """Whether no other shard can be done either: the disk is full, or the library is gone or may not be written."""
    cause = error.__cause__
    if isinstance(cause, OSError):
        return cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
    return isinstance(error, LibraryGoneError)
