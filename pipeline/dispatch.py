"""Pull scheduling of shards over workers: who gets what next, and what happens when a worker dies.

No Ray here. The dispatcher speaks to a `Workers` object, so that the same code runs over Ray actors and over fakes in
tests. Each shard is committed by the worker that finishes it; a commit is idempotent, so handing out a shard twice is
never wrong, only slow.

A shard in flight when its worker dies is a suspect: it runs again alone. If it kills again, its images are tried in
halves, committing nothing, until those that kill stand alone (twice, so that an innocent one is not blamed for a node
that went away); then the shard runs with them left out, and they become rows with their error.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

WorkerId = int


@dataclass(frozen=True)
class Order:
    """Work for one worker: a shard, and the tasks whose rows it lacks.

    `skip`: image_id → error kind, for images that are not to be touched. `probe`: only try these images and commit
    nothing.
    """

    shard: str
    tasks: tuple[str, ...]
    images: int
    skip: tuple[tuple[str, str], ...] = ()
    probe: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Done:
    worker: WorkerId
    order: Order
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Failed:
    """The worker lives and says why the shard could not be done. `fatal`: no other shard can be done either."""

    worker: WorkerId
    order: Order
    reason: str
    fatal: bool = False


@dataclass(frozen=True)
class Died:
    """The worker is gone, with everything it held."""

    worker: WorkerId
    reason: str


Event = Done | Failed | Died


class Workers(Protocol):
    def start(self) -> WorkerId: ...

    def submit(self, worker: WorkerId, order: Order) -> None: ...

    def wait(self, seconds: float) -> Sequence[Event]:
        """What has happened since; waits up to `seconds` for something to."""

    def kill(self, worker: WorkerId) -> None:
        """End a worker; no event follows for it."""


@dataclass(frozen=True)
class Policy:
    held: int = 2  # shards a worker holds, so that it never waits for the driver
    attempts: int = 3  # of a shard that fails with a reason, and of searches in one that kills
    starts: int = 3  # workers that die in a row before any has done anything
    grace: float = 120.0  # seconds a shard may take,
    per_image: float = 10.0  # and seconds more for each of its images, before its worker is given up


class Stopped(Exception):  # noqa: N818  an outcome, not a fault of this code
    """The run cannot go on; the text says why."""


@dataclass
class _Search:
    """Which images of a shard kill workers: parts still to be tried, and the culprits so far."""

    order: Order
    parts: list[tuple[str, ...]]
    culprits: dict[str, str] = field(default_factory=dict)
    blamed: Counter[str] = field(default_factory=Counter)


class Dispatcher:
    def __init__(
        self,
        orders: Iterable[Order],
        workers: Workers,
        count: int,
        members: Callable[[str], Sequence[str]],
        policy: Policy | None = None,
    ) -> None:
        """`members`: shard → its image ids, asked only when a shard kills workers."""
        self.workers, self.count, self.members = workers, count, members
        self.policy = policy or Policy()
        self.queue = deque(orders)
        self.alone: deque[Order] = deque()
        self.running: dict[WorkerId, list[tuple[Order, float]]] = {}
        self.searches: dict[str, _Search] = {}
        self.deaths: Counter[str] = Counter()
        self.searched: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.failed: dict[str, str] = {}
        self.idle_deaths = 0

    def run(self, on_done: Callable[[Order, Mapping[str, Any]], None]) -> dict[str, str]:
        """Work until every shard is committed or has failed; returns shard → reason of those that failed."""
        while self.queue or self.alone or any(self.running.values()):
            self._fill()
            for event in self.workers.wait(1.0):
                self._handle(event, on_done)
            self._expire()
        return self.failed

    def _fill(self) -> None:
        outstanding = len(self.queue) + len(self.alone) + sum(map(len, self.running.values()))
        while len(self.running) < min(self.count, outstanding):
            self.running[self.workers.start()] = []
        by_load = sorted(self.running, key=lambda worker: len(self.running[worker]))
        for worker in by_load[:1] if self.alone else []:
            if not self.running[worker]:
                self._submit(worker, self.alone.popleft())
            by_load.remove(worker)  # busy with a suspect, or kept from new work until it is free for one
        for _ in range(self.policy.held):
            for worker in by_load:
                held = self.running[worker]
                suspect = any(self.deaths[order.shard] for order, _ in held)
                if self.queue and not suspect and len(held) < self.policy.held:
                    self._submit(worker, self.queue.popleft())

    def _submit(self, worker: WorkerId, order: Order) -> None:
        self.running[worker].append((order, time.monotonic()))
        self.workers.submit(worker, order)

    def _handle(self, event: Event, on_done: Callable[[Order, Mapping[str, Any]], None]) -> None:
        if event.worker not in self.running:
            return  # given up before; what it committed counts all the same
        if isinstance(event, Died):
            held = [order for order, _ in self.running.pop(event.worker)]
            self._bury(held, "crash", event.reason)
            return
        self.idle_deaths = 0
        self.running[event.worker] = [held for held in self.running[event.worker] if held[0] is not event.order]
        if isinstance(event, Failed):
            self._retry(event)
        elif event.order.probe is None:
            self.deaths.pop(event.order.shard, None)
            on_done(event.order, event.result)
        else:
            self._next_part(self.searches[event.order.shard])

    def _retry(self, event: Failed) -> None:
        if event.fatal:
            raise Stopped(event.reason)
        shard = event.order.shard
        self.attempts[shard] += 1
        if self.attempts[shard] < self.policy.attempts:
            self.queue.append(event.order)
        else:
            self.failed[shard] = event.reason

    def _expire(self) -> None:
        now = time.monotonic()
        for worker, held in list(self.running.items()):
            if any(now - since > self._deadline(order) for order, since in held):
                self.workers.kill(worker)
                late = [order for order, since in self.running.pop(worker) if now - since > self._deadline(order)]
                self.queue.extend(order for order, _ in held if order not in late and order.probe is None)
                self._bury(late, "timeout", "no answer in time")

    def _deadline(self, order: Order) -> float:
        return self.policy.grace + self.policy.per_image * order.images

    def _bury(self, held: Sequence[Order], kind: str, reason: str) -> None:
        """A worker is gone: its orders go back, as suspects."""
        self.idle_deaths += 1
        if self.idle_deaths > self.policy.starts + self.count and not self.searches:
            raise Stopped(f"workers die one after another: {reason}")
        for order in held:
            self.deaths[order.shard] += 1
            if order.probe is not None:
                self._blame(self.searches[order.shard], order.probe, kind)
            elif self.deaths[order.shard] < 2:
                self.alone.append(order)
            elif self.searched[order.shard] < self.policy.attempts:
                self._search(order)
            else:
                self.failed[order.shard] = f"it kills workers, though each of its images alone does not: {reason}"

    def _search(self, order: Order) -> None:
        known = dict(order.skip)
        images = tuple(image for image in self.members(order.shard) if image not in known)
        self.searched[order.shard] += 1
        self.searches[order.shard] = search = _Search(order, list(_halves(images)), known)
        self._next_part(search)

    def _blame(self, search: _Search, part: tuple[str, ...], kind: str) -> None:
        if len(part) > 1:
            search.parts.extend(_halves(part))
        else:
            search.blamed[part[0]] += 1
            if search.blamed[part[0]] < 2:
                search.parts.append(part)
            else:
                search.culprits[part[0]] = kind
        self._next_part(search)

    def _next_part(self, search: _Search) -> None:
        order = search.order
        if search.parts:
            part = search.parts.pop()
            self.alone.append(replace(order, probe=part, images=len(part)))
            return
        del self.searches[order.shard]
        self.deaths[order.shard] = 1  # it still runs alone
        self.alone.append(replace(order, skip=tuple(sorted(search.culprits.items()))))


def _halves(images: tuple[str, ...]) -> Sequence[tuple[str, ...]]:
    middle = (len(images) + 1) // 2
    return [part for part in (images[:middle], images[middle:]) if part]
