"""What workers and the driver tell Prometheus through Ray; docs/operations.md says what to watch.

Ray puts `ray_` before each name, and `_total` after that of a counter.
"""

from collections.abc import Mapping
from typing import Any

from muster.pipeline.work.worker import Ceilings

PLACES, OTHER = 16, "other"  # that a worker names, each in series of its own; the rest are counted together


class WorkerMetrics:
    """Of one worker actor. `places`: how many it names of those that images come from."""

    def __init__(self, places: int = PLACES) -> None:
        from ray.util.metrics import Counter, Gauge

        self.images = Counter("muster_images", "images processed, with and without an error")
        self.errors = Counter("muster_errors", "images that ended as an error", ("kind", "source"))
        self.bytes = Counter("muster_read_bytes", "bytes of the files that were read")
        self.decode_wait = Counter("muster_decode_wait_seconds", "time that the models waited for decoded images")
        self.model_wait = Counter("muster_model_wait_seconds", "time that decoded images waited for the models")
        self.read = Gauge("muster_images_read_ahead", "images that lay read when one was to be decoded, on average")
        self.decoded = Gauge(
            "muster_images_decoded_ahead", "images that lay decoded when models wanted one, on average"
        )
        self.most, self.places = places, set[str]()
        self.ceiling = Gauge("muster_batch_ceiling", "images of a batch that still fit into memory", ("task",))

    def add(self, result: Mapping[str, Any], ceilings: Ceilings) -> None:
        """Count one shard's `result`, as of ShardWorker.process."""
        counts: list[tuple[Any, dict[str, str], float]] = [(self.images, {}, result["images"])]
        for (kind, place), number in result["errors_by"].items():
            counts.append((self.errors, {"kind": kind, "source": self.named(place)}, number))
        counts += [(self.bytes, {}, result["bytes"])]
        counts += [(self.decode_wait, {}, result["waited"]["decode"]), (self.model_wait, {}, result["waited"]["model"])]
        for counter, tags, amount in counts:
            if amount > 0:
                counter.inc(amount, tags)
        for name, gauge in (("read", self.read), ("decoded", self.decoded)):
            if name in result["ahead"]:
                gauge.set(result["ahead"][name])
        for task in {task for task, _ in ceilings}:
            self.ceiling.set(min(most for (name, _), most in ceilings.items() if name == task), {"task": task})

    def named(self, place: str) -> str:
        """The place itself, of the first that had errors here."""
        if len(self.places) < self.most:
            self.places.add(place)
        return place if place in self.places else OTHER


class DriverMetrics:
    def __init__(self) -> None:
        from ray.util.metrics import Gauge

        self.workers = Gauge("muster_workers", "workers that were started and live")
        self.waiting = Gauge("muster_shards_waiting", "shards, or parts of the last, that no worker holds yet")
        self.in_flight = Gauge("muster_shards_in_flight", "shards that workers hold")
