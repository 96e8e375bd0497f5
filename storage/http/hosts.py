"""What this process knows of a host: how many ask it now, until when it wants to be left alone, whether it answers."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

AT_ONCE = 8  # connections to a host from one process
FAILURES = 5  # in a row, after which a host is set aside,
AWAY = (10.0, 600.0)  # for so many seconds, twice as many with each further failure, up to the latter
LONGEST_PAUSE = 300.0  # seconds that a host can have us keep away from it, whatever it asks for
LOOKED_UP = 60.0  # seconds that a name is believed to stand for what it stood for


class Host:
    """One scheme, name and port. Threads share it."""

    def __init__(self) -> None:
        self.slots = threading.BoundedSemaphore(AT_ONCE)
        self.addresses: tuple[float, list[str]] = (0.0, [])  # until when they are believed, and what they are
        self._lock = threading.Lock()
        self._answered = 0.0  # when it last did
        self._failures = 0
        self._pause = 0.0  # until when it is left alone because it asked for it,
        self._away = 0.0  # and because it does not answer

    def answered(self) -> None:
        """It gave what it was asked for, or said why not."""
        with self._lock:
            self._answered, self._failures, self._away = time.monotonic(), 0, 0.0

    def failed(self, began: float) -> None:
        """It gave no answer to what it was asked at `began`. While it answers others, that is no sign."""
        with self._lock:
            if self._answered < began:
                self._failures += 1
                if (over := self._failures - FAILURES) >= 0:
                    self._away = time.monotonic() + min(AWAY[0] * 2.0 ** min(over, 10), AWAY[1])

    def leave_alone(self, seconds: float) -> None:
        with self._lock:
            self._pause = max(self._pause, time.monotonic() + min(seconds, LONGEST_PAUSE))

    @property
    def pause(self) -> float:
        """Seconds for which it is to be left alone."""
        return max(0.0, self._pause - time.monotonic())

    @property
    def is_away(self) -> bool:
        return time.monotonic() < self._away


@lru_cache(maxsize=4096)  # of a million hosts, those that were asked last
def host_of(scheme: str, name: str, port: int) -> Host:
    return Host()


class Clock:
    """How much time one item still has. What it waits for others of this process does not count."""

    def __init__(self, seconds: float) -> None:
        self.began = time.monotonic()  # or when it had its turn at a host
        self._ends = self.began + seconds
        self._failed: set[Host] = set()

    @property
    def left(self) -> float:
        return self._ends - time.monotonic()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """What is done within costs the item no time."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._ends += time.monotonic() - began

    @contextmanager
    def in_turn(self, host: Host) -> Iterator[None]:
        with self.stopped():
            host.slots.acquire()
        try:
            self.began = time.monotonic()
            yield
        finally:
            host.slots.release()

    def failed(self, host: Host) -> None:
        """Count this item against a host: once, however many attempts it had."""
        if host not in self._failed:
            self._failed.add(host)
            host.failed(self.began)
