"""Classifiers of the `transformers` library, and networks that make numbers of a photo."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812

from muster.arrays import F32, Pixels
from muster.errors import TaskError
from muster.tasks.hub.network import Published, batches, in_order


class Chances:
    """How probable each of a classifier's categories is."""

    def __init__(self, network: Any, device: torch.device) -> None:
        assert isinstance(network, Published)
        self.network, self.device = network.to(device), device
        self.categories = names(network.config)
        if network.config.problem_type == "regression":
            raise TaskError("it gives amounts and no labels (problem_type regression)")
        # As the library's pipeline: several may hold at once, or there is only one.
        self.several = network.config.problem_type == "multi_label_classification" or len(self.categories) == 1

    def __call__(self, images: Sequence[Pixels]) -> F32:
        """uint8 RGB (H, W, 3), of any sizes → (N, categories), 0..1."""
        found: dict[int, Any] = {}
        for places, inputs in batches(self.network, images, self.device):
            logits = numbers(self.network.network(**inputs).logits)
            chances = logits.sigmoid() if self.several else logits.softmax(-1)
            found |= dict(zip(places, chances.cpu(), strict=True))
        return torch.stack(in_order(found)).numpy()


class Embedder:
    """What a network makes of a photo as a whole; of networks of pictures and words, where words lie too."""

    def __init__(self, network: Any, device: torch.device) -> None:
        assert isinstance(network, Published)
        self.network, self.device = network.to(device), device

    def __call__(self, images: Sequence[Pixels]) -> F32:
        """uint8 RGB (H, W, 3), of any sizes → (N, D), L2-normalised."""
        found: dict[int, Any] = {}
        for places, inputs in batches(self.network, images, self.device):
            found |= dict(zip(places, F.normalize(embeddings(self.network, inputs)).cpu(), strict=True))
        return torch.stack(in_order(found)).numpy()


def embeddings(network: Published, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """(N, D): the features that are compared with words, else what the network pools, else its first token."""
    inner: Any = network.network
    if hasattr(inner, "get_image_features"):
        return pooled(inner.get_image_features(**inputs))
    outputs = inner(**inputs)
    if network.lacking or getattr(outputs, "pooler_output", None) is None:  # a pooler without weights says nothing
        return outputs.last_hidden_state[:, 0]
    return outputs.pooler_output.flatten(1)


def pooled(outputs: Any) -> torch.Tensor:
    return outputs if isinstance(outputs, torch.Tensor) else outputs.pooler_output


def names(config: Any) -> tuple[str, ...]:
    """What the outputs of a network mean, in their order. TaskError where their numbers have gaps."""
    if sorted(config.id2label) != list(range(len(config.id2label))):
        raise TaskError("its id2label does not number its classes from 0 on: take the config.json of its publisher")
    found = (str(config.id2label[i]) for i in range(len(config.id2label)))
    return tuple(name.encode(errors="replace").decode() for name in found)  # JSON may hold what is no Unicode


def numbers(logits: torch.Tensor) -> torch.Tensor:
    """The same; TaskError where some are none: of weights or settings that are damaged, nothing would be found."""
    if logits.isnan().any():
        raise TaskError("the network gives NaN: its weights or its settings are damaged")
    return logits
