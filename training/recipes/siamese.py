"""Siamese networks of any kind: one encoder, shown two items, says by two vectors whether they are of one.

`signatures` (pictures; people never seen, and skilled forgeries), `voice` (sounds; speakers never seen) and `questions`
(pairs of texts); `speech` and `volumes` tell what an item is by the same encoders. Each takes Parquet tables; see
muster.training.data.items. People are kept out by a hash of their name, unless a column `split` says it; pairs by that
column, else by a hash of the first text.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import nn

from muster.arrays import I64, Bools
from muster.errors import InputError, TaskError
from muster.tasks.metrics import people as metrics
from muster.tasks.models import encoders
from muster.tasks.models.encoders import Plan, Verifier
from muster.training import losses, trials
from muster.training.data import examples
from muster.training.data.examples import TRAIN, OnSkipped, held_out
from muster.training.data.items import Items, Pairs, read_items, read_pairs
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Recipe, Settings, adjusted, seed_of
from muster.training.trials import Claims
from muster.training.views import changed, taken

ITEMS_HELD_OUT = 1 / 6
PAIRS_HELD_OUT = 0.1
SCALE = 16.0  # of cosines to classes: they are few
MARGIN = 0.2  # of squared distances; FaceNet, section 4
OF_PAIRS = ("triplet", "contrastive", "logistic")  # losses that need no more than which items of a batch are of one


@dataclass(frozen=True, kw_only=True)
class Design:
    """`loss`: one of OF_PAIRS; `margin`, over one vector for each person who is learnt; or `classes`, the same without
    a margin, whose vectors are kept: they are what it is to tell apart. `each`: items of one person in a batch, and
    `forged` as many that only claim to be of them. `enrolled`: by how many a person is known where it is measured.
    `speed`: logarithm of how much faster or slower a sound is made at most."""

    name: str
    plan: Plan
    loss: str
    settings: Settings
    each: int = 4
    forged: int = 0
    enrolled: int = 1
    speed: float = 0.04


PICTURE = Plan("picture", (96, 160), (16, 32, 64, 96), (3, 5), dimensions=64)
SOUND = Plan("sound", (encoders.RATE,), (64, 96, 128), (1,), dimensions=64)
TEXT = Plan("text", (40,), (48, 64), (1,), dimensions=64)
SPOKEN = Plan("sound", (encoders.RATE,), (64, 96, 128), (4,), dimensions=64)
VOLUME = Plan("volume", (28, 28, 28), (8, 16, 32, 48), (2, 2, 2), dimensions=32)

SIGNATURES = Design(
    name="signatures",
    plan=PICTURE,
    loss="margin",
    settings=Settings(steps=300, batch=64, learning_rate=2e-3, average=0.99),
    each=5,
    forged=3,
    enrolled=5,
)
VOICE = Design(
    name="voice",
    plan=SOUND,
    loss="margin",
    settings=Settings(steps=400, batch=64, learning_rate=2e-3, average=0.99),
)
QUESTIONS = Design(
    name="questions",
    plan=TEXT,
    loss="contrastive",
    settings=Settings(steps=300, batch=128, learning_rate=1e-3, average=0.99),
)
SPEECH = Design(
    name="speech",
    plan=SPOKEN,
    loss="classes",
    settings=Settings(steps=400, batch=64, learning_rate=2e-3, average=0.99),
    speed=0.15,
)
VOLUMES = Design(
    name="volumes",
    plan=VOLUME,
    loss="classes",
    settings=Settings(steps=700, batch=16, learning_rate=2e-3, average=0.99),
)


def _others(design: Design, *names: str) -> Iterator[Design]:
    """The same with other losses, to be compared: `signatures-triplet`."""
    yield design
    yield from (replace(design, name=f"{design.name}-{loss}", loss=loss) for loss in names)


DESIGNS: Mapping[str, Design] = {
    design.name: design
    for design in (
        *_others(SIGNATURES, *OF_PAIRS),
        *_others(VOICE, *OF_PAIRS),
        *_others(QUESTIONS, "triplet", "logistic"),
        SPEECH,
        VOLUMES,
    )
}


class _Siamese:
    """What all of them share: a network, items changed at random, a loss. The others set `items` first."""

    items: Items

    def __init__(self, inputs: Inputs, design: Design, learnt: int) -> None:
        self.name, self.design = design.name, design
        self.settings = adjusted(design.settings, inputs, learnt)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def _network(self, classes: int) -> nn.Module:
        size, loss = self.design.plan.dimensions, self.design.loss
        return Verifier(
            self.design.plan,
            encoders.fresh_head(size) if loss == "logistic" else None,
            torch.randn(classes, size) if loss in ("margin", "classes") else None,
        )

    def _batch(self, rows: I64, labels: I64, another: Sequence[int], seed: int) -> Batch:
        """`another` (N,): items of one number are changed alike into somebody else's, where the loss allows it."""
        random = torch.Generator(self.device).manual_seed(seed)
        alike = torch.tensor(another if self.design.loss in OF_PAIRS else [], dtype=torch.int64)
        items = self.items.values[torch.from_numpy(rows)].to(self.device)
        values = changed(items, self.design.plan, alike, self.design.speed, random)
        names = [self.items.names[row] for row in rows.tolist()]
        return {"items": values, "labels": torch.from_numpy(labels).to(self.device), "names": names}

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        embeddings, extra = network(batch["items"])
        return {"loss": _LOSSES[self.design.loss](embeddings, extra, batch["labels"], batch.get("hard", False))}

    def _embedded(self, network: nn.Module, rows: I64) -> torch.Tensor:
        """(N, D) on the CPU."""
        return embed(network, self.items.values[torch.from_numpy(rows)], self.design.plan)

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        state = network.state_dict()
        return {name: value for name, value in state.items() if name != "classes" or self.design.loss == "classes"}

    def _card(self) -> dict[str, Any]:
        plan = self.design.plan
        return {
            "kind": f"encoder of a {plan.kind} of {'×'.join(map(str, plan.space))} to {plan.dimensions} numbers",
            "loss": self.design.loss,
            "items": len(self.items.names),
        }


