"""What is known of one file of weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Entry:
    """One file of published or own weights.

    `url`: empty for those of our own, which are shipped with Muster. `sha256`: of the file. `build` takes what
    torch.load gives, or the tensors of a safetensors file as float32. `mirror`: whether the embedder is run on the
    mirror image too. `size`: (height, width) of what goes in; None: any multiples of 32. `outputs`: what comes out.
    """

    name: str
    file: str
    url: str
    sha256: str
    licence: str
    source: str
    training_data: str
    preprocessing: str
    build: Callable[[Mapping[str, torch.Tensor]], nn.Module]
    mirror: bool = False
    size: tuple[int, int] | None = None
    outputs: tuple[str, ...] = ("output",)

    @property
    def packaged(self) -> bool:
        """Whether the file is shipped with Muster, in tasks/weights."""
        return not self.url
