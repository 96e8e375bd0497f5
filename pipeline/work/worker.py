"""A worker: loads its tasks once, then turns shards into committed tables.

`ShardWorker` does not know that it runs in a Ray actor. Reader and decoder threads run ahead of the model by a bounded
number of files and images.
"""

import ctypes
import errno
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
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
from muster.storage import manifest, shared_shards, tables
from muster.storage.library import open_library
from muster.storage.outcomes import ERRORS, IMAGES, IMAGES_FINGERPRINT
from muster.storage.photos import decode
from muster.storage.photos.decode import Photo
from muster.storage.photos.reader import Reader
from muster.tasks import base

T = TypeVar("T")
R = TypeVar("R")
Ceilings = dict[tuple[str, int], int]  # (task, bits of the longest side in pixels) → images that fit into memory

KEPT = 1 << 30  # bytes of resident memory above which a worker gives back what it does not use
AT_ONCE = 4  # files read, then decoded, by one thread: to hand over a small one costs as much as to read it
AHEAD = 4  # so many times AT_ONCE are read before they are decoded, and decoded before the model wants them
OUT_OF_MEMORY = ("allocate memory", "CUDA error: out of memory", "ALLOC_FAILED")  # in the text of a RuntimeError
MIN_SIDE = 512  # where no task asks for more; the perceptual hash differs by a few bits between sizes

SKIPPED = {
    "crash": "the worker process died on this image: its decoder or a model crashed",
    "timeout": "the worker did not come back from this image in time",
}


class Row(NamedTuple):
    """An image of a shard, as Reader.read wants it."""

    image_id: str
    uri: str
    source: str


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
        self, library: str, choices: Sequence[TaskChoice], device: str, weights_dir: Path | None, threads: int = 1
    ) -> None:
        """`device`: "cpu" or "cuda". `threads`: of torch on a CPU, and decoders."""
        if device == "cpu":
            torch.set_num_threads(threads)
            _keep_memory()
        self.library = open_library(library, trusted=True)  # the driver has asked
        self.tasks = {choice.name: choice.load(torch.device(device), weights_dir) for choice in choices}
        self.fingerprints = {choice.name: choice.fingerprint for choice in choices}
        self.threads, self.decoders = threads, ThreadPoolExecutor(threads)
        self.ceilings: Ceilings = {}
        self.model = threading.Lock()  # one shard at a time, where two are processed (pipeline/distributed/actors.py)

    def process(self, order: Order) -> dict[str, Any]:
        """Do one shard and commit its tables. Returns counts and seconds.

        Raises MusterError where the library cannot be read or written.
        """
        started, waited = time.monotonic(), {"decode": 0.0, "model": 0.0}
        reader, rows = self._images(order)
        given = [self.tasks[name] for name in order.tasks]
        found = _Found(
            facts=[], rows={t.name: [t.schema.empty_table()] for t in given}, errors={t.name: [] for t in given}
        )
        side = max([MIN_SIDE, *(task.max_side for task in given)])
        for chunk in timed(chunks(self._decoded(reader, rows, side, dict(order.skip))), waited):
            found.facts += [_facts(image_id, outcome) for image_id, outcome in chunk]
            good = [image_of(image_id, photo) for image_id, photo in chunk if isinstance(photo, Photo)]
            begun = time.monotonic()
            for task in given if good else []:
                with self.model:
                    rows_of_task, failed = apply(task, good, self.ceilings)
                found.rows[task.name] = [kept(task, [*found.rows[task.name], rows_of_task])]
                found.errors[task.name] += failed
            waited["model"] += time.monotonic() - begun
            for name in order.tasks:  # so that a task knows what it lacks, whatever becomes of the row in `images`
                found.errors[name] += [_error(i, name, o) for i, o in chunk if isinstance(o, ImageError)]
        committed = order.probe is None and self._commit(order, found)
        _give_back_memory()
        kinds = found.kinds()
        return {
            "images": len(rows),
            "errors": len(kinds),
            "error_kinds": dict(Counter(kinds.values())),
            "rows": {name: sum(each.num_rows for each in tables) for name, tables in found.rows.items()},
            "committed": committed,
            "seconds": time.monotonic() - started,
            "waited": waited,
        }

    def _images(self, order: Order) -> tuple[Reader, list[Row]]:
        """The images of an order, and what reads them."""
        table = manifest.read_shard(self.library, order.shard)
        named = zip(table["image_id"].to_pylist(), manifest.named(self.library, table), strict=True)
        rows = slice_of([Row(image_id, *each) for image_id, each in named], order.part)
        wanted = None if order.probe is None else set(order.probe)
        return Reader(table["uri"].to_pylist()), [row for row in rows if wanted is None or row.image_id in wanted]

    def _decoded(
        self, reader: Reader, rows: Sequence[Row], max_side: int, skip: Mapping[str, str]
    ) -> Iterator[tuple[str, Photo | ImageError]]:
        """image_id and what came of it, in order; read and decoded ahead of the caller."""

        def read(row: Row) -> bytes | ImageError:
            kind = skip.get(row.image_id)
            return ImageError(kind, SKIPPED[kind]) if kind else _outcome(reader.read, row.uri, row.source)

        def photo(data: bytes | ImageError) -> Photo | ImageError:
            return data if isinstance(data, ImageError) else _outcome(decode.decode, data, max_side)

        with ThreadPoolExecutor(4) as readers:
            read_ahead = ahead(readers, _each(read), chunks(rows, AT_ONCE), AHEAD)
            decoded = chain.from_iterable(ahead(self.decoders, _each(photo), read_ahead, max(AHEAD, self.threads)))
            try:
                yield from zip((row.image_id for row in rows), decoded, strict=True)
            finally:  # where a bucket stays away, those that wait for a thread would each try for a minute
                readers.shutdown(wait=False, cancel_futures=True)

    def _commit(self, order: Order, found: "_Found") -> bool:
        """Whether the shard is committed now; a part of one may have to wait for the others."""
        written: dict[str, dict[str, pa.Table]] = {}  # fingerprint → table → rows
        # Images first: a photo that cannot be read next time is then an error of the task, and has its row.
        if order.facts:
            written[IMAGES_FINGERPRINT] = {"images": pa.Table.from_pylist(found.facts, IMAGES)}
        for name, each in found.rows.items():
            failed = {"errors": pa.Table.from_pylist(found.errors[name], ERRORS)} if found.errors[name] else {}
            written[self.fingerprints[name]] = {name: pa.concat_tables(each), **failed}
        try:
            for fingerprint, rows in written.items():
                if order.part is None:
                    tables.write_shard(self.library, fingerprint, order.shard, rows)
                else:
                    reduced = {name: lambda rows, task=task: kept(task, [rows]) for name, task in self.tasks.items()}
                    shared_shards.write_part(self.library, fingerprint, order.shard, order.part, rows, reduced)
            return all(tables.is_committed(self.library, fingerprint, order.shard) for fingerprint in written)
        except OSError as error:
            raise MusterError(f"cannot write to library {self.library.uri}: {error.strerror or error}") from error


