"""Every network Muster knows, as data: where its weights come from, what they may be used for, what goes in.

`MODELS[task][name]` says which entries play which role when a user writes `--model task=name`. Other packages add to
it by entry points of the group `muster.models`, called TASK.NAME: a mapping of role → Entry, or the name of an entry
that is here. They are imported when somebody asks for such a model, or for all (`models`, `everything`).
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint
from types import MappingProxyType
from typing import Any

from muster.errors import TaskError
from muster.tasks import plugins, registry
from muster.tasks.models.zoo import classifiers, faces, features, labels, masks, objects, plain, scenes, style, units
from muster.tasks.models.zoo.entry import Entry
from muster.tasks.models.zoo.listed import LISTED, address

_TASKS = {
    "faces": faces,
    "features": features,
    "labels": labels,
    "masks": masks,
    "objects": objects,
    "scenes": scenes,
    "style": style,
    "units": units,
}

_entries: dict[str, Entry] = {e.name: e for zoo in (*_TASKS.values(), classifiers, plain) for e in zoo.ENTRIES}
ENTRIES: Mapping[str, Entry] = MappingProxyType(_entries)  # of other packages: once their model was asked for
MODELS: Mapping[str, Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {task: zoo.MODELS for task, zoo in _TASKS.items()}
)
DEFAULTS: Mapping[str, str] = MappingProxyType({task: zoo.DEFAULT for task, zoo in _TASKS.items()})
# What begins an address → what finds the parts of a task's model there. Filled by muster.pipeline.work: it reads files
ADDRESSES: dict[str, Callable[[str, str], Mapping[str, Entry | str]]] = {}
_OWN = frozenset(f"{task}.{model}" for known in (MODELS, LISTED) for task in known for model in known[task])


def names(task: str) -> list[str]:
    """The names of a task's models, Muster's own first. Nothing is imported."""
    listed = LISTED.get(task, {})
    others = (name.removeprefix(f"{task}.") for name in _others() if name.startswith(f"{task}."))
    return [*MODELS.get(task, ()), *listed, *filter(None, others)]


def roles(task: str, model: str) -> Mapping[str, str]:
    """Role → entry name of a task's model; TaskError lists the known names on a miss."""
    if model in MODELS.get(task, {}):
        return MODELS[task][model]
    model = address(task, model) or model
    if is_address(model):
        return _named(ADDRESSES[model.partition(":")[0]](task, model))
    if f"{task}.{model}" not in _others():
        raise TaskError(f"task {task!r} has no model {model!r}; known: {', '.join(names(task)) or 'none'}")
    return _other(f"{task}.{model}")


def is_address(model: str | None) -> bool:
    """Whether a model is named by where it lies."""
    return model is not None and model.partition(":")[0] in ADDRESSES


def default(task: str) -> str | None:
    """The model that a task takes by itself; None where it has none."""
    return DEFAULTS.get(task) or registry.find(task).default_model


def everything() -> dict[str, dict[str, Mapping[str, str]]]:
    """`MODELS` with those of other packages; one that is not as it must be is warned of, and left out."""
    found: dict[str, dict[str, Mapping[str, str]]] = {task: dict(models) for task, models in MODELS.items()}
    for name in _others():
        task, _, model = name.partition(".")
        try:
            parts = _other(name)
            found.setdefault(task, {})[model] = parts
        except TaskError as error:
            warnings.warn(str(error), plugins.PluginWarning, stacklevel=2)
    return found


def _others() -> Mapping[str, plugins.Entries]:
    return plugins.found(plugins.MODELS, _OWN)


@cache
def _other(name: str) -> Mapping[str, str]:
    """Import a model of another package by the name of its entry point, and have its entries among ENTRIES."""
    task, _, model = name.partition(".")
    what, entries = f"model {task}={model}", _others()[name]
    parts = plugins.load(what, entries, registry.guarded())
    with plugins.blaming(what, entries[0], "is not one"):
        if task not in registry.names() or not model:
            raise TaskError(f"it is registered as {name!r}: write TASK.NAME, with a task that is installed")
        _check(task, parts)
    blamed = {
        role: replace(part, build=_blamed(what, entries[0], part.build)) if isinstance(part, Entry) else part
        for role, part in parts.items()
    }
    return _named(blamed)


def _named(parts: Mapping[str, Entry | str]) -> Mapping[str, str]:
    """Role → entry name, of parts that are among ENTRIES from now on."""
    _entries.update({part.name: part for part in parts.values() if isinstance(part, Entry)})
    return {role: part.name if isinstance(part, Entry) else part for role, part in parts.items()}


def _blamed(what: str, origin: EntryPoint, build: Callable[..., Any]) -> Callable[..., Any]:
    def built(weights: Any) -> Any:
        with plugins.blaming(what, origin, "cannot be built"):
            return build(weights)

    return built


def _check(task: str, parts: Mapping[str, Entry | str]) -> None:
    wanted = set.intersection(*map(set, MODELS.get(task, {"": parts}).values()))  # that each model of the task has
    if missing := wanted - parts.keys():
        raise TaskError(f"it has no {', '.join(sorted(missing))}: a model of {task} is {', '.join(sorted(wanted))}")
    for role, part in parts.items():
        if isinstance(part, Entry) and part.name in _entries:
            raise TaskError(
                f"its {role} is called {part.name!r}, as an entry that is there already: give it another name"
            )
        if not isinstance(part, Entry) and part not in _entries:
            raise TaskError(f"its {role} is {part!r}: give an Entry, or the name of one that is there")
