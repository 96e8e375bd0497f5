"""The tasks there are: our own, and those of other packages. None is imported before somebody asks for it by name."""

import difflib
import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from muster.errors import TaskError
from muster.tasks import plugins
from muster.tasks.base import IMAGE_ID, Findings, Option, Options, StateDict, Task

if TYPE_CHECKING:  # torch takes seconds to import, and a list of names needs none of it
    import torch

# Our own. A table beside the entry points, because a job's code comes to its nodes without the metadata of a package.
OWN: Mapping[str, str] = MappingProxyType(
    {
        "answers": "muster.tasks.answers:Answers",
        "captions": "muster.tasks.captions:Captions",
        "faces": "muster.tasks.faces:Faces",
        "features": "muster.tasks.features:Features",
        "labels": "muster.tasks.labels:Labels",
        "masks": "muster.tasks.masks:Masks",
        "objects": "muster.tasks.objects:Objects",
        "previews": "muster.tasks.previews:Previews",
        "scenes": "muster.tasks.scenes:Scenes",
        "style": "muster.tasks.style:Style",
        "units": "muster.tasks.units:Units",
    }
)
_NAME = re.compile("[a-z][a-z0-9_]*")  # it becomes a folder of the library
TAKEN = {
    "audit",
    "clusters",
    "duplicates",
    "errors",
    "facts",
    "gallery",
    "images",
    "index",
    "manifest",
    "people",
    "receipts",
    "tags",
}  # in a library


def names() -> list[str]:
    """The names of all tasks that are installed, sorted. None of them is imported."""
    return sorted({*OWN, *_others()})


def find(name: str) -> type[Task]:
    """The class of a task. TaskError lists the known names, or names the package that adds a task as it must not be."""
    if name in OWN:
        return _own(name)
    if name not in _others():
        raise TaskError(f"no task {name!r}; known: {', '.join(names())}")
    return _other(name)


def create(name: str, model: str | None = None, options: Options | None = None) -> Task:
    """A task by its name, with one of its models (its default where None), without its networks.

    `options`: of those that the task has; the others are as it has them by default. TaskError where something is not
    known, and names what is.
    """
    task = find(name)
    chosen = parsed(task, options or {})
    with plugins.blaming(f"task {name!r}", origin_of(name), "cannot be made"):
        made = task(model, **chosen)
        check(name, made)
        check_parameters(made)
    return made


def load(task: Task, device: "torch.device", weights: Mapping[str, StateDict]) -> None:
    """`task.load`; where a task of another package fails in it, the TaskError names that."""
    with plugins.blaming(f"task {task.name!r}", origin_of(task.name), "cannot be loaded"):
        task.load(device, weights)


def options_of(name: str) -> Mapping[str, Option]:
    """The options that a task has; none where there is no such task."""
    return find(name).options if name in names() else {}


def guarded() -> list[Any]:
    """Our own tasks, as classes and modules: what a package that is imported must leave as it is."""
    classes = [_own(name) for name in OWN]
    return [*classes, *(import_module(each.__module__) for each in classes)]


def _others() -> Mapping[str, plugins.Entries]:
    return plugins.found(plugins.TASKS, frozenset(OWN))


def origin_of(name: str) -> EntryPoint | None:
    """The entry point of a task of another package; None for our own."""
    return _others()[name][0] if name in _others() else None


@cache
def _own(name: str) -> type[Task]:
    module, _, attribute = OWN[name].partition(":")
    return getattr(import_module(module), attribute)


@cache
def _other(name: str) -> type[Task]:
    entries = _others()[name]
    task = plugins.load(f"task {name!r}", entries, guarded())
    with plugins.blaming(f"task {name!r}", entries[0], "is not one"):
        check(name, task)
    return task


def parsed(task: type[Task], options: Options) -> dict[str, Any]:
    """All options of a task: those given, and its defaults."""
    chosen = {name: option.default for name, option in task.options.items()}
    for name, value in options.items():
        if name not in task.options:
            near = ", ".join(difflib.get_close_matches(name, task.options, n=3, cutoff=0))
            known = f"the nearest it has: {near}" if near else "it has none"
            raise TaskError(f"task {task.name!r} has no option {name!r}; {known}")
        try:
            chosen[name] = value if value is None else task.options[name].parse(value)
        except ValueError as error:
            raise TaskError(f"{task.name}.{name}={value}: {error}") from None
        except Exception as error:  # not what `parse` may raise
            raise TaskError(f"{task.name}.{name}={value}: {type(error).__name__}: {error}") from error
    return chosen


def check(name: str, task: Any) -> None:
    """TaskError where a class, or a task made of it, does not say of itself what the contract asks for."""
    lacking = [each for each in ("name", "version", "schema", "options", "findings") if not hasattr(task, each)]
    if lacking:
        raise TaskError(f"it has no {', '.join(lacking)}: make it a subclass of muster.tasks.base.Task")
    if name in TAKEN:
        raise TaskError(f"{name!r} has another meaning in a library: give it another name")
    if task.name != name or not _NAME.fullmatch(name):
        raise TaskError(
            f"it calls itself {task.name!r}, and is registered as {name!r}: both must be one word, as [a-z0-9_]"
        )
    if not isinstance(task.version, int) or task.version < 1:
        raise TaskError(f"its version is {task.version!r}, and must be a whole number from 1 on")
    if not all(isinstance(option, Option) for option in task.options.values()):
        raise TaskError("its options must be of the class Option")
    if problem := schema_problem(task.schema, task.findings):
        raise TaskError(problem)


def check_parameters(task: Task) -> None:
    """TaskError where they could not stand in a library, and in a fingerprint."""
    try:
        json.dumps(dict(task.parameters))
    except (TypeError, ValueError) as error:
        raise TaskError(f"its parameters must be what JSON can hold: {error}") from None


def schema_problem(schema: Any, findings: Findings) -> str | None:
    """What is wrong with a schema, or does not fit what is said of its columns; None where nothing is."""
    if not isinstance(schema, pa.Schema) or not len(schema) or not schema[0].equals(IMAGE_ID):
        return "its schema must be a pyarrow.Schema that begins with image_id, a string that is not null"
    if findings.mask and not findings.box:
        return "its findings name a mask and no box: give the box that the mask fills"
    kinds: list[tuple[str | None, Callable[[pa.DataType], bool], str]] = [
        (findings.label, pa.types.is_string, "text"),
        (findings.score, pa.types.is_floating, "a float"),
        (findings.box, lambda kind: _is_list(kind) and kind.list_size == 4, "a fixed-size list of four floats"),
        (findings.mask, pa.types.is_string, "text"),
        (findings.mask and "height", pa.types.is_integer, "a whole number"),
        (findings.mask and "width", pa.types.is_integer, "a whole number"),
        (findings.embedding, _is_list, "a fixed-size list of floats"),
        (findings.landmarks, pa.types.is_fixed_size_list, "a fixed-size list of points"),
        (findings.id, pa.types.is_string, "text"),
    ]
    for column, fits, kind in kinds:
        if column and column not in schema.names:
            return f"its findings name a column {column!r}, and its schema has {', '.join(schema.names)}"
        if column and not fits(schema.field(column).type):
            return f"its column {column!r} is {schema.field(column).type}, and its findings need {kind}"
    return None


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type)
