"""Plain classifiers: a chain of layers, each under a name of its own, so that every stage can be looked at.

The two that lectures begin with. `DIGITS` is of LeNet's type: conv, pool, conv, pool, fully connected (LeCun, Bottou,
Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, Proceedings of the IEEE 86(11), 1998, figure
2), with ReLU and the maximum for its sigmoids and averages. `CIFAR` is the one of Stanford's CS231n: three times conv,
ReLU, conv, ReLU, pool, then fully connected and softmax: 17 layers, 6,440 parameters for ten classes.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from muster.tasks.models.state_dict import load


@dataclass(frozen=True)
class Plan:
    """`side`: pixels of a photo. `kernel`: of every convolution, odd. `blocks`: the channels of the convolutions before
    each pooling. `hidden`: how many numbers layers between maps and classes have. `grey`: colour is not seen."""

    side: int
    kernel: int
    blocks: tuple[tuple[int, ...], ...]
    hidden: tuple[int, ...] = ()
    grey: bool = False


DIGITS = Plan(side=28, kernel=5, blocks=((6,), (16,)), hidden=(120, 84), grey=True)
CIFAR = Plan(side=32, kernel=3, blocks=((10, 10),) * 3)


class Grey(nn.Module):
    """(N, 3, H, W) → (N, 1, H, W): the mean of the colours, so that it takes photos as every other network does."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(1, keepdim=True)


class FullyConnected(nn.Linear):
    """Of maps, or of a row of numbers: each output sees all of a photo's values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.flatten(1))


def chain(plan: Plan, classes: int) -> nn.Sequential:
    """(N, 3, side, side) RGB, -1..1 → (N, classes) probabilities."""
    return nn.Sequential(_layers(plan, classes, normalised=False) | OrderedDict(softmax=nn.Softmax(1)))


def in_training(plan: Plan, classes: int) -> nn.Sequential:
    """The same with batch norm behind each convolution, up to the logits of the classes: see `folded`."""
    return nn.Sequential(_layers(plan, classes, normalised=True))


def folded(network: nn.Sequential) -> dict[str, torch.Tensor]:
    """The state dict of a `chain` that computes what a network `in_training` computes in evaluation mode."""
    kept: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in network.eval().named_children():
        if isinstance(layer, nn.BatchNorm2d):
            conv = kept[before := next(reversed(kept))]
            assert isinstance(conv, nn.Conv2d)
            kept[before] = fuse_conv_bn_eval(conv, layer)
        else:
            kept[name] = layer
    return dict(nn.Sequential(kept).state_dict())


def from_state(state: Mapping[str, torch.Tensor], plan: Plan) -> nn.Sequential:
    """The network with the weights of a training, in half or single precision; how wide it is, is theirs."""
    wide = {name: value.shape[0] for name, value in state.items() if name.endswith(".weight")}
    convs = iter(wide[f"conv{number}.weight"] for number in range(1, 1 + sum(map(len, plan.blocks))))
    blocks = tuple(tuple(next(convs) for _ in block) for block in plan.blocks)
    *hidden, classes = (wide[f"fc{number}.weight"] for number in range(1, len(plan.hidden) + 2))
    return load(chain(replace(plan, blocks=blocks, hidden=tuple(hidden)), classes), state)


digits_from_state = partial(from_state, plan=DIGITS)
cifar_from_state = partial(from_state, plan=CIFAR)


def _layers(plan: Plan, classes: int, normalised: bool) -> OrderedDict[str, nn.Module]:
    layers: OrderedDict[str, nn.Module] = OrderedDict(grey=Grey()) if plan.grey else OrderedDict()
    inputs, conv, relu = 1 if plan.grey else 3, 0, 0
    for pool, widths in enumerate(plan.blocks, 1):
        for outputs in widths:
            conv, relu = conv + 1, relu + 1
            reach = plan.kernel // 2
            layers[f"conv{conv}"] = nn.Conv2d(inputs, outputs, plan.kernel, padding=reach, bias=not normalised)
            if normalised:
                layers[f"norm{conv}"] = nn.BatchNorm2d(outputs)
            layers[f"relu{relu}"] = nn.ReLU()
            inputs = outputs
        layers[f"pool{pool}"] = nn.MaxPool2d(2)
    inputs *= (plan.side >> len(plan.blocks)) ** 2
    for number, outputs in enumerate(plan.hidden, 1):
        relu += 1
        layers |= {f"fc{number}": FullyConnected(inputs, outputs), f"relu{relu}": nn.ReLU()}
        inputs = outputs
    layers[f"fc{len(plan.hidden) + 1}"] = FullyConnected(inputs, classes)
    return layers
