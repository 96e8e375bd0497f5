"""Ray: a local cluster for one command, and the pool of worker actors the dispatcher speaks to."""

import contextlib
import gc
import os
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from muster.errors import MusterError
from muster.pipeline.distributed import private, shipped
from muster.pipeline.distributed.metrics import PLACES, DriverMetrics, WorkerMetrics
from muster.pipeline.distributed.reach import about_token, environment, refuse_local, require_answer, token_source
from muster.pipeline.work import addresses, gpu
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.dispatch import Died, Done, Event, Failed, Order, Policy, WorkerId
from muster.pipeline.work.machine import Machine, cores
from muster.pipeline.work.pace import Pace, Seen
from muster.pipeline.work.worker import ShardWorker, is_fatal
from muster.storage.uris import local_path

WAIT_SECONDS = 20.0  # between words about a cluster that has no room for a worker
PING_SECONDS, SILENT_SECONDS = 1.0, 60.0  # between two questions to a worker how far it is; until it is given up
PINGS_PER_SECOND = 1000  # to all workers together: 10,000 of them are asked every ten seconds
ENDED_FROM_OUTSIDE = ("node has died", "receives a SIGTERM")  # as Ray words the end of an actor
_one_at_a_time = threading.RLock()  # a process has one Ray, and one environment that it is started with

