"""Counts of the service, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from muster.web.door.service import Service

BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 15)  # seconds


class Metrics:
    def __init__(self, service: Service) -> None:
        self._all = CollectorRegistry()
        self.requests = Counter(
            "muster_door_requests",
            "Requests, by what was asked and the code of a refusal",
            ("operation", "code"),
            registry=self._all,
        )
        self.seconds = Histogram(
            "muster_door_seconds",
            "Seconds from the first byte to the answer",
            ("operation",),
            buckets=BUCKETS,
            registry=self._all,
        )
        self.answers = Counter("muster_door_answers", "Faces, by what was answered", ("answer",), registry=self._all)
        waiting = Gauge("muster_door_waiting", "Photos that wait to be looked at", registry=self._all)
        waiting.set_function(lambda: service.waiting)

    def text(self) -> bytes:
        return generate_latest(self._all)
