"""How much of what this process reads from web servers it holds at once: servers choose how long their answers are."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from muster.storage.http.hosts import Clock

MOST = 512 << 20  # bytes of bodies that are being read


class Room:
    """Threads share one. Whoever began first is never held up, so that one of them always goes on."""

    def __init__(self, most: int = MOST) -> None:
        self._most, self._changed = most, threading.Condition()
        self._held: dict[object, int] = {}  # in the order in which they began

    @contextmanager
    def taken(self, clock: Clock) -> Iterator[Callable[[int], None]]:
        """What is to be called for bytes before they are kept; it waits for room, which costs the item no time."""
        me = object()
        with self._changed:
            self._held[me] = 0

        def may_go_on(length: int) -> bool:
            return sum(self._held.values()) + length <= self._most or next(iter(self._held)) is me

        def take(length: int) -> None:
            with clock.stopped(), self._changed:
                self._changed.wait_for(lambda: may_go_on(length))
                self._held[me] += length

        try:
            yield take
        finally:
            with self._changed:
                del self._held[me]
                self._changed.notify_all()
