"""A head: from a photo's embedding to how probable each of a few classes is. It is learnt by `muster train labels`."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from muster.errors import TaskError
from muster.tasks.models.state_dict import facts_of, of_facts


class Head(nn.Module):
    """`several`: each class is there or not, whatever the others are; else a photo is of exactly one. `base`: the zoo
    entry whose embeddings it knows."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor, classes: Sequence[str], base: str, several: bool):
        super().__init__()
        self.classes, self.base, self.several = tuple(classes), base, several
        self.weight: torch.Tensor
        self.bias: torch.Tensor
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(N, D), L2-normalised → (N, number of classes), probabilities."""
        logits = embeddings @ self.weight.T + self.bias
        return logits.sigmoid() if self.several else logits.softmax(1)


def state_of(head: Head) -> dict[str, torch.Tensor]:
    """What is kept of a head."""
    said = of_facts({"classes": head.classes, "base": head.base, "several": head.several})
    return {"weight": head.weight, "bias": head.bias, "said": said}


def from_state(state: Mapping[str, torch.Tensor]) -> Head:
    """TaskError where it does not fit together."""
    said = facts_of(state["said"])
    weight, bias = (state[name].float() for name in ("weight", "bias"))
    classes = said["classes"]
    if weight.ndim != 2 or not len(classes) == len(weight) == len(bias):
        raise TaskError(
            f"its weights {tuple(weight.shape)} and bias {tuple(bias.shape)} are not for its {len(classes)} classes"
        )
    return Head(weight, bias, classes, said["base"], said["several"])
