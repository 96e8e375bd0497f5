"""Runs as tests ask for them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muster.pipeline.work.choice import choose
from muster.pipeline.work.config import DEFAULT_TASKS, RunConfig
from muster.pipeline.work.machine import Machine


def config_of(
    library: str | Path,
    *tasks: str,
    models: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    weights: Mapping[str, Path] | None = None,
    **machine: Any,
) -> RunConfig:
    """A run of these tasks, or of those of `muster run`, on the CPU."""
    choices = choose(tasks or DEFAULT_TASKS, models=models, options=options, weights=weights)
    return RunConfig(library=str(library), choices=choices, machine=Machine(**{"device": "cpu", **machine}))
