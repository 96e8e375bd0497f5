import os
from pathlib import Path

import pytest
import torch

from pipeline.config import RunConfig, cores, parse_models, parse_tasks
from storage.errors import InputError
from tasks.base import TaskError


def test_defaults() -> None:
    config = RunConfig("L")
    assert config.tasks == ("faces", "previews")
    assert config.on_gpu == torch.cuda.is_available()
    if not config.on_gpu:
        assert config.worker_count == cores()
    assert RunConfig("L", device="cpu", workers=7).worker_count == 7


def test_cores_where_the_system_does_not_say_which_are_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cores() >= 1
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores() == os.cpu_count()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_more_workers_than_gpus(device: str) -> None:
    count = torch.cuda.device_count()
    assert RunConfig("L", device=device, workers=count).worker_count == count
    with pytest.raises(InputError, match=f"--workers {count + 1}: a worker takes a GPU of its own"):
        RunConfig("L", device=device, workers=count + 1)


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"workers": 0}, "--workers 0"),
        ({"workers": -1}, "--workers -1"),
        ({"device": "tpu"}, "--device tpu: choose one of auto, cpu, cuda"),
        ({"tasks": ()}, "known: faces, masks, objects, previews"),
        ({"tasks": ("previews",), "models": {"faces": "published"}}, "is not among --tasks previews"),
        ({"weights_dir": Path("/none")}, "--weights-dir /none"),
    ],
)
def test_a_value_that_cannot_be(values: dict[str, object], part: str) -> None:
    with pytest.raises(InputError, match=part):
        RunConfig("L", **values)


@pytest.mark.parametrize("values", [{"tasks": ("smiles",)}, {"models": {"faces": "none"}}])
def test_an_unknown_task_or_model_lists_those_known(values: dict[str, object]) -> None:
    with pytest.raises(TaskError, match="known: "):
        RunConfig("L", **values)


def test_cuda_is_for_the_cluster_to_have() -> None:
    """Nothing is decided by whether the driver has a GPU."""
    assert RunConfig("L", device="cuda", address="ray://head:10001").on_gpu


def test_parse_tasks() -> None:
    assert parse_tasks(" faces, previews ,faces,") == ("faces", "previews")
    assert parse_tasks("") == ()


def test_parse_models() -> None:
    assert parse_models([]) == {}
    assert parse_models(["faces=published"]) == {"faces": "published"}
    for option in ("faces", "faces=", "smiles=published"):
        with pytest.raises(InputError, match=f"--model {option}"):
            parse_models([option])
    with pytest.raises(TaskError, match="'none'; known: own, published"):
        parse_models(["faces=none"])
