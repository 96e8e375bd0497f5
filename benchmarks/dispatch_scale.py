"""How many workers the dispatcher keeps busy: the real one, over simulated workers in simulated time.

    python benchmarks/dispatch_scale.py [--workers 10000] [--shards 1000000] [--message-microseconds N]

Workers take 5 to 15 s for a shard, start in 5 to 10 s, and are lost at random (`--lifetime`, seconds on average); some
shards of the first four fifths hold an image that kills every worker that touches it (one at the very end would keep
all others waiting while it is searched for, however good the dispatcher is). The clock that the dispatcher sees is the
simulated one, and every second that it really spends on its decisions passes on that clock too: while it thinks,
workers that have nothing to do wait. What Ray itself would take to carry the messages is not in there;
`--message-microseconds` charges that much more for each order sent and each answer heard.

- busy_share: of the time that workers were up, from ready to their death or to the end of the run, the part in which
  they had a shard. What is missing is `waiting_share`, before a worker got its next shard, and `tail_share`, after it
  had its last one and others were still at theirs.
- decisions_per_second: orders given per second that the dispatcher itself took; what the simulation takes is not in it.
- seconds_per_shard: of that time, for runs of 10,000 to 1,000,000 shards; each in a process of its own, whose peak of
  memory is `peak_mib` (all of it: interpreter, shards and simulation). `same_workers`: with the hundredth part of
  `--workers` at all sizes, so that only the shards grow; else with 100 shards per worker, so that the workers grow too.
- The sizes take turns `--rounds` times, and medians are compared: other programs on the machine can double a figure.

The last line is one JSON object.
"""

import argparse
import heapq
import itertools
import json
import random
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from muster.pipeline.run import Progress
from muster.pipeline.work.dispatch import Died, Dispatcher, Done, Event, Order, WorkerId
from muster.pipeline.work.parts import slice_of

IMAGES = 256  # in a shard
SHARD_SECONDS = 10.0  # on average, half of it to one and a half
START_SECONDS = (5.0, 10.0)


@dataclass(frozen=True)
class Scenario:
    """`lifetime`: of a worker, in seconds, on average. `message`: seconds charged for each order and each answer."""

    workers: int
    shards: int
    lifetime: float
    killers: int
    message: float
    seed: int


class Worker:
    """`held`: orders, the first at work. `idle_since`: simulated time; None while it has something to do."""

    __slots__ = ("held", "idle_since", "ready_at")

    def __init__(self) -> None:
        self.held: list[Order] = []
        self.ready_at: float | None = None
        self.idle_since: float | None = None


