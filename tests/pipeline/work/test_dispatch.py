"""The dispatcher over simulated workers: images that kill or hang, nodes that go away, late and double events."""

import heapq
import itertools
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster.errors import Stopped
from muster.pipeline.work import dispatch as dispatch_module
from muster.pipeline.work import parts
from muster.pipeline.work.dispatch import PART_SECONDS, Died, Dispatcher, Done, Event, Failed, Order, Policy, WorkerId
from muster.pipeline.work.parts import slice_of

POLICY = Policy(held=2, deaths=1000, startup=50.0, grace=10.0, per_image=1.0)
TASKS = ("images", "faces")


@pytest.fixture(scope="module", autouse=True)
def small_parts() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dispatch_module, "IMAGES_PER_CALL", 2)
        patch.setattr(parts, "IMAGES_PER_CALL", 2)
        yield


@dataclass
class World:
    """What is in the shards and what will go wrong.

    `bad`: image → "crash" or "timeout", what touching it does to a worker. `failing`: shards that always fail with a
    reason; `flaky`: shard → how often it does. `losses`: workers that will go away for no reason of theirs; `away`:
    the same, and it is said so, as of a node that is taken back.
    """

    shards: dict[str, list[str]]
    bad: dict[str, str] = field(default_factory=dict)
    failing: frozenset[str] = frozenset()
    flaky: Counter[str] = field(default_factory=Counter)
    losses: int = 0
    away: int = 0
    taken: float = 0.0  # how often parts of a shard are taken away
    speed: float = 1.0  # how many times as fast as they might be the workers are
    noise: float = 0.0  # how many events come again, or from workers that are gone

    def orders(self) -> list[Order]:
        return [Order(shard, TASKS, len(images)) for shard, images in self.shards.items()]

    def members(self, order: Order) -> Sequence[str]:
        return slice_of(self.shards[order.shard], order.part)

    def touched(self, order: Order) -> list[str]:
        images = self.members(order) if order.probe is None else order.probe
        assert order.probe is not None or order.images == len(images)
        return [image for image in images if image not in dict(order.skip)]


