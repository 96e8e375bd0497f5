"""Ray: a local cluster for one command, and the pool of worker actors the dispatcher speaks to."""

import contextlib
import os
import secrets
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.config import RunConfig, cores
from pipeline.dispatch import Died, Done, Event, Failed, Order, WorkerId
from pipeline.metrics import DriverMetrics, WorkerMetrics
from pipeline.reach import refuse_local, require_answer
from pipeline.worker import ShardWorker, TaskSpec, is_fatal
from storage.errors import MusterError
from storage.uris import local_path

ENDED_FROM_OUTSIDE = ("node has died", "receives a SIGTERM")  # as Ray words the end of an actor

# Ray reads its authentication from the environment once, when it is first imported: hence the imports inside.


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a Ray cluster, or start one on this machine, with a token of its own."""
    if address is not None:
        require_answer(address)
    else:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    if ray.is_initialized():  # by whoever called: theirs to end
        yield
        return
    # The smallest object store Ray takes: only orders and counts cross it.
    local = {"include_dashboard": False, "object_store_memory": 80 << 20} if address is None else {}
    terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address or "local", log_to_driver=False, configure_logging=False, **local)
    except Exception as error:  # a node that starts too slowly is a bare Exception
        where = f"the Ray cluster at {address}" if address else "Ray on this machine"
        cause = " ".join((str(error) or type(error).__name__).split())[:400]
        raise MusterError(f"cannot start or reach {where}: {cause}") from error
    if terminate is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, terminate)  # Ray took it, to print a stack trace
    try:
        yield
    finally:
        ray.shutdown()


def check_reach(config: RunConfig) -> None:
    """Raises InputError where nodes of the cluster could not see the library or the weights. Inside `connected`."""
    import ray

    paths = {"library": local_path(config.library), "--weights-dir": config.weights_dir and str(config.weights_dir)}
    paths |= {f"--weights {task}": file for task, file in config.weights.items()}
    local = {what: path for what, path in paths.items() if path}
    if config.address is not None and local and not config.shared_library:
        refuse_local(local, [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]])


class _Actor(ShardWorker):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.metrics = WorkerMetrics()

    def ready(self) -> bool:
        return True

    def attempt(self, order: Order) -> dict[str, Any]:
        """`process`, with errors as values: {"result": …} or {"reason": …, "fatal": …}."""
        try:
            result = self.process(order)
            if order.probe is None:
                self.metrics.add(result, self.ceilings)
            return {"result": result}
        except MusterError as error:
            return {"reason": str(error), "fatal": is_fatal(error)}


class RayWorkers:
    """Worker actors as the dispatcher's `Workers`."""

    def __init__(self, config: RunConfig, specs: Sequence[TaskSpec]) -> None:
        self.arguments = (config.library, list(specs), "cuda" if config.on_gpu else "cpu", config.weights_dir)
        self.options = _resources(config)
        self.actors: dict[WorkerId, Any] = {}
        self.calls: dict[Any, tuple[WorkerId, Order]] = {}
        self.spare: list[WorkerId] = []
        self.started = 0
        self.local = config.address is None
        self.metrics = DriverMetrics()

    def prepare(self, count: int) -> None:
        """Start workers ahead of their first orders; returns when all on this machine, or one in a cluster, are ready.

        Raises MusterError with the cause where they cannot start.
        """
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        self.spare = [self._create() for _ in range(count)]
        calls = [self.actors[worker].ready.remote() for worker in self.spare]
        ready, _ = ray.wait(calls, num_returns=count if self.local else 1)
        try:
            ray.get(ready)
        except (RayActorError, RayTaskError) as error:
            if isinstance(error, RayActorError) and not error.actor_init_failed:
                return  # it was killed: the dispatcher will find it dead, and start another
            cause = str(error).strip().splitlines()[-1]
            raise MusterError(f"a worker could not start: {cause}") from error

    def start(self) -> WorkerId:
        return self.spare.pop() if self.spare else self._create()

    def _create(self) -> WorkerId:
        import ray

        worker, self.started = self.started, self.started + 1
        # Two calls at a time, so that the next shard decodes, and the last one is written, while another is in the
        # model: 201 images/s against 191 with one call (two cores, means of 5 in turn); with one worker 111 and 100.
        actor = ray.remote(_Actor).options(max_concurrency=2, **self.options)
        self.actors[worker] = actor.remote(*self.arguments, decoder_threads(self.options))
        return worker

    def submit(self, worker: WorkerId, order: Order) -> None:
        self.calls[self.actors[worker].attempt.remote(order)] = (worker, order)

    def wait(self, seconds: float) -> list[Event]:
        import ray

        calls = list(self.calls)
        self.metrics.in_flight.set(len(calls))
        ready, _ = ray.wait(calls, num_returns=1, timeout=seconds)
        if ready:  # and whatever else is there by now: one look at all calls serves all of them
            ready, _ = ray.wait(calls, num_returns=len(calls), timeout=0)
        return [self._event(call) for call in ready if call in self.calls]

    def _event(self, call: Any) -> Event:
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        worker, order = self.calls.pop(call)
        try:
            answer = ray.get(call)
        except RayActorError as error:
            self._forget(worker)
            return Died(worker, " ".join(str(error).split())[:500], ended_from_outside(error))
        except RayTaskError as error:  # a fault in Muster, not in the data: say all of it
            return Failed(worker, order, str(error))
        if "result" in answer:
            return Done(worker, order, answer["result"])
        return Failed(worker, order, answer["reason"], answer["fatal"])

    def kill(self, worker: WorkerId) -> None:
        import ray

        ray.kill(self.actors[worker])
        self._forget(worker)

    def _forget(self, worker: WorkerId) -> None:
        self.actors.pop(worker, None)
        self.calls = {call: held for call, held in self.calls.items() if held[0] != worker}


def ended_from_outside(error: Any) -> bool:
    """Whether Ray says of an actor (RayActorError) that it went with its node, or was asked to end.

    It does not always notice the latter; the shard is then run alone, which costs time and no more.
    """
    return bool(error.preempted) or any(words in str(error) for words in ENDED_FROM_OUTSIDE)


def _resources(config: RunConfig) -> dict[str, Any]:
    """What an actor asks of Ray. On this machine alone the pool is sized here, and Ray is asked for nothing."""
    if config.on_gpu:
        return {"num_gpus": 1, "num_cpus": 0}
    return {"num_cpus": 0 if config.address is None else 1}


def decoder_threads(options: dict[str, Any]) -> int:
    """One per core on a CPU machine, where the model runs on the same core; a share of the cores beside a GPU."""
    if options.get("num_gpus"):
        import ray

        return max(2, cores() // max(1, int(ray.cluster_resources().get("GPU", 1))))
    return 1


def available_workers(config: RunConfig) -> int:
    """How many workers to start: as asked, or one per GPU or core of the cluster or this machine."""
    if config.workers is not None or config.address is None:
        return config.worker_count
    import ray

    return max(1, int(ray.cluster_resources().get("GPU", 1))) if config.on_gpu else cores_there()


def cores_there() -> int:
    """CPU cores of the cluster, at least 1. Inside `connected`."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))
