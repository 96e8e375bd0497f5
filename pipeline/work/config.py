"""What a run was asked to do, validated once at the edge."""

from dataclasses import dataclass, field
from pathlib import Path

from muster.errors import InputError
from muster.pipeline.work.choice import TaskChoice, choose
from muster.pipeline.work.machine import Machine
from muster.tasks import registry

DEFAULT_TASKS = ("faces", "previews")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run. `retry_errors`: of images whose error may have passed since, see muster.pipeline.run.TRANSIENT. `kept`:
    tasks whose model the library is to take from now on where none is named, see muster.pipeline.usual. `trace`: a file
    for what the workers did when, see muster.pipeline.trace.

    Raises InputError where the values cannot be.
    """

    library: str
    choices: tuple[TaskChoice, ...] = field(default_factory=lambda: choose(DEFAULT_TASKS))
    machine: Machine = field(default_factory=Machine)
    retry_errors: bool = False
    kept: tuple[str, ...] = ()
    trace: Path | None = None

    def __post_init__(self) -> None:
        names = [choice.name for choice in self.choices]
        if not names:
            raise InputError(f"`tasks` names no task; known: {', '.join(registry.names())}")
        if twice := [name for name in names if names.count(name) > 1]:
            raise InputError(f"task {twice[0]} is chosen {names.count(twice[0])} times: run one choice after the other")
        for choice in self.choices:
            choice.files()  # says so where only the user can have one

    def choice(self, task: str) -> TaskChoice:
        """This task as it was chosen; as it usually is, where it was not."""
        return next((choice for choice in self.choices if choice.name == task), None) or TaskChoice(name=task)
