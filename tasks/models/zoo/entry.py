"""What is known of one file of weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Entry:
    """One file of published or own weights, or what a file that the user gives must fit.

    `url`: empty for those of our own, which are shipped with Muster. `sha256`: of the file. `how`: where there is
    no file that Muster could fetch, what a user does to have one; `url` is then empty, and `sha256` where it may be
    any. `build` takes what torch.load gives, or the tensors of a safetensors file as float32; where they do not fit
    it raises TaskError, or whatever it came upon. `mirror`: whether the embedder is run on the mirror image too.
    `double_between`: how long images are that a detector is also shown in double size. `size`: (height, width) of
    what goes in; None: any multiples of 32. `outputs`: what comes out. `width`: how many numbers an embedder gives.
    `path`: where the file lies that another package ships; Muster's own lie in tasks/weights. `run`: how its task
    runs it, in an entry of another package, or one at an address: for `objects` a muster.tasks.objects.Family, for
    `masks` a muster.tasks.models.zoo.masks.Form, for `labels`, `features`, `captions` and `answers` (network, device) →
    what the task calls. `load`: of a model at an address, what reads the tensors; its files are its own affair.
    `commercial`: whether its licence allows commercial use. `stands_for`: the name of another entry, whose network this
    is in another form, and as which it is run; by default its own. `imported`: what runs its network as ONNX, as it was
    exported → what stands where `build` gives the network. `memory`: bytes that a worker takes for it, beside what
    workers take for Muster's own.
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
    double_between: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    outputs: tuple[str, ...] = ("output",)
    how: str = ""
    width: int = 0
    path: str = ""
    run: Any = None
    load: Callable[[], Mapping[str, torch.Tensor]] | None = None
    commercial: bool = True
    stands_for: str = ""
    memory: int = 0
    imported: Callable[[nn.Module], nn.Module] = nn.Sequential

    @property
    def packaged(self) -> bool:
        """Whether the file is shipped, with Muster or another package."""
        return not self.url and not self.given

    @property
    def given(self) -> bool:
        """Whether the user has to give the file."""
        return bool(self.how)


def of_torchvision(name: str, file: str, **said: Any) -> Entry:
    """An entry of weights that torchvision publishes, with the first 8 digits of the file's SHA-256 in its name; not
    exported as ONNX. `said`: the rest of an Entry."""
    return Entry(
        name=name,
        file=file,
        url=f"https://download.pytorch.org/models/{file}",
        sha256=file.removesuffix(".pth").rpartition("-")[2],
        licence="BSD-3-Clause",
        outputs=(),
        **said,
    )
