"""A task as its user chose it: with a model, options and weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from muster.errors import InputError, MusterError, TaskError
from muster.pipeline.work.addresses import absolute
from muster.pipeline.work.weights import given_entry, load_weights, not_weights_of, parse_given, weights_file
from muster.storage import downloads, tables
from muster.tasks import base, plugins, registry
from muster.tasks.models import zoo
from muster.tasks.models.zoo.entry import Entry


@dataclass(frozen=True, kw_only=True)
class TaskChoice:
    """A task with one of its models (None: its default), some of its options, and with a file of the user's in place of
    its model's weights.

    Raises TaskError or InputError where these do not go together. Sent to a worker it keeps its fingerprint, whatever
    becomes of the file.
    """

    name: str
    model: str | None = None
    options: base.Options = field(default_factory=dict)
    weights: Path | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", absolute(self.name, self.model))
        task = self.task  # TaskError where there is none
        if strange := sorted(set(task.models.values()) - zoo.ENTRIES.keys()):
            with plugins.blaming(f"task {self.name!r}", registry.origin_of(self.name), "cannot be made"):
                raise TaskError(f"its models name {', '.join(strange)}, and the zoo has no such entry")
        if self.weights is None:
            return
        if (entry := given_entry(task)).load is not None:  # InputError where it takes no file
            raise InputError(f"`weights` {self.name}={self.weights}: the model {entry.name} has its own weights")
        object.__setattr__(self, "weights", self.weights.expanduser().absolute())  # workers have another folder
        if not self.weights.is_file():
            raise InputError(f"`weights` {self.name}={self.weights}: no such file")

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("name", "model", "options", "weights", "description")}

    @cached_property
    def task(self) -> base.Task:
        """The task, without its networks."""
        return registry.create(self.name, self.model, self.options)

    @cached_property
    def description(self) -> dict[str, Any]:
        """What the fingerprint covers: task, version, parameters and the digests of the weights."""
        return self._described(None if self.weights is None else downloads.read(self.weights))

    @property
    def fingerprint(self) -> str:
        """Under which its rows lie in a library."""
        return tables.fingerprint(self.description)

    @property
    def entries(self) -> list[Entry]:
        """Its networks, as the zoo has them."""
        return [zoo.ENTRIES[name] for name in self.task.models.values()]

    def files(self) -> list[downloads.WeightsFile]:
        """The weights it needs beside the user's file. InputError where only a user can have them, and gave none."""
        return [weights_file(zoo.ENTRIES[name]) for name in self._own if zoo.ENTRIES[name].load is None]

    def load(self, device: torch.device, weights_dir: Path | None) -> base.Task:
        """The task with its networks on `device`. Raises InputError where the user's file cannot be read, or is no
        longer the one of the fingerprint."""
        states: dict[str, base.StateDict] = {}
        task = registry.create(self.name, self.model, self.options)  # which reads anew what lies at an address
        if zoo.is_address(self.model) and self._described(None) != self.description:
            raise InputError(f"{self.model} is no longer what it was when the run began: run again")
        if self.weights is not None:
            given = downloads.read(self.weights)  # these bytes are compared, and loaded
            if self._described(given) != self.description:
                raise InputError(f"{self.weights} is no longer the file that it was when the run began: run again")
            states[given_entry(self.task).name] = parse_given(given)
        for name in self._own:
            states[name] = load_weights(zoo.ENTRIES[name], weights_dir)
        registry.load(task, device, states)
        return task

    def try_weights(self, weights_dir: Path | None) -> None:
        """Load the user's file, or the model at an address, as a worker will; InputError where these are not the
        weights of the model."""
        given = f"`weights` {self.name}={self.weights}"
        option = given if self.weights is not None else f"`model` {self.name}={self.model}"
        try:
            task = self.load(torch.device("cpu"), weights_dir)
        except TaskError as error:
            raise InputError(f"{option}: {error}") from None
        except MusterError:
            raise
        except Exception as error:  # a builder looks for what it needs, and comes upon something else
            entry = given_entry(self.task) if self.weights else next(each for each in self.entries if each.load)
            raise InputError(f"{option}: {not_weights_of(entry, error)}") from None
        if zoo.is_address(self.model):
            _try(task, option)

    @property
    def _replaced(self) -> set[str]:
        """The zoo entry whose weights are the user's, if any."""
        return set() if self.weights is None else {given_entry(self.task).name}

    @property
    def _own(self) -> set[str]:
        return set(self.task.models.values()) - self._replaced

    def _described(self, given: downloads.Content | None) -> dict[str, Any]:
        digests = {entry: zoo.ENTRIES[entry].sha256 for entry in self.task.models.values()}
        if given is not None:
            digests[given_entry(self.task).name] = given.sha256
        described = {
            "task": self.task.name,
            "version": self.task.version,
            "model": self.model or zoo.default(self.name),
            "parameters": dict(self.task.parameters),
            "weights": {role: {"name": entry, "sha256": digests[entry]} for role, entry in self.task.models.items()},
        }
        if zoo.is_address(self.model):  # so that its rows are read where the model is no more
            described["classes"] = list(self.task.classes)
        return described


