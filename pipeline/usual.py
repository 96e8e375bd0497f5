"""Which model is taken where none is named: the one that the library was run with by name, or that its rows are of.

So a library that was made with one model is never computed again with another because somebody forgot to name it, and
pages, clusters and exports speak of the same faces. See docs/adr/0028-the-librarys-model.md.
"""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from muster.errors import InputError, TaskError
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.config import RunConfig
from muster.storage import manifest, tables
from muster.storage.library import LibraryFiles
from muster.storage.models import read_models
from muster.tasks import registry
from muster.tasks.models import zoo


class ModelWarning(UserWarning):
    """A model was named that is not the one that a library was used with so far."""


def rows_by_use(
    library: LibraryFiles, task: str, shards: Mapping[str, int], model: str | None = None
) -> dict[str, dict[str, Any]]:
    """Fingerprint → description of a task's rows for images of `shards` (id → images); the first is used.

    It is of the model that the library was run with by name; then it covers most images; of equals, it is what
    `muster run` makes without other options; then it is the first by fingerprint. `model`: only those of this model, or
    under this fingerprint.
    """
    known = {name: what for name, what in tables.descriptions(library).items() if what.get("task") == task}
    covered = {name: sum(shards.get(i, 0) for i in tables.committed(library, name)) for name in known}
    there = [name for name in known if covered[name] and model in (None, known[name]["model"], name)]
    named = read_models(library).get(task) if len(there) > 1 else None
    usual = _fingerprint(task, model) if len(there) > 1 else None  # a fingerprint is no model
    order = sorted(there, key=lambda name: (known[name]["model"] != named, -covered[name], name != usual, name))
    return {name: known[name] for name in order}


def _fingerprint(task: str, model: str | None) -> str | None:
    """The fingerprint of what `muster run` makes; None where task or model are not here, or need options."""
    try:
        return TaskChoice(name=task, model=model).fingerprint
    except InputError:
        return None


def _is_here(task: str, model: str) -> bool:
    """Whether task and model are installed, whatever options they need. InputError where an address leads nowhere."""
    if _fingerprint(task, model) is not None:
        return True
    try:
        return bool(zoo.roles(registry.find(task).name, model))
    except TaskError:
        return False


def usual_model(library: LibraryFiles, task: str) -> str | None:
    """The model of a task that is taken where none is named; None: Muster's own choice, or the task has no models.

    Raises InputError where it is not installed here: with another, everything would be computed again.
    """
    model = read_models(library).get(task)
    if model is None:
        used = next(iter(rows_by_use(library, task, dict(manifest.shards(library))).values()), {})
        model = used.get("model")
    if model is not None and not _is_here(task, model):
        raise InputError(
            f"library {library.uri} has {task} by another model ({model}), which is not installed here: install the"
            f" package that adds it, or choose one of {', '.join(zoo.names(task))} with `model` {task}=NAME"
        )
    return model


def with_usual_models(library: LibraryFiles, config: RunConfig) -> RunConfig:
    """The same run, each task with a model. Those that were named, and are not the usual ones, are to be kept."""
    choices, kept = [], []
    for choice in config.choices:
        if choice.model is None:
            choices.append(replace(choice, model=usual_model(library, choice.name)))
            continue
        choices.append(choice)
        kept += [choice.name] * _is_new(library, choice.name, choice.model)
    return replace(config, choices=tuple(choices), kept=tuple(kept))


def _is_new(library: LibraryFiles, task: str, model: str) -> bool:
    """Whether the library takes another model of this task, or none yet. It is said where it has rows of another."""
    rows = rows_by_use(library, task, dict(manifest.shards(library)))
    usual = read_models(library).get(task, next(iter(rows.values()))["model"] if rows else None)
    others = sorted({what["model"] for what in rows.values()} - {model, None})
    if others and usual != model:
        warnings.warn(
            f"library {library.uri} has {task} by {', '.join(others)} too: from now on {model} is what commands take"
            f" there that name no model; to go back, run once with `model` {task}={others[0]}",
            ModelWarning,
            stacklevel=2,
        )
    return usual != model
