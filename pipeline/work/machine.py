"""Where the work is done: on which device, by how many workers, here or on a cluster."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from muster.errors import InputError

DEVICES = ("auto", "cpu", "cuda")


def cores() -> int:
    """CPU cores that this process may use; those of the machine where the system does not say (macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`device`: one of DEVICES; `auto` is `cuda` where there is one. `workers`: one per GPU or core where None.
    `weights_dir`: where weights are looked for first. `address`: of a running Ray cluster; this machine alone where
    None. `shared`: all nodes of the cluster see the library, and the weights, under the paths that they have here.

    Raises InputError where the values cannot be.
    """

    device: str = "auto"
    workers: int | None = None
    weights_dir: Path | None = None
    address: str | None = None
    shared: bool = False

    def __post_init__(self) -> None:
        if self.workers is not None and (not isinstance(self.workers, int) or self.workers < 1):
            raise InputError(f"`workers` {self.workers}: give a whole number of at least 1")
        if self.device not in DEVICES:
            raise InputError(f"`device` {self.device}: choose one of {', '.join(DEVICES)}")
        if self.device == "cuda" and self.address is None and not torch.cuda.is_available():
            raise InputError("`device` cuda: no CUDA device is visible here; use `device` cpu or auto")
        if self.on_gpu and self.address is None and self.worker_count > torch.cuda.device_count():
            raise InputError(  # Ray would wait for the missing ones for ever
                f"`workers` {self.workers}: a worker takes a GPU of its own, and {torch.cuda.device_count()} are here;"
                " give fewer, or `device` cpu"
            )
        if self.weights_dir is not None:  # absolute: workers have another working directory
            object.__setattr__(self, "weights_dir", Path(self.weights_dir).expanduser().absolute())
            if not self.weights_dir.is_dir():
                raise InputError(f"`weights_dir` {self.weights_dir}: no such folder")

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())

    @property
    def torch_device(self) -> torch.device:
        return torch.device("cuda" if self.on_gpu else "cpu")

    @property
    def worker_count(self) -> int:
        """How many workers this machine has, where `address` names no cluster."""
        if self.workers is not None:
            return self.workers
        return torch.cuda.device_count() if self.on_gpu else cores()
