"""What siamese recipes share: an encoder, shown two items, says by two vectors whether they are of one.

The recipes by their names are in muster.training.recipes.siamese.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from muster.arrays import I64
from muster.tasks.models import encoders
from muster.tasks.models.encoders import Plan, Verifier
from muster.training import losses
from muster.training.data.items import Items
from muster.training.inputs import Inputs
from muster.training.loop import Batch, Settings, adjusted
from muster.training.trials import Scores
from muster.training.views import changed, taken

SCALE = 16.0  # of cosines to classes: they are few
MARGIN = 0.2  # of squared distances; FaceNet, section 4
OF_PAIRS = ("triplet", "hard", "contrastive", "logistic")  # losses of no more than which items of a batch are of one


@dataclass(frozen=True, kw_only=True)
class Design:
    """`loss`: one of OF_PAIRS, of which `triplet` takes semi-hard triplets, `hard` the hardest in the second half of a
    training; `margin`, over one vector for each person who is learnt; or `classes`, the same without a margin, whose
    vectors are kept: they are what it is to tell apart. `each`: items of one person in a batch, and `forged` as many
    that only claim to be of them. `enrolled`: by how many a person is known where it is measured. `speed`: logarithm
    of how much faster or slower a sound is made at most. `beside_cohort`: see the function."""

    name: str
    plan: Plan
    loss: str
    settings: Settings
    each: int = 4
    forged: int = 0
    enrolled: int = 1
    speed: float = 0.04
    beside_cohort: bool = False


class Siamese:
    """What all of them share: a network, items changed at random, a loss. The others set `items` first."""

    items: Items

    def __init__(self, inputs: Inputs, design: Design, learnt: int) -> None:
        self.name, self.design = design.name, design
        self.settings = adjusted(design.settings, inputs, learnt)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def verifier(self, classes: int) -> nn.Module:
        """A fresh network, with what the loss needs besides embeddings: vectors of so many classes, or a head."""
        size, loss = self.design.plan.dimensions, self.design.loss
        return Verifier(
            self.design.plan,
            encoders.fresh_head(size) if loss == "logistic" else None,
            torch.randn(classes, size) if loss in ("margin", "classes") else None,
        )

    def make(self, rows: I64, labels: I64, another: Sequence[int], seed: int) -> Batch:
        """Items, changed, and which are of one. `another` (N,): items of one number are changed alike into somebody
        else's, where the loss allows it."""
        random = torch.Generator(self.device).manual_seed(seed)
        alike = torch.tensor(another if self.design.loss in OF_PAIRS else [], dtype=torch.int64)
        items = self.items.values[torch.from_numpy(rows)].to(self.device)
        values = changed(items, self.design.plan, alike, self.design.speed, random)
        names = [self.items.names[row] for row in rows.tolist()]
        return {"items": values, "labels": torch.from_numpy(labels).to(self.device), "names": names}

    def loss(self, network: nn.Module, batch: Batch) -> dict[str, torch.Tensor]:
        embeddings, extra = network(batch["items"])
        return {"loss": _LOSSES[self.design.loss](embeddings, extra, batch["labels"], batch.get("hard", False))}

    def embedded(self, network: nn.Module, rows: I64) -> torch.Tensor:
        """(N, D) on the CPU."""
        return embed(network, self.items.values[torch.from_numpy(rows)], self.design.plan)

    def weights(self, network: nn.Module) -> Mapping[str, torch.Tensor]:
        state = network.state_dict()
        return {name: value for name, value in state.items() if name != "classes" or self.design.loss == "classes"}

    def facts(self) -> dict[str, Any]:
        """What cards of all of them say."""
        plan = self.design.plan
        return {
            "kind": f"encoder of a {plan.kind} of {'×'.join(map(str, plan.space))} to {plan.dimensions} numbers",
            "loss": self.design.loss,
            "items": len(self.items.names),
        }


@torch.inference_mode()
def embed(network: nn.Module, values: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Items (N, …) as they are read → (N, D) float32 on the CPU, by a network in evaluation mode."""
    assert isinstance(network, Verifier)
    device = next(network.parameters()).device
    parts = [network.encoder(taken(part.to(device), plan)).cpu() for part in values.split(128)]
    return torch.cat(parts)


def scores(network: nn.Module, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Embeddings (…, D) twice, on the CPU → (…): how alike each is to the one beside it."""
    head = network.head
    if head is not None:
        assert isinstance(head, torch.Tensor)
        head = head.detach().float().cpu()
    return encoders.similarity(one, other, head)


def beside_cohort(network: nn.Module, vectors: torch.Tensor, cohort: torch.Tensor) -> tuple[torch.Tensor, Scores]:
    """Embeddings (N, D) → (N, D + 2), and what compares these: by how many standard deviations two are more alike than
    one of them is to the cohort (P, D), the mean over both. Who is like everybody is so not taken for anybody.

    S-norm: Kenny, Bayesian Speaker Verification with Heavy-Tailed Priors, Odyssey 2010, section 5; Shum, Dehak, Dehak,
    Glass, Unsupervised Speaker Adaptation Based on the Cosine Similarity, Odyssey 2010.
    """
    found = torch.cat([scores(network, part[:, None], cohort) for part in vectors.split(32)])  # (N, P)
    spread, mean = torch.std_mean(found, 1)

    def normed(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        alike = scores(network, one[:, :-2], other[:, :-2])
        return ((alike - one[:, -2]) / one[:, -1] + (alike - other[:, -2]) / other[:, -1]) / 2

    return torch.cat([vectors, torch.stack([mean, spread.clamp(min=1e-6)], 1)], 1), normed


# ---- losses: embeddings, what the network has besides them, numbers of who or what each is, the second half or not ---

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, bool], torch.Tensor]
_LOSSES: Mapping[str, Loss] = {
    "triplet": lambda found, _, labels, hard: losses.triplet(found, labels, MARGIN, False)[0],
    "hard": lambda found, _, labels, hard: losses.triplet(found, labels, MARGIN, hard)[0],
    "contrastive": lambda found, _, labels, hard: losses.contrastive(found, labels),
    "logistic": lambda found, head, labels, hard: losses.pairwise_logistic(found, head, labels),
    "margin": lambda found, people, labels, hard: losses.additive_margin_softmax(found, people, labels),
    "classes": lambda found, kinds, labels, hard: losses.additive_margin_softmax(found, kinds, labels, 0.0, SCALE),
}
