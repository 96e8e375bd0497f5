"""pipeline/train.py and pipeline/distributed/training.py, with the recipe of helpers/brightness.py."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.brightness import Brightness, settings
from muster.errors import InputError, MusterError
from muster.pipeline.distributed.training import _cause, _check_visible
from muster.pipeline.train import train
from muster.pipeline.work.machine import Machine
from muster.pipeline.work.training import Training, absolute
from muster.tasks.models import zoo
from muster.training import recipes
from muster.training.data.examples import OnSkipped, find_examples, read_photos
from muster.training.inputs import Inputs
from muster.training.loop import Recipe, Report, adjusted, read_metrics


@pytest.fixture
def by_ray(ray_cluster: None) -> Iterator[None]:
    """Ray's processes do not find the modules of tests: these recipes travel as code."""
    from ray import cloudpickle

    modules = [sys.modules["helpers.brightness"], sys.modules[__name__]]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    yield
    for module in modules:
        cloudpickle.unregister_pickle_by_value(module)


# Ray Train warns of its own settings as it is imported.
pytestmark = pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\.")


def build(inputs: Inputs) -> Brightness:
    """Looks at the photos, as a real recipe does, and then learns from noise."""
    examples = find_examples(inputs.images, inputs.label, inputs.limit)
    photos = [photo for _, photo in read_photos(examples, 64, inputs.on_skipped)]
    with (inputs.out / "prepared.txt").open("a") as file:
        file.write(f"{len(photos)} photos\n")
    return Brightness(adjusted(settings(checkpoint_seconds=0), inputs, 1000))


def build_bad(inputs: Inputs) -> Brightness:
    return Brightness(settings(checkpoint_seconds=0), bad_step=7)


@dataclass(frozen=True, kw_only=True)
class Brightening(Training):
    """As code, because Ray's processes know no recipe of tests."""

    with_inputs: Callable[[Inputs], Brightness] = build

    def build(self, on_skipped: OnSkipped) -> Recipe:
        return self.with_inputs(replace(self.inputs, on_skipped=on_skipped))


@pytest.fixture(autouse=True)
def recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", {"brightness": recipes.Definition(build)})


def training(out: Path, photos: Path, workers: int = 1, **changes: Any) -> Training:
    given = {"recipe": "brightness", "inputs": Inputs(images=[str(photos)], out=out)}
    return Brightening(**{**given, **changes}, machine=Machine(device="cpu", workers=workers))


def test_in_this_process(tmp_path: Path, album: Path) -> None:
    reports: list[Report] = []
    skipped: list[str] = []
    facts = train(training(tmp_path / "out", album), reports.append, skipped.append)
    assert facts.items() >= {"recipe": "brightness", "steps": 40, "skipped": 2}.items()
    assert sorted(text.partition(":")[0] for text in skipped) == ["cut.jpg", "text.jpg"]
    for what in ("model", "card", "curves", "metrics"):
        assert Path(facts[what]).parent == tmp_path / "out"
        assert Path(facts[what]).is_file()
    assert facts["measured"] == json.loads(Path(facts["card"]).read_text())["measured"]
    assert reports[-1].values["loss"] < 0.3 * reports[0].values["loss"]
    with pytest.raises(InputError, match="is a finished model"):
        train(training(tmp_path / "out", album), reports.append, skipped.append)


@pytest.mark.usefixtures("by_ray")
def test_in_two_processes(tmp_path: Path, album: Path) -> None:
    reports: list[Report] = []
    skipped: list[str] = []
    job = training(tmp_path / "out", album, workers=2)
    facts = train(job, reports.append, skipped.append)
    assert facts.items() >= {"steps": 40, "skipped": 2}.items()
    assert sorted(text.partition(":")[0] for text in skipped) == ["cut.jpg", "text.jpg"]
    assert [report.step for report in reports] == list(range(5, 41, 5))
    assert reports[-1].values["loss"] < 0.3 * reports[0].values["loss"]
    assert [line["loss"] for line in read_metrics(tmp_path / "out" / "metrics.jsonl")] == [
        round(report.values["loss"], 6) for report in reports
    ]
    assert not (tmp_path / "out" / ".ray").exists()


@pytest.mark.usefixtures("by_ray")
def test_an_error_in_two_processes_is_the_one_they_had(tmp_path: Path, album: Path) -> None:
    with pytest.raises(MusterError, match="at step 8, in the batch"):
        train(training(tmp_path / "out", album, with_inputs=build_bad, workers=2), print, print)
    assert torch.load(tmp_path / "out" / "checkpoint.pt", weights_only=True)["step"] == 7


def test_a_cause_is_told_and_not_where_it_was_raised() -> None:
    from ray.train import WorkerGroupError

    told = InputError("no photo shows a face")
    assert _cause(WorkerGroupError("…", {1: told, 0: ValueError("gloo: connection closed")})) is told
    text = "the training failed: gloo: connection closed. Run it again to go on from its last checkpoint"
    assert str(_cause(WorkerGroupError("…", {0: ValueError("Traceback\ngloo: connection closed\n")}))) == text


def test_a_folder_that_a_process_does_not_see(tmp_path: Path) -> None:
    _check_visible(tmp_path)
    with pytest.raises(InputError, match=r"`out` .*/none is not there on .*: name a folder that all workers share"):
        _check_visible(tmp_path / "none")


def test_names_that_hold_in_any_working_directory(tmp_path: Path, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(album.parent)
    inputs = Inputs(images=[album.name, f"{album.name}/*.jpg"], out=Path("out"), scenes=[album.name], styles=["a.jpg"])
    job = absolute(training(tmp_path, album, inputs=inputs))
    assert job.inputs.images == [str(album), f"{album}/*.jpg"]
    assert job.inputs.scenes == [str(album)]
    assert job.inputs.styles == [str(album.parent / "a.jpg")]
    assert job.inputs.out == album.parent / "out"


def test_the_networks_a_recipe_learns_from_are_loaded(
    tmp_path: Path, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Inputs] = []

    def look(inputs: Inputs) -> Brightness:
        given.append(inputs)
        return Brightness(settings())

    monkeypatch.setattr(recipes, "RECIPES", {"looks": recipes.Definition(look, ("muster-daynight",))})
    Training(recipe="looks", inputs=Inputs(images=[str(album)], out=tmp_path)).build(print)
    [inputs] = given
    assert inputs.on_skipped is print
    assert zoo.ENTRIES["muster-daynight"].build(inputs.weights["muster-daynight"])