class Simulation:
    """The dispatcher's `Workers`. While control is with the dispatcher, simulated time passes as real time does."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.random = scenario, random.Random(scenario.seed)
        numbers = self.random.sample(range(scenario.shards * 4 // 5), scenario.killers)
        self.killers = {_shard(n): f"{_shard(n)}/{self.random.randrange(IMAGES)}" for n in numbers}
        self.now = self.own_seconds = 0.0  # the dispatcher's own time
        self.resumed = time.perf_counter()
        self.numbers = itertools.count()
        # By the time at which they happen; None: the worker is done with its first order.
        self.events: list[tuple[float, int, WorkerId, Died | None]] = []
        self.living: dict[WorkerId, Worker] = {}
        self.parts: Counter[str] = Counter()  # of a shard that is shared: how many are done
        self.started = self.orders = self.deaths = 0
        self.up = self.waiting = self.tail = 0.0  # worker-seconds

    # ---- what the dispatcher sees ------------------------------------------------------------------------------------

    def clock(self) -> float:
        return self.now + time.perf_counter() - self.resumed

    def start(self) -> WorkerId:
        self._pause()
        worker, self.started = self.started, self.started + 1
        self.living[worker] = Worker()
        self._resume()
        return worker

    def submit(self, worker: WorkerId, order: Order) -> None:
        self._pause(self.scenario.message)
        self.orders += 1
        it = self.living[worker]
        it.held.append(order)
        if it.idle_since is not None:
            self.waiting += self.now - it.idle_since
            it.idle_since = None
        if len(it.held) == 1:
            self._begin(worker, it, self.now)
        self._resume()

    def wait(self, seconds: float) -> Sequence[Event]:
        self._pause()
        limit = self.now + seconds
        heard: list[Event] = []
        while self.events and not (heard and self.events[0][0] > self.now):
            at, _, worker, event = heapq.heappop(self.events)
            if worker not in self.living:
                continue
            if not heard and at > limit:
                heapq.heappush(self.events, (at, next(self.numbers), worker, event))
                break
            self.now = max(self.now, at)
            heard.append(self._happen(worker, event, at))
        if not heard:
            self.now = limit
        self.now += self.scenario.message * len(heard)
        self._resume()
        return heard

    def kill(self, worker: WorkerId) -> None:
        self._pause()
        self._bury(worker, self.now)
        self._resume()

    # ---- what happens ------------------------------------------------------------------------------------------------

    def _pause(self, more: float = 0.0) -> None:
        """Control comes from the dispatcher: what it really took is charged to the clock."""
        seconds = time.perf_counter() - self.resumed
        self.own_seconds += seconds
        self.now += seconds + more

    def _resume(self) -> None:
        self.resumed = time.perf_counter()

    def _push(self, at: float, worker: WorkerId, event: Died | None) -> None:
        heapq.heappush(self.events, (at, next(self.numbers), worker, event))

    def _begin(self, worker: WorkerId, it: Worker, at: float) -> None:
        """A worker turns to its first order."""
        order = it.held[0]
        seconds = SHARD_SECONDS * order.images / IMAGES * self.random.uniform(0.5, 1.5)
        if it.ready_at is None:
            seconds += self.random.uniform(*START_SECONDS)
        if self._kills(order):
            self._push(at + self.random.random() * seconds, worker, Died(worker, "segmentation fault"))
        else:
            self._push(at + seconds, worker, None)

    def _kills(self, order: Order) -> bool:
        killer = self.killers.get(order.shard)
        if killer is None or any(image == killer for image, _ in order.skip):
            return False
        return killer in (_members(order) if order.probe is None else order.probe)

    def _happen(self, worker: WorkerId, event: Died | None, at: float) -> Event:
        """What the dispatcher hears of it."""
        if event is not None:
            self._bury(worker, at)
            return event
        it = self.living[worker]
        order = it.held.pop(0)
        if it.ready_at is None:
            it.ready_at = at
            lifetime = self.random.expovariate(1 / self.scenario.lifetime)
            self._push(at + lifetime, worker, Died(worker, "its node went away", outside=True))
        if it.held:
            self._begin(worker, it, at)
        else:
            it.idle_since = at
        return Done(worker, order, self._result(order))

    def _result(self, order: Order) -> dict[str, Any]:
        """What a worker answers. The last part of a shard to be done commits it."""
        committed = order.probe is None
        if committed and order.part is not None:
            self.parts[order.shard] += 1
            committed = self.parts[order.shard] == order.part[1]
        return {"images": order.images, "errors": len(order.skip), "rows": {"faces": 0}, "committed": committed}

    def _bury(self, worker: WorkerId, at: float) -> None:
        self.deaths += 1
        it = self.living.pop(worker)
        if it.ready_at is not None:
            self.up += at - it.ready_at
        if it.idle_since is not None:
            self.waiting += at - it.idle_since

    def end(self) -> None:
        self._pause()
        for it in self.living.values():
            if it.ready_at is not None:
                self.up += self.now - it.ready_at
            if it.idle_since is not None:
                self.tail += self.now - it.idle_since


def _shard(number: int) -> str:
    return f"{number:016x}-{IMAGES}"


def _members(order: Order) -> Sequence[str]:
    return slice_of([f"{order.shard}/{number}" for number in range(IMAGES)], order.part)


def simulate(scenario: Scenario) -> dict[str, float]:
    """One run in this process."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    orders = [Order(_shard(number), ("images", "faces"), IMAGES) for number in range(scenario.shards)]
    simulation = Simulation(scenario)
    progress = Progress(scenario.shards * IMAGES, 0.0)
    dispatcher = Dispatcher(orders, simulation, scenario.workers, _members, clock=simulation.clock)
    failed = dispatcher.run(lambda order, result: progress.add(result))
    simulation.end()
    if failed or progress.images < scenario.shards * IMAGES:
        sys.exit(f"lost: {len(failed)} shards failed, {progress.images} images done of {scenario.shards * IMAGES}")
    return {
        "seconds": simulation.now,
        "own_seconds": simulation.own_seconds,
        "orders": simulation.orders,
        "deaths": simulation.deaths,
        "busy_share": 1 - (simulation.waiting + simulation.tail) / simulation.up,
        "waiting_share": simulation.waiting / simulation.up,
        "tail_share": simulation.tail / simulation.up,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "mib_before": before,
    }


