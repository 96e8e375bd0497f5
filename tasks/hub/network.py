"""A network of the `transformers` library beside the processor that prepares what goes in."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image as PillowImage
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from muster.arrays import Pixels

# What the library calls a convolution and the norm that follows it in the module that has both
_PAIRS = (("convolution", "normalization"), ("conv", "norm"))


@dataclass(frozen=True)
class Pair:
    """What prepares photos and words for a network that was put together of two, and has no processor of its own."""

    image_processor: Any
    tokenizer: Any


class Published(nn.Module):
    """`lacking`: whether the file lacked tensors that the network can do without; they have random numbers. `layout`:
    of what goes in. Other than torch's own it is faster, and rounds otherwise."""

    def __init__(self, network: nn.Module, processor: Any, lacking: bool = False, exact: bool = False) -> None:
        """`exact`: numbers as the library's to the last bit, where a rounding more would change a pixel."""
        super().__init__()
        self.layout = torch.contiguous_format if exact else torch.channels_last
        if not exact:
            _fold(network)
        self.network = network.to(memory_format=self.layout)
        self.processor, self.lacking = processor, lacking

    @property
    def image_processor(self) -> Any:
        """Of a processor of pictures and words, the part for pictures."""
        return getattr(self.processor, "image_processor", self.processor)

    @property
    def config(self) -> Any:
        return self.network.config


def at_once(device: torch.device) -> int:
    """Images that go in together; on a CPU one, so that no image's numbers depend, by rounding, on the others."""
    return 16 if device.type == "cuda" else 1


def batches(
    network: Published, images: Sequence[Pixels], device: torch.device, **more: Any
) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
    """The places of some images, and what their network takes, on `device`. uint8 RGB (H, W, 3), of any sizes.

    Each is prepared alone, and only those that then have one shape go together: in a padded batch, what is found on one
    would depend on the others. `more`: what the processor is told besides.
    """
    waiting: dict[Any, list[tuple[int, Mapping[str, torch.Tensor]]]] = defaultdict(list)
    most = at_once(device)
    for place, pixels in enumerate(images):
        inputs = network.image_processor(images=[PillowImage.fromarray(pixels)], return_tensors="pt", **more)
        tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
        alike = waiting[tuple((name, value.shape) for name, value in tensors.items())]
        alike.append((place, tensors))
        if len(alike) == most:
            yield _together(alike, device, network.layout)
            alike.clear()
    yield from (_together(alike, device, network.layout) for alike in waiting.values() if alike)


def _together(
    some: Sequence[tuple[int, Mapping[str, torch.Tensor]]], device: torch.device, layout: torch.memory_format
) -> tuple[list[int], dict[str, torch.Tensor]]:
    names = some[0][1]
    joined = {name: torch.cat([tensors[name] for _, tensors in some]).to(device) for name in names}
    return [place for place, _ in some], {
        name: value.to(memory_format=layout) if value.dim() == 4 else value for name, value in joined.items()
    }


def _fold(network: nn.Module) -> None:
    """Batch norm as a part of the convolution before it: with channels last, D-FINE-N takes 135 ms a photo on one
    thread, not 193 (AMD EPYC; its logits change by 7e-6)."""
    for module in network.modules():
        for first, second in _PAIRS:
            conv: Any = getattr(module, first, None)
            norm: Any = getattr(module, second, None)
            if type(conv) is nn.Conv2d and isinstance(getattr(norm, "running_var", None), torch.Tensor):
                # A frozen norm has no `eps` of its own: the library writes 1e-5 where it uses it.
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    conv.weight,
                    conv.bias,
                    norm.running_mean,
                    norm.running_var,
                    getattr(norm, "eps", 1e-5),
                    norm.weight,
                    norm.bias,
                )
                setattr(module, second, nn.Identity())


def in_order(found: Mapping[int, Any]) -> list[Any]:
    """Place → what came of it, as a list."""
    return [found[place] for place in range(len(found))]