class Simulation:
    """Workers in simulated time that check what the dispatcher may ask of them."""

    def __init__(self, world: World, seed: int = 0) -> None:
        self.world, self.random = world, random.Random(seed)
        self.now, self.order_numbers = 0.0, itertools.count()
        self.events: list[tuple[float, int, Event]] = []
        self.held: dict[WorkerId, list[Order]] = {}  # by living workers
        self.ready: set[WorkerId] = set()
        self.suspects: set[str] = set()
        self.lost: Counter[object] = Counter()  # how often a shard, or a probe, lost its worker by chance
        self.written: dict[str, set[tuple[int, int]]] = {}  # shard → parts that lie there
        self.committed: set[str] = set()
        self.started = self.deaths = self.calls = 0
        self.submitted: list[tuple[WorkerId, Order]] = []

    def clock(self) -> float:
        return self.now

    def start(self) -> WorkerId:
        self.started += 1
        self.held[self.started] = []
        return self.started

    def submit(self, worker: WorkerId, order: Order) -> None:
        assert worker in self.held, "work for a dead worker"
        others = self.held[worker]
        assert len(others) < POLICY.held
        assert order not in others
        self.submitted.append((worker, order))
        if others:
            assert worker in self.ready, "work for a worker that may not even start"
            alone = [o.key for o in [*others, order] if o.probe is not None or o.key in self.suspects]
            assert not alone, "a suspect is not alone"
        others.append(order)
        self.outcome(worker, order)

    def outcome(self, worker: WorkerId, order: Order) -> None:
        """Decide when and how this ends."""
        images = sum(held.images for held in self.held[worker])
        limit = POLICY.grace + images * POLICY.per_image if worker in self.ready else POLICY.startup
        world, seconds = self.world, self.random.uniform(0.1, 0.9) * limit / self.world.speed
        fates = {world.bad[image] for image in world.touched(order) if image in world.bad}
        event: Event = Done(worker, order, {})
        if fates:
            if self.random.choice(sorted(fates)) == "timeout":
                return
            event = Died(worker, "segmentation fault")
        elif worker not in self.ready:
            pass  # a check
        elif world.away and self.random.random() < 0.3:
            world.away -= 1
            event = Died(worker, "its node has died", outside=True)
        elif world.losses and self.may_be_lost(order) and self.random.random() < 0.3:
            world.losses -= 1
            self.lost.update([order.key, order.probe])
            event = Died(worker, "node went away")
        elif order.shard in world.failing or world.flaky[order.shard]:
            world.flaky[order.shard] -= 1
            event = Failed(worker, order, "cannot read the manifest")
        self.push(seconds, event)

    def may_be_lost(self, order: Order) -> bool:
        """A shard that loses its worker a third time fails, and an image tried alone a second time is blamed."""
        alone = order.probe is not None and len(order.probe) == 1
        return self.lost[order.key] < 2 and not (alone and self.lost[order.probe])

    def push(self, seconds: float, event: Event) -> None:
        heapq.heappush(self.events, (self.now + seconds, next(self.order_numbers), event))

    def wait(self, seconds: float) -> Sequence[Event]:
        self.calls += 1
        assert self.calls < 100_000, "the dispatcher does not come to an end"
        if not self.events or self.events[0][0] > self.now + seconds:
            self.now += seconds
            return []
        heard = []
        for _ in range(self.random.randint(1, 3)):
            if self.events:
                time, _, event = heapq.heappop(self.events)
                self.now = max(self.now, time)
                heard += self.happen(event)
        return heard

    def happen(self, event: Event) -> list[Event]:
        """What the dispatcher hears of it."""
        again = self.random.random() < self.world.noise
        if event.worker not in self.held:
            return [event] if again else []
        if isinstance(event, Died):
            self.end(event.worker, event.outside)
        elif event.order in self.held[event.worker]:
            self.held[event.worker].remove(event.order)
            self.ready.add(event.worker)
            if isinstance(event, Done) and event.order.probe is None:
                self.suspects.discard(event.order.key)
                self.write(event.order)
                event = replace(event, result={"committed": event.order.shard in self.committed})
        if again:
            self.push(self.random.uniform(0, 5), event)
        return [event]

    def write(self, order: Order) -> None:
        """As muster.storage.shared_shards does; now and then another run takes the parts away."""
        parts = self.written.setdefault(order.shard, set())
        if order.part is None:
            self.committed.add(order.shard)
        else:
            parts.add(order.part)
            if len(parts) == order.part[1]:
                self.committed.add(order.shard)
            elif self.random.random() < self.world.taken:
                parts.clear()

    def kill(self, worker: WorkerId) -> None:
        assert worker in self.held
        self.end(worker)

    def end(self, worker: WorkerId, outside: bool = False) -> None:
        held = self.held.pop(worker)
        self.deaths += 1
        if worker in self.ready and not outside:
            self.suspects |= {order.key for order in held}


Script = Callable[[WorkerId, Order], Event | None]


class Scripted(Simulation):
    """Workers of which every order ends as a function says; None: it does not."""

    def __init__(self, world: World, script: Script) -> None:
        super().__init__(world)
        self.script = script

    def outcome(self, worker: WorkerId, order: Order) -> None:
        event = self.script(worker, order)
        if event is not None:
            self.push(1.0, event)


def well(worker: WorkerId, order: Order) -> Event:
    return Done(worker, order, {"committed": True})


def die(worker: WorkerId, order: Order) -> Event:
    return Died(worker, "no CUDA device")


def hang(worker: WorkerId, order: Order) -> None:
    return None


def after(shards: int, script: Script) -> Script:
    """All goes well until so many shards have begun."""
    begun: set[str] = set()

    def outcome(worker: WorkerId, order: Order) -> Event | None:
        begun.update([order.shard] if order.probe is None else [])
        return well(worker, order) if len(begun) < shards else script(worker, order)

    return outcome


