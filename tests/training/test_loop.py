"""training/loop.py, with a real recipe that is small enough for a test."""

import errno
import itertools
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest
import safetensors.torch
import torch

from helpers.brightness import CPU, Brightness, run, settings
from muster.errors import InputError, MusterError
from muster.training import loop
from muster.training.inputs import Inputs
from muster.training.loop import Report, adjusted, half, rate_at, train
from muster.training.record import read_metrics, replace_file

pytestmark = pytest.mark.precision

# ---- a training ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Report]]:
    out = tmp_path_factory.mktemp("finished") / "out"
    return out, run(Brightness(settings(measure_every=10)), out)


def test_the_loss_falls(finished: tuple[Path, list[Report]]) -> None:
    _, reports = finished
    assert [report.step for report in reports] == list(range(5, 41, 5))
    assert reports[-1].values["loss"] < 0.3 * reports[0].values["loss"]
    assert [report.step for report in reports if "error" in report.values] == [10, 20, 30]
    assert all(report.rate > 0 and report.steps == 40 for report in reports)


def test_what_a_folder_holds(finished: tuple[Path, list[Report]]) -> None:
    out, reports = finished
    assert {path.name for path in out.iterdir()} == {
        "checkpoint.pt",
        "metrics.jsonl",
        "curves.png",
        "brightness.safetensors",
        "card.json",
    }
    lines = read_metrics(out / "metrics.jsonl")
    assert [line["step"] for line in lines] == [report.step for report in reports]
    assert [line["loss"] for line in lines] == [round(report.values["loss"], 6) for report in reports]
    card = json.loads((out / "card.json").read_text())
    assert card.items() >= {"name": "brightness", "data": "noise", "parameters": 313}.items()
    assert card["settings"]["steps"] == 40
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_averaged_weights_are_kept_in_half_precision(finished: tuple[Path, list[Report]]) -> None:
    out, _ = finished
    recipe = Brightness(settings())
    state = safetensors.torch.load_file(out / "brightness.safetensors")
    assert {value.dtype for value in state.values()} == {torch.float16}
    assert not any("num_batches_tracked" in name for name in state)
    average = torch.load(out / "checkpoint.pt", weights_only=True)["average"]
    assert torch.equal(state["0.weight"], average["module.0.weight"].half())
    network = recipe.network().eval()
    network.load_state_dict({name: value.float() for name, value in state.items()}, strict=False)
    measured = json.loads((out / "card.json").read_text())["measured"]
    assert recipe.measure(network)["error"] == pytest.approx(measured["error"], abs=1e-3)


@pytest.mark.parametrize("changes", [{}, {"weight_decay": 0.0}])
def test_it_learns(tmp_path: Path, changes: dict[str, Any]) -> None:
    reports = run(Brightness(settings(**changes)), tmp_path)
    assert reports[-1].values["loss"] < 0.5 * reports[0].values["loss"]


# ---- going on --------------------------------------------------------------------------------------------------------


class StopError(Exception):
    pass


@pytest.mark.parametrize("stops", [[15], [5, 5, 25, 35], [40]], ids=str)
def test_an_interrupted_training_has_the_same_curve(
    tmp_path: Path, finished: tuple[Path, list[Report]], stops: list[int]
) -> None:
    undisturbed, _ = finished
    recipe = Brightness(settings(measure_every=10, checkpoint_seconds=0))
    for stop in stops:

        def on_report(report: Report, stop: int = stop) -> None:
            if report.step >= stop:
                raise StopError

        with pytest.raises(StopError):
            train(recipe, tmp_path, CPU, on_report)
    run(recipe, tmp_path)
    same(tmp_path, undisturbed)


def same(one: Path, other: Path) -> None:
    """Both folders hold the same curve and the same model, to the last bit."""
    assert (one / "metrics.jsonl").read_text() == (other / "metrics.jsonl").read_text()
    assert (one / "brightness.safetensors").read_bytes() == (other / "brightness.safetensors").read_bytes()


def test_a_killed_training_has_the_same_curve(tmp_path: Path, finished: tuple[Path, list[Report]]) -> None:
    changes = {"measure_every": 10, "checkpoint_seconds": 0}
    code = (
        f"from helpers.brightness import *; run(Brightness(settings(**{changes}), die_at=23), Path({str(tmp_path)!r}))"
    )
    here = Path(__file__).parent
    threads = str(torch.get_num_threads())  # sums come out in another order with another number of them
    env = {**os.environ, "PYTHONPATH": str(here.parent), "OMP_NUM_THREADS": threads}
    died = subprocess.run([sys.executable, "-c", code], cwd=here, env=env)
    assert died.returncode == -signal.SIGKILL
    assert 15 <= torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] <= 23  # batches 0 to 22
    assert not (tmp_path / "brightness.safetensors").exists()
    run(Brightness(settings(**changes)), tmp_path)
    same(tmp_path, finished[0])


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 5, "loss": 1.0}\n{"step": 10, "lo')
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 5, "loss": 1.0}]
    assert read_metrics(tmp_path / "none.jsonl") == []


def test_a_training_begins_with_the_weights_of_another(tmp_path: Path, finished: tuple[Path, list[Report]]) -> None:
    reports: list[Report] = []
    recipe = Brightness(settings(steps=5, learning_rate=1e-6, report_every=1))
    train(recipe, tmp_path / "out", CPU, reports.append, start=finished[0])
    assert reports[0].values["loss"] < 0.3 * finished[1][0].values["loss"]
    ends = [json.loads((out / "card.json").read_text())["measured"]["error"] for out in (tmp_path / "out", finished[0])]
    assert ends[0] == pytest.approx(ends[1], abs=0.05)


