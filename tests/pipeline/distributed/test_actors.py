"""pipeline/distributed/actors.py: worker actors as the dispatcher sees them, over a real Ray."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from muster.errors import MusterError
from muster.pipeline.distributed import actors
from muster.pipeline.distributed.actors import (
    RayWorkers,
    _resources,
    available_workers,
    connected,
    decoder_threads,
    ended_from_outside,
)
from muster.pipeline.work.dispatch import Died, Done, Event, Failed, Order, Policy
from muster.pipeline.work.machine import Machine
from muster.storage import tables
from muster.storage.library import LibraryFiles, open_library
from muster.storage.manifest import scan, shards

HERE = Machine(device="cpu", workers=1)


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory, album: Path) -> LibraryFiles:
    library = open_library(tmp_path_factory.mktemp("ray") / "L", create=True)
    scan(library, [str(album)])
    return library


@pytest.fixture(scope="module")
def pool(scanned: LibraryFiles, ray_cluster: None) -> Iterator[RayWorkers]:
    """One worker without tasks: it reads, decodes and writes `images`."""
    pool = RayWorkers(scanned.uri, (), HERE)
    pool.prepare(1)
    yield pool
    for worker in list(pool.actors):
        pool.kill(worker)


def events(pool: RayWorkers, number: int) -> list[Event]:
    found: list[Event] = []
    end = time.monotonic() + 60
    while len(found) < number:
        assert time.monotonic() < end
        found += pool.wait(1)
    return found


def order(library: LibraryFiles, number: int = 0) -> Order:
    shard, images = shards(library)[number]
    return Order(shard, (), images)


def test_a_worker_commits_shards_and_lives_through_failures(pool: RayWorkers, scanned: LibraryFiles) -> None:
    import ray

    worker = pool.start()
    assert list(pool.actors) == [worker]
    assert pool.wait(0) == []

    orders = [order(scanned, 0), order(scanned, 1)]
    for each in orders:
        pool.submit(worker, each)
    done = events(pool, 2)
    assert all(isinstance(event, Done) and event.worker == worker for event in done)
    assert {event.order for event in done} == set(orders)
    assert sum(event.result["images"] for event in done) == sum(each.images for each in orders)
    [fingerprint] = scanned.names("_commits")
    assert set(tables.committed(scanned, fingerprint)) == {each.shard for each in orders}

    gone = Order("0123456789abcdef-8", (), 8)
    pool.submit(worker, gone)
    [failed] = events(pool, 1)
    assert isinstance(failed, Failed)
    assert (failed.order, failed.fatal) == (gone, False)
    assert gone.shard in failed.reason
    assert "Traceback" not in failed.reason

    unknown = Order(orders[0].shard, ("smiles",), 8)  # a fault of Muster's own
    pool.submit(worker, unknown)
    [failed] = events(pool, 1)
    assert isinstance(failed, Failed)
    assert "KeyError" in failed.reason

    process = ray.get(pool.actors[worker].__ray_call__.remote(lambda self: os.getpid()))
    for each in orders:
        pool.submit(worker, each)
    os.kill(process, signal.SIGKILL)
    died = next(event for event in events(pool, 1) if isinstance(event, Died))
    assert died.worker == worker
    assert died.reason
    assert worker not in pool.actors
    assert pool.wait(0) == []  # what it held is the dispatcher's to know


def test_a_worker_that_is_asked_to_end_gives_its_shards_back(scanned: LibraryFiles, ray_cluster: None) -> None:
    """As a node that is taken back asks: finished, or given back at once."""
    import ray

    pool = RayWorkers(scanned.uri, (), HERE)
    pool.prepare(1)
    worker = pool.start()
    process = ray.get(pool.actors[worker].__ray_call__.remote(lambda self: os.getpid()))
    for shard, number in shards(scanned):
        pool.submit(worker, Order(shard, (), number))
    os.kill(process, signal.SIGTERM)
    heard: list[Event] = []
    while not any(isinstance(event, Died) for event in heard):
        heard += events(pool, 1)
    assert all(isinstance(event, Done) for event in heard[:-1])


@pytest.mark.parametrize(
    ("text", "outside"),
    [
        ("The actor is dead because its node has died. Node Id: 8edb", True),
        ("Worker exits unexpectedly. Worker exits with an exit code 1. The process receives a SIGTERM.", True),
        ("Worker unexpectedly exits with a connection error code 2. End of file.", False),
    ],
)
def test_what_ray_says_of_the_end_of_an_actor(text: str, outside: bool) -> None:
    from ray.exceptions import RayActorError

    assert ended_from_outside(RayActorError(error_msg=text)) is outside
    assert ended_from_outside(RayActorError(error_msg=text, preempted=True))


def test_a_worker_that_cannot_start_says_why(scanned: LibraryFiles, ray_cluster: None, tmp_path: Path) -> None:
    pool = RayWorkers(str(tmp_path / "none"), (), HERE)
    with pytest.raises(MusterError, match=r"a worker could not start: .*no library at"):
        pool.prepare(1)


def test_a_cluster_without_room_is_waited_for_aloud_and_not_for_ever(
    scanned: LibraryFiles, ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actors, "WAIT_SECONDS", 0.2)
    monkeypatch.setattr(actors, "Policy", partial(Policy, startup=1.0))
    pool = RayWorkers(scanned.uri, (), Machine(device="cuda", workers=1, address="auto"))
    heard: list[str] = []
    with pytest.raises(MusterError, match="no worker could start"):
        pool.prepare(1, heard.append)
    assert set(heard) == {"waiting for a worker to start: 0 of the cluster's 0 GPUs are free"}
    pool.kill(0)


def test_a_killed_worker_sends_nothing(scanned: LibraryFiles, ray_cluster: None) -> None:
    pool = RayWorkers(scanned.uri, (), HERE)
    worker = pool.start()
    pool.submit(worker, order(scanned))
    pool.kill(worker)
    assert pool.wait(2) == []


def test_a_ray_that_runs_is_used_and_left_running(ray_cluster: None) -> None:
    import ray

    with connected(None):
        assert ray.is_initialized()
    assert ray.is_initialized()


def test_threads_take_turns(ray_cluster: None) -> None:
    """A process has one Ray: whoever came second would use the first one's, until that ends it."""
    seen: list[int] = []

    def use(thread: int) -> None:
        with connected(None):
            seen.append(thread)
            time.sleep(0.2)
            seen.append(thread)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen in ([0, 0, 1, 1], [1, 1, 0, 0])


def test_how_many_workers(ray_cluster: None) -> None:
    assert available_workers(Machine(workers=5)) == 5
    assert available_workers(Machine(device="cpu")) == len(os.sched_getaffinity(0))
    assert available_workers(Machine(device="cpu", address="auto")) == 2  # as this Ray was told it has
    assert [decoder_threads("cpu", spare) for spare in (False, True)] == [0, 1]
    assert decoder_threads("cuda") == max(2, len(os.sched_getaffinity(0)))  # of this node, which has no GPU
    assert decoder_threads("cuda", per_gpu=64) == 2


def test_what_a_worker_asks_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a GPU that several share so little that all of them have room."""
    for per_gpu in (1, 2, 3, 7, 64):
        monkeypatch.setattr(Machine, "per_gpu", per_gpu)
        asked = _resources(Machine(device="cuda", address="auto"))
        assert 1 - per_gpu / 10_000 < per_gpu * asked["num_gpus"] <= 1
        assert asked["num_cpus"] == 0
    assert _resources(HERE) == {"num_cpus": 0}