def _try(task: base.Task, option: str) -> None:
    """Run it on a grey picture: InputError where its parts do not go together, which every photo would say else."""
    try:
        task([base.Image("", np.full((64, 96, 3), 128, np.uint8), 1.0, (96, 64))])
    except Exception as error:  # a processor of another kind, say
        raise InputError(f"{option}: it fails on a grey picture ({type(error).__name__}: {error})") from None


def choose(
    tasks: Sequence[str],
    *,
    models: Mapping[str, str] | None = None,
    options: base.Options | None = None,
    settings: Mapping[str, base.Options] | None = None,
    weights: Mapping[str, Path] | None = None,
) -> tuple[TaskChoice, ...]:
    """A choice for each of `tasks`. `models`, `weights`: task → model and file; `settings`: task → options of its own;
    `options`: for all tasks that take them.

    Of `classes` (name → least score) a task is given those that it knows, where another task knows the others.
    InputError or TaskError where something is for none of the tasks, or a task would be left without a class, which
    would be to look for everything.
    """
    models, settings, weights = models or {}, settings or {}, weights or {}
    given = {name: value for name, value in (options or {}).items() if value not in (None, {})}
    for option, named in {"model": models, "weights": weights}.items():
        for task in named.keys() - set(tasks):
            raise InputError(f"`{option}` {task}={named[task]}: task {task!r} is not among `tasks` {','.join(tasks)}")
    for task in settings.keys() - set(tasks):
        raise InputError(
            f"`settings` {task}.{next(iter(settings[task]))}: task {task!r} is not among `tasks` {','.join(tasks)}"
        )
    classes = _classes_of([task for task in tasks if "classes" in registry.options_of(task)], models, given)
    choices = []
    for task in tasks:
        taken = {name: value for name, value in given.items() if name in registry.options_of(task)}
        if task in classes:
            taken["classes"] = classes[task]
        taken |= settings.get(task, {})
        choices.append(TaskChoice(name=task, model=models.get(task), options=taken, weights=weights.get(task)))
    for option in given:
        if not any(option in registry.options_of(task) for task in tasks):
            raise InputError(f"`{option}`: none of `tasks` {','.join(tasks)} takes it")
    return tuple(choices)


def _classes_of(takers: Sequence[str], models: Mapping[str, str], options: base.Options) -> dict[str, dict[str, Any]]:
    """The `classes` of each task, where several take them."""
    classes = options.get("classes", {})
    if not classes or len(takers) < 2:
        return {}
    known = {task: {name for name in classes if _knows(task, models.get(task), name)} for task in takers}
    for name in classes.keys() - set().union(*known.values()):
        registry.create(takers[0], models.get(takers[0]), {"classes": {name: None}})  # names the nearest
    for task in takers:
        if not known[task]:
            raise InputError(f"`classes`: the model of {task} knows none of {', '.join(classes)}; run it alone")
    return {task: {name: score for name, score in classes.items() if name in known[task]} for task in takers}


def _knows(task: str, model: str | None, name: str) -> bool:
    try:
        registry.create(task, model, {"classes": {name: None}})
    except TaskError:
        return False
    return True
