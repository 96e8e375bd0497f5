"""Which rows of a library count, where several models, options or versions have made some; and what they may say."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from muster.errors import InputError, NotYetError, TaskError
from muster.pipeline.usual import rows_by_use
from muster.storage import tables
from muster.storage.library import LibraryFiles
from muster.tasks import registry
from muster.tasks.base import Findings
from muster.tasks.models import coco_labels


@dataclass(frozen=True)
class Source:
    """The rows of one task, as one model with one choice of parameters made them."""

    task: str
    fingerprint: str
    model: str
    parameters: Mapping[str, Any]
    classes: tuple[str, ...] | None = None  # all that its rows may have, where the library notes it

    @property
    def says(self) -> Findings:
        """What its rows mean."""
        return registry.find(self.task).findings


def chosen_source(library: LibraryFiles, task: str, wanted: str | None, shards: Mapping[str, int]) -> Source:
    """The first of `sources_of`; InputError says what there is where there is none."""
    if fitting := sources_of(library, task, shards, wanted):
        return fitting[0]
    if there := sources_of(library, task, shards):
        raise InputError(f"`model` {task}={wanted}: library {library.uri} has {task} by {_list(there)}")
    raise NotYetError(f"library {library.uri} has no {task} for its images yet", "run", library.uri, (task,))


def sources_of(library: LibraryFiles, task: str, shards: Mapping[str, int], model: str | None = None) -> list[Source]:
    """A task's rows for images of `shards` (id → images), as different models or options made them; use the first.

    See `muster.pipeline.usual.rows_by_use`, which has the order. `model`: only those of this model, or under this
    fingerprint.
    """
    found = rows_by_use(library, task, shards, model)
    return [Source(task, name, what["model"], what["parameters"], _noted(what)) for name, what in found.items()]


def _noted(what: Mapping[str, Any]) -> tuple[str, ...] | None:
    return tuple(what["classes"]) if "classes" in what else None


def _list(sources: Sequence[Source]) -> str:
    return ", ".join(f"{s.model}: {s.fingerprint}" for s in sources)


# ---- tasks -----------------------------------------------------------------------------------------------------------


def require_tasks(library: LibraryFiles, tasks: Sequence[str], fit: Callable[[Findings], bool]) -> None:
    """InputError where one is not installed here, or what it finds does not fit."""
    for task in tasks:
        if task in registry.names() and fit(registry.find(task).findings):
            continue
        if task not in registry.names() and task in tasks_of(library):
            raise InputError(
                f"library {library.uri} has rows of {task}, a task that is not installed here: install the package that"
                " adds it"
            )
        raise InputError(f"`tasks` {','.join(tasks)}: choose among {', '.join(tasks_that(fit))}")


def tasks_of(library: LibraryFiles, fit: Callable[[Findings], bool] | None = None) -> list[str]:
    """The tasks that a library has rows of, sorted. `fit`: those alone that are installed here, and find what fits."""
    described = tables.descriptions(library).items()
    there = sorted({what["task"] for name, what in described if tables.committed(library, name)} - {"images"})
    return there if fit is None else [task for task in there if task in registry.names() and _fits(task, fit)]


def tasks_that(fit: Callable[[Findings], bool]) -> list[str]:
    """The tasks that are installed here and whose findings fit."""
    return [name for name in registry.names() if _fits(name, fit)]


def _fits(task: str, fit: Callable[[Findings], bool]) -> bool:
    try:
        return fit(registry.find(task).findings)
    except TaskError:  # a package that does it wrong: it is named where somebody asks for its task
        return False


# ---- classes ---------------------------------------------------------------------------------------------------------


def classes_of(source: Source) -> tuple[str, ...]:
    """What its model can find, as COCO spells it; InputError where this Muster does not know the model."""
    names = source.classes if source.classes is not None else _classes(source.task, source.model)
    return tuple(coco_labels.SPELLINGS.get(name, name) for name in names or (label_of(source.task),))


@cache
def _classes(task: str, model: str | None) -> tuple[str, ...]:
    try:
        return tuple(registry.create(task, model).classes)
    except TaskError as error:
        raise InputError(f"library has {task} of a model that is not known here: {error}") from None


def label_of(task: str) -> str:
    """The label of rows that have no column of labels."""
    return registry.find(task).findings.noun or task


def categories_of(sources: Sequence[Source]) -> dict[str, int]:
    """Class → category id: COCO's own (1 to 90) where COCO has the class; the others from 91 on, in their order."""
    names = dict.fromkeys(name for source in sources for name in classes_of(source))
    known = dict(zip(coco_labels.NAMES, coco_labels.CATEGORY_IDS, strict=True))
    others = [name for name in names if name not in known]
    return {name: known.get(name) or max(coco_labels.CATEGORY_IDS) + 1 + others.index(name) for name in names}
