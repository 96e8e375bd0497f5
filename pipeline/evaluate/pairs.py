"""How well a siamese network tells whether two items are of one: error rates over claims, by what a training wrote."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch

from muster.errors import InputError
from muster.storage.files import read_regular
from muster.tasks.models import encoders
from muster.tasks.models.encoders import Verifier
from muster.training import trials
from muster.training.data.examples import TRAIN, OnSkipped
from muster.training.data.items import read_pairs
from muster.training.recipes import siamese, siamese_items, siamese_pairs
from muster.training.siamese import Design


def evaluate(model: Path, sources: Sequence[str], label: str | None, on_skipped: OnSkipped) -> dict[str, Any]:
    """Of each kind of claims its `eer`, `accuracy` over folds, `tar_at_far_…` and the curve `det`, with intervals: of
    all items of the tables but those that a column `split` names for training.

    `model`: NAME.safetensors, as the recipe NAME wrote it. `label`: the column that says who an item is of; None for
    pairs of texts. InputError where the file is none of a siamese recipe's, or items and label do not do.
    """
    design, network = load(model)
    if design.plan.kind == "text":
        if label is not None:
            raise InputError(f"`label` {label}: {design.name} compares pairs of texts, whose columns have fixed names")
        pairs = read_pairs(sources, design.plan, on_skipped)
        rows = [row for row, split in enumerate(pairs.said("split")) if split != TRAIN]
        found = siamese_pairs.claims_of(network, pairs, np.array(rows, np.int64), design)
    else:
        items, labels = siamese_items.read_labelled(sources, label, None, design.plan, on_skipped)
        kept = [row for row, split in enumerate(items.said("split")) if split != TRAIN]
        genuine = items.genuine()[kept]
        found = siamese_items.claims_of(network, items.take(kept), [labels[row] for row in kept], genuine, design)
    if not found:
        what = "pairs of both kinds" if design.plan.kind == "text" else "people of enough items"
        raise InputError(f"{', '.join(sources)}: there are too few {what} to tell anything")
    return {"recipe": design.name, **{kind: trials.summary(claims) for kind, claims in found.items()}}


def load(model: Path) -> tuple[Design, Verifier]:
    """The design and the network of a file of weights."""
    designs = {name: design for name, design in siamese.DESIGNS.items() if design.loss != "classes"}
    if model.stem not in designs:
        raise InputError(f"{model}: no file of a siamese recipe, which is called as one of {', '.join(designs)}")
    design = designs[model.stem]
    try:
        state = safetensors.torch.load(read_regular(model))
        return design, encoders.from_state(state, design.plan).eval()
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{model}: these are no weights of recipe {design.name}: {reason}") from None