class ItemsRecipe(_Siamese):
    """From a column that says who each item is of."""

    def __init__(self, inputs: Inputs, design: Design) -> None:
        self.items, self.labels = read_labelled(
            inputs.images, inputs.label, inputs.limit, design.plan, inputs.on_skipped
        )
        self.genuine, out = self.items.genuine(), self._kept_out()
        self.learnt, self.measured = np.flatnonzero(~out), np.flatnonzero(out)
        self.people = sorted({self.labels[row] for row in self.learnt})
        super().__init__(inputs, design, len(self.learnt))
        self.own = self._rows(self.genuine)
        self.forgeries = self._rows(~self.genuine)
        self.drawn = [number for number, rows in enumerate(self.own) if len(rows) >= 2]
        if len(self.drawn) < 2:
            raise InputError(
                f"{len(self.drawn)} of {len(self.people)} people or things have 2 items or more to learn from, without"
                f" those that are kept out to measure with: {self.name} needs at least 2 with so many. Name the column"
                " that says who or what an item is with `label`"
            )

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
        return self._network(len(self.people) * (2 if self.design.forged else 1))

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
        batch = self._batch(np.array(rows[:share]), np.array(labels[:share]), whose[:share], seed)
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
        return claims_of(network, self.items.take(self.measured.tolist()), labels, genuine, self.design)

    def card(self) -> dict[str, Any]:
        out = {"people": len({self.labels[row] for row in self.measured}), "items": len(self.measured)}
        return {**self._card(), "people": len(self.people), "held_out": out}


