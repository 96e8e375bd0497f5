"""When a worker did what: spans of time, of which the metrics are sums and `muster run --trace` makes a picture."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


class Span(NamedTuple):
    """`begun`: seconds since 1970, by the clock of the machine it was on. `thread`: which of the worker's it was in.

    `images`: how many it was about; 0 where it was about none in particular.
    """

    name: str
    begun: float
    seconds: float
    thread: str
    images: int = 0


class Spans:
    """Of one order. Threads may share it: a list takes what is appended from several."""

    def __init__(self) -> None:
        self.all: list[Span] = []

    @contextmanager
    def __call__(self, name: str, images: int = 0) -> Iterator[None]:
        """Note how long the block takes; also where it raises."""
        begun, started = time.time(), time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - started
            self.all.append(Span(name, begun, seconds, threading.current_thread().name, images))

    def seconds(self, *names: str) -> float:
        """Of all spans of these names together."""
        return sum(span.seconds for span in self.all if span.name in names)
