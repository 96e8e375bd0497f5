"""`muster train`: what a recipe is given, and where it runs: in this process, or in several through Ray Train."""

import fcntl
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from muster.errors import InputError, MusterError
from muster.pipeline.work.config import DEVICES, cores
from muster.pipeline.work.weights import load_weights, weights_file
from muster.storage import downloads
from muster.storage.new_files import no_link
from muster.storage.photos.listing import HOW_TO_DROP, locate
from muster.tasks.models import zoo
from muster.training import loop, record
from muster.training.data.examples import OnSkipped
from muster.training.inputs import Inputs
from muster.training.loop import OnReport, Recipe


@dataclass(frozen=True)
class Training:
    """One training. `build` and `teachers` are its recipe's. Raises InputError where the values cannot be."""

    name: str
    build: Callable[[Inputs], Recipe]
    teachers: tuple[str, ...]
    inputs: Inputs
    device: str = "auto"
    workers: int = 1
    weights_dir: Path | None = None
    address: str | None = None  # of a running Ray cluster; this machine alone where None

    def __post_init__(self) -> None:
        given = {"--workers": self.workers, "--steps": self.inputs.steps, "--limit": self.inputs.limit}
        for option, value in given.items():
            if value is not None and value < 1:
                raise InputError(f"{option} {value}: at least 1 is needed")
        if self.inputs.rate is not None and not 0 < self.inputs.rate < math.inf:
            raise InputError(f"--rate {self.inputs.rate}: a learning rate is a number above 0, such as 0.001")
        if self.inputs.seed is not None and not 0 <= self.inputs.seed < 1 << 31:
            raise InputError(f"--seed {self.inputs.seed}: a whole number from 0 to {(1 << 31) - 1}")
        if self.device not in DEVICES:
            raise InputError(f"--device {self.device}: choose one of {', '.join(DEVICES)}")
        if self.address is None and self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("--device cuda: no CUDA device is visible here; use --device cpu or auto")
        if self.address is None and self.workers > (here := torch.cuda.device_count() if self.on_gpu else cores()):
            what = "GPU" if self.on_gpu else "core"
            raise InputError(f"--workers {self.workers}: each takes a {what} of its own, and {here} are here")
        if self.weights_dir is not None and not self.weights_dir.is_dir():
            raise InputError(f"--weights-dir {self.weights_dir}: no such folder")
        if not self.inputs.images:
            raise InputError(f"recipe {self.name} learns from photos: name them with --images SOURCE")

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda" or (self.device == "auto" and torch.cuda.is_available())

    def recipe(self, on_skipped: OnSkipped) -> Recipe:
        """The recipe with its images read, and the networks it learns from loaded."""
        teachers = {name: load_weights(zoo.ENTRIES[name], self.weights_dir) for name in self.teachers}
        return self.build(replace(self.inputs, weights=teachers, on_skipped=on_skipped))


def absolute(training: Training) -> Training:
    """With sources and folders as they are named from any working directory; processes of Ray have another one.

    Raises InputError where a source is not there.
    """
    given = training.inputs
    images = [_located("--images", source) for source in given.images]
    scenes = [_located("--scenes", source) for source in given.scenes]
    labels = [str(Path(source).expanduser().absolute()) for source in given.labels]
    start = given.start and given.start.expanduser().absolute()
    inputs = replace(
        given, images=images, labels=labels, scenes=scenes, out=given.out.expanduser().absolute(), start=start
    )
    folder = training.weights_dir
    return replace(training, inputs=inputs, weights_dir=folder and folder.expanduser().absolute())


def _located(option: str, source: str) -> str:
    try:
        return locate(source).source
    except InputError as error:
        raise InputError(f"{option}: {str(error).removesuffix(HOW_TO_DROP).rstrip('. ')}") from None


def train(
    training: Training, on_report: OnReport, on_skipped: OnSkipped, on_download: downloads.Progress | None = None
) -> dict[str, Any]:
    """Train to the end, or go on from where the folder's checkpoint is; where the results are and what was measured.

    `on_skipped` is told of each image that cannot be used. Raises InputError where the folder holds a finished model or
    another training, MusterError where the training failed or another one works in the folder.
    """
    training = absolute(training)
    out, skipped = training.inputs.out, []

    def on_skip(text: str) -> None:
        skipped.append(text)
        on_skipped(text)

    loop.check_folder(training.name, out)
    with _locked(out):
        for name in training.teachers:
            downloads.fetch(weights_file(zoo.ENTRIES[name]), training.weights_dir, on_download)
        if training.workers > 1 or training.address is not None:
            from muster.pipeline.distributed.training import train_in_ray

            train_in_ray(training, on_report, on_skip)
        else:
            device = torch.device("cuda" if training.on_gpu else "cpu")
            loop.train(training.recipe(on_skip), out, device, on_report, start=training.inputs.start)
    return {**_results(training.name, out), "skipped": len(skipped)}


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Hold the folder against a second training; the system lets go when this process ends."""
    try:  # a link there would have another file opened, and made
        lock = open(out / ".lock", "a", opener=no_link)  # noqa: SIM115  closed below
    except OSError as error:
        raise MusterError(f"--out {out}: cannot write its .lock: {error.strerror}; delete it") from None
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise MusterError(f"--out {out}: another training works in this folder") from None
        yield


def _results(name: str, out: Path) -> dict[str, Any]:
    card = json.loads((out / loop.CARD).read_text())
    files = {"model": f"{name}.safetensors", "card": loop.CARD, "curves": record.CURVES, "metrics": record.METRICS}
    paths = {what: str(out / file) if (out / file).exists() else None for what, file in files.items()}
    return {"recipe": name, **paths, "steps": card["settings"]["steps"], "measured": card["measured"]}