class PairsRecipe(_Siamese):
    """From pairs of texts of which is said whether they mean one thing. Texts that pairs hold together are of one
    class, of which batches take whole pairs: so a pair that is none is seen as such, unless others hold it together."""

    def __init__(self, inputs: Inputs, design: Design) -> None:
        if inputs.label is not None:
            raise InputError(f"`label` {inputs.label}: {design.name} learns from pairs, whose columns have fixed names")
        self.pairs: Pairs = read_pairs(inputs.images, design.plan, inputs.on_skipped)
        self.items = self.pairs.items
        out = pairs_kept_out(self.pairs)
        self.learnt, self.measured = np.flatnonzero(~out)[: inputs.limit], np.flatnonzero(out)
        super().__init__(inputs, design, 2 * len(self.learnt))
        if len(self.learnt) < 2:
            raise InputError(f"{len(self.learnt)} pairs are left to learn from, without those that are kept out")
        joined = self.pairs.rows[self.learnt[self.pairs.same[self.learnt]]]
        self.classes = connected(joined, len(self.items.names))

    def network(self) -> nn.Module:
        return self._network(0)

    def batch(self, step: int, rank: int, ranks: int) -> Batch:
        seed = seed_of(self.settings.seed, step, rank)
        random, share = np.random.default_rng(seed), max(2, self.settings.batch // ranks)
        rows = np.unique(self.pairs.rows[random.choice(self.learnt, share // 2)])
        batch = self._batch(rows, self.classes[rows], [], seed)
        return {**batch, "hard": step >= self.settings.steps // 2}

    @torch.inference_mode()
    def measure(self, network: nn.Module) -> dict[str, float]:
        """On the pairs kept out, of each source that a column names."""
        return trials.as_numbers(self.claims(network))

    def claims(self, network: nn.Module) -> dict[str, Claims]:
        """Of pairs kept out."""
        return claims_of_pairs(network, self.pairs, self.measured, self.design)

    def card(self) -> dict[str, Any]:
        return {**self._card(), "pairs": len(self.learnt), "held_out": {"pairs": len(self.measured)}}


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
        return self._batch(rows, labels, [], seed)

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
        return SCALE * self._embedded(network, rows) @ F.normalize(network.classes.float()).T.cpu()


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
    ones = np.ones(len(pairs), bool)
    return connected_components(coo_array((ones, (pairs[:, 0], pairs[:, 1])), (count, count)), False)[1].astype(
        np.int64
    )


# ---- what a trained network is worth ---------------------------------------------------------------------------------


@torch.inference_mode()
def embed(network: nn.Module, values: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Items (N, …) as they are read → (N, D) float32 on the CPU, by a network in evaluation mode."""
    assert isinstance(network, Verifier)
    device = next(network.parameters()).device
    parts = [network.encoder(taken(part.to(device), plan)).cpu() for part in values.split(128)]
    return torch.cat(parts)


def claims_of(
    network: nn.Module, items: Items, labels: Sequence[str], genuine: Bools, design: Design
) -> dict[str, Claims]:
    """What items claim, and how like they are (see muster.training.trials). `labels`, `genuine`: of each item. Nothing
    where people are too few."""
    try:
        if design.enrolled > 1:
            found = trials.enrolled_by(labels, genuine, design.enrolled)
        else:
            items = items.take(np.flatnonzero(genuine).tolist())
            found = trials.each_in_turn([label for label, real in zip(labels, genuine, strict=True) if real])
    except TaskError:
        return {}
    return trials.claims(found, embed(network, items.values, design.plan), partial(_scores, network))


def claims_of_pairs(network: nn.Module, pairs: Pairs, rows: I64, design: Design) -> dict[str, Claims]:
    """The same of pairs, `rows` of them: of each `source` that a column names, else of `pairs`."""
    if not len(rows):
        return {}
    used = np.unique(pairs.rows[rows])
    vectors = embed(network, pairs.items.values[torch.from_numpy(used)], design.plan)
    pairs_of = vectors[torch.from_numpy(np.searchsorted(used, pairs.rows[rows]))]
    said = pairs.said("source")
    scores = torch.cat([_scores(network, one[None], other[None])[0] for one, other in pairs_of])
    return trials.of_sources(scores.double().numpy(), pairs.same[rows], [said[row] or "pairs" for row in rows])


def _scores(network: nn.Module, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    head = network.head
    if head is not None:
        assert isinstance(head, torch.Tensor)
        head = head.detach().float().cpu()
    return encoders.similarity(one, other, head)


# ---- losses: embeddings, what the network has besides them, numbers of who or what each is, the second half or not ---

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, bool], torch.Tensor]
_LOSSES: Mapping[str, Loss] = {
    "triplet": lambda found, _, labels, hard: losses.triplet(found, labels, MARGIN, hard)[0],
    "contrastive": lambda found, _, labels, hard: losses.contrastive(found, labels),
    "logistic": lambda found, head, labels, hard: losses.pairwise_logistic(found, head, labels),
    "margin": lambda found, people, labels, hard: losses.additive_margin_softmax(found, people, labels),
    "classes": lambda found, kinds, labels, hard: losses.additive_margin_softmax(found, kinds, labels, 0.0, SCALE),
}


def build(inputs: Inputs, design: Design) -> Recipe:
    """The recipe of a design: of pairs of texts, of classes to tell apart, or of people."""
    if design.plan.kind == "text":
        return PairsRecipe(inputs, design)
    return (KindsRecipe if design.loss == "classes" else ItemsRecipe)(inputs, design)


BUILDS = {name: partial(build, design=design) for name, design in DESIGNS.items()}
