"""From items of which a column says who or what they are: `signatures` and `voice` compare people never seen, `speech`
and `volumes` tell classes apart.

People are kept out by a hash of their name, items of classes by one of their own, unless a column `split` says it.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from muster.arrays import I64, Bools
from muster.errors import InputError, TaskError
from muster.tasks.metrics import people as metrics
from muster.tasks.models.encoders import Plan, Verifier
from muster.training import trials
from muster.training.data import examples
from muster.training.data.examples import TRAIN, OnSkipped, held_out
from muster.training.data.items import Items, read_items
from muster.training.inputs import Inputs
from muster.training.loop import Batch, seed_of
from muster.training.siamese import SCALE, Design, Siamese, beside_cohort, embed, scores
from muster.training.trials import MOST, Claims

ITEMS_HELD_OUT = 1 / 6


class ItemsRecipe(Siamese):
    """From a column that says who each item is of."""

    def __init__(self, inputs: Inputs, design: Design) -> None:
        self.items, self.labels = read_labelled(
            inputs.images, inputs.label, inputs.limit, design.plan, inputs.on_skipped
        )
        self.genuine, out = self.items.genuine(), self._kept_out()
        self.learnt, self.measured = np.flatnonzero(~out), np.flatnonzero(out)
        self.people = sorted({self.labels[row] for row in self.learnt})
        self.own = self._rows(self.genuine)
        self.forgeries = self._rows(~self.genuine)
        self.drawn = [number for number, rows in enumerate(self.own) if len(rows) >= 2]
        if len(self.drawn) < 2:
            raise InputError(
                f"{len(self.drawn)} of {len(self.people)} people or things have 2 items or more to learn from, without"
                f" those that are kept out to measure with: {design.name} needs at least 2 with so many. Name the"
                " column that says who or what an item is with `label`"
            )
        super().__init__(inputs, design, len(self.learnt))

    def _kept_out(self) -> Bools:
        """(N,): people kept out of training, as the table says, else by a hash of their name."""
        return self._by_split(held_out(label, examples.PEOPLE_HELD_OUT) for label in self.labels)

    def _by_split(self, otherwise: Iterable[bool]) -> Bools:
        splits = self.items.said("split")
        return np.array([out if said is None else said != TRAIN for said, out in zip(splits, otherwise, strict=True)])

    def _rows(self, those: Bools) -> list[I64]:
        """Of each of `people`, what is to be learnt."""
        number = {label: i for i, label in enumerate(self.people)}
        found: list[list[int]] = [[] for _ in self.people]
        for row in self.learnt[those[self.learnt]].tolist():
            found[number[self.labels[row]]].append(row)
        return [np.array(rows, np.int64) for rows in found]

    def network(self) -> nn.Module:
        return self.verifier(len(self.people) * (2 if self.design.forged else 1))

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        """Some people, drawn without those of one item; of each a few, and a few that only claim to be of them."""
        seed = seed_of(self.settings.seed, step, rank)
        random, share = np.random.default_rng(seed), max(2, self.settings.batch // ranks)
        rows, labels, whose = list[int](), list[int](), list[int]()
        for number in random.permutation(self.drawn).tolist():
            own = random.permutation(self.own[number])[: self.design.each]
            forged = random.permutation(self.forgeries[number])[: self.design.forged]
            rows += [*own, *forged]
            labels += [number] * len(own) + self._of_forgeries(number, len(forged))
            whose += [number] * (len(own) + len(forged))
            if len(rows) >= share:
                break
        batch = self.make(np.array(rows[:share]), np.array(labels[:share]), whose[:share], seed)
        return {**batch, "hard": step >= self.settings.steps // 2}

    def _of_forgeries(self, number: int, count: int) -> list[int]:
        """Forgeries of one person are a class beside them; in pairs, each is alone: forgers are many."""
        if self.design.loss == "margin":
            return [len(self.people) + number] * count
        return [-1 - (number * self.design.forged + i) for i in range(count)]

    @torch.inference_mode()
    def measure(self, network: nn.Module) -> dict[str, float]:
        """On people kept out: equal error rates, and accuracy over folds. Nothing where they are too few."""
        return trials.as_numbers(self.claims(network))

    def claims(self, network: nn.Module) -> dict[str, Claims]:
        """Of people kept out."""
        labels, genuine = [self.labels[row] for row in self.measured], self.genuine[self.measured]
        items = self.items.take(self.measured.tolist())
        return claims_of(network, items, labels, genuine, self.design, self._cohort(network))

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        cohort = self._cohort(network)
        return {**super().weights(network), **({} if cohort is None else {"cohort": cohort})}

    @torch.inference_mode()
    def _cohort(self, network: nn.Module) -> torch.Tensor | None:
        """(P, D): what each person who is learnt from is like on average, where the design asks for it."""
        if not self.design.beside_cohort:
            return None
        own = [rows[:MOST] for rows in self.own if len(rows)]
        vectors = self.embedded(network, np.concatenate(own))
        return F.normalize(torch.stack([each.mean(0) for each in vectors.split(list(map(len, own)))]))

    def card(self) -> dict[str, Any]:
        out = {"people": len({self.labels[row] for row in self.measured}), "items": len(self.measured)}
        return {**self.facts(), "people": len(self.people), "held_out": out}


class KindsRecipe(ItemsRecipe):
    """What an item is, by the vector of a class that is nearest to its own. Classes are known; items are kept out."""

    def __init__(self, inputs: Inputs, design: Design) -> None:
        super().__init__(inputs, design)
        if unknown := {self.labels[row] for row in self.measured} - set(self.people):
            raise InputError(f"of {', '.join(sorted(unknown)[:5])} there is nothing to learn from: leave it out")

    def _kept_out(self) -> Bools:
        """(N,): items kept out of training, as the table says, else by a hash of what they are, so that copies are on
        one side."""
        digests = (hashlib.sha256(value.numpy().tobytes()).hexdigest() for value in self.items.values)
        return self._by_split(held_out(digest, ITEMS_HELD_OUT) for digest in digests)

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        """Items of classes drawn evenly."""
        seed = seed_of(self.settings.seed, step, rank)
        random = np.random.default_rng(seed)
        labels = random.choice(self.drawn, max(2, self.settings.batch // ranks))
        rows = np.array([random.choice(self.own[label]) for label in labels])
        return self.make(rows, labels, [], seed)

    @torch.inference_mode()
    def measure(self, network: nn.Module) -> dict[str, float]:
        """On items kept out: the share that is right, that of the worst class, of two classes the area under ROC."""
        if not len(self.measured):
            return {}
        logits = self.logits(network, self.measured)
        truth = torch.tensor([self.people.index(self.labels[row]) for row in self.measured])
        right = (logits.argmax(1) == truth).double()
        figures = {
            "accuracy": float(right.mean()),
            "worst_class": min(float(right[truth == label].mean()) for label in truth.unique()),
        }
        if len(self.people) == 2 and len(truth.unique()) == 2:
            score = (logits[:, 1] - logits[:, 0]).numpy()
            figures["auc"] = metrics.area_under_roc(score, truth.numpy() == 1)
        return figures

    @torch.inference_mode()
    def logits(self, network: nn.Module, rows: I64) -> torch.Tensor:
        """(N, C) on the CPU."""
        assert isinstance(network, Verifier)
        assert network.classes is not None
        return SCALE * self.embedded(network, rows) @ F.normalize(network.classes.float()).T.cpu()


def read_labelled(
    sources: Sequence[str], label: str | None, limit: int | None, plan: Plan, on_skipped: OnSkipped
) -> tuple[Items, list[str]]:
    """The items, the first `limit` of them, and who or what each is; without a label, an item is told and left out."""
    if label is None:
        raise InputError("name the column that says who or what an item is with `label`")
    items = read_items(sources, label, plan, on_skipped)
    labels = items.said(label)
    for row, said in enumerate(labels):
        if not said:
            on_skipped(f"{items.names[row]}: it has no label")
    kept = [row for row, said in enumerate(labels) if said][:limit]
    if not kept:
        raise InputError(f"`label` {label}: that column is empty for every item")
    return items.take(kept), [str(labels[row]) for row in kept]


def claims_of(
    network: nn.Module,
    items: Items,
    labels: Sequence[str],
    genuine: Bools,
    design: Design,
    cohort: torch.Tensor | None,
) -> dict[str, Claims]:
    """What items claim, and how like they are (see muster.training.trials). `labels`, `genuine`: of each item;
    `cohort`: see beside_cohort. Nothing where people are too few."""
    try:
        if design.enrolled > 1:
            found = trials.enrolled_by(labels, genuine, design.enrolled)
        else:
            items = items.take(np.flatnonzero(genuine).tolist())
            found = trials.each_in_turn([label for label, real in zip(labels, genuine, strict=True) if real])
    except TaskError:
        return {}
    vectors = embed(network, items.values, design.plan)
    if cohort is None:
        return trials.claims(found, vectors, partial(scores, network))
    return trials.claims(found, *beside_cohort(network, vectors, cohort))
