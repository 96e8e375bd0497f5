"""A network of the `transformers` library beside the processor that prepares what goes in."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image as PillowImage
from torch import nn

from muster.arrays import Pixels

ON_GPU = 16  # images at once; on a CPU one, so that no image's numbers depend, by rounding, on the others


@dataclass(frozen=True)
class Pair:
    """What prepares photos and words for a network that was put together of two, and has no processor of its own."""

    image_processor: Any
    tokenizer: Any


class Published(nn.Module):
    """`lacking`: whether the file lacked tensors that the network can do without; they have random numbers."""

    def __init__(self, network: nn.Module, processor: Any, lacking: bool = False) -> None:
        super().__init__()
        self.network, self.processor, self.lacking = network, processor, lacking

    @property
    def image_processor(self) -> Any:
        """Of a processor of pictures and words, the part for pictures."""
        return getattr(self.processor, "image_processor", self.processor)

    @property
    def config(self) -> Any:
        return self.network.config


def batches(
    network: Published, images: Sequence[Pixels], device: torch.device, **more: Any
) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
    """The places of some images, and what their network takes, on `device`. uint8 RGB (H, W, 3), of any sizes.

    Each is prepared alone, and only those that then have one shape go together: in a padded batch, what is found on one
    would depend on the others. `more`: what the processor is told besides.
    """
    waiting: dict[Any, list[tuple[int, Mapping[str, torch.Tensor]]]] = defaultdict(list)
    most = ON_GPU if device.type == "cuda" else 1
    for place, pixels in enumerate(images):
        inputs = network.image_processor(images=[PillowImage.fromarray(pixels)], return_tensors="pt", **more)
        tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
        alike = waiting[tuple((name, value.shape) for name, value in tensors.items())]
        alike.append((place, tensors))
        if len(alike) == most:
            yield _together(alike, device)
            alike.clear()
    yield from (_together(alike, device) for alike in waiting.values() if alike)


def _together(
    some: Sequence[tuple[int, Mapping[str, torch.Tensor]]], device: torch.device
) -> tuple[list[int], dict[str, torch.Tensor]]:
    names = some[0][1]
    joined = {name: torch.cat([tensors[name] for _, tensors in some]).to(device) for name in names}
    return [place for place, _ in some], joined


def in_order(found: Mapping[int, Any]) -> list[Any]:
    """Place → what came of it, as a list."""
    return [found[place] for place in range(len(found))]
