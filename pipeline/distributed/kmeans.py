"""What the workers of a Ray cluster do where faces are clustered: fill shards of an index, step through k-means.

k-means gives what one machine gives, bit for bit, however many workers there are and whichever of them die: Ray starts
those anew, and they read their faces again. An index differs in codes that another number of threads rounds otherwise.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from muster.arrays import F32, I64, matrix
from muster.errors import MusterError
from muster.pipeline.distributed import actors
from muster.pipeline.work.machine import Machine
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles, open_library
from muster.tasks.people import mergeable_kmeans
from muster.tasks.people.mergeable_kmeans import Sums

A = TypeVar("A")
B = TypeVar("B")
RETRIES = 10  # the work of a worker is started again after so many deaths
PATIENCE = 600.0  # seconds that workers may take to find a core and read their faces


def spread(machine: Machine, library: str, function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """`map` by tasks of the cluster at machine.address: as many at once as it has cores, results in order.

    `library`: the URI of what they read. `function` must be importable (module level) and deterministic: Ray may run it
    again.
    """
    with actors.connected(machine.address):
        import ray

        actors.check_reach(machine, library)
        task = ray.remote(function).options(max_retries=RETRIES)
        waiting: deque[Any] = deque()
        for item in items:
            if len(waiting) >= actors.cores_there():
                yield _get(waiting.popleft())
            waiting.append(task.remote(item))
        while waiting:
            yield _get(waiting.popleft())


def kmeans(machine: Machine, library: LibraryFiles, fingerprint: str, rows: I64, k: int, seed: int) -> I64:
    """`muster.tasks.people.mergeable_kmeans.kmeans` over the faces `rows` (M,), rising, of those of the manifest's
    images under this fingerprint: labels (M,) int64.

    The embeddings are read by the workers, and never come to this process, but for 4 k of them.
    """
    with actors.connected(machine.address):
        actors.check_reach(machine, library.uri)
        shards = manifest.committed(library, fingerprint)
        return mergeable_kmeans.kmeans(_Spread(library, fingerprint, shards, rows), k, seed)[1]


def _get(calls: Any) -> Any:
    """What was answered; MusterError with the cause where a worker could not."""
    import ray
    from ray.exceptions import RayActorError, RayTaskError

    try:
        return ray.get(calls)
    except (RayActorError, RayTaskError) as error:
        raise MusterError(f"a worker failed: {str(error).strip().splitlines()[-1]}") from error


class _Holder:
    """An actor: the faces `rows` (M,) of some shards, in memory."""

    def __init__(self, library: str, fingerprint: str, shards: Sequence[str], rows: I64) -> None:
        table = tables.require(open_library(library, trusted=True), "faces", fingerprint, ["embedding"], shards)
        self.held = mergeable_kmeans.InMemory(matrix(table["embedding"])[rows])

    def ready(self) -> bool:
        return True

    def take(self, rows: I64) -> F32:
        return self.held.take(rows)

    def sums(self, rows: I64, centroids: F32) -> Sums:
        return self.held.sums(rows, centroids)

    def step(self, centroids: F32) -> tuple[I64, Sums]:
        return self.held.step(centroids)


class _Spread:
    """An `EmbeddingStore` made of as many holders as the cluster has free cores. `starts`: the first row of each, and
    one past all.

    Raises MusterError where they cannot start, or find no core within `PATIENCE`.
    """

    def __init__(self, library: LibraryFiles, fingerprint: str, shards: Sequence[str], rows: I64) -> None:
        import ray

        shards = sorted(shards)  # as tables.read has them
        ends = np.cumsum([tables.rows_in([c], "faces") for c in tables.commits(library, fingerprint, shards)])
        total, count = int(ends[-1]), min(max(1, int(ray.available_resources().get("CPU", 0))), len(shards))
        first = np.searchsorted(ends, total * np.arange(count) / count, side="right")  # shards, about equal in faces
        first = np.unique(np.append(first, len(shards)))
        bounds = np.concatenate([[0], ends])[first]  # faces
        self.starts = np.searchsorted(rows, bounds)
        remote = ray.remote(_Holder).options(num_cpus=1, max_restarts=RETRIES, max_task_retries=RETRIES)
        self.holders = [
            remote.remote(library.uri, fingerprint, shards[a:b], rows[start:end] - bound)
            for a, b, start, end, bound in zip(
                first, first[1:], self.starts, self.starts[1:], bounds[:-1], strict=False
            )
        ]

        calls = [holder.ready.remote() for holder in self.holders]
        ready, late = ray.wait(calls, num_returns=len(calls), timeout=PATIENCE)
        _get(ready)
        if late:
            raise MusterError(
                f"{len(late)} of {len(calls)} workers found no free core in the cluster, or are still reading"
            )

    def __len__(self) -> int:
        return int(self.starts[-1])

    def take(self, rows: I64) -> F32:
        return np.concatenate(self._ask("take", rows))

    def sums(self, rows: I64, centroids: F32) -> Sums:
        first, *others = self._ask("sums", rows, centroids)
        return sum(others, start=first)

    def step(self, centroids: F32) -> tuple[I64, Sums]:
        labels, (first, *others) = zip(*self._ask("step", None, centroids), strict=True)
        return np.concatenate(labels), sum(others, start=first)

    def _ask(self, what: str, rows: I64 | None, *shared: Any) -> list[Any]:
        """The answer of each holder to `what`, about its own of `rows` and what all are given."""
        import ray

        places = [ray.put(each) for each in shared]
        calls = []
        for holder, start, end in zip(self.holders, self.starts, self.starts[1:], strict=False):
            own = [] if rows is None else [rows[(rows >= start) & (rows < end)] - start]
            calls.append(getattr(holder, what).remote(*own, *places))
        return _get(calls)
