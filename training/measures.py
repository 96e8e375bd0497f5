"""How good an embedder is on people kept out of its training."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.arrays import I64
from muster.errors import TaskError
from muster.tasks.faces import normalised
from muster.tasks.geometry.align import CROP
from muster.tasks.metrics import people as metrics
from muster.training.data.crops import MARGIN, Crops

FOLDS, PAIRS_OF_A_PERSON = 8, 6


def embedder(network: nn.Module, crops: Crops) -> dict[str, float]:
    """Accuracy over folds of pairs (see `choose_pairs`) and true accepts at false accept rates over all pairs.

    `network`: (N, 3, 112, 112) → (N, D). Empty where the labels allow no pairs of both kinds.
    """
    labels = [label or name for label, name in zip(crops.labels, crops.names, strict=True)]
    vectors = embed(network, crops.pixels)
    try:
        a, b, same, folds = choose_pairs(labels)
        scores = (vectors[a] * vectors[b]).sum(1)
        accuracy = float(metrics.fold_accuracy(scores, same, folds)[0].mean())
        return {"accuracy": accuracy, **_true_accepts(vectors, labels)}
    except TaskError:
        return {}


def embed(network: nn.Module, wide: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Normalised embeddings (N, D) of crops with a margin (N, H, W, 3; uint8)."""
    inner = slice(MARGIN, MARGIN + CROP)
    device = next(network.parameters()).device
    parts = []
    with torch.inference_mode():
        for batch in wide[:, inner, inner].split(64):
            crops = normalised(batch.to(device)).permute(0, 3, 1, 2)
            parts.append(F.normalize(network(crops).float()).cpu())
    return torch.cat(parts).numpy() if parts else np.empty((0, 1), np.float32)


def _true_accepts(vectors: np.ndarray[Any, Any], labels: Sequence[str]) -> dict[str, float]:
    codes = np.unique(labels, return_inverse=True)[1]
    first, second = np.triu_indices(len(codes), 1)
    scores = (vectors @ vectors.T)[first, second]
    same = (codes[:, None] == codes)[first, second]
    return {f"tar_at_far_{far}": metrics.tar_at_far(scores, same, float(far)) for far in ("1e-2", "1e-3")}


def choose_pairs(labels: Sequence[str], seed: int = 0) -> tuple[I64, I64, np.ndarray[Any, Any], I64]:
    """As many pairs of one person as of two in each of 8 folds, which share no person: rows, rows, same, fold.

    At most 6 pairs are of one person, so that nobody with hundreds of photos decides the figure; the layout is that of
    LFW's View 2 (UMass TR 07-49, section 2). TaskError where there are too few people or photos.
    """
    random = np.random.default_rng(seed)
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, label in enumerate(labels):
        rows_of[label].append(row)
    people = sorted(rows_of)
    random.shuffle(people)
    folds = [people[fold::FOLDS] for fold in range(FOLDS)]
    same = [[pair for name in fold for pair in _own_pairs(rows_of[name], random)] for fold in folds]
    count = min(map(len, same))
    if not count or min(map(len, folds)) < 2:
        raise TaskError(f"{len(people)} people are too few for pairs in {FOLDS} folds, or too few have two photos")
    found = []
    for fold, (names, own) in enumerate(zip(folds, same, strict=True)):
        chosen = random.permutation(len(own))[:count]
        found += [(*own[i], True, fold) for i in chosen]
        for _ in range(count):
            one, other = random.choice(len(names), 2, replace=False)
            found.append((random.choice(rows_of[names[one]]), random.choice(rows_of[names[other]]), False, fold))
    a, b, is_same, number = (np.array(column) for column in zip(*found, strict=True))
    return a, b, is_same, number


def _own_pairs(rows: Sequence[int], random: np.random.Generator) -> list[tuple[int, int]]:
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1 :]]
    return [pairs[i] for i in random.permutation(len(pairs))[:PAIRS_OF_A_PERSON]]
