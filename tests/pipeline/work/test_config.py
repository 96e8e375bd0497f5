import os
from pathlib import Path

import pytest
import torch

from muster.errors import InputError, TaskError
from muster.pipeline.work.config import RunConfig, cores, parse_models, parse_tasks, parse_weights


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
        ({"tasks": ("objects",), "weights": {"objects": "/none"}}, "--weights objects=/none: no such file"),
        ({"tasks": ("objects",), "weights": {"objects": "/tmp"}}, "--weights objects=/tmp: no such file"),
        ({"tasks": ("faces",), "weights": {"objects": __file__}}, "'objects' is not among --tasks faces"),
        (
            {"tasks": ("faces",), "weights": {"faces": __file__}},
            r"has several networks \(detector, embedder, quality\)",
        ),
        ({"tasks": ("previews",), "weights": {"previews": __file__}}, "previews has no network"),
        (
            {"tasks": ("objects",), "models": {"objects": "own"}},
            "train it with `muster train objects .*`, then name its file with --weights objects=DIR/objects.safe",
        ),
        (
            {"tasks": ("masks",), "models": {"masks": "sam"}},
            r"sam_vit_b_01ec64\.pth, then name it with --weights masks=",
        ),
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


def test_parse_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As workers, which have another working directory, find them."""
    monkeypatch.chdir(tmp_path)
    assert parse_weights([]) == {}
    assert parse_weights(["objects=a/mine.pth", "masks=/x=y.pth"]) == {
        "objects": str(tmp_path / "a/mine.pth"),
        "masks": "/x=y.pth",
    }
    for option in ("objects", "objects=", "smiles=x.pth"):
        with pytest.raises(InputError, match=f"--weights {option}"):
            parse_weights([option])


def test_weights_that_are_given() -> None:
    for task, model in (("objects", None), ("objects", "own"), ("masks", "sam"), ("scenes", None)):
        models = {task: model} if model else {}
        assert RunConfig("L", (task,), models, weights={task: __file__}).weights == {task: __file__}


def test_each_task_looks_for_the_classes_that_it_knows() -> None:
    both = RunConfig("L", ("objects", "masks", "faces"), classes={"person": 0.6, "dog": None})
    assert both.options("objects") == {"classes": {"person": 0.6, "dog": None}}
    assert both.options("masks") == {"classes": {"person": 0.6}}
    assert both.options("faces") == {}
    with pytest.raises(InputError, match="the model of masks knows none of dog; run it alone"):
        RunConfig("L", ("objects", "masks"), classes={"dog": None})
    with pytest.raises(TaskError, match="no class 'persom'; the nearest"):
        RunConfig("L", ("objects", "masks"), classes={"persom": None, "dog": None})
