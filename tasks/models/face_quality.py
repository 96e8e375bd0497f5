"""How likely a face is to be recognised: a small network over what detector and embedder say of it.

Face image quality as ISO/IEC 29794-5 means it, a predictor of recognition; learnt from whether faces *were* recognised,
as in Hernandez-Ortega et al., FaceQnet, ICB 2019 (arXiv:1904.01740), and from finds that are no faces.
"""

from collections.abc import Mapping

import torch
from torch import nn

from muster.tasks.models.state_dict import load

SIGNS, HIDDEN = 8, 32


class FaceQuality(nn.Module):
    """`strangers` (K, D) and `usual`: what muster.tasks.people.graph.Strangers holds. They come with the quality
    because both are of one detector and embedder."""

    mean: torch.Tensor
    deviation: torch.Tensor
    strangers: torch.Tensor
    usual: torch.Tensor

    def __init__(self, strangers: int = 0, width: int = 0) -> None:
        """Of so many strangers, whose embeddings have `width` numbers."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(SIGNS))
        self.register_buffer("deviation", torch.ones(SIGNS))
        self.register_buffer("strangers", torch.zeros(strangers, width))
        self.register_buffer("usual", torch.zeros(()))
        self.hidden = nn.Linear(SIGNS, HIDDEN)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, signs: torch.Tensor) -> torch.Tensor:
        """(N, 8), see muster.tasks.faces.signs → logits (N,). The embedding is not among them: it says who somebody
        is."""
        scaled = ((signs - self.mean) / self.deviation).clamp(-4, 4)
        return self.head(self.hidden(scaled).relu()).squeeze(1)


def from_state(state: Mapping[str, torch.Tensor]) -> FaceQuality:
    """The network with the weights of a training, in half or single precision."""
    return load(FaceQuality(*state["strangers"].shape), state)
