"""Networks of the task `objects`."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from muster.errors import TaskError
from muster.tasks.models import coco_labels, fastestdet, torchvision_detectors, yolo
from muster.tasks.models.zoo.entry import Entry, of_torchvision

_COCO = "COCO train2017 (annotations CC-BY-4.0; photos under their Flickr terms)"


def _torchvision(
    name: str, file: str, title: str, preprocessing: str, build: Callable[[Mapping[str, torch.Tensor]], nn.Module]
) -> Entry:
    """Not exported as ONNX: it gives lists of boxes of any length."""
    return of_torchvision(
        name,
        file,
        source=f"{title}, torchvision's COCO_V1",
        training_data=_COCO,
        preprocessing=preprocessing,
        build=build,
    )


def _own(state: Mapping[str, torch.Tensor]) -> nn.Module:
    network = yolo.from_state(state)
    classes = network.heads[0].get_parameter("1.bias").shape[0] // len(yolo.ANCHORS[0]) - 5
    if classes != len(coco_labels.NAMES):
        raise TaskError(
            f"these weights of muster-yolo know {classes} classes, not the {len(coco_labels.NAMES)} of COCO"
        )
    return network


_LARGE = "RGB, 0..1, shorter side 800, longer at most 1333, ImageNet mean and standard deviation, all by the network"

ENTRIES = (
    Entry(
        name="fastestdet",
        file="fastestdet_coco80.pth",
        url="https://raw.githubusercontent.com/dog-qiuqiu/FastestDet/"
        "50473cd155cb088aa4a99e64ff6a4b3c24fa07e1/weights/weight_AP05:0.253207_280-epoch.pth",
        sha256="7f688d478ee474c82dbdb9c10e0ede2f8f3cf5d603f0825d2efd925eb561d05e",
        licence="BSD-3-Clause",
        source="FastestDet, github.com/dog-qiuqiu/FastestDet",
        training_data=_COCO,
        preprocessing="BGR, 0..1, stretched to 352×352",
        build=fastestdet.from_published,
        size=(fastestdet.SIDE, fastestdet.SIDE),
    ),
    _torchvision(
        "ssdlite",
        "ssdlite320_mobilenet_v3_large_coco-a79551df.pth",
        "SSDlite MobileNetV3-Large",
        "RGB, 0..1, stretched to 320×320, -1..1, all by the network",
        torchvision_detectors.ssdlite,
    ),
    _torchvision(
        "fasterrcnn",
        "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
        "Faster R-CNN ResNet-50 FPN",
        _LARGE,
        torchvision_detectors.fasterrcnn,
    ),
    _torchvision(
        "fasterrcnn-v2",
        "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
        "Faster R-CNN ResNet-50 FPN v2",
        _LARGE,
        torchvision_detectors.fasterrcnn_v2,
    ),
    _torchvision(
        "retinanet",
        "retinanet_resnet50_fpn_v2_coco-5905b1c5.pth",
        "RetinaNet ResNet-50 FPN v2",
        _LARGE,
        torchvision_detectors.retinanet,
    ),
    _torchvision(
        "fcos",
        "fcos_resnet50_fpn_coco-99b0c9b7.pth",
        "FCOS ResNet-50 FPN",
        _LARGE,
        torchvision_detectors.fcos,
    ),
    Entry(
        name="muster-yolo",
        file="objects.safetensors",
        url="",
        sha256="",
        licence="yours",
        source="trained by `muster train objects`",
        training_data="your photos",
        preprocessing="RGB, -1..1, longest side at most 416, padded with -1 to multiples of 32",
        build=_own,
        outputs=("stride8", "stride16", "stride32"),
        how="train it with `muster train objects --images PHOTOS --labels COCO.json --out DIR`,"
        " then name its file with --weights objects=DIR/objects.safetensors",
    ),
)

MODELS = {"own" if entry.given else entry.name: {"detector": entry.name} for entry in ENTRIES}
DEFAULT = "fastestdet"
