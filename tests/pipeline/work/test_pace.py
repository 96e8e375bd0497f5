"""How long a run is said to take, against how long it takes: the real dispatcher over workers in simulated time."""

import heapq
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from muster.pipeline.work.dispatch import Dispatcher, Done, Event, Order, WorkerId
from muster.pipeline.work.pace import WARM_UP, Pace
from muster.pipeline.work.parts import IMAGES_PER_CALL

WRITING = 0.03  # of a shard's time, during which no image is done
ERRORS = 0.05  # of images, which take no time


@dataclass
class Said:
    at: float
    left: float | None


class Simulation:
    """Workers that do shards of several sizes, and photos of several sizes, call by call, and say each second how far
    they are. `speeds`: images per second of each; `warm_up`: seconds more that the first call of each takes."""

    def __init__(self, sizes: Sequence[int], speeds: Sequence[float], warm_up: float, seed: int) -> None:
        self.random, self.speeds, self.warm_up = random.Random(seed), speeds, warm_up
        self.now, self.next_beat, self.left = 0.0, 1.0, sum(sizes)
        self.numbers = itertools.count()
        self.events: list[tuple[float, int, WorkerId, Order | int]] = []  # an order is done, or images of one
        self.held: dict[WorkerId, list[Order]] = {}
        self.free: dict[WorkerId, float] = {}  # when each has done what it holds
        self.seen: dict[WorkerId, tuple[int, float]] = {}
        self.parts: dict[str, int] = {}
        self.pace, self.said = Pace(), list[Said]()
        self.run(sizes)

    def run(self, sizes: Sequence[int]) -> None:
        orders = [Order(f"{number}-{size}", ("faces",), size) for number, size in enumerate(sizes)]
        failed = Dispatcher(orders, self, len(self.speeds), lambda order: [], clock=lambda: self.now).run(self.done)
        assert (failed, self.left) == ({}, 0)

    def done(self, order: Order, result: Mapping[str, Any]) -> None:
        self.left -= order.images

    def start(self) -> WorkerId:
        worker = len(self.held)
        self.held[worker] = []
        return worker

    def kill(self, worker: WorkerId) -> None:
        raise AssertionError("all of them are quick enough")

    def submit(self, worker: WorkerId, order: Order) -> None:
        self.held[worker].append(order)
        at = max(self.free.get(worker, 0.0), self.now)
        if order.probe is None:
            at += self.warm_up if self.seen[worker][0] == 0 and len(self.held[worker]) == 1 else 0.0
            each = self.random.uniform(0.7, 1.3) / self.speeds[worker]  # a shard of small photos, or of large ones
            for start in range(0, order.images, IMAGES_PER_CALL):
                images = min(IMAGES_PER_CALL, order.images - start)
                at += each * sum(self.random.random() >= ERRORS for _ in range(images))
                self.push(at, worker, images)
            at += each * WRITING * order.images
        self.push(at, worker, order)
        self.free[worker] = at

    def push(self, at: float, worker: WorkerId, what: Order | int) -> None:
        heapq.heappush(self.events, (at, next(self.numbers), worker, what))

    def wait(self, seconds: float) -> Sequence[Event]:
        if self.now >= self.next_beat:
            self.beat()
        end = min(self.now + seconds, self.next_beat)
        while self.events and self.events[0][0] <= end:
            self.now, _, worker, what = heapq.heappop(self.events)
            if isinstance(what, Order):
                return [self.finish(worker, what)]
            self.seen[worker] = self.seen[worker][0] + what, self.now
        self.now = end
        return []

    def finish(self, worker: WorkerId, order: Order) -> Done:
        self.held[worker].remove(order)
        if order.probe is not None:
            self.seen[worker] = 0, self.now
            return Done(worker, order, {})
        self.pace.say(worker, self.seen[worker])
        self.pace.given_back[worker] += order.images
        self.parts[order.shard] = self.parts.get(order.shard, 0) + 1
        return Done(worker, order, {"committed": order.part is None or self.parts[order.shard] == order.part[1]})

    def beat(self) -> None:
        """As muster.pipeline.distributed.actors and muster.pipeline.run do."""
        self.next_beat = self.now + 1.0
        for worker, seen in self.seen.items():
            self.pace.say(worker, seen)
        held = {w: sum(o.images for o in orders) for w, orders in self.held.items() if w in self.seen and orders}
        self.said.append(Said(self.now, self.pace.left(self.left - sum(held.values()), held)))

    def error(self, share: float) -> float:
        """Of what is said after this share of the run: 0.1 is a tenth too long."""
        said = next(said for said in self.said if said.at >= share * self.now)
        assert said.left is not None
        return said.left / (self.now - said.at) - 1


@pytest.mark.parametrize("workers", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("two_speeds", [False, True])
@pytest.mark.parametrize("warm_up", [0.0, 4.0])
def test_after_a_tenth_of_a_run_the_time_left_is_right(workers: int, two_speeds: bool, warm_up: float) -> None:
    """Within 20 %; the run has 16 shards for each worker at least."""
    for seed in range(5):
        numbers = random.Random(seed)
        sizes = [numbers.randint(8, 256) for _ in range(256)]
        speeds = [20.0 / (1 + (two_speeds and worker % 2)) for worker in range(workers)]
        run = Simulation(sizes, speeds, warm_up, seed)
        assert abs(run.error(0.1)) <= 0.2, run.said


def test_what_workers_hold_is_theirs_to_do() -> None:
    """The last shard of a slow one is what a run waits for, however fast the others are."""
    pace = Pace()
    for worker, speed in enumerate((10.0, 1.0)):
        for images in (0, 32, 64):
            pace.say(worker, (images, images / speed))
        pace.given_back[worker] = 64
    assert pace.rate({0: 100, 1: 100}) == pytest.approx(11)
    assert pace.left(0, {0: 100, 1: 100}) == pytest.approx(100)
    assert pace.left(1000, {0: 100, 1: 0}) == pytest.approx(100)  # 1,100 images by both
    assert pace.left(1000, {0: 100, 1: 10_000}) == pytest.approx(10_000)
    assert pace.left(0, {0: 100}) == pytest.approx(10)


def test_one_who_has_not_said_anything_is_as_the_others_are() -> None:
    pace = Pace()
    assert (pace.left(100, {0: 10}), pace.rate({0: 10})) == (None, 0.0)
    for images in (0, 32, 64):
        pace.say(0, (images, images / 10.0))
    pace.given_back[0] = 64
    assert pace.left(0, {0: 100, 1: 100}) == pytest.approx(10)
    assert pace.rate({0: 100, 1: 100}) == pytest.approx(20)


def test_a_first_call_counts_only_where_it_was_long() -> None:
    quick, slow = Pace(), Pace()
    quick.say(0, (0, 0.0))
    quick.say(0, (32, WARM_UP / 2))
    assert quick.left(100, {0: 10}) is None
    slow.say(0, (0, 0.0))
    slow.say(0, (32, 32.0 * WARM_UP))
    assert slow.left(0, {0: 64}) == pytest.approx(32 * WARM_UP)  # half of what it holds is done


def test_what_is_given_back_is_not_under_way() -> None:
    pace = Pace()
    pace.say(0, (32, 1.0))
    assert (pace.under_way(0), pace.under_way(1)) == (32, 0)
    pace.given_back[0] += 32
    pace.say(0, (40, 2.0))
    assert pace.under_way(0) == 8
