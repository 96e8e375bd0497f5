"""Every network Muster knows, as data: where its weights come from, what they may be used for, what goes in.

`MODELS[task][name]` says which entries play which role when a user writes `--model task=name`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from tasks.base import TaskError
from tasks.models import mobilefacenet, yunet


@dataclass(frozen=True)
class Entry:
    """One file of published or own weights. `sha256` is of the file; `build` takes what torch.load gives."""

    name: str
    file: str
    url: str
    sha256: str
    licence: str
    source: str
    training_data: str
    preprocessing: str
    build: Callable[[Mapping[str, torch.Tensor]], nn.Module]


ENTRIES: Mapping[str, Entry] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Entry(
                name="yunet-n",
                file="yunet_n.pth",
                url="https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/"
                "0047ac24afb1a50a0c6105001c89d1b5b805dbf1/weights/yunet_n.pth",
                sha256="9c7c9e14a4d60e57491d77e4d8b0d451bd834f300e05c0dea7fd1f6533817b06",
                licence="Apache-2.0",
                source="YuNet, github.com/ShiqiYu/libfacedetection.train",
                training_data="WIDER FACE",
                preprocessing="BGR, 0..255, sides padded with 0 to multiples of 32",
                build=yunet.from_published,
            ),
            Entry(
                name="mobilefacenet",
                file="mobilefacenet.pt",
                url="https://raw.githubusercontent.com/foamliu/MobileFaceNet/"
                "a6cc9032a659b615f477833e1a70b5e7931bcccc/weights/mobilefacenet.pt",
                sha256="90a00ba1d8b0b688af3deb731ed53dca582e6106805d1bc3cfdef55f570493f4",
                licence="Apache-2.0",
                source="MobileFaceNet, github.com/foamliu/MobileFaceNet",
                training_data="MS-Celeb-1M, which its publisher withdrew in 2019",
                preprocessing="RGB, 112×112 aligned to the five-point template, ImageNet mean and standard deviation",
                build=mobilefacenet.from_published,
            ),
        )
    }
)

MODELS: Mapping[str, Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {"faces": {"published": {"detector": "yunet-n", "embedder": "mobilefacenet"}}}
)
DEFAULTS: Mapping[str, str] = MappingProxyType({"faces": "published"})


def roles(task: str, model: str) -> Mapping[str, str]:
    """Role → entry name of a task's model; TaskError lists the known names on a miss."""
    known = MODELS.get(task, {})
    if model not in known:
        names = ", ".join(known) or "none"
        raise TaskError(f"task {task!r} has no model {model!r}; known: {names}")
    return known[model]
