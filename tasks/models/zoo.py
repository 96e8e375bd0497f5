"""Every network Muster knows, as data: where its weights come from, what they may be used for, what goes in.

`MODELS[task][name]` says which entries play which role when a user writes `--model task=name`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import nn

from tasks.base import TaskError
from tasks.models import daynight, face_detector, face_embedder, mobilefacenet, yunet


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
                outputs=("stride8", "stride16", "stride32"),
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
                mirror=True,
                size=(112, 112),
                outputs=("embedding",),
            ),
            Entry(
                name="muster-detector",
                file="muster-detector.safetensors",
                url="",
                sha256="067ee18292318acd9f72e4d72c5e39855895c118521985eb0d2f126030d4e1fb",
                licence="Apache-2.0",
                source="trained by `muster train detector`, taught by yunet-n",
                training_data="LFW faces (research use) in photos of COCO, CamVid (non-commercial), people (research"
                " use) and webcams",
                preprocessing="BGR, 0..255, sides padded with 0 to multiples of 32",
                build=face_detector.from_state,
                outputs=("stride8", "stride16", "stride32"),
            ),
            Entry(
                name="muster-embedder",
                file="muster-embedder.safetensors",
                url="",
                sha256="595efb57e2fe964e0ec1e3d02192b904e5d255d3ff89d76ccb88b0b45499e878",
                licence="Apache-2.0",
                source="trained by `muster train embedder`, taught by mobilefacenet",
                training_data="3,990 people of LFW (research use), as mobilefacenet sees them",
                preprocessing="RGB, 112×112 aligned to the five-point template, ImageNet mean and standard deviation",
                build=face_embedder.from_state,
                size=(112, 112),
                outputs=("embedding",),
            ),
            Entry(
                name="muster-daynight",
                file="muster-daynight.safetensors",
                url="",
                sha256="f765c9843e9dadb846ae94a4a54883595c7687ea989d68b889a89c8837ecff1e",
                licence="Apache-2.0",
                source="trained by `muster train daynight`",
                training_data="156 photos of 10 outdoor webcams (AMOS, as in the Udacity course set; MIT)",
                preprocessing="RGB, the whole image averaged down to 64×64, -1..1",
                build=daynight.from_state,
                size=(64, 64),
                outputs=("logit_of_day",),
            ),
        )
    }
)

MODELS: Mapping[str, Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "faces": {
            "own": {"detector": "muster-detector", "embedder": "muster-embedder"},
            "published": {"detector": "yunet-n", "embedder": "mobilefacenet"},
        },
        "scenes": {"own": {"classifier": "muster-daynight"}},
    }
)
DEFAULTS: Mapping[str, str] = MappingProxyType({"faces": "own", "scenes": "own"})


def roles(task: str, model: str) -> Mapping[str, str]:
    """Role → entry name of a task's model; TaskError lists the known names on a miss."""
    known = MODELS.get(task, {})
    if model not in known:
        names = ", ".join(known) or "none"
        raise TaskError(f"task {task!r} has no model {model!r}; known: {names}")
    return known[model]
