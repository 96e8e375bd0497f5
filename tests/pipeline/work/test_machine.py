import os
from pathlib import Path

import pytest
import torch

from muster.errors import InputError
from muster.pipeline.work.machine import Machine, cores


def test_defaults() -> None:
    machine = Machine()
    assert machine.on_gpu == torch.cuda.is_available()
    if not machine.on_gpu:
        assert machine.worker_count == cores()
    assert machine.torch_device.type == ("cuda" if machine.on_gpu else "cpu")
    assert Machine(device="cpu", workers=7).worker_count == 7


def test_cores_where_the_system_does_not_say_which_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cores() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores() == os.cpu_count()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_more_workers_than_gpus(device: str) -> None:
    count = torch.cuda.device_count()
    assert Machine(device=device, workers=count).worker_count == count
    with pytest.raises(InputError, match=f"`workers` {count + 1}: a worker takes a GPU of its own"):
        Machine(device=device, workers=count + 1)


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"workers": 0}, "`workers` 0"),
        ({"workers": -1}, "`workers` -1"),
        ({"device": "tpu"}, "`device` tpu: choose one of auto, cpu, cuda"),
        ({"weights_dir": Path("/none")}, "`weights_dir` /none"),
    ],
)
def test_a_value_that_cannot_be(values: dict[str, object], part: str) -> None:
    with pytest.raises(InputError, match=part):
        Machine(**values)


def test_cuda_is_for_the_cluster_to_have() -> None:
    """Nothing is decided by whether the driver has a GPU."""
    assert Machine(device="cuda", address="ray://head:10001").on_gpu


def test_a_folder_holds_in_any_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Machine(weights_dir=Path(".")).weights_dir == tmp_path
