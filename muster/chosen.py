"""One task as its user chose it: for a run over a library, or to be called on pictures without any."""

from collections.abc import Iterable, Iterator
from itertools import islice
from os.path import abspath, expanduser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from muster.errors import ImageError, InputError
from muster.pipeline.work.choice import TaskChoice
from muster.pipeline.work.machine import Machine
from muster.pipeline.work.worker import checked, image_of
from muster.storage import downloads
from muster.storage.photos import decode
from muster.storage.uris import local_path, local_uri
from muster.tasks import base

AT_ONCE = 32  # images that are held decoded, and that the task sees together
Picture = str | Path | np.ndarray[Any, np.dtype[np.uint8]]


class ChosenTask:
    """A task with its model, options and weights. Made by `muster.task`; its networks are loaded at the first call."""

    def __init__(self, choice: TaskChoice, machine: Machine, on_download: downloads.OnDownload | None):
        self.choice, self._machine, self._on_download = choice, machine, on_download
        self._loaded: base.Task | None = None

    def __repr__(self) -> str:
        return f"muster.task({self.choice.name!r}, model={self.choice.description['model']!r})"

    @property
    def name(self) -> str:
        return self.choice.name

    @property
    def schema(self) -> pa.Schema:
        """The columns of the tables that a call gives."""
        return self.choice.task.schema

    def __call__(self, pictures: Picture | Iterable[Picture]) -> pa.Table:
        """Rows of what the task finds, in the order of the pictures, with `schema`.

        A picture is the path or URI of a file, or an array (height, width, 3) of uint8, RGB, upright. `image_id` is the
        path as it was given, and of an array its place among the pictures: "0", "1", … Boxes are in pixels of the
        upright picture. Raises ImageError for the first picture that cannot be read, InputError for an array of another
        kind.
        """
        task = self._load()
        one = isinstance(pictures, str | np.ndarray) or not isinstance(pictures, Iterable)
        given: Any = [pictures] if one else pictures
        images, tables = self._images(given), [task.schema.empty_table()]
        while batch := list(islice(images, AT_ONCE)):
            tables.append(checked(task(batch), task, batch))
        return pa.concat_tables(tables)

    def _load(self) -> base.Task:
        if self._loaded is None:
            for file in self.choice.files():
                downloads.fetch(file, self._machine.weights_dir, self._on_download)
            self._loaded = self.choice.load(self._machine.torch_device, self._machine.weights_dir)
        return self._loaded

    def _images(self, pictures: Iterable[Picture]) -> Iterator[base.Image]:
        side = self.choice.task.max_side
        for number, picture in enumerate(pictures):
            if isinstance(picture, np.ndarray):
                yield _of_array(str(number), picture, side)
            elif isinstance(picture, str | Path):
                yield _of_file(picture, side)
            else:
                raise InputError(f"picture {number} is of {type(picture).__name__}: give a path, a URI or an array")


AnyTask = str | ChosenTask | TaskChoice


def task(
    name: str,
    *,
    model: str | None = None,
    weights: str | Path | None = None,
    machine: Machine | None = None,
    on_download: downloads.OnDownload | None = None,
    **options: Any,
) -> ChosenTask:
    """A task by its name, with one of its models (`muster.models.entries`), to be run or called.

    `weights`: a file of your own in place of its model's. `options`: those of the task, such as `min_score`. `machine`:
    where a call computes; a run has its own. Raises TaskError or InputError where these do not go together.
    """
    file = None if weights is None else Path(weights)
    choice = TaskChoice(name=name, model=model, options=options, weights=file)
    return ChosenTask(choice, machine or Machine(), on_download)


def choice_of(task: AnyTask) -> TaskChoice:
    """What a run is told of a task: by its name, as its user chose it, or as it is."""
    if isinstance(task, ChosenTask):
        return task.choice
    return TaskChoice(name=task) if isinstance(task, str) else task


def _of_array(name: str, pixels: np.ndarray[Any, Any], side: int) -> base.Image:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise InputError(
            f"picture {name} is an array of {pixels.dtype} {pixels.shape}: give (height, width, 3) of uint8, in RGB"
        )
    height, width = pixels.shape[:2]
    return base.shrink(base.Image(name, np.ascontiguousarray(pixels), 1.0, (width, height)), side)


def _of_file(path: str | Path, side: int) -> base.Image:
    local = local_path(str(path))
    uri = str(path) if local is None else local_uri(abspath(expanduser(local)))
    data = decode.read(uri)  # says which file cannot be read; its bytes have no name
    try:
        return image_of(str(path), decode.decode(data, side))
    except ImageError as error:
        error.message = f"{path}: {error}"
        raise