def chunks(items: Iterable[T], size: int = IMAGES_PER_CALL) -> Iterator[list[T]]:
    """The items in lists of `size`, in order. By default as many as a task sees at once, and parts of shards hold."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def timed(items: Iterable[T], waited: dict[str, float]) -> Iterator[T]:
    """The same items; the seconds that each was waited for are added to `waited["decode"]`."""
    iterator = iter(items)
    while True:
        begun = time.monotonic()
        item = next(iterator, None)
        waited["decode"] += time.monotonic() - begun
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


def ahead(pool: ThreadPoolExecutor, function: Callable[[T], R], items: Iterable[T], limit: int) -> Iterator[R]:
    """`map` in a pool that runs at most `limit` items ahead of the caller."""
    iterator = iter(items)
    running: deque[Future[R]] = deque(pool.submit(function, item) for item in islice(iterator, limit))
    while running:
        result = running.popleft().result()
        running.extend(pool.submit(function, item) for item in islice(iterator, 1))
        yield result


def _each(function: Callable[[T], R]) -> Callable[[Iterable[T]], list[R]]:
    return lambda items: [function(item) for item in items]


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


def _facts(image_id: str, outcome: Photo | ImageError) -> dict[str, Any]:
    """The row of `images`."""
    if isinstance(outcome, ImageError):
        width, height = outcome.size or (None, None)
        known = {"format": outcome.format, "sha256": outcome.sha256, "width": width, "height": height}
        return {"image_id": image_id, "status": "error", "error_kind": outcome.kind, "error": str(outcome), **known}
    width, height = outcome.size
    names = ("format", "orientation", "taken_at", "latitude", "longitude", "camera", "sha256", "phash")
    facts = {name: getattr(outcome, name) for name in names}
    return {"image_id": image_id, "status": "ok", "width": width, "height": height, **facts}


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
