"""The main path: manifest → pending shards → workers → committed tables → summary. The driver never touches pixels."""

import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from muster.errors import MusterError, NotYetError, Stopped
from muster.pipeline import forget
from muster.pipeline.distributed import actors
from muster.pipeline.distributed.reach import require_answer
from muster.pipeline.failures import first_failures
from muster.pipeline.trace import Trace
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.dispatch import Dispatcher, Order, Policy
from muster.pipeline.work.parts import slice_of
from muster.storage import downloads, manifest, shared_shards, tables
from muster.storage.exchange.photo import public_uri
from muster.storage.library import LibraryFiles, open_library
from muster.storage.models import keep_models
from muster.storage.outcomes import IMAGES_DESCRIPTION, IMAGES_FINGERPRINT
from muster.storage.photos import reader
from muster.storage.uris import plain_source
from muster.tasks.base import Task
from muster.tasks.models import zoo

TRANSIENT = ("not_found", "permission", "unreadable", "timeout", "crash", "out_of_memory")  # may pass


@dataclass
class Progress:
    """How far a run is. `began`: when it was asked for; `ready`: when its workers were; both of time.monotonic().

    `images`: of the shards that are done. `under_way`: those that workers have been through, of other shards. `pace`:
    images per second of the workers by now; `ends`: of time.monotonic(), when all will be done. Both follow the workers
    from second to second, and are 0 until these have called their tasks a second time.
    """

    total: int
    began: float
    ready: float = 0.0
    images: int = 0
    errors: int = 0
    rows: Counter[str] = field(default_factory=Counter)  # task → how many this run has made
    seconds: float = 0.0  # from ready to the last result
    under_way: int = 0
    pace: float = 0.0
    ends: float = 0.0
    waiting: str = ""  # what the workers, which have not started yet, wait for

    @property
    def left(self) -> float | None:
        """Seconds until all is done; None where it is not known yet."""
        return max(0.0, self.ends - time.monotonic()) if self.ends else None

    @property
    def rate(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    def add(self, result: Mapping[str, Any]) -> None:
        """Count one more shard."""
        self.images += result["images"]
        self.errors += result["errors"]
        self.rows.update(result["rows"])
        self.seconds = time.monotonic() - self.ready


@dataclass(frozen=True)
class RunSummary:
    """What the library holds after a run, and what the run did.

    `images` == `ok` + `errors`: of the whole manifest. `processed`: images of this run, in `seconds` at
    `images_per_second`, both counted from when the first worker was ready; `startup_seconds` is before that. `rows`:
    task → how many there are, of the tasks of the run. `transient`: errors that another attempt may not meet.
    `first_errors`: up to three images with an error, see muster.pipeline.failures.
    """

    images: int
    ok: int
    errors: int
    rows: dict[str, int]
    processed: int
    seconds: float
    images_per_second: float
    startup_seconds: float
    workers: int
    transient: int = 0
    error_kinds: dict[str, int] = field(default_factory=dict)
    first_errors: list[dict[str, Any]] = field(default_factory=list)


OnProgress = Callable[[Progress], None]


def run(config: RunConfig, on_progress: OnProgress, on_download: downloads.OnDownload | None = None) -> RunSummary:
    """Process every image of the manifest that the tasks have not seen. The caller holds no lock.

    Raises InputError, or MusterError where a shard could not be done; the others are committed all the same.
    """
    if config.machine.address is not None:
        require_answer(config.machine.address)  # now: where nothing is left to do, nobody would ever ask
    library = open_library(config.library)
    with forget.locked(library):
        return process(library, config, on_progress, on_download)


def process(
    library: LibraryFiles, config: RunConfig, on_progress: OnProgress, on_download: downloads.OnDownload | None = None
) -> RunSummary:
    """What `run` does. The caller holds the lock, see forget.locked."""
    began = time.monotonic()
    more = sum(entry.memory for choice in config.choices for entry in choice.entries)
    config = replace(config, library=library.uri, machine=config.machine.with_room(more))
    if config.trace is not None:
        library.check_outside(config.trace, "trace")
    shared_shards.remove_all(library)
    record(library, config)
    again = transient(library, config.choices) if config.retry_errors else []
    orders = narrowed(library, pending(library, config.choices, again), config.choices, again)
    none = Counter({choice.name: 0 for choice in config.choices})
    progress = Progress(sum(order.images for order in orders), began, rows=none)
    workers, trace = 0, None
    if orders:
        trace = None if config.trace is None else Trace(config.trace)
        _check_access(library, orders)
        fetch_weights(config, on_download)
    # Now, and not at the end: whoever goes on with this run need not name them again.
    keep_models(library, {c.name: c.model for c in config.choices if c.model and c.name in config.kept})
    if orders:
        on_progress(progress)
        with actors.connected(config.machine.address), nullcontext() if trace is None else closing(trace):
            actors.check_reach(config.machine, config.library, config.choices)
            workers = _work(library, config, orders, progress, on_progress, trace)
    return summarise(library, config.choices, progress, workers)


class LicenceWarning(UserWarning):
    """A model is used whose licence forbids commercial use."""


def record(library: LibraryFiles, config: RunConfig) -> None:
    """Note in the library what the run's tables will be made by.

    Weights of the user's are tried before, and models at an address; but not those that the library has a description
    of: they were. Nor is it said again what their licence forbids.
    """
    tables.describe(library, IMAGES_DESCRIPTION)
    for choice in config.choices:
        if choice.fingerprint not in tables.descriptions(library):
            if choice.weights is not None or zoo.is_address(choice.model):
                choice.try_weights(config.machine.weights_dir)
            for entry in filter(lambda entry: not entry.commercial, choice.entries):
                text = f"{choice.model} is under the licence {entry.licence}, which forbids commercial use"
                warnings.warn(text, LicenceWarning, stacklevel=2)
        tables.describe(library, choice.description)


def pending(library: LibraryFiles, choices: Sequence[TaskChoice], again: Sequence[tuple[str, str]] = ()) -> list[Order]:
    """An order for each shard of the manifest that lacks rows: of a task, or of `images`.

    `again`: fingerprint and shard of the rows that will be made anew.
    """
    shards = manifest.shards(library)
    if not shards:
        raise NotYetError(f"library {library.uri} has no images yet", "scan", library.uri)

    def done(fingerprint: str) -> set[str]:
        return set(tables.committed(library, fingerprint)) - {shard for name, shard in again if name == fingerprint}

    seen, by_task = done(IMAGES_FINGERPRINT), {choice.name: done(choice.fingerprint) for choice in choices}
    orders = []
    for shard, images in shards:
        missing = tuple(name for name, there in by_task.items() if shard not in there)
        if missing or shard not in seen:
            orders.append(Order(shard, missing, images, facts=shard not in seen))
    return orders


def transient(library: LibraryFiles, choices: Sequence[TaskChoice]) -> list[tuple[str, str]]:
    """Fingerprints and shards that hold an image whose error may have passed. The caller holds the lock."""
    tabled = {choice.fingerprint: "errors" for choice in reversed(choices)} | {IMAGES_FINGERPRINT: "images"}
    done = {fingerprint: set(tables.committed(library, fingerprint)) for fingerprint in tabled}
    found = []
    for shard, _ in manifest.shards(library):
        held = [fingerprint for fingerprint in tabled if shard in done[fingerprint]]
        if any(_is_transient(library, tabled[fingerprint], fingerprint, shard) for fingerprint in held):
            found += [(fingerprint, shard) for fingerprint in held]
    return found


def _is_transient(library: LibraryFiles, table: str, fingerprint: str, shard: str) -> bool:
    return bool(_transient_images(library, table, fingerprint, shard))


def _transient_images(library: LibraryFiles, table: str, fingerprint: str, shard: str) -> set[str]:
    rows = tables.read(library, table, fingerprint, ["image_id", "error_kind"], [shard])
    if rows is None:
        return set()
    kinds = dict(zip(rows["image_id"].to_pylist(), rows["error_kind"].to_pylist(), strict=True))
    now = _allowed(library, shard) if "private" in kinds.values() else set()
    return {image for image, kind in kinds.items() if kind in TRANSIENT or (kind == "private" and image in now)}


def _allowed(library: LibraryFiles, shard: str) -> set[str]:
    """Images of a shard that may lie in private networks by now."""
    rows = manifest.read_shard(library, shard)
    named = zip(rows["image_id"].to_pylist(), rows["source"].to_pylist(), strict=True)
    return {image for image, source in named if plain_source(source)[1]}


def narrowed(
    library: LibraryFiles, orders: Sequence[Order], choices: Sequence[TaskChoice], again: Sequence[tuple[str, str]]
) -> list[Order]:
    """The same orders; those that make rows anew are for the images alone whose error may have passed, where nothing
    else is lacking. So a web server is not asked again for what it has given, or does not have."""
    by_task = {choice.name: choice.fingerprint for choice in choices}
    held: dict[str, set[str]] = {}
    for fingerprint, shard in again:
        held.setdefault(shard, set()).add(fingerprint)
    found = []
    for order in orders:
        order = replace(order, again=order.shard in held)
        wanted = {IMAGES_FINGERPRINT, *(by_task[name] for name in order.tasks)}
        if order.facts and held.get(order.shard) == wanted:
            tabled = {name: "images" if name == IMAGES_FINGERPRINT else "errors" for name in wanted}
            images = set().union(*(_transient_images(library, tabled[name], name, order.shard) for name in wanted))
            order = replace(order, only=tuple(sorted(images)), images=len(images))
        found.append(order)
    return found


def _check_access(library: LibraryFiles, orders: Sequence[Order]) -> None:
    """Have every bucket answer before a worker starts, so that missing credentials are said at once, and once."""
    some = orders[:: -(-len(orders) // 16)]
    shards = (manifest.read_shard(library, order.shard) for order in some)
    reader.check_access(image for shard in shards for image in manifest.named(library, shard))


def fetch_weights(config: RunConfig, on_download: downloads.OnDownload | None) -> None:
    """Have every file of weights before a worker starts, so that what is missing is said at once."""
    for file in [file for choice in config.choices for file in choice.files()]:
        downloads.fetch(file, config.machine.weights_dir, on_download)


def _work(
    library: LibraryFiles,
    config: RunConfig,
    orders: Sequence[Order],
    progress: Progress,
    on_progress: OnProgress,
    trace: Trace | None,
) -> int:
    """Do these orders; returns how many workers did."""
    count = min(actors.available_workers(config.machine), len(orders))

    def on_wait(text: str) -> None:
        on_progress(replace(progress, waiting=text))

    def on_done(order: Order, result: Mapping[str, Any]) -> None:
        progress.total += max(0, result["images"] - order.images)  # as where the worker before died at the commit
        progress.add(result)
        if trace is not None:
            trace.add(result["process"], order.key, result["spans"])
        progress.under_way = max(0, progress.under_way - result["images"])  # until the workers are asked again
        on_progress(progress)

    def members(order: Order) -> Sequence[str]:
        images: list[str] = manifest.read_shard(library, order.shard)["image_id"].to_pylist()
        return order.only or slice_of(images, order.part)

    def on_beat() -> None:
        held = pool.held()
        progress.under_way = sum(map(pool.pace.under_way, held))
        progress.pace = pool.pace.rate(held)
        left = pool.pace.left(max(0, progress.total - progress.images - sum(held.values())), held)
        progress.ends = 0.0 if left is None else time.monotonic() + left
        pool.metrics.waiting.set(len(dispatcher.queue) + len(dispatcher.alone))
        on_progress(progress)

    # Nodes may come to a cluster; on one machine only memory comes and goes.
    room = None if config.machine.address is None else partial(actors.available_workers, config.machine)
    try:
        with closing(
            actors.RayWorkers(config.library, config.choices, config.machine, on_beat, traced=trace is not None)
        ) as pool:
            pool.prepare(count, on_wait)
            progress.ready = time.monotonic()
            dispatcher = Dispatcher(orders, pool, count, members, policy=patient(config.choices), room=room)
            failed = dispatcher.run(on_done)
    except Stopped as stopped:
        raise MusterError(f"{stopped}. What was done is kept; run again to go on") from stopped
    if failed:
        shard, reason = next(iter(failed.items()))
        raise MusterError(
            f"{len(failed)} of {len(orders)} shards failed; {shard} ({_some_of(library, shard)}): {reason}. Run again"
            " to retry them"
        )
    return count


def patient(choices: Sequence[TaskChoice]) -> "Policy | None":
    """One that gives a worker as long as the slowest of its tasks may take; None: the usual one does."""
    slow = [choice.task.patience for choice in choices if choice.task.patience > Task.patience]
    return Policy(per_image=max(slow)) if slow else None


def _some_of(library: LibraryFiles, shard: str) -> str:
    """The first images of a shard, by name."""
    try:
        rows = manifest.read_shard(library, shard)
    except MusterError:  # that is why it failed, and it is said
        return "its manifest cannot be read"
    uris = [public_uri(uri) for uri in rows["uri"].to_pylist()]
    return ", ".join(uris[:3]) + (f" and {len(uris) - 3} more" if len(uris) > 3 else "")


def summarise(library: LibraryFiles, choices: Sequence[TaskChoice], progress: Progress, workers: int) -> RunSummary:
    """Counts over the commits of the current manifest."""
    shards = [shard for shard, _ in manifest.shards(library)]
    seen = tables.commits(library, IMAGES_FINGERPRINT, shards)
    done = {choice.name: tables.commits(library, choice.fingerprint, shards) for choice in choices}
    kinds: dict[str, str] = {}  # image_id → what went wrong first
    for commits in (seen, *done.values()):
        kinds = tables.failures(library, commits) | kinds
    images = tables.rows_in(seen, "images")
    return RunSummary(
        images=images,
        ok=images - len(kinds),
        errors=len(kinds),
        rows={name: tables.rows_in(commits, name) for name, commits in done.items()},
        processed=progress.images,
        seconds=round(progress.seconds, 3),
        images_per_second=round(progress.rate, 2),
        startup_seconds=round(progress.ready - progress.began, 3) if progress.images else 0.0,
        workers=workers,
        transient=sum(kind in TRANSIENT for kind in kinds.values()),
        error_kinds=dict(Counter(kinds.values()).most_common()),
        first_errors=first_failures(library, {"images": seen, **done}) if kinds else [],
    )
