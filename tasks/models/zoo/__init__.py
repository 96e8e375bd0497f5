"""Every network Muster knows, as data: where its weights come from, what they may be used for, what goes in.

`MODELS[task][name]` says which entries play which role when a user writes `--model task=name`.
"""

from collections.abc import Mapping
from types import MappingProxyType

from muster.errors import TaskError
from muster.tasks.models.zoo import faces, masks, objects, scenes
from muster.tasks.models.zoo.entry import Entry

_TASKS = {"faces": faces, "masks": masks, "objects": objects, "scenes": scenes}

ENTRIES: Mapping[str, Entry] = MappingProxyType({e.name: e for zoo in _TASKS.values() for e in zoo.ENTRIES})
MODELS: Mapping[str, Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {task: zoo.MODELS for task, zoo in _TASKS.items()}
)
DEFAULTS: Mapping[str, str] = MappingProxyType({task: zoo.DEFAULT for task, zoo in _TASKS.items()})


def roles(task: str, model: str) -> Mapping[str, str]:
    """Role → entry name of a task's model; TaskError lists the known names on a miss."""
    known = MODELS.get(task, {})
    if model not in known:
        names = ", ".join(known) or "none"
        raise TaskError(f"task {task!r} has no model {model!r}; known: {names}")
    return known[model]