def dispatch(
    simulation: Simulation, count: int = 2, policy: Policy = POLICY
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """shard → what was skipped in it, in order of their ends; and the failed ones."""
    done: dict[str, dict[str, str]] = {}

    keys: set[str] = set()

    def on_done(order: Order, result: Mapping[str, Any]) -> None:
        assert order.key not in keys, "done twice"
        assert order.probe is None
        keys.add(order.key)
        done.setdefault(order.shard, {}).update(order.skip)

    world = simulation.world
    failed = Dispatcher(world.orders(), simulation, count, world.members, policy=policy, clock=simulation.clock).run(
        on_done
    )
    assert not set(done) & set(failed)
    assert set(done) | set(failed) == set(world.shards)
    assert simulation.committed == set(done)
    return done, failed


def plain(shards: int, images: int = 4) -> World:
    return World({f"s{s}": [f"s{s}-{i}" for i in range(images)] for s in range(shards)})


@st.composite
def worlds(draw: st.DrawFn) -> World:
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=12))
    shards = {f"s{s}": [f"s{s}-{i}" for i in range(size)] for s, size in enumerate(sizes)}
    images = [image for members in shards.values() for image in members]
    return World(
        shards,
        bad=draw(st.dictionaries(st.sampled_from(images), st.sampled_from(["crash", "timeout"]), max_size=6)),
        failing=frozenset(draw(st.lists(st.sampled_from(sorted(shards)), max_size=2))),
        flaky=Counter(draw(st.dictionaries(st.sampled_from(sorted(shards)), st.integers(1, POLICY.attempts - 1)))),
        losses=draw(st.integers(0, 8)),
        away=draw(st.integers(0, 12)),
        taken=draw(st.sampled_from([0.0, 0.5])),
        noise=draw(st.sampled_from([0.0, 0.3])),
    )


@settings(deadline=None, max_examples=300)
@given(worlds(), st.integers(1, 6), st.integers(0, 2**32))
def test_every_shard_ends_once_and_only_images_that_kill_are_skipped(world: World, count: int, seed: int) -> None:
    losses = world.losses + world.away
    simulation = Simulation(world, seed)
    done, failed = dispatch(simulation, count)
    assert set(failed) == world.failing
    for shard, skipped in done.items():
        assert skipped == {image: world.bad[image] for image in world.shards[shard] if image in world.bad}
    assert simulation.deaths <= losses + sum(
        (4 + math.ceil(math.log2(len(images)))) * sum(image in world.bad for image in images) * (1 + (world.taken > 0))
        for images in world.shards.values()
    )
    assert simulation.started <= count + simulation.deaths


def test_healthy_workers_do_every_shard_once() -> None:
    simulation = Simulation(plain(50))
    done, failed = dispatch(simulation, count=4)
    assert (len(done), failed, simulation.started) == (50, {}, 4)
    keys = Counter(order.key for _, order in simulation.submitted if order.probe is None)
    assert set(keys.values()) == {1}
    assert len(simulation.submitted) == len(keys) + 4  # and a check of each worker


def test_the_last_shards_are_cut_into_parts() -> None:
    simulation = Simulation(plain(40, images=20))
    done, _ = dispatch(simulation, count=4)
    assert len(done) == 40
    cut = [order for _, order in simulation.submitted if order.part and order.probe is None]
    assert 1 <= len({order.shard for order in cut}) < 2 * 4
    for shard in {order.shard for order in cut}:
        parts = [simulation.world.members(order) for order in cut if order.shard == shard]
        assert sorted(itertools.chain(*parts)) == sorted(simulation.world.shards[shard])
        assert min(map(len, parts)) >= 2


