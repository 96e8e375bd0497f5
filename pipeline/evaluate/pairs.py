"""How well a siamese network tells whether two items are of one: error rates over claims, by what a training wrote."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
from scipy.stats import norm

from muster.errors import InputError
from muster.storage.files import read_regular
from muster.storage.new_files import check_replaced, new_file
from muster.tasks.models import encoders
from muster.tasks.models.encoders import Verifier
from muster.training import trials
from muster.training.data.examples import TRAIN, OnSkipped
from muster.training.data.items import read_pairs
from muster.training.recipes import siamese, siamese_items, siamese_pairs
from muster.training.siamese import Design

TICKS = (0.001, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6)
LEAST = 0.0005  # that has a place on a curve: of normal deviates, that of 0 is infinite


def evaluate(
    model: Path, sources: Sequence[str], label: str | None, on_skipped: OnSkipped, out: Path | None = None
) -> dict[str, Any]:
    """Of each kind of claims its `eer`, `accuracy` over folds, `tar_at_far_…` and the curve `det`, with intervals: of
    all items of the tables but those that a column `split` names for training.

    `model`: NAME.safetensors, as the recipe NAME wrote it. `label`: the column that says who an item is of; None for
    pairs of texts. `out`: the PNG to draw `det` into. InputError where the file is none of a siamese
    recipe's, or items and label do not do.
    """
    if out is not None:
        check_replaced(out)
        _figures()
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
        named = [labels[row] for row in kept]
        found = siamese_items.claims_of(network, items.take(kept), named, genuine, design, network.cohort)
    if not found:
        what = "pairs of both kinds" if design.plan.kind == "text" else "people of enough items"
        raise InputError(f"{', '.join(sources)}: there are too few {what} to tell anything")
    facts = {kind: trials.summary(claims) for kind, claims in found.items()}
    if out is not None:
        with new_file(out) as file:
            file.write(drawn(facts))
    return {"recipe": design.name, **facts}


def drawn(facts: Mapping[str, Mapping[str, Any]]) -> bytes:
    """The curves `det` of each kind of claims, a PNG: on axes of normal deviates, on which that of scores which are
    normally distributed is a straight line (Martin et al. 1997; see det_curve)."""
    figure = _figures().Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    for kind, some in facts.items():
        accepted, rejected = norm.ppf(np.clip(some["det"], LEAST, 1 - LEAST)).T
        axes.plot(accepted, rejected, label=f"{kind}: EER {some['eer']:.1%}")
    places, names, ends = norm.ppf(TICKS), [f"{tick:.4g}" for tick in TICKS], norm.ppf((LEAST, TICKS[-1]))
    axes.set_xticks(places, names)
    axes.set_yticks(places, names)
    axes.set(xlabel="impostors let in", ylabel="genuine claims turned away", xlim=ends, ylim=ends, aspect="equal")
    axes.grid(linewidth=0.3)
    axes.legend()
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _figures() -> Any:
    try:
        import matplotlib.figure
    except ImportError:
        raise InputError("a curve is drawn by matplotlib, which is not installed: pip install matplotlib") from None
    return matplotlib.figure


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
