"""State dicts as our own trainings write them, back into networks."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import nn

N = TypeVar("N", bound=nn.Module)


def load(network: N, state: Mapping[str, torch.Tensor]) -> N:
    """`network` with these weights, float16 or float32. The counters of batch norm, unused here, may be left out."""
    counters = {name: value for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
    network.load_state_dict(counters | {name: value.float() for name, value in state.items()})
    return network


def of_facts(facts: Mapping[str, Any]) -> torch.Tensor:
    """What JSON can hold, as a tensor among weights: the bytes of its text, which half precision holds exactly."""
    return torch.tensor(list(json.dumps(facts).encode()), dtype=torch.float32)


def facts_of(tensor: torch.Tensor) -> dict[str, Any]:
    """The converse of `of_facts`."""
    found: dict[str, Any] = json.loads(bytes(tensor.to(torch.uint8).tolist()))
    return found
