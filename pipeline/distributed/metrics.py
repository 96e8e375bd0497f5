"""What workers and the driver tell Prometheus through Ray; docs/operations.md says what to watch.

Ray puts `ray_` before each name, and `_total` after that of a counter.
"""

from collections.abc import Mapping
from typing import Any

from muster.pipeline.work.worker import Ceilings


class WorkerMetrics:
    """Of one worker actor."""

    def __init__(self) -> None:
        from ray.util.metrics import Counter, Gauge

        self.images = Counter("muster_images", "images processed, with and without an error")
        self.errors = Counter("muster_errors", "images that ended as an error", ("kind",))
        self.decode_wait = Counter("muster_decode_wait_seconds", "time that the models waited for decoded images")
        self.model_wait = Counter("muster_model_wait_seconds", "time that decoded images waited for the models")
        self.ceiling = Gauge("muster_batch_ceiling", "images of a batch that still fit into memory", ("task",))

    def add(self, result: Mapping[str, Any], ceilings: Ceilings) -> None:
        """Count one shard's `result`, as of ShardWorker.process."""
        counts: list[tuple[Any, dict[str, str], float]] = [(self.images, {}, result["images"])]
        counts += [(self.errors, {"kind": kind}, number) for kind, number in result["error_kinds"].items()]
        counts += [(self.decode_wait, {}, result["waited"]["decode"]), (self.model_wait, {}, result["waited"]["model"])]
        for counter, tags, amount in counts:
            if amount > 0:
                counter.inc(amount, tags)
        for task in {task for task, _ in ceilings}:
            self.ceiling.set(min(most for (name, _), most in ceilings.items() if name == task), {"task": task})


class DriverMetrics:
    def __init__(self) -> None:
        from ray.util.metrics import Gauge

        self.in_flight = Gauge("muster_shards_in_flight", "shards that workers hold")
