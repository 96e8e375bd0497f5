"""Trainings that are stopped, and go on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from muster.training.loop import Recipe, Report, train

CPU = torch.device("cpu")


def check_it_goes_on(make: Callable[[], Recipe], folder: Path, at: int) -> None:
    """A training that was stopped at step `at`, and goes on from the checkpoint before it, ends with the weights of one
    that was not."""

    class StoppedError(Exception):
        pass

    def stop(report: Report) -> None:
        if report.step == at:
            raise StoppedError

    def made() -> Recipe:
        found = make()
        found.settings = replace(found.settings, checkpoint_seconds=0, report_every=at)
        assert at < found.settings.steps
        return found

    path = train(made(), folder / "whole", CPU, lambda report: None)
    with pytest.raises(StoppedError):
        train(made(), folder / "parts", CPU, stop)
    train(made(), folder / "parts", CPU, lambda report: None)
    whole, parts = (safetensors.torch.load_file(folder / name / path.name) for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
