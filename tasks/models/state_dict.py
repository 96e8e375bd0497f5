"""State dicts as our own trainings write them, back into networks."""

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import nn

N = TypeVar("N", bound=nn.Module)


def load(network: N, state: Mapping[str, torch.Tensor]) -> N:
    """`network` with these weights, float16 or float32. The counters of batch norm, unused here, may be left out."""
    counters = {name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
    network.load_state_dict(counters | {name: value.float() for name, value in state.items()})
    return network