# Ray takes a second to import: hence the imports inside.


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a Ray cluster, or start a private one on this machine for as long as the block lasts.

    Another thread of this process waits until the block is left.
    """
    import ray

    with _one_at_a_time:
        yield from _connected(ray, address)


def _connected(ray: Any, address: str | None) -> Iterator[None]:
    if ray.is_initialized():  # the caller connected, and disconnects
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            options = stack.enter_context(_own()) if address is None else _given(address)
        except OSError as error:  # of the folder
            raise MusterError(f"cannot start Ray on this machine: {error}") from error
        _start(address, options)
        if address is None and not ray.util.get_node_ip_address().startswith("127."):
            ray.shutdown()
            raise MusterError(
                f"Ray {ray.__version__} cannot listen on loopback alone: install the version of Ray in requirements/"
            )
        try:
            yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _own() -> Iterator[dict[str, Any]]:
    """What `ray.init` is to be told of a cluster for this command alone, while it lasts.

    Whatever the environment says: its files are in a folder that nobody else can open, it listens on loopback alone,
    and it asks for a token that is made here.
    """
    from ray._private import ray_constants

    token, outer = secrets.token_hex(32), ray_constants.ENABLE_RAY_CLUSTER
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "RAY_ENABLE_K8S_TOKEN_AUTH": "0"}
    with private.guarded() as folder:
        try:
            with environment(**own, RAY_USAGE_STATS_ENABLED="0"):
                # As on macOS: the node's address is 127.0.0.1, and all that Ray opens is bound to it. Told that address
                # (_node_ip_address), Ray takes an outer one instead.
                ray_constants.ENABLE_RAY_CLUSTER = False
                _read_environment()
                # Ray opens its own folder to everybody (0777), so it gets one inside. The smallest object store it
                # takes: only orders and counts cross it.
                yield {"include_dashboard": False, "object_store_memory": 80 << 20, "_temp_dir": f"{folder}/r"}
        finally:
            ray_constants.ENABLE_RAY_CLUSTER = outer
            _read_environment()


def _given(address: str) -> dict[str, Any]:
    """What `ray.init` is to be told of a cluster that runs."""
    require_answer(address)
    if token_source() is not None:  # Ray sends none to an address unless it is told to
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        _read_environment()
    return shipped.runtime_env()


def _read_environment() -> None:
    """Ray reads mode and token once; the next cluster of this process may have others."""
    from ray import _raylet

    raylet: Any = _raylet  # it has no type information
    raylet.Config.initialize("")
    raylet.AuthenticationTokenLoader.instance().reset_cache()


def _start(address: str | None, options: dict[str, Any]) -> None:
    import ray

    terminate = signal.getsignal(signal.SIGTERM)
    try:
        # Ray has workers import from the driver's working directory before anything else; others may write there.
        with contextlib.chdir("/"):
            ray.init(address or "local", log_to_driver=False, configure_logging=False, **options)
    except Exception as error:  # a node that starts too slowly is a bare Exception
        where = f"the Ray cluster at {address}" if address else "Ray on this machine"
        cause = " ".join((str(error) or type(error).__name__).split())[:400]
        raise MusterError(f"cannot start or reach {where}: {cause}{about_token() if address else ''}") from error
    if terminate is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)  # Ray took it, to print a stack trace


def check_reach(machine: Machine, library: str, choices: Sequence[TaskChoice] = ()) -> None:
    """Raises InputError where nodes of the cluster could not see the library or the weights. Inside `connected`."""
    import ray

    paths = {"library": local_path(library), "`weights_dir`": machine.weights_dir and str(machine.weights_dir)}
    paths |= {f"`weights` {choice.name}": str(choice.weights) for choice in choices if choice.weights is not None}
    paths |= {f"`model` {choice.name}": str(addresses.path_of(choice.model) or "") for choice in choices}
    local = {what: path for what, path in paths.items() if path}
    if machine.address is not None and local and not machine.shared:
        refuse_local(local, [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]])


class _Actor(ShardWorker):
    def __init__(
        self,
        library: str,
        choices: Sequence[TaskChoice],
        device: str,
        weights_dir: Path | None,
        folder: str | None,
        spare: bool,
        per_gpu: int,
        traced: bool,
    ) -> None:
        if folder is not None:  # the driver's: files that the environment names may be relative to it
            os.chdir(folder)
        if device == "cuda":
            gpu.keep_to_share(per_gpu)
        super().__init__(library, choices, device, weights_dir, decoder_threads(device, spare, per_gpu))
        self.traced = traced
        gc.freeze()  # torch's half a million objects stay: to look through them took 3 % of a light run
        # On this machine alone others may read metrics, and a folder's name is not theirs to know.
        self.metrics = WorkerMetrics(PLACES if folder is None else 0)

    def how_far(self) -> Seen:
        """Answered at once, whatever else is at work."""
        return self.seen

    def attempt(self, order: Order) -> dict[str, Any]:
        """`process`, with errors as values: {"result": …, "seen": …}, {"reason": …, "fatal": …}, or {"lost": …} where
        the worker is to be ended, as its GPU cannot be used from this process any more. `through`: how many of the
        order's images count in `seen`."""
        return self._attempted(order) | {"through": self.through.pop(order.key, 0)}

    def _attempted(self, order: Order) -> dict[str, Any]:
        try:
            result = self.process(order)
            if order.probe is None:
                self.metrics.add(result, self.ceilings)
            if not self.traced:
                del result["spans"]  # 150 of them for 256 photos
            return {"result": result, "seen": self.seen}
        except MusterError as error:
            return {"reason": str(error), "fatal": is_fatal(error)}
        except RuntimeError as error:
            if not gpu.is_lost(error):
                raise
            return {"lost": f"the GPU failed: {' '.join(str(error).split())[:300]}"}


