"""Networks of Muster's own: what `muster train` does."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from muster.library import Texts, several, silent
from muster.pipeline import train as training
from muster.pipeline.work.machine import Machine
from muster.pipeline.work.training import Training
from muster.storage.downloads import OnDownload
from muster.storage.new_files import check_local
from muster.training.data.examples import OnSkipped
from muster.training.inputs import Inputs
from muster.training.loop import OnReport


def train(
    recipe: str,
    images: str | Path | Iterable[str | Path],
    out: str | Path,
    *,
    label: str | None = None,
    labels: Iterable[str | Path] = (),
    scenes: Iterable[str | Path] = (),
    styles: Texts = (),
    limit: int | None = None,
    steps: int | None = None,
    rate: float | None = None,
    seed: int | None = None,
    start: str | Path | None = None,
    machine: Machine | None = None,
    on_report: OnReport | None = None,
    on_skipped: OnSkipped | None = None,
    on_download: OnDownload | None = None,
) -> dict[str, Any]:
    """Train a network by a recipe, or go on from the checkpoint in `out`; the files, and what was measured.

    `images`: photos to learn from, as `Library.scan` takes them; `label`: their column that names who or what it is,
    the folder where None. `labels`: for each source of images a folder of label images, or a COCO file. `scenes`:
    photos to put faces into. `styles`: pictures whose style is learnt. `limit`, `steps`, `rate`, `seed`: as the
    recipe has them where None. `start`: the folder of an earlier training, to begin with its weights. `machine`: one
    process, unless it says how many `workers`.
    """
    inputs = Inputs(
        images=list(several(images)),
        out=check_local(out),
        label=label,
        labels=list(several(labels)),
        scenes=list(several(scenes)),
        styles=list(several(styles)),
        limit=limit,
        steps=steps,
        rate=rate,
        seed=seed,
        start=None if start is None else Path(start),
    )
    asked = Training(recipe=recipe, inputs=inputs, machine=machine or Machine())
    return training.train(asked, on_report or silent, on_skipped or silent, on_download)
