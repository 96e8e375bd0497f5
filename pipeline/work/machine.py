"""Where the work is done: on which device, by how many workers, here or on a cluster."""

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from muster.errors import InputError
from muster.pipeline.work import gpu, memory

DEVICES = ("auto", "cpu", "cuda")


def cores() -> int:
    """CPU cores that this process may use; those of the machine where the system does not say (macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class MachineWarning(UserWarning):
    """What was asked for may be more than the machine has."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """`device`: one of DEVICES; `auto` is `cuda` where there is one. `workers`: where None, one per GPU, or per
    core as far as memory goes. `weights_dir`: where weights are looked for first. `address`: of a running Ray cluster;
    this machine alone where None. `shared`: all nodes of the cluster see the library, and the weights, under the paths
    that they have here.

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
        if self.address is None:
            self._check_room()
        if self.weights_dir is not None:  # absolute: workers have another working directory
            object.__setattr__(self, "weights_dir", Path(self.weights_dir).expanduser().absolute())
            if not self.weights_dir.is_dir():
                raise InputError(f"`weights_dir` {self.weights_dir}: no such folder")

    def _check_room(self) -> None:
        """InputError where so many workers cannot fit into the memory of this machine and of its GPUs; a MachineWarning
        where they may not."""
        if self.per_gpu > 1:
            totals = [torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count())]
            gpu.share_of(min(totals), self.per_gpu)
        free = memory.available()
        if self.workers is None or free is None:
            return
        many = f"`workers` {self.workers}: {free / (1 << 30):.1f} GiB of memory are free here, "
        if self.workers > max(1, least := free // memory.LEAST):
            each = f"as each takes {memory.LEAST >> 20} MiB before it has seen a photo"
            raise InputError(
                f"{many}enough for {max(1, least)} at most, {each}; give fewer, or use a cluster of machines"
            )
        if self.workers > (usual := max(1, free // memory.USUAL)):
            each = f"as each takes about {memory.USUAL >> 20} MiB with `faces` and photos of phones"
            warnings.warn(
                f"{many}enough for {usual}, {each}; give fewer if any are ended", MachineWarning, stacklevel=4
            )

    def with_room(self, more: int) -> "Machine":
        """The same; where nobody said how many workers there are to be, with as many as fit if each takes `more` bytes
        of memory than usual."""
        free = memory.available()
        if not more or self.workers is not None or self.address is not None or self.on_gpu or free is None:
            return self
        return replace(self, workers=max(1, min(cores(), free // (memory.USUAL + more))))

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())

    @property
    def torch_device(self) -> torch.device:
        return torch.device("cuda" if self.on_gpu else "cpu")

    @property
    def per_gpu(self) -> int:
        """How many workers share a GPU. In a cluster none do: how many GPUs it has may change."""
        if self.workers is None or self.address is not None or not self.on_gpu:
            return 1
        return -(-self.workers // torch.cuda.device_count())

    @property
    def worker_count(self) -> int:
        """How many workers this machine has, where `address` names no cluster."""
        if self.workers is not None:
            return self.workers
        if self.on_gpu:
            return torch.cuda.device_count()
        free = memory.available()
        return cores() if free is None else max(1, min(cores(), free // memory.USUAL))