def test_a_training_that_cannot_be_begun_with(tmp_path: Path, finished: tuple[Path, list[Report]]) -> None:
    with pytest.raises(InputError, match="no training is there"):
        train(Brightness(settings()), tmp_path / "out", CPU, print, start=tmp_path / "none")
    with pytest.raises(InputError, match=r"of another architecture: .*name another folder with `start`"):
        train(Brightness(settings(), width=4), tmp_path / "out", CPU, print, start=finished[0])


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    recipe = Brightness(settings(checkpoint_seconds=0), bad_step=12)
    with pytest.raises(MusterError, match=r"the loss is nan .* at step 13, in the batch that begins with 192\.jpg"):
        run(recipe, tmp_path)
    kept = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert kept["step"] == 12
    for part in ("network", "average"):
        assert all(value.isfinite().all() for value in kept[part].values())
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [5, 10]
    assert not (tmp_path / "brightness.safetensors").exists()


def test_a_finished_model_is_not_overwritten(finished: tuple[Path, list[Report]]) -> None:
    out, _ = finished
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(InputError, match=r"brightness\.safetensors is a finished model .* `out`"):
        run(Brightness(settings(steps=2)), out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """The folder of a training that was stopped at step 10."""

    def stop(report: Report) -> None:
        if report.step == 10:
            raise StopError

    with pytest.raises(StopError):
        train(Brightness(settings(checkpoint_seconds=0)), tmp_path, CPU, stop)
    return tmp_path


def test_a_checkpoint_of_another_architecture(begun: Path) -> None:
    before = (begun / "checkpoint.pt").read_bytes()
    with pytest.raises(
        InputError, match=r"checkpoint\.pt is of another architecture: 0\.bias is \(8,\) there and \(4,\) "
    ):
        run(Brightness(settings(checkpoint_seconds=0), width=4), begun)
    assert (begun / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("changes", [{"steps": 41}, {"learning_rate": 0.01}, {"seed": 1}], ids=str)
def test_a_checkpoint_of_other_settings(begun: Path, changes: dict[str, Any]) -> None:
    before = (begun / "checkpoint.pt").read_bytes()
    [(name, value)] = changes.items()
    old = getattr(settings(), name)
    with pytest.raises(InputError, match=rf"was begun with {name} {old}, not {value}: .* `out`"):
        run(Brightness(settings(checkpoint_seconds=0, **changes)), begun)
    assert (begun / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("content", ["cut", "text", "empty", "another", "list"])
def test_a_damaged_checkpoint(begun: Path, content: str) -> None:
    file = begun / "checkpoint.pt"
    if content in ("another", "list"):
        torch.save({"step": 3} if content == "another" else [1, 2], file)
    else:
        file.write_bytes({"cut": file.read_bytes()[:-500], "text": b"This is no checkpoint.", "empty": b""}[content])
    before = file.read_bytes()
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged or no checkpoint .*remove it"):
        run(Brightness(settings(checkpoint_seconds=0)), begun)
    assert file.read_bytes() == before


def test_a_checkpoint_that_lacks_a_part(begun: Path) -> None:
    file = begun / "checkpoint.pt"
    state = torch.load(file, weights_only=True)
    del state["optimiser"]
    torch.save(state, file)
    with pytest.raises(InputError, match=r"checkpoint\.pt is damaged"):
        run(Brightness(settings(checkpoint_seconds=0)), begun)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(InputError, match=f"`out` {out}: "):
            run(Brightness(settings()), out)


@pytest.mark.parametrize("changes", [{"steps": 0}, {"batch": 1}], ids=str)
def test_settings_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=str(next(iter(changes.values())))):
        settings(**changes)


# ---- parts -----------------------------------------------------------------------------------------------------------


def test_the_rate_rises_then_falls() -> None:
    factors = [rate_at(step, settings(steps=100, warmup=0.1)) for step in range(100)]
    assert factors[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert all(a > b for a, b in itertools.pairwise(factors[10:]))
    assert factors[10] == 1
    assert factors[-1] == pytest.approx(0.01, abs=1e-3)
    assert rate_at(0, settings(steps=1)) == 1


def test_what_a_user_gives_stands_instead_of_the_settings() -> None:
    base = settings()
    assert adjusted(base, Inputs(images=[], out=Path("out")), 1000) == base
    given = adjusted(base, Inputs(images=[], out=Path("out"), steps=3, rate=0.5, seed=9), 10)
    assert (given.steps, given.learning_rate, given.seed, given.batch) == (3, 0.5, 9, 10)
    assert adjusted(base, Inputs(images=[], out=Path("out"), seed=0), 1000).seed == 0


def test_half_leaves_counters_out() -> None:
    state = {"a": torch.tensor([1.00001]), "num_batches_tracked": torch.tensor(4)}
    assert half(state) == {"a": torch.tensor([1.0], dtype=torch.float16)}


def test_what_cannot_be_measured_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Brightness, "measure", lambda self, network: {"found": 1.0, "error": math.nan})
    run(Brightness(settings(steps=2)), tmp_path / "out")
    assert json.loads((tmp_path / "out" / loop.CARD).read_text())["measured"] == {"found": 1.0}


def test_a_full_disk_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    def write(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "file", write)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