class RayWorkers:
    """Worker actors as the dispatcher's `Workers`."""

    def __init__(
        self,
        library: str,
        choices: Sequence[TaskChoice],
        machine: Machine,
        on_beat: Callable[[], None] = lambda: None,
        traced: bool = False,
    ) -> None:
        """`on_beat`: called within `wait`, each time that the workers have been asked how far they are. `traced`:
        results say what was done when."""
        folder = os.getcwd() if machine.address is None else None
        device = "cuda" if machine.on_gpu else "cpu"
        spare = machine.address is None and machine.worker_count < cores()
        self.arguments = (library, choices, device, machine.weights_dir, folder, spare, machine.per_gpu, traced)
        self.options = _resources(machine)
        self.actors: dict[WorkerId, Any] = {}
        self.calls: dict[Any, tuple[WorkerId, Order]] = {}
        self.spare: list[WorkerId] = []
        self.heard: dict[WorkerId, float] = {}  # when each that has started was last asked, or answered
        self.pings: dict[WorkerId, Any] = {}
        self.next_ping = 0.0
        self.started = 0
        self.local = machine.address is None
        self.metrics = DriverMetrics()
        self.pace, self.on_beat = Pace(), on_beat

    def prepare(self, count: int, on_wait: Callable[[str], None] = lambda text: None) -> None:
        """Start workers ahead of their first orders; returns when all on this machine, or one in a cluster, are ready.

        `on_wait` is told now and then what a cluster lacks. Raises MusterError with the cause where they cannot start.
        """
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        self.spare = [self._create() for _ in range(count)]
        calls = [self.actors[worker].how_far.remote() for worker in self.spare]
        wanted, patience = count if self.local else 1, Policy().startup
        deadline = time.monotonic() + patience
        while len(ready := ray.wait(calls, num_returns=wanted, timeout=WAIT_SECONDS)[0]) < wanted:
            lacking = "waiting for a worker to start: " + _free(self.options)
            if time.monotonic() > deadline:
                raise MusterError(f"no worker could start in {patience / 60:.0f} minutes ({lacking})")
            on_wait(lacking)
        try:
            ray.get(ready)
        except (RayActorError, RayTaskError) as error:
            shipped.check(str(error))
            if isinstance(error, RayActorError) and not error.actor_init_failed:
                return  # it was killed: the dispatcher will find it dead, and start another
            cause = str(error).strip().splitlines()[-1]
            raise MusterError(f"a worker could not start: {cause}") from error

    def close(self) -> None:
        """Let go of all workers, which ends them: whoever keeps an error of ours, as notebooks do, keeps us as well."""
        for held in (self.actors, self.calls, self.pings):
            held.clear()

    def start(self) -> WorkerId:
        return self.spare.pop() if self.spare else self._create()

    def _create(self) -> WorkerId:
        import ray

        worker, self.started = self.started, self.started + 1
        # Two calls at a time, so that one shard is written, or beside decoders read and decoded, while the model has
        # another.
        # And a thread that says that it is there, whatever the others do.
        actor = ray.remote(max_concurrency=2, concurrency_groups={"alive": 1}, **self.options)(_Actor)
        self.actors[worker] = actor.remote(*self.arguments)
        return worker

    def submit(self, worker: WorkerId, order: Order) -> None:
        self.calls[self.actors[worker].attempt.remote(order)] = (worker, order)

    def wait(self, seconds: float) -> list[Event]:
        import ray

        silent = self._silent()
        calls = list(self.calls)
        self.metrics.in_flight.set(len(calls))
        self.metrics.workers.set(len(self.heard))
        ready, _ = ray.wait(calls, num_returns=1, timeout=seconds)
        if ready:  # and whatever else is there by now: one look at all calls serves all of them
            ready, _ = ray.wait(calls, num_returns=len(calls), timeout=0)
        return [self._event(call) for call in ready if call in self.calls] + silent

    def held(self) -> dict[WorkerId, int]:
        """Images of the shards that each worker holds, who holds some."""
        images: Counter[WorkerId] = Counter()
        for worker, order in self.calls.values():
            if order.probe is None:
                images[worker] += order.images
        return images

    def _silent(self) -> list[Event]:
        """Ask workers how far they are, and kill those that do not even answer: they are stopped, or hang while they
        hold Python's lock."""
        import ray
        from ray.exceptions import RayActorError

        if (now := time.monotonic()) < self.next_ping:
            return []
        self.next_ping = now + min(max(PING_SECONDS, len(self.actors) / PINGS_PER_SECOND), SILENT_SECONDS / 2)
        answered = set(
            ray.wait(pings, num_returns=len(pings), timeout=0)[0] if (pings := [*self.pings.values()]) else []
        )
        there = {worker: ping for worker, ping in self.pings.items() if ping in answered}
        with contextlib.suppress(RayActorError):  # of one that died: its call says so
            for worker, seen in zip(there, ray.get(list(there.values())), strict=True):
                self.pace.say(worker, seen)
        for worker in there:
            self.heard[worker] = now
            del self.pings[worker]
        silent = [w for w in self.pings if now - self.heard[w] >= SILENT_SECONDS]
        for worker in silent:
            self.kill(worker)
        for worker in self.heard.keys() - self.pings.keys():
            self.heard[worker] = now
            self.pings[worker] = self.actors[worker].how_far.options(concurrency_group="alive").remote()
        self.on_beat()
        text = f"it did not answer for {SILENT_SECONDS:.0f} s: it was stopped, or hangs in native code"
        return [Died(worker, text, silent=True) for worker in silent]

    def _event(self, call: Any) -> Event:
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        worker, order = self.calls.pop(call)
        try:
            answer = ray.get(call)
        except RayActorError as error:
            shipped.check(str(error))
            self._forget(worker)
            return Died(worker, " ".join(str(error).split())[:500], ended_from_outside(error))
        except RayTaskError as error:  # a fault in Muster, not in the data: show the whole traceback
            return Failed(worker, order, str(error))
        self.heard.setdefault(worker, time.monotonic())
        self.pace.given_back[worker] += answer["through"]
        if "result" in answer:
            self.pace.say(worker, answer["seen"])
            return Done(worker, order, answer["result"])
        if "lost" in answer:
            self.kill(worker)
            return Died(worker, answer["lost"])
        return Failed(worker, order, answer["reason"], answer["fatal"])

    def kill(self, worker: WorkerId) -> None:
        import ray

        ray.kill(self.actors[worker])
        self._forget(worker)

    def _forget(self, worker: WorkerId) -> None:
        for known in (self.actors, self.heard, self.pings, self.pace.workers):
            known.pop(worker, None)
        self.calls = {call: held for call, held in self.calls.items() if held[0] != worker}