def alone(scenario: Scenario) -> dict[str, float]:
    """`simulate` in a process of its own, so that its memory is its own."""
    command = [sys.executable, __file__, "--scenario", json.dumps(asdict(scenario))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    shown = ", ".join(f"{name} {value:.4g}" for name, value in result.items())
    print(f"{scenario.workers} workers, {scenario.shards} shards: {shown}", file=sys.stderr)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=1_000_000)
    parser.add_argument("--lifetime", type=float, default=10_000.0, help="seconds that a worker lives, on average")
    parser.add_argument("--killers", type=int, default=10, help="shards with an image that kills")
    parser.add_argument("--message-microseconds", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scenario", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.scenario:
        print(json.dumps(simulate(Scenario(**json.loads(args.scenario)))))
        return

    def scenario(shards: int, workers: int) -> Scenario:
        killers = round(args.killers * shards / args.shards)
        message = args.message_microseconds / 1e6
        return Scenario(max(2, workers), shards, args.lifetime, killers, message, args.seed)

    sizes = {"10k": args.shards // 100, "100k": args.shards // 10, "1m": args.shards}
    scenarios = {name: scenario(shards, args.workers * shards // args.shards) for name, shards in sizes.items()}
    scenarios |= {f"{name}_same_workers": scenario(shards, args.workers // 100) for name, shards in sizes.items()}
    del scenarios["10k_same_workers"]  # has the workers of "10k"
    rounds = [{name: alone(each) for name, each in scenarios.items()} for _ in range(args.rounds)]
    medians = {
        name: {what: statistics.median(runs[name][what] for runs in rounds) for what in rounds[0][name]}
        for name in scenarios
    }
    full = medians["1m"]
    per_shard = {name: run["own_seconds"] / scenarios[name].shards for name, run in medians.items()}
    result = {
        "workers": args.workers,
        "shards": args.shards,
        "rounds": args.rounds,
        "deaths": round(full["deaths"]),
        "busy_share": round(full["busy_share"], 5),
        "waiting_share": round(full["waiting_share"], 5),
        "tail_share": round(full["tail_share"], 5),
        "decisions_per_second": round(full["orders"] / full["own_seconds"]),
        "own_share_of_time": round(full["own_seconds"] / full["seconds"], 4),
        "peak_mib": round(full["peak_mib"]),
        "mib_before": round(full["mib_before"]),
        **{f"seconds_per_shard_at_{name}": float(f"{seconds:.3g}") for name, seconds in per_shard.items()},
        "growth_10k_to_1m": round(per_shard["1m"] / per_shard["10k"], 2),
        "growth_10k_to_1m_same_workers": round(per_shard["1m_same_workers"] / per_shard["10k"], 2),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
