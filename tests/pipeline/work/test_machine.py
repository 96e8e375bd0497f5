import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from muster.errors import InputError
from muster.pipeline.work import machine, memory
from muster.pipeline.work.machine import Machine, MachineWarning, cores

GIB = 1 << 30


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: None)
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


def test_more_workers_than_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 3 * GIB)
    assert Machine(device="cpu", workers=3).worker_count == 3
    text = r"`workers` 4: 3\.0 GiB of memory are free here, enough for 3, as each takes about 800 MiB"
    with pytest.warns(MachineWarning, match=text):
        assert Machine(device="cpu", workers=4).worker_count == 4
    with pytest.warns(MachineWarning):
        Machine(device="cpu", workers=10)
    with pytest.raises(InputError, match=r"`workers` 11: 3\.0 GiB of memory are free here, enough for 10 at most"):
        Machine(device="cpu", workers=11)
    assert Machine(device="cpu", workers=1000, address="head:1").workers == 1000  # other machines have their own


def test_room_for_large_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.setattr(memory, "available", lambda: 8 * GIB)
    made = Machine(device="cpu")
    assert made.with_room(0) is made
    assert [made.with_room(more).worker_count for more in (GIB // 10, GIB, 4 * GIB, 20 * GIB)] == [8, 4, 1, 1]
    assert Machine(device="cpu", workers=3).with_room(20 * GIB).workers == 3, "as it was asked for"
    assert Machine(device="cpu", address="head:1").with_room(20 * GIB).workers is None
    monkeypatch.setattr(memory, "available", lambda: None)
    assert made.with_room(GIB) is made


def test_without_a_number_there_are_as_many_workers_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    for free, count in ((100 * GIB, 8), (3 * GIB, 3), (GIB // 8, 1), (None, 8)):
        monkeypatch.setattr(memory, "available", lambda free=free: free)
        assert Machine(device="cpu").worker_count == count
    monkeypatch.setattr(memory, "available", lambda: GIB // 8)
    assert Machine(device="cpu", workers=1).worker_count == 1  # one is always tried


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch says it of two GPUs of 8 and 4 GiB, wherever this runs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda i: SimpleNamespace(total_memory=(8 * GIB, 4 * GIB)[i])
    )
    monkeypatch.setattr(memory, "available", lambda: 100 * GIB)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_workers_share_gpus_where_there_are_more_of_them(device: str) -> None:
    assert (Machine(device=device).worker_count, Machine(device=device).per_gpu) == (2, 1)
    shared = {workers: Machine(device=device, workers=workers).per_gpu for workers in (1, 2, 3, 4, 5)}
    assert shared == {1: 1, 2: 1, 3: 2, 4: 2, 5: 3}
    with pytest.raises(
        InputError,
        match=r"5 `workers` would share a GPU with 4\.0 GiB",
    ):
        Machine(device=device, workers=9)


@pytest.mark.usefixtures("two_gpus")
def test_no_gpu_is_shared_in_a_cluster_or_without_one() -> None:
    assert Machine(device="cuda", workers=8, address="head:1").per_gpu == 1
    assert Machine(device="cpu", workers=8).per_gpu == 1


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"workers": 0}, "`workers` 0"),
        ({"workers": -1}, "`workers` -1"),
        ({"workers": 1.5}, "`workers` 1.5: give a whole number"),
        ({"workers": "2"}, "`workers` 2: give a whole number"),
        ({"device": "tpu"}, "`device` tpu: choose one of auto, cpu, cuda"),
        ({"weights_dir": Path("/none")}, "`weights_dir` /none"),
        ({"weights_dir": "/none"}, "`weights_dir` /none"),
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
