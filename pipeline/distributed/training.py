"""A training in several processes, by Ray Train. `training` knows no Ray; this is all that does."""

import platform
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from muster.errors import InputError, MusterError
from muster.pipeline.distributed.actors import connected
from muster.pipeline.work.training import Training
from muster.training import loop
from muster.training.data.examples import OnSkipped
from muster.training.loop import OnReport, Report

# Ray takes a second to import: hence the imports inside.

RUN = ".ray"  # the folder in `out` where Ray Train notes its own state, which nothing here needs


def train_in_ray(training: Training, on_report: OnReport, on_skipped: OnSkipped) -> None:
    """`muster.training.loop.train` in `training.processes` processes. `training` is absolute, its folder is made and
    locked.

    Raises what a process raised, if that is a MusterError, else MusterError with its cause.
    """
    with connected(training.machine.address):
        _check_room(training)
        try:
            _fit(training, on_report, on_skipped)
        finally:
            shutil.rmtree(training.inputs.out / RUN, ignore_errors=True)


def _check_room(training: Training) -> None:
    """Ray would wait for missing cores or GPUs for ever."""
    import ray

    kind = "GPU" if training.machine.on_gpu else "CPU"
    room = int(ray.cluster_resources().get(kind, 0))
    if training.processes > room:
        raise InputError(f"`workers` {training.processes}: each takes a {kind} of its own, and the cluster has {room}")


def _fit(training: Training, on_report: OnReport, on_skipped: OnSkipped) -> None:
    from ray.exceptions import RayError
    from ray.train import LoggingConfig, RunConfig, ScalingConfig, TrainingFailedError
    from ray.train.torch import TorchTrainer
    from ray.util.queue import Queue

    def receive(message: Report | str) -> None:
        on_skipped(message) if isinstance(message, str) else on_report(message)

    messages = Queue(actor_options={"num_cpus": 0})
    trainer = TorchTrainer(
        _work,
        train_loop_config={"training": training, "messages": messages},
        scaling_config=ScalingConfig(num_workers=training.processes, use_gpu=training.machine.on_gpu),
        run_config=RunConfig(
            name=RUN, storage_path=str(training.inputs.out), logging_config=LoggingConfig(log_level="ERROR")
        ),
    )
    fitting = ThreadPoolExecutor(1)  # fit() in the main thread would take Ctrl-C for itself
    try:
        fitted = fitting.submit(trainer.fit)
        while not fitted.done():
            _pass_on(messages, receive, seconds=0.5)
        _pass_on(messages, receive, seconds=0)
        fitted.result()
    except (TrainingFailedError, RayError) as error:
        raise _cause(error) from error
    finally:
        fitting.shutdown(wait=False)


def _pass_on(messages: Any, receive: Callable[[Report | str], None], seconds: float) -> None:
    from ray.util.queue import Empty

    try:
        receive(messages.get(timeout=seconds))
        while True:
            receive(messages.get_nowait())
    except Empty:
        pass


def _work(config: dict[str, Any]) -> None:
    """What each process does; torch.distributed is initialised. The first reads the images before the others do, so
    that what a recipe prepares in the folder is written once."""
    import ray.train.torch
    from torch import distributed

    training, messages = config["training"], config["messages"]
    context = ray.train.get_context()
    share = loop.Share(context.get_world_rank(), context.get_world_size())
    _check_visible(training.inputs.out)

    def send(message: Report | str) -> None:
        if share.rank == 0:
            messages.put(message)

    if share.rank > 0:
        distributed.barrier()
    recipe = training.build(send)
    if share.rank == 0:
        distributed.barrier()
    inputs = training.inputs
    loop.train(recipe, inputs.out, ray.train.torch.get_device(), send, share=share, start=inputs.start)


def _check_visible(out: Path) -> None:
    if not out.is_dir():
        raise InputError(f"`out` {out} is not there on {platform.node()}: name a folder that all workers share")


def _cause(error: Exception) -> MusterError:
    """The error of the first process that has one to tell."""
    failures = getattr(error, "worker_failures", {})
    causes = [failures[rank] for rank in sorted(failures)]
    for cause in causes:
        if isinstance(cause, MusterError):
            return cause
    text = str(causes[0] if causes else error).strip().splitlines()[-1]
    return MusterError(f"the training failed: {text}. Run it again to go on from its last checkpoint")
