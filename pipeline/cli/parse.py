"""Text of options, as values. What is wrong with it is said here, in the words of the command line."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from muster.errors import InputError
from muster.pipeline.work.choice import TaskChoice, choose
from muster.storage.gallery import dates
from muster.tasks import registry
from muster.tasks.base import Option
from muster.tasks.models import zoo
from muster.tasks.objects import CLASSES, MIN_SCORE


def chosen(
    tasks: str,
    model: Sequence[str] = (),
    weights: Sequence[str] = (),
    classes: str = "",
    min_score: float | None = None,
    settings: Sequence[str] = (),
    usual: Callable[[str], str | None] = lambda task: None,
) -> tuple[TaskChoice, ...]:
    """What the options of a run choose: a task each, with its model, weights and options.

    `usual`: task → the model that it has where none is named; None: its own.
    """
    least = None if min_score is None else _parsed("--min-score", MIN_SCORE, min_score)
    options = {"classes": _parsed("--classes", CLASSES, classes), "min_score": least}
    files = parse_weights(weights)
    own = parse_settings(settings)
    names, named = parse_tasks(tasks), parse_models(model)
    others = [name for name in names if name in registry.names() and name not in named]
    models = {name: there for name in others if (there := usual(name)) is not None} | named
    return choose(names, models=models, options=options, settings=own, weights=files)


def parse_tasks(text: str) -> tuple[str, ...]:
    """`faces,previews` → names, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def parse_models(options: Sequence[str]) -> dict[str, str]:
    """`["faces=published"]` → {"faces": "published"}; InputError where an option has another form."""
    models = _by_task("--model", options, f"TASK=NAME, for example --model faces={zoo.DEFAULTS['faces']}")
    for task, name in models.items():
        zoo.roles(task, name)
    return models


def parse_model(options: Sequence[str], task: str) -> str | None:
    """`["faces=published"]` → "published", for a command about one task; InputError for a model of another."""
    models = parse_models(options)
    if others := sorted(models.keys() - {task}):
        raise InputError(f"--model {others[0]}={models[others[0]]}: this command is about {task}: write {task}=NAME")
    return models.get(task)


def parse_sources(options: Sequence[str], tasks: Sequence[str]) -> dict[str, str]:
    """`["masks=sinet"]` → {"masks": "sinet"}: models or fingerprints; InputError for a task that is not among these."""
    models = {}
    for option in options:
        task, separator, name = option.partition("=")
        if not separator or not name or task not in tasks:
            raise InputError(f"--model {option}: write TASK=NAME, with a TASK of --tasks {','.join(tasks)}")
        models[task] = name
    return models


def parse_weights(options: Sequence[str]) -> dict[str, Path]:
    """`["objects=mine.pth"]` → {"objects": Path("/here/mine.pth")}; InputError where an option has another form."""
    files = _by_task("--weights", options, "TASK=FILE, for example --weights objects=trained/objects.safetensors")
    return {task: Path(file).expanduser().absolute() for task, file in files.items()}


def parse_settings(options: Sequence[str]) -> dict[str, dict[str, str]]:
    """`["objects.min_score=0.5"]` → {"objects": {"min_score": "0.5"}}; the task parses the value."""
    settings: dict[str, dict[str, str]] = {}
    for option in options:
        name, separator, value = option.partition("=")
        task, dot, key = name.partition(".")
        if not (separator and dot and key):
            raise InputError(f"--set {option}: write TASK.NAME=VALUE, for example --set objects.min_score=0.5")
        if task not in registry.names():
            raise InputError(f"--set {option}: no task {task!r}; known: {', '.join(registry.names())}")
        settings.setdefault(task, {})[key] = value
    return settings


def parse_columns(options: Sequence[str]) -> dict[str, str]:
    """`["person_id=Student ID"]` → {"person_id": "Student ID"}; the roster says whether it has such a column."""
    columns = {}
    for option in options:
        name, separator, column = option.partition("=")
        if not (separator and name and column.strip()):
            raise InputError(f"--column {option}: write NAME=COLUMN, for example --column 'person_id=Student ID'")
        columns[name] = column
    return columns


def parse_pairs(options: Sequence[str]) -> list[tuple[str, str]]:
    """`["ann=eve"]` → [("ann", "eve")]."""
    pairs = []
    for option in options:
        one, separator, other = option.partition("=")
        if not (separator and one.strip() and other.strip()):
            raise InputError(f"--alike {option}: write PERSON=PERSON, for example --alike S0042=S0043")
        pairs.append((one.strip(), other.strip()))
    return pairs


def parse_day(option: str, text: str) -> date:
    """`2027-07-31`, or as rosters have dates, → that day."""
    try:
        return dates.parsed(text, dates.Order("", ""))
    except ValueError as error:
        raise InputError(f"{option} {text}: {error}") from None


def parse_k(text: str) -> int | None:
    """`auto` → None, a positive number → itself."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"--k {text}: give a number of people of at least 1, or auto")
    return int(text)


def _parsed(name: str, option: Option, value: Any) -> Any:
    """As the tasks parse what `--set` gives them."""
    try:
        return option.parse(value)
    except ValueError as error:
        raise InputError(f"{name} {value}: {error}") from None


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
