"""What a command was asked to do, validated once at the edge."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from muster.errors import InputError
from muster.pipeline.work.weights import given_entry, weights_file
from muster.tasks import base, registry
from muster.tasks.models import zoo

DEVICES = ("auto", "cpu", "cuda")
DEFAULT_TASKS = ("faces", "previews")


def cores() -> int:
    """CPU cores that this process may use; those of the machine where the system does not say (macOS)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class RunConfig:
    """One run. Raises InputError where the values cannot be."""

    library: str
    tasks: tuple[str, ...] = DEFAULT_TASKS
    models: Mapping[str, str] = field(default_factory=dict)  # task → model name; its default where absent
    device: str = "auto"
    workers: int | None = None  # one per GPU or core where None
    weights_dir: Path | None = None
    address: str | None = None  # of a running Ray cluster; this machine alone where None
    retry_errors: bool = False  # images whose error may have passed since, see muster.pipeline.run.TRANSIENT
    shared_library: bool = False  # all nodes of the cluster see the library, and the weights, under these paths
    classes: Mapping[str, float | None] = field(default_factory=dict)  # class → least score; all classes where empty
    min_score: float | None = None  # of the classes that name none; the task's own where None
    weights: Mapping[str, str] = field(default_factory=dict)  # task → the user's file in place of its model's

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers {self.workers}: at least 1 worker is needed")
        if self.device not in DEVICES:
            raise InputError(f"--device {self.device}: choose one of {', '.join(DEVICES)}")
        if self.device == "cuda" and self.address is None and not torch.cuda.is_available():
            raise InputError("--device cuda: no CUDA device is visible here; use --device cpu or auto")
        if self.on_gpu and self.address is None and self.worker_count > torch.cuda.device_count():
            raise InputError(  # Ray would wait for the missing ones for ever
                f"--workers {self.workers}: a worker takes a GPU of its own, and {torch.cuda.device_count()} are here;"
                " give fewer, or --device cpu"
            )
        if not self.tasks:
            raise InputError(f"--tasks names no task; known: {', '.join(registry.names())}")
        for task in self.models.keys() - set(self.tasks):
            raise InputError(
                f"--model {task}={self.models[task]}: task {task!r} is not among --tasks {','.join(self.tasks)}"
            )
        if self.weights_dir is not None and not self.weights_dir.is_dir():
            raise InputError(f"--weights-dir {self.weights_dir}: no such folder")
        for task in self.tasks:
            self._check_weights(registry.create(task, self.models.get(task), self.options(task)))
        for task in self.weights.keys() - set(self.tasks):
            raise InputError(
                f"--weights {task}={self.weights[task]}: task {task!r} is not among --tasks {','.join(self.tasks)}"
            )
        for option, given in {"classes": self.classes, "min_score": self.min_score}.items():
            if given not in (None, {}) and not any(option in registry.options_of(task) for task in self.tasks):
                raise InputError(f"--{option.replace('_', '-')}: none of --tasks {','.join(self.tasks)} takes it")

    def _check_weights(self, task: base.Task) -> None:
        given = self.weights.get(task.name)
        own = given_entry(task) if given is not None else None
        if given is not None and not Path(given).is_file():
            raise InputError(f"--weights {task.name}={given}: no such file")
        for entry in (zoo.ENTRIES[name] for name in task.models.values()):
            if entry != own:
                weights_file(entry)  # says so where there is none

    def options(self, task: str) -> dict[str, Any]:
        """What was chosen of a task's parameters."""
        given = {"classes": self._classes(task), "min_score": self.min_score}
        return {
            name: value
            for name, value in given.items()
            if value not in (None, {}) and name in registry.options_of(task)
        }

    def _classes(self, task: str) -> dict[str, float | None]:
        """Of the classes chosen, those that this task's model knows, where another task knows the others.

        InputError or TaskError where none does, or this one knows none, which would be to look for everything.
        """
        takers = [each for each in self.tasks if "classes" in registry.options_of(each)]
        if task not in takers or len(takers) < 2:
            return dict(self.classes)
        known = {each: {name for name in self.classes if self._knows(each, name)} for each in takers}
        for name in self.classes:
            if not any(name in names for names in known.values()):
                registry.create(takers[0], self.models.get(takers[0]), {"classes": {name: None}})  # names the nearest
        if self.classes and not known[task]:
            raise InputError(f"--classes: the model of {task} knows none of {', '.join(self.classes)}; run it alone")
        return {name: score for name, score in self.classes.items() if name in known[task]}

    def _knows(self, task: str, name: str) -> bool:
        try:
            registry.create(task, self.models.get(task), {"classes": {name: None}})
        except base.TaskError:
            return False
        return True

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())

    @property
    def worker_count(self) -> int:
        if self.workers is not None:
            return self.workers
        return torch.cuda.device_count() if self.on_gpu else cores()


def parse_tasks(text: str) -> tuple[str, ...]:
    """`faces,previews` → names, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def parse_models(options: Sequence[str]) -> dict[str, str]:
    """`["faces=published"]` → {"faces": "published"}; InputError where an option has another form."""
    models = _by_task("--model", options, f"TASK=NAME, for example --model faces={zoo.DEFAULTS['faces']}")
    for task, name in models.items():
        zoo.roles(task, name)
    return models


def parse_weights(options: Sequence[str]) -> dict[str, str]:
    """`["objects=mine.pth"]` → {"objects": "/here/mine.pth"}; InputError where an option has another form."""
    files = _by_task("--weights", options, "TASK=FILE, for example --weights objects=trained/objects.safetensors")
    return {task: str(Path(file).expanduser().absolute()) for task, file in files.items()}


def _by_task(option: str, texts: Sequence[str], form: str) -> dict[str, str]:
    values = {}
    for text in texts:
        task, separator, value = text.partition("=")
        if not separator or not value:
            raise InputError(f"{option} {text}: write {form}")
        if task not in registry.names():
            raise InputError(f"{option} {text}: no task {task!r}; known: {', '.join(registry.names())}")
        values[task] = value
    return values


def parse_classes(text: str) -> dict[str, float | None]:
    """`person,dog=0.6` → {"person": None, "dog": 0.6}; InputError where a score is none."""
    classes: dict[str, float | None] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, separator, score = item.partition("=")
        classes[name.strip()] = parse_score("--classes", score) if separator else None
    return classes


def parse_score(option: str, text: str) -> float:
    """A number in 0..1; InputError where it is none."""
    try:
        score = float(text)
    except ValueError:
        score = -1.0
    if not 0 <= score <= 1:
        raise InputError(f"{option} {text}: a score is a number from 0 to 1")
    return score
