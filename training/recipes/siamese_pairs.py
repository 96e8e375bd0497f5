"""From pairs of texts of which is said whether they mean one thing: `questions`.

Pairs are kept out by a column `split`, else by a hash of the first text.
"""

from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import nn

from muster.arrays import I64, Bools
from muster.errors import InputError
from muster.training import trials
from muster.training.data.examples import TRAIN, held_out
from muster.training.data.items import Pairs, read_pairs
from muster.training.inputs import Inputs
from muster.training.loop import Batch, seed_of
from muster.training.siamese import Design, Siamese, embed, scores
from muster.training.trials import Claims

PAIRS_HELD_OUT = 0.1


class PairsRecipe(Siamese):
    """From pairs of texts of which is said whether they mean one thing.

    Losses take classes: texts that pairs hold together are of one, all others are seen as different, whether a pair
    says so or not. Where A means B and B means C, a pair that says A does not mean C is so learnt as one that does.
    Batches take whole pairs, so that each is seen."""

    def __init__(self, inputs: Inputs, design: Design) -> None:
        if inputs.label is not None:
            raise InputError(f"`label` {inputs.label}: {design.name} learns from pairs, whose columns have fixed names")
        self.pairs: Pairs = read_pairs(inputs.images, design.plan, inputs.on_skipped)
        self.items = self.pairs.items
        out = pairs_kept_out(self.pairs)
        self.learnt, self.measured = np.flatnonzero(~out)[: inputs.limit], np.flatnonzero(out)
        if len(self.learnt) < 2:
            raise InputError(
                f"{len(self.learnt)} pairs are left to learn from, without those that are kept out: {design.name} needs"
                " 2 at least"
            )
        super().__init__(inputs, design, 2 * len(self.learnt))
        joined = self.pairs.rows[self.learnt[self.pairs.same[self.learnt]]]
        self.classes = connected(joined, len(self.items.names))

    def network(self) -> nn.Module:
        return self.verifier(0)

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        seed = seed_of(self.settings.seed, step, rank)
        random, share = np.random.default_rng(seed), max(2, self.settings.batch // ranks)
        rows = np.unique(self.pairs.rows[random.choice(self.learnt, share // 2)])
        batch = self.make(rows, self.classes[rows], [], seed)
        return {**batch, "hard": step >= self.settings.steps // 2}

    @torch.inference_mode()
    def measure(self, network: nn.Module) -> dict[str, float]:
        """On the pairs kept out, of each source that a column names."""
        return trials.as_numbers(self.claims(network))

    def claims(self, network: nn.Module) -> dict[str, Claims]:
        """Of pairs kept out."""
        return claims_of(network, self.pairs, self.measured, self.design)

    def card(self) -> dict[str, Any]:
        return {**self.facts(), "pairs": len(self.learnt), "held_out": {"pairs": len(self.measured)}}


def pairs_kept_out(pairs: Pairs) -> Bools:
    """(P,): as the table says, else by a hash of the first text."""
    first = [pairs.items.names[row] for row in pairs.rows[:, 0]]
    return np.array(
        [
            held_out(name, PAIRS_HELD_OUT) if split is None else split != TRAIN
            for name, split in zip(first, pairs.said("split"), strict=True)
        ]
    )


def connected(pairs: I64, count: int) -> I64:
    """(P, 2) of `count` things → (count,): the number of what each is connected with, from 0."""
    held = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (count, count))
    return connected_components(held, False)[1].astype(np.int64)


def claims_of(network: nn.Module, pairs: Pairs, rows: I64, design: Design) -> dict[str, Claims]:
    """How like the texts of pairs are, `rows` of them: of each `source` that a column names, else of `pairs`."""
    if not len(rows):
        return {}
    used = np.unique(pairs.rows[rows])
    vectors = embed(network, pairs.items.values[torch.from_numpy(used)], design.plan)
    pairs_of = vectors[torch.from_numpy(np.searchsorted(used, pairs.rows[rows]))]
    said = pairs.said("source")
    found = scores(network, *pairs_of.unbind(1))
    return trials.of_sources(found.double().numpy(), pairs.same[rows], [said[row] or "pairs" for row in rows])
