"""A training as its user asked for it, checked once at the edge."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

from muster.errors import InputError
from muster.pipeline.work.machine import Machine, cores
from muster.pipeline.work.weights import load_weights
from muster.storage.photos.listing import locate
from muster.storage.photos.picture import from_anywhere
from muster.tasks.models import zoo
from muster.training import recipes
from muster.training.data.examples import OnSkipped
from muster.training.inputs import Inputs
from muster.training.loop import Recipe


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training, by the recipe of this name. Raises InputError where the values cannot be."""

    recipe: str
    inputs: Inputs
    machine: Machine = field(default_factory=Machine)

    def __post_init__(self) -> None:
        given, machine = self.inputs, self.machine
        recipes.find(self.recipe)
        for parameter, value in {"steps": given.steps, "limit": given.limit}.items():
            if value is not None and value < 1:
                raise InputError(f"`{parameter}` {value}: at least 1 is needed")
        if given.rate is not None and not 0 < given.rate < math.inf:
            raise InputError(f"`rate` {given.rate}: a learning rate is a number above 0, such as 0.001")
        if given.seed is not None and not 0 <= given.seed < 1 << 31:
            raise InputError(f"`seed` {given.seed}: a whole number from 0 to {(1 << 31) - 1}")
        if machine.address is None and not machine.on_gpu and self.processes > cores():
            raise InputError(f"`workers` {self.processes}: each takes a core of its own, and {cores()} are here")
        if not given.images:
            raise InputError(f"recipe {self.recipe} learns from photos: name them with `images` SOURCE")

    @property
    def processes(self) -> int:
        return self.machine.workers or 1

    @property
    def teachers(self) -> tuple[str, ...]:
        """The zoo entries it learns from."""
        return recipes.find(self.recipe).teachers

    def build(self, on_skipped: OnSkipped) -> Recipe:
        """The recipe with its images read, and the networks it learns from loaded."""
        teachers = {name: load_weights(zoo.ENTRIES[name], self.machine.weights_dir) for name in self.teachers}
        return recipes.find(self.recipe).build(replace(self.inputs, weights=teachers, on_skipped=on_skipped))


def absolute(training: Training) -> Training:
    """With sources and folders as they are named from any working directory; processes of Ray have another one.

    Raises InputError where a source is not there.
    """
    given = training.inputs
    images = [_located("images", source) for source in given.images]
    scenes = [_located("scenes", source) for source in given.scenes]
    styles = [from_anywhere(picture) for picture in given.styles]
    labels = [str(Path(source).expanduser().absolute()) for source in given.labels]
    start = given.start and given.start.expanduser().absolute()
    out = given.out.expanduser().absolute()
    inputs = replace(given, images=images, labels=labels, scenes=scenes, styles=styles, out=out, start=start)
    return replace(training, inputs=inputs)


def _located(parameter: str, source: str) -> str:
    try:
        return locate(source).source
    except InputError as error:
        raise InputError(f"`{parameter}`: {error}") from None