def test_shards_whose_rows_are_replaced_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are put together where the shard has no rows."""
    simulation = Simulation(plain(40, images=20))
    orders = [replace(order, again=True) for order in simulation.world.orders()]
    monkeypatch.setattr(simulation.world, "orders", lambda: orders)
    done, _ = dispatch(simulation, count=4)
    assert len(done) == 40
    assert not any(order.part for _, order in simulation.submitted)


def test_shards_that_take_no_time_are_not_cut() -> None:
    world = plain(120, images=20)
    world.speed = (POLICY.grace + 2 * 20 * POLICY.per_image) / PART_SECONDS  # at most .9 of it for a shard, and less
    for workers in (2, 4, 16):
        simulation = Simulation(world)
        done, _ = dispatch(simulation, count=workers)
        assert len(done) == 120
        assert not any(order.part for _, order in simulation.submitted)


def test_a_shard_that_goes_down_with_its_node_is_no_suspect() -> None:
    world = plain(20)
    world.away = 12
    simulation = Simulation(world)
    done, _ = dispatch(simulation, 3, replace(POLICY, losses=20))
    assert done == {shard: {} for shard in world.shards}
    assert 3 < simulation.deaths <= 12
    shards = [order for _, order in simulation.submitted if order.probe is None]
    assert len(shards) <= 20 + simulation.deaths * POLICY.held
    assert len(simulation.submitted) - len(shards) == simulation.started  # the check of each worker, no search


def test_a_shard_that_is_lost_from_outside_again_and_again_is_looked_into() -> None:
    """What ends the workers may after all be the shard: a guard of memory asks a process to end before it is killed."""

    def hungry(worker: WorkerId, order: Order) -> Event:
        ends = "s3-1" in world.touched(order)
        return Died(worker, "receives a SIGTERM", outside=True) if ends else well(worker, order)

    world = plain(6)
    done, _ = dispatch(Scripted(world, hungry))
    assert done == {f"s{i}": {"s3-1": "crash"} if i == 3 else {} for i in range(6)}


def test_nothing_to_do_starts_nothing() -> None:
    simulation = Simulation(World({}))
    assert dispatch(simulation) == ({}, {})
    assert simulation.started == 0


def test_no_more_workers_than_shards() -> None:
    simulation = Simulation(plain(3, images=1))
    dispatch(simulation, count=100)
    assert simulation.started == 3


def test_every_worker_has_a_first_shard_before_one_has_a_second() -> None:
    simulation = Simulation(plain(4))
    dispatch(simulation, count=4)
    assert len({worker for worker, order in simulation.submitted if order.probe is None}) == 4


def test_the_last_shards_wait_for_who_is_free_first() -> None:
    loads: list[int] = []

    class Watched(Simulation):
        def submit(self, worker: WorkerId, order: Order) -> None:
            loads.append(len(self.held[worker]))
            super().submit(worker, order)

    dispatch(Watched(plain(40)), count=4)
    assert max(loads) == POLICY.held - 1
    assert loads[-4:] == [0, 0, 0, 0]


def test_nodes_that_come_are_used() -> None:
    simulation = Simulation(plain(100))
    world = simulation.world
    room = lambda: 1 if simulation.now < 20 else 4  # noqa: E731
    dispatcher = Dispatcher(
        world.orders(), simulation, 1, world.members, policy=POLICY, clock=simulation.clock, room=room
    )
    assert dispatcher.run(lambda order, result: None) == {}
    assert simulation.started == 4


def test_a_worker_that_never_starts_holds_nothing_up() -> None:
    simulation = Scripted(plain(6), lambda worker, order: None if worker == 2 else well(worker, order))
    done, _ = dispatch(simulation, count=2)
    assert len(done) == 6
    assert simulation.now < POLICY.startup


def test_a_node_where_no_worker_starts_does_not_stop_the_others() -> None:
    simulation = Scripted(plain(50), lambda worker, order: (well if worker == 1 else die)(worker, order))
    done, _ = dispatch(simulation, count=2)
    assert len(done) == 50
    assert simulation.deaths > 2 * POLICY.starts


def test_a_shard_of_nothing_but_killers_becomes_errors_when_others_go_well() -> None:
    world = plain(3, images=16)
    world.bad = dict.fromkeys(world.shards["s1"], "crash")
    done, _ = dispatch(Simulation(world), 1, Policy(grace=10.0, per_image=1.0))
    assert done == {"s0": {}, "s1": world.bad, "s2": {}}


def test_workers_that_cannot_start_stop_the_run() -> None:
    simulation = Scripted(plain(50), die)
    with pytest.raises(Stopped, match="cannot start: no CUDA device"):
        dispatch(simulation, count=3)
    assert simulation.deaths == POLICY.starts * 3
    assert all(order.probe == () for _, order in simulation.submitted)


def test_workers_that_the_system_may_have_killed_say_what_to_do() -> None:
    """As Ray words it, of whatever killed them."""
    killed = "The process is killed by SIGKILL by OOM killer due to high memory usage"

    def script(worker: WorkerId, order: Order) -> Event:
        return well(worker, order) if order.probe == () else Died(worker, killed)

    for begin in (lambda worker, order: Died(worker, killed), script):
        with pytest.raises(Stopped, match=rf"{killed}\. If memory is short here, give fewer `workers`$"):
            dispatch(Scripted(plain(1000, images=256), begin), 2, Policy())


def test_workers_that_hang_while_starting_stop_the_run() -> None:
    simulation = Scripted(plain(5), hang)
    with pytest.raises(Stopped, match="cannot start: no answer in time"):
        dispatch(simulation, count=2)
    assert simulation.now < (POLICY.starts + 1) * POLICY.startup


def test_workers_that_die_of_any_work_stop_the_run() -> None:
    def script(worker: WorkerId, order: Order) -> Event:
        return (well if order.probe == () else die)(worker, order)

    simulation = Scripted(plain(1000, images=256), script)
    with pytest.raises(Stopped, match="before any image went well: no CUDA device"):
        dispatch(simulation, 2, Policy())
    assert simulation.deaths == Policy().deaths * 2


@pytest.mark.parametrize("broken", [die, hang])
def test_a_machine_that_breaks_during_the_run_stops_it_and_no_image_is_blamed(broken: Script) -> None:
    def script(worker: WorkerId, order: Order) -> Event | None:
        return (broken if order.images else well)(worker, order)

    simulation = Scripted(plain(20), after(5, script))
    with pytest.raises(Stopped, match="cannot start"):
        dispatch(simulation, count=2)
    assert not any(order.skip for _, order in simulation.submitted)


def test_leaving_images_out_is_no_sign_that_any_goes_well() -> None:
    world = plain(100, images=1)
    world.bad = {image: "crash" for [image] in world.shards.values()}
    with pytest.raises(Stopped, match="before any image went well"):
        dispatch(Simulation(world), 1, Policy(grace=10.0, per_image=1.0))


def test_a_fatal_failure_stops_the_run_with_its_reason() -> None:
    def full(worker: WorkerId, order: Order) -> Event:
        return Failed(worker, order, "the disk is full", fatal=True)

    simulation = Scripted(plain(20), after(3, full))
    with pytest.raises(Stopped, match="the disk is full"):
        dispatch(simulation)


def test_a_shard_that_fails_is_tried_again_and_then_reported() -> None:
    world = plain(5)
    world.failing = frozenset({"s2"})
    simulation = Simulation(world)
    done, failed = dispatch(simulation)
    assert failed == {"s2": "cannot read the manifest"}
    assert len(done) == 4
    assert sum(order.shard == "s2" and order.probe is None for _, order in simulation.submitted) == POLICY.attempts


def test_a_shard_that_only_kills_as_a_whole_fails_in_the_end() -> None:
    def too_much_at_once(worker: WorkerId, order: Order) -> Event:
        return (die if order.shard == "s1" and order.probe is None else well)(worker, order)

    simulation = Scripted(plain(4), too_much_at_once)
    done, failed = dispatch(simulation)
    assert set(done) == {"s0", "s2", "s3"}
    assert failed == {"s1": "it kills workers, though each of its images alone does not: no CUDA device"}
    assert simulation.deaths == 2 + POLICY.attempts


def test_work_goes_on_while_the_images_that_kill_are_searched() -> None:
    world = plain(30, images=16)
    world.bad = {"s0-3": "timeout"}
    done, _ = dispatch(Simulation(world), count=2)
    assert list(done).index("s0") > 10
    assert done["s0"] == {"s0-3": "timeout"}


def test_a_suspect_does_not_wait_for_the_end_of_the_queue() -> None:
    world = plain(100)
    world.losses = 1
    simulation = Simulation(world)
    done, _ = dispatch(simulation, count=3)
    [shard] = set(simulation.lost) & set(world.shards)
    begun = [order.shard for _, order in simulation.submitted if order.probe is None].index(str(shard))
    assert list(done).index(str(shard)) < begun + 20