def ended_from_outside(error: Any) -> bool:
    """Whether Ray says of an actor (RayActorError) that it went with its node, or was asked to end.

    It does not always notice the latter; the shard is then run alone, which costs time and no more.
    """
    return bool(error.preempted) or any(words in str(error) for words in ENDED_FROM_OUTSIDE)


def _resources(machine: Machine) -> dict[str, Any]:
    """What an actor asks of Ray. On this machine alone the pool is sized here, and Ray is asked for nothing."""
    if machine.on_gpu:  # Ray counts in ten-thousandths of a GPU
        return {"num_gpus": 1 if machine.per_gpu == 1 else 10_000 // machine.per_gpu / 10_000, "num_cpus": 0}
    return {"num_cpus": 0 if machine.address is None else 1}


def _free(options: dict[str, Any]) -> str:
    """How much of what a worker asks for is free in the cluster."""
    import ray

    kind = "GPU" if options.get("num_gpus") else "CPU"
    free, there = (resources().get(kind, 0) for resources in (ray.available_resources, ray.cluster_resources))
    return f"{free:g} of the cluster's {there:g} {kind}s are free"


def decoder_threads(device: str, spare: bool = False, per_gpu: int = 1) -> int:
    """Of a worker on this node. Beside a GPU, which `per_gpu` workers share, its share of the node's cores. On a CPU
    the model has the core: one where there are `spare` ones, else none."""
    if device == "cpu":
        return int(spare)
    import ray

    here = ray.get_runtime_context().get_node_id()
    gpus = next(node["Resources"].get("GPU", 1) for node in ray.nodes() if node["NodeID"] == here)
    return max(2, cores() // (max(1, int(gpus)) * per_gpu))


def available_workers(machine: Machine) -> int:
    """How many workers to start: as asked, or one per GPU or core of the cluster or this machine."""
    if machine.workers is not None or machine.address is None:
        return machine.worker_count
    import ray

    return max(1, int(ray.cluster_resources().get("GPU", 1))) if machine.on_gpu else cores_there()


def cores_there() -> int:
    """CPU cores of the cluster, at least 1. Inside `connected`."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))
