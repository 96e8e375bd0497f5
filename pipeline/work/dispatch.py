"""Pull scheduling of shards over workers: who gets what next, and what happens when a worker dies.

No Ray here. The dispatcher speaks to a `Workers` object, so that the same code runs over Ray actors and over fakes in
tests. Each shard is committed by the worker that finishes it; a commit is idempotent, so handing out a shard twice is
never wrong, only slow.

A shard in flight when its worker dies is a suspect: it runs again, alone on a worker. If it kills again, its images are
tried in halves, committing nothing, until those that kill stand alone (twice, so that an innocent one is not blamed for
a node that went away); then the shard runs with them left out, and they become rows with their error. A worker that
went with its node, or was asked to end by it, puts no suspicion on what it held.

When fewer than two shards a worker are left, these are cut into parts, so that all take part in them, unless they take
so little time that writing the parts would take longer than waiting for the last worker.

Every worker first gets a check: a probe of an image that went well before, or of none. One that dies of it has not
started, and that is held against no shard: otherwise a disk that hangs would turn every image into an error.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from muster.errors import Stopped
from muster.pipeline.work.parts import IMAGES_PER_CALL, slice_of
from muster.storage.shared_shards import Part

WorkerId = int
ROOM_SECONDS = 10.0  # between two looks at whether nodes have come
PART_SECONDS = 0.25  # that a part of a shard takes at least: its files, which are read once more, take a tenth of that


@dataclass(frozen=True, slots=True)
class Order:
    """Work for one worker: a shard, and the tasks whose rows it lacks. `facts`: it lacks those of `images` too.

    `part`: only the k-th (from 0) of n parts of the shard. `skip`: image_id → error kind, for images that are not to be
    touched. `probe`: only try these images and commit nothing. `again`: the rows that the shard has stand until they
    are replaced; `only`: by those of these images alone, the others keep theirs. `attempt`: counts from 1.
    """

    shard: str
    tasks: tuple[str, ...]
    images: int
    skip: tuple[tuple[str, str], ...] = ()
    probe: tuple[str, ...] | None = None
    attempt: int = 1
    part: Part | None = None
    facts: bool = True
    again: bool = False
    only: tuple[str, ...] | None = None

    @property
    def key(self) -> str:
        return self.shard if self.part is None else f"{self.shard}/{self.part[0]}-of-{self.part[1]}"


@dataclass(frozen=True, slots=True)
class Done:
    """`result["committed"]`: of a part, whether its shard is committed now."""

    worker: WorkerId
    order: Order
    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """The worker lives and says why the shard could not be done. `fatal`: no other shard can be done either."""

    worker: WorkerId
    order: Order
    reason: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Died:
    """The worker is gone, with everything it held. `outside`: for a reason that is not its work, as when its node goes
    away or asks it to end. `silent`: it was given up, because it did not even say that it is there."""

    worker: WorkerId
    reason: str
    outside: bool = False
    silent: bool = False


Event = Done | Failed | Died


class Workers(Protocol):
    """An event carries the very order that was submitted, not an equal one."""

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
    starts: int = 3  # times that each worker may fail to start, with nothing done in between
    deaths: int = 32  # times that each worker may die before any image has gone well
    losses: int = 16  # times that a shard may lose its worker for a reason outside, before it is held against the shard
    startup: float = 1800.0  # seconds until a worker must have started: a cluster may have to boot a node first
    grace: float = 120.0  # seconds that what a worker holds may take,
    per_image: float = 5.0  # and seconds more for each image of it, before the worker is given up


@dataclass
class _Search:
    """Which images of a shard kill workers: parts still to be tried, and the culprits so far, with their error kind."""

    order: Order
    parts: list[tuple[str, ...]]
    culprits: dict[str, str]
    blamed: set[str] = field(default_factory=set)

    def blame(self, part: tuple[str, ...], kind: str) -> None:
        """A worker is gone that tried just these images."""
        if len(part) > 1:
            self.parts += _halves(part)
        elif part[0] in self.blamed:
            self.culprits[part[0]] = kind
        else:
            self.blamed.add(part[0])
            self.parts.append(part)

    def next(self) -> Order:
        """The next probe; in the end the order itself, with the culprits left out."""
        if self.parts:
            part = self.parts.pop()
            return replace(self.order, probe=part, images=len(part))
        return replace(self.order, skip=tuple(sorted(self.culprits.items())))


def _halves(images: tuple[str, ...]) -> Sequence[tuple[str, ...]]:
    middle = (len(images) + 1) // 2
    return [part for part in (images[:middle], images[middle:]) if part]


class Dispatcher:
    """Nothing here looks at all workers, or at all shards, for one event: a decision takes the same steps for two
    workers and for 10,000."""

    def __init__(
        self,
        orders: Iterable[Order],
        workers: Workers,
        count: int,
        members: Callable[[Order], Sequence[str]],
        *,
        policy: Policy | None = None,
        clock: Callable[[], float] = time.monotonic,
        room: Callable[[], int] | None = None,
    ) -> None:
        """`members`: the image ids of an order's shard or part, asked only once workers die. `room`: for how many
        workers there is room by now, where nodes may come."""
        self.workers, self.count, self.members, self.clock = workers, count, members, clock
        self.room, self.next_look = room, clock() + ROOM_SECONDS
        self.policy = policy or Policy()
        self.queue = deque(orders)
        self.alone: deque[Order] = deque()  # suspects and probes: a worker that holds one holds nothing else
        self.open = len(self.queue)  # shards, or parts of them, neither done nor failed
        self.shared = False  # whether the last shards have been cut into parts
        self.begun = math.inf  # when the first shard was handed out
        self.done = self.images = 0  # shards that are done, or parts of them, and their images
        self.uncommitted: dict[str, tuple[Order, int]] = {}  # shard → as a whole, and its parts that are not done
        self.failed: dict[str, str] = {}
        self.running: dict[WorkerId, list[tuple[Order, float]]] = {}  # what each worker holds, until when
        self.starting: set[WorkerId] = set()
        self.reserved: set[WorkerId] = set()  # who holds a suspect or a probe, as those that start do
        self.free: list[dict[WorkerId, None]] = [{} for _ in range(self.policy.held)]  # by load: who could take more
        self.next_deadline = math.inf  # no deadline in `running` is before
        self.suspects: set[str] = set()  # keys of orders, as in what follows
        self.searches: dict[str, _Search] = {}
        self.searched: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()  # workers that went away with an order for reasons outside
        self.failed_starts = self.early_deaths = 0
        self.good: Order | None = None  # the last one of which images went well
        self.check = replace(self.queue[0], images=0, probe=()) if self.queue else Order("", (), 0)

    def run(self, on_done: Callable[[Order, Mapping[str, Any]], None]) -> dict[str, str]:
        """Work until every shard is committed or has failed; returns shard → reason of those that failed.

        Raises Stopped where workers cannot start or work, or a failure is fatal.
        """
        while self.open:
            self._grow()
            self._fill()
            for event in self.workers.wait(1.0):
                self._handle(event, on_done)
            self._expire()
        return self.failed

    # ---- who gets what -----------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        if self.room is not None and self.clock() >= self.next_look:
            self.count = max(self.count, self.room())  # never less: a lost node may come back
            self.next_look = self.clock() + ROOM_SECONDS

    def _fill(self) -> None:
        self._share()
        while len(self.running) < min(self.count, self.open):
            self._start()
        while self.alone and self.free[0]:  # there will be one: whoever follows the worker that died
            worker = self.free[0].popitem()[0]
            self.reserved.add(worker)
            self._submit(worker, self.alone.popleft())
        # A first shard for those that start goes before a second one for others; and the last shards, too few for all,
        # wait for who is free first instead of behind another.
        for load, free in enumerate(self.free):
            leave = max(len(self.starting), len(self.running)) if load else 0
            while free and len(self.queue) > leave:
                self._submit(free.popitem()[0], self.queue.popleft())

    def _share(self) -> None:
        """Once fewer than two shards a worker are left to hand out: cut them, about eight parts to a worker."""
        workers, shards = len(self.running), len(self.queue)
        if self.shared or not 0 < shards < 2 * workers:
            return
        self.shared = True
        for _ in range(shards):
            order = self.queue.popleft()
            count = min(-(-8 * workers // shards), order.images // IMAGES_PER_CALL, self._worth(order, workers))
            if count < 2 or order.attempt > 1 or order.again:
                self.queue.append(order)
                continue
            parts = [(number, count) for number in range(count)]
            self.queue += [replace(order, part=p, images=len(slice_of(range(order.images), p))) for p in parts]
            self.uncommitted[order.shard] = (order, count)
            self.open += count - 1

    def _worth(self, order: Order, workers: int) -> int:
        """How many parts an order is worth, by what those that are done took; any number where none is."""
        if not self.images:
            return order.images
        # Of what was worked at meanwhile, as much again as is done by as many at once is still in hand.
        seconds = (self.clock() - self.begun) * min(workers, self.done) / self.images * order.images
        return int(seconds / PART_SECONDS)

    def _start(self) -> None:
        worker = self.workers.start()
        if self.good and not self.check.probe:
            images = self.good.probe or _without(self.members(self.good), self.good)
            self.check = replace(self.good, images=1, probe=images[:1])
        self.running[worker] = []
        self.starting.add(worker)
        self.reserved.add(worker)
        self._submit(worker, self.check)

    def _submit(self, worker: WorkerId, order: Order) -> None:
        """To a worker that is not in `free`, or has just been taken out of it."""
        held, policy = self.running[worker], self.policy
        images = order.images
        for before, _ in held:
            images += before.images
        seconds = policy.startup if worker in self.starting else policy.grace + policy.per_image * images
        now = self.clock()
        deadline = now + seconds
        if images:
            self.begun = min(self.begun, now)
        if deadline < self.next_deadline:
            self.next_deadline = deadline
        held.append((order, deadline))
        self._offer(worker, held)
        self.workers.submit(worker, order)

    def _offer(self, worker: WorkerId, held: Sized) -> None:
        if len(held) < self.policy.held and worker not in self.reserved:
            self.free[len(held)][worker] = None

    def _withdraw(self, worker: WorkerId, held: Sized) -> None:
        if len(held) < self.policy.held:
            self.free[len(held)].pop(worker, None)

    def _runs_alone(self, order: Order) -> bool:
        return order.probe is not None or order.key in self.suspects

    # ---- what becomes of it ------------------------------------------------------------------------------------------

    def _handle(self, event: Event, on_done: Callable[[Order, Mapping[str, Any]], None]) -> None:
        held = self.running.get(event.worker)
        if held is None:
            return  # given up before; what it committed counts all the same
        if isinstance(event, Died):
            self._bury(event.worker, "timeout" if event.silent else "crash", event.reason, event.outside)
            return
        for entry in held:
            if entry[0] is event.order:
                break
        else:
            return  # heard before
        if isinstance(event, Failed) and event.fatal:
            raise Stopped(event.reason)
        self._withdraw(event.worker, held)
        held.remove(entry)
        self.reserved.discard(event.worker)
        self.failed_starts = 0
        if event.worker in self.starting:
            self.starting.remove(event.worker)
        elif isinstance(event, Failed):
            self._retry(event)
        else:
            self._finish(event, on_done)
        self._offer(event.worker, held)

    def _finish(self, event: Done, on_done: Callable[[Order, Mapping[str, Any]], None]) -> None:
        order = event.order
        if order.probe or order.images > len(order.skip):
            self.good = order
        if order.probe is not None:
            self.alone.append(self.searches[order.key].next())
            return
        self._close(order)
        self.done, self.images = self.done + 1, self.images + order.images
        on_done(order, event.result)
        if order.part is not None:
            self._settle(order, event.result["committed"])

    def _settle(self, part: Order, committed: bool) -> None:
        """A part is done. Where all are, and none found the shard committed, it is done again as a whole: another run
        on the same bucket may have taken the parts away."""
        whole, left = self.uncommitted.pop(part.shard, (part, 0))
        if committed or not left:
            return
        if left > 1:
            self.uncommitted[part.shard] = (whole, left - 1)
        elif part.shard not in self.failed:
            self.queue.append(whole)
            self.open += 1

    def _retry(self, event: Failed) -> None:
        order = event.order
        if order.attempt >= self.policy.attempts:
            self._close(order, event.reason)
        else:
            again = replace(order, attempt=order.attempt + 1)
            (self.alone if self._runs_alone(order) else self.queue).append(again)

    def _close(self, order: Order, failure: str | None = None) -> None:
        self.open -= 1
        if self.suspects:
            self.suspects.discard(order.key)
            self.searches.pop(order.key, None)
        if failure is not None:
            self.failed[order.shard] = failure

    def _expire(self) -> None:
        now = self.clock()
        if now < self.next_deadline:
            return
        self.next_deadline = math.inf
        for worker, held in list(self.running.items()):
            deadline = min((deadline for _, deadline in held), default=math.inf)
            if now < deadline:
                self.next_deadline = min(self.next_deadline, deadline)
            else:
                self.workers.kill(worker)
                self._bury(worker, "timeout", "no answer in time")

    def _bury(self, worker: WorkerId, kind: str, reason: str, outside: bool = False) -> None:
        """A worker is gone: its orders go back, as suspects unless the reason lies outside."""
        held = self.running.pop(worker)
        self._withdraw(worker, held)
        self.reserved.discard(worker)
        if worker in self.starting:
            self.starting.remove(worker)
            self.failed_starts += 1
            if self.failed_starts >= self.policy.starts * self.count:
                raise Stopped(f"workers cannot start: {reason}{_about_memory(reason)}")
            return
        innocent = [order for order, _ in held if outside and self.lost[order.key] < self.policy.losses]
        for order in reversed(innocent):
            self.lost[order.key] += 1
            (self.alone if self._runs_alone(order) else self.queue).appendleft(order)
        suspects = [order for order, _ in held if order not in innocent]
        self.early_deaths += self.good is None and bool(suspects)
        if self.early_deaths >= self.policy.deaths * self.count:
            raise Stopped(f"workers die one after another, before any image went well: {reason}{_about_memory(reason)}")
        for order in suspects:
            self._suspect(order, kind, reason)

    def _suspect(self, order: Order, kind: str, reason: str) -> None:
        key = order.key
        if order.probe is not None:
            self.searches[key].blame(order.probe, kind)
            self.alone.append(self.searches[key].next())
        elif key not in self.suspects:
            self.suspects.add(key)
            self.alone.append(order)
        elif self.searched[key] < self.policy.attempts:
            self.searched[key] += 1
            images = _without(self.members(order), order)
            self.searches[key] = _Search(order, list(_halves(images)), dict(order.skip))
            self.alone.append(self.searches[key].next())
        else:
            self._close(order, f"it kills workers, though each of its images alone does not: {reason}")


def _about_memory(reason: str) -> str:
    """What to do, where it may be that: the system says of a process only that it was killed."""
    return ". If memory is short here, give fewer `workers`" if "memory" in reason else ""


def _without(images: Sequence[str], order: Order) -> tuple[str, ...]:
    skip = dict(order.skip)
    return tuple(image for image in images if image not in skip)
