"""`muster train`: what a recipe is given, and where it runs: in this process, or in several through Ray Train."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from muster.errors import MusterError
from muster.pipeline.distributed.training import train_in_ray
from muster.pipeline.work.training import Training, absolute
from muster.pipeline.work.weights import weights_file
from muster.storage import downloads
from muster.storage.lock import locked
from muster.tasks.models import zoo
from muster.training import loop, record
from muster.training.data.examples import OnSkipped
from muster.training.loop import OnReport


def train(
    training: Training, on_report: OnReport, on_skipped: OnSkipped, on_download: downloads.OnDownload | None = None
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

    loop.check_folder(training.recipe, out)
    with _alone(out):
        for name in training.teachers:
            downloads.fetch(weights_file(zoo.ENTRIES[name]), training.machine.weights_dir, on_download)
        if training.processes > 1 or training.machine.address is not None:
            train_in_ray(training, on_report, on_skip)
        else:
            recipe, device = training.build(on_skip), training.machine.torch_device
            loop.train(recipe, out, device, on_report, start=training.inputs.start)
    return {**_results(training.recipe, out), "skipped": len(skipped)}


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder against a second training."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(out / ".lock", wait=False))
        except BlockingIOError:
            raise MusterError(f"`out` {out}: another training works in this folder") from None
        except OSError as error:
            raise MusterError(f"`out` {out}: cannot write its .lock: {error.strerror}; delete it") from None
        yield


def _results(name: str, out: Path) -> dict[str, Any]:
    card = json.loads((out / loop.CARD).read_text())
    files = {"model": f"{name}.safetensors", "card": loop.CARD, "curves": record.CURVES, "metrics": record.METRICS}
    paths = {what: str(out / file) if (out / file).exists() else None for what, file in files.items()}
    return {"recipe": name, **paths, "steps": card["settings"]["steps"], "measured": card["measured"]}
