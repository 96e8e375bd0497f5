"""The main path: manifest → pending shards → workers → committed tables → summary. The driver never touches pixels."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch

from muster.errors import InputError, MusterError
from muster.pipeline.distributed import actors
from muster.pipeline.distributed.reach import require_answer
from muster.pipeline.gallery import forget
from muster.pipeline.work import weights as models
from muster.pipeline.work.config import RunConfig
from muster.pipeline.work.dispatch import Dispatcher, Order, Stopped
from muster.pipeline.work.worker import IMAGES_DESCRIPTION, TaskSpec, describe, load_task
from muster.storage import downloads, manifest, shared_shards, tables
from muster.storage.library import Library, open_library
from muster.storage.photos import reader
from muster.tasks import base, registry
from muster.tasks.models import zoo

TRANSIENT = ("not_found", "permission", "unreadable", "timeout", "crash", "out_of_memory")  # may pass


@dataclass
class Progress:
    """How far a run is. `began`: when it was asked for; `ready`: when its workers were; both of time.monotonic()."""

    total: int
    began: float
    ready: float = 0.0
    images: int = 0
    errors: int = 0
    faces: int = 0
    seconds: float = 0.0  # from ready to the last result
    waiting: str = ""  # what the workers, which have not started yet, wait for

    @property
    def rate(self) -> float:
        return self.images / self.seconds if self.seconds else 0.0

    def add(self, result: Mapping[str, Any]) -> None:
        """Count one more shard."""
        self.images += result["images"]
        self.errors += result["errors"]
        self.faces += result["rows"].get("faces", 0)
        self.seconds = time.monotonic() - self.ready


@dataclass(frozen=True)
class Summary:
    """What the library holds after a run, and what the run did.

    `images` == `ok` + `errors`: of the whole manifest. `processed`: images of this run, in `seconds` at
    `images_per_second`, both counted from when the first worker was ready; `startup_seconds` is before that. `faces`:
    None where the run was not asked for them. `transient`: errors that another attempt may not meet.
    """

    images: int
    ok: int
    errors: int
    faces: int | None
    processed: int
    seconds: float
    images_per_second: float
    startup_seconds: float
    workers: int
    transient: int = 0
    error_kinds: dict[str, int] = field(default_factory=dict)


OnProgress = Callable[[Progress], None]


def run(config: RunConfig, on_progress: OnProgress, on_download: downloads.Progress | None = None) -> Summary:
    """Process every image of the manifest that the tasks have not seen. The caller holds no lock.

    Raises InputError, or MusterError where a shard could not be done; the others are committed all the same.
    """
    if config.address is not None:
        require_answer(config.address)  # now: where nothing is left to do, nobody would ever ask
    library = open_library(config.library)
    with forget.locked(library):
        return process(library, config, on_progress, on_download)


def process(
    library: Library, config: RunConfig, on_progress: OnProgress, on_download: downloads.Progress | None = None
) -> Summary:
    """What `run` does. The caller holds the lock, see forget.locked."""
    began = time.monotonic()
    folder = config.weights_dir and config.weights_dir.absolute()
    config = replace(config, library=library.uri, weights_dir=folder)  # workers have another working directory
    shared_shards.remove_all(library)
    specs = task_specs(library, config)
    again = transient(library, specs) if config.retry_errors else []
    orders = pending(library, specs, again)
    progress = Progress(sum(order.images for order in orders), began)
    workers = 0
    if orders:
        _check_access(library, orders)
        fetch_weights(config, on_download)
        on_progress(progress)
        with actors.connected(config.address):
            actors.check_reach(config)
            for spec, shard in again:
                tables.forget_shard(library, spec.fingerprint, shard)
            workers = _work(library, config, specs, orders, progress, on_progress)
    return summarise(library, specs, progress, workers)


def task_specs(library: Library, config: RunConfig) -> list[TaskSpec]:
    """The tasks of a run, after `images`, which always runs; recorded in the library."""
    images = TaskSpec("images", None, tables.describe(library, IMAGES_DESCRIPTION))
    specs = [images]
    for name in config.tasks:
        model, options, given = config.models.get(name), config.options(name), config.weights.get(name)
        description = describe(name, model, options, given)
        spec = TaskSpec(name, model, tables.fingerprint(description), options, given)
        if given is not None and spec.fingerprint not in tables.descriptions(library):
            check_given(spec, config)
        tables.describe(library, description)
        specs.append(spec)
    return specs


def check_given(spec: TaskSpec, config: RunConfig) -> None:
    """Load a task with the user's weights as a worker will. InputError where they are not of its model.

    Done once: what the library has a description of was loaded before.
    """
    option = f"--weights {spec.name}={spec.weights}"
    try:
        load_task(spec, torch.device("cpu"), config.weights_dir)
    except MusterError:
        raise
    except base.TaskError as error:
        raise InputError(f"{option}: {error}") from None
    except Exception as error:  # a builder looks for what it needs, and comes upon something else
        entry = models.given_entry(registry.create(spec.name, spec.model, spec.options))
        cause = f"it has no {error}" if isinstance(error, KeyError) else _first_cause(error)
        raise InputError(f"{option}: these are not weights of {entry.name} ({entry.source}): {cause}") from None


def _first_cause(error: Exception) -> str:
    """Of what torch says of a state dict that does not fit, under a heading, a line for each tensor."""
    lines = str(error).splitlines()
    text = (lines[1:] or lines or [type(error).__name__])[0].strip()
    return text if len(text) <= 200 else text[:200] + " …"


def pending(library: Library, specs: Sequence[TaskSpec], again: Iterable[tuple[TaskSpec, str]] = ()) -> list[Order]:
    """An order for each shard of the manifest that some task has not committed, or is to do again."""
    shards = manifest.shards(library)
    if not shards:
        raise InputError(f"library {library.uri} has no images yet: run `muster scan FOLDER -l {library.uri}` first")
    done = {spec.name: set(tables.committed(library, spec.fingerprint)) for spec in specs}
    for spec, shard in again:
        done[spec.name].discard(shard)
    orders = []
    for shard, images in shards:
        missing = tuple(spec.name for spec in specs if shard not in done[spec.name])
        if missing:
            orders.append(Order(shard, missing, images))
    return orders


def transient(library: Library, specs: Sequence[TaskSpec]) -> list[tuple[TaskSpec, str]]:
    """The shards, by task, that hold an image whose error may have passed. The caller holds the lock.

    To be forgotten in this order: `images` comes last, so that, cut short, the errors still stand there the next time.
    """
    done = [(spec, set(tables.committed(library, spec.fingerprint))) for spec in specs]
    found = []
    for shard, _ in manifest.shards(library):
        held = [spec for spec, shards in done if shard in shards]
        if any(_is_transient(library, spec, shard) for spec in held):
            found += [(spec, shard) for spec in reversed(held)]
    return found


def _is_transient(library: Library, spec: TaskSpec, shard: str) -> bool:
    table = "images" if spec.name == "images" else "errors"
    rows = tables.read(library, table, spec.fingerprint, ["error_kind"], [shard])
    return rows is not None and not set(TRANSIENT).isdisjoint(rows["error_kind"].to_pylist())


def _check_access(library: Library, orders: Sequence[Order]) -> None:
    """Have every bucket answer before a worker starts, so that missing credentials are said at once, and once."""
    some = orders[:: -(-len(orders) // 16)]
    shards = (manifest.read_shard(library, order.shard) for order in some)
    reader.check_access(image for shard in shards for image in manifest.named(library, shard))


def fetch_weights(config: RunConfig, on_download: downloads.Progress | None) -> None:
    """Have every file of weights before a worker starts, so that what is missing is said at once."""
    for name in config.tasks:
        task = registry.create(name, config.models.get(name), config.options(name))
        given = {models.given_entry(task).name} if name in config.weights else set()
        for entry in set(task.models.values()) - given:
            downloads.fetch(models.weights_file(zoo.ENTRIES[entry]), config.weights_dir, on_download)


def _work(
    library: Library,
    config: RunConfig,
    specs: Sequence[TaskSpec],
    orders: Sequence[Order],
    progress: Progress,
    on_progress: OnProgress,
) -> int:
    """Do these orders; returns how many workers did."""
    count = min(actors.available_workers(config), len(orders))
    pool = actors.RayWorkers(config, [spec for spec in specs if spec.name != "images"])

    def on_wait(text: str) -> None:
        on_progress(replace(progress, waiting=text))

    pool.prepare(count, on_wait)
    progress.ready = time.monotonic()

    def on_done(order: Order, result: Mapping[str, Any]) -> None:
        progress.add(result)
        on_progress(progress)

    def members(order: Order) -> Sequence[str]:
        images: list[str] = manifest.read_shard(library, order.shard)["image_id"].to_pylist()
        return shared_shards.slice_of(images, order.part)

    try:
        room = partial(actors.available_workers, config)
        failed = Dispatcher(orders, pool, count, members, room=room).run(on_done)
    except Stopped as stopped:
        raise MusterError(f"{stopped}. What was done is kept; run again to go on") from stopped
    if failed:
        shard, reason = next(iter(failed.items()))
        raise MusterError(f"{len(failed)} of {len(orders)} shards failed; {shard}: {reason}. Run again to retry them")
    return count


def summarise(library: Library, specs: Sequence[TaskSpec], progress: Progress, workers: int) -> Summary:
    """Counts over the commits of the current manifest."""
    shards = [shard for shard, _ in manifest.shards(library)]
    done = {spec.name: tables.commits(library, spec.fingerprint, shards) for spec in specs}
    kinds: dict[str, str] = {}  # image_id → what went wrong first: `images` is the first of the specs
    for commits in done.values():
        kinds = tables.failures(library, commits) | kinds
    images = tables.rows_in(done["images"], "images")
    return Summary(
        images=images,
        ok=images - len(kinds),
        errors=len(kinds),
        faces=tables.rows_in(done["faces"], "faces") if "faces" in done else None,
        processed=progress.images,
        seconds=round(progress.seconds, 3),
        images_per_second=round(progress.rate, 2),
        startup_seconds=round(progress.ready - progress.began, 3) if progress.images else 0.0,
        workers=workers,
        transient=sum(kind in TRANSIENT for kind in kinds.values()),
        error_kinds=dict(Counter(kinds.values()).most_common()),
    )
