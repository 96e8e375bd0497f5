"""What a run was asked to do, validated once at the edge."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from muster.errors import InputError
from muster.pipeline.work.choice import TaskChoice, choose
from muster.pipeline.work.machine import Machine
from muster.tasks import base
from muster.tasks.models import zoo

DEFAULT_TASKS = ("faces", "previews")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run. `retry_errors`: of images whose error may have passed since, see muster.pipeline.run.TRANSIENT.

    Raises InputError where the values cannot be.
    """

    library: str
    choices: tuple[TaskChoice, ...] = field(default_factory=lambda: choose(DEFAULT_TASKS))
    machine: Machine = field(default_factory=Machine)
    retry_errors: bool = False

    def __post_init__(self) -> None:
        names = [choice.name for choice in self.choices]
        if not names:
            raise InputError(f"--tasks names no task; known: {', '.join(base.names())}")
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"task {twice[0]} is chosen {names.count(twice[0])} times: run one choice after the other")
        for choice in self.choices:
            choice.files()  # says so where only the user can have one

    def choice(self, task: str) -> TaskChoice:
        """This task as it was chosen; as it usually is, where it was not."""
        return next((choice for choice in self.choices if choice.name == task), None) or TaskChoice(name=task)


def parse_tasks(text: str) -> tuple[str, ...]:
    """`faces,previews` → names, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def parse_models(options: Sequence[str]) -> dict[str, str]:
    """`["faces=published"]` → {"faces": "published"}; InputError where an option has another form."""
    models = _by_task("--model", options, f"TASK=NAME, for example --model faces={zoo.DEFAULTS['faces']}")
    for task, name in models.items():
        zoo.roles(task, name)
    return models


def parse_weights(options: Sequence[str]) -> dict[str, Path]:
    """`["objects=mine.pth"]` → {"objects": Path("/here/mine.pth")}; InputError where an option has another form."""
    files = _by_task("--weights", options, "TASK=FILE, for example --weights objects=trained/objects.safetensors")
    return {task: Path(file).expanduser().absolute() for task, file in files.items()}


def _by_task(option: str, texts: Sequence[str], form: str) -> dict[str, str]:
    values = {}
    for text in texts:
        task, separator, value = text.partition("=")
        if not separator or not value:
            raise InputError(f"{option} {text}: write {form}")
        if task not in base.names():
            raise InputError(f"{option} {text}: no task {task!r}; known: {', '.join(base.names())}")
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
