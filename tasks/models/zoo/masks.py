"""Networks of the task `masks`, and what each makes of an image: one class per pixel, or instances."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from muster.arrays import Bools, Pixels
from muster.errors import TaskError
from muster.tasks.models import coco_labels, sam, segmenter, sinet, torchvision_masks
from muster.tasks.models.zoo import objects
from muster.tasks.models.zoo.entry import Entry, of_torchvision

Channels = tuple[float, float, float]
IMAGENET: tuple[Channels, Channels] = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# fmt: off
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on
STREETS = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
PERSON = ("background", "person")

# What a label image's grey or palette values mean: value → class; None: void, not compared.
VOC_LABELS: Mapping[int, int | None] = {i: i for i in range(len(VOC))} | {255: None}
STREETS_LABELS: Mapping[int, int | None] = {i: i for i in range(len(STREETS))} | {len(STREETS): None}
PERSON_LABELS: Mapping[int, int | None] = {0: 0, 1: 1, 255: 1}


@dataclass(frozen=True)
class Semantic:
    """A network that gives each pixel one class: (1, 3, h, w) → logits (1, classes, …) over the same frame.

    `background`: the class that makes no row. `labels`: see above. `max_side`: of the image it decides on, in pixels.
    What goes in is that image at `size`, at `short_side` as far as `max_side` allows, at most `long_side` long, or as
    it is; then RGB (`bgr`:
    BGR) in 0..1, less `mean`, over `std`; then padded with `padding` to sides that are multiples of `multiple`.
    """

    classes: tuple[str, ...]
    labels: Mapping[int, int | None]
    max_side: int
    background: int | None = 0
    mean: Channels = IMAGENET[0]
    std: Channels = IMAGENET[1]
    bgr: bool = False
    size: tuple[int, int] | None = None
    short_side: int | None = None
    long_side: int | None = None
    multiple: int = 1
    padding: float = 0.0
    min_score: float = 0.0

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of what goes in, before it is padded."""
        if self.size is not None:
            return self.size
        if self.short_side is not None:
            factor = min(self.short_side / min(height, width), self.max_side / max(height, width))
        else:
            factor = min(1.0, (self.long_side or self.max_side) / max(height, width))
        return max(1, round(height * factor)), max(1, round(width * factor))


@dataclass(frozen=True)
class Instances:
    """torchvision's Mask R-CNN: a mask for each thing it finds. `class_of`: its label → class; -1: none."""

    classes: tuple[str, ...]
    class_of: tuple[int, ...]
    max_side: int
    min_score: float = 0.5


@dataclass(frozen=True)
class Prompted:
    """SAM: the mask of whatever `objects` finds in a box, by its default model. `max_side`: of the image it looks at.

    `min_score`: chosen as for Mask R-CNN; not measured. `masks_in`: as that of muster.tasks.models.sam.
    """

    classes: tuple[str, ...]
    max_side: int
    min_score: float = 0.5
    masks_in: Callable[..., Iterator[tuple[Bools, float]]] = sam.masks_in


@dataclass(frozen=True)
class Segmenter:
    """A network that is run by code of its own. `find`: the network, uint8 RGB (H, W, 3), the least score of what is
    wanted and the device → the class, score in 0..1 and mask (H, W) of each find. `background`: as of Semantic."""

    classes: tuple[str, ...]
    max_side: int
    find: Callable[[nn.Module, Pixels, float, torch.device], Iterator[tuple[int, float, Bools]]]
    background: int | None = None
    min_score: float = 0.5


Form = Semantic | Instances | Prompted | Segmenter

# As torchvision's transforms: the shorter side 520, the longer as far as photos of 3:2 need it.
_VOC = Semantic(VOC, VOC_LABELS, max_side=800, short_side=520)
_COCO = Instances(coco_labels.NAMES, coco_labels.INDEX, max_side=1333)  # as torchvision's own transform: 800 to 1333

_HALF: Channels = (0.5, 0.5, 0.5)

FORMS: Mapping[str, Form] = {
    "muster-person": Semantic(
        PERSON, PERSON_LABELS, max_side=640, long_side=256, mean=_HALF, std=_HALF, multiple=32, padding=-1.0
    ),
    "muster-streets": Semantic(
        STREETS, STREETS_LABELS, max_side=480, background=None, mean=_HALF, std=_HALF, multiple=32, padding=-1.0
    ),
    "sinet-portrait": Semantic(
        PERSON,
        PERSON_LABELS,
        max_side=640,
        mean=(107.304565 / 255, 115.69884 / 255, 132.35703 / 255),
        std=(63.97182, 65.1337, 68.29726),  # of 0..255: its program divides by 255 once more (Visualize_video.py)
        bgr=True,
        size=(sinet.SIDE, sinet.SIDE),
    ),
    "lraspp-mobilenet-v3-large": _VOC,
    "deeplabv3-mobilenet-v3-large": _VOC,
    "deeplabv3-resnet50": _VOC,
    "maskrcnn-resnet50-fpn": _COCO,
    "maskrcnn-resnet50-fpn-v2": _COCO,
    "sam": Prompted(coco_labels.NAMES, max_side=1024),
}

_VOC_DATA = (
    "COCO train2017, its images of Pascal VOC's classes (annotations CC-BY-4.0; photos under their Flickr terms)"
)
_VOC_INPUT = "RGB, shorter side 520, ImageNet mean and standard deviation"
_COCO_DATA = "COCO train2017 (annotations CC-BY-4.0; photos under their Flickr terms)"
_COCO_INPUT = (
    "RGB, 0..1, shorter side 800, longer at most 1333, ImageNet mean and standard deviation, all by the network"
)


def _torchvision(
    name: str,
    file: str,
    weights: str,
    data: str,
    preprocessing: str,
    build: Callable[[Mapping[str, torch.Tensor]], nn.Module],
) -> Entry:
    return of_torchvision(
        name,
        file,
        source=f"torchvision, {weights}",
        training_data=data,
        preprocessing=preprocessing,
        build=build,
    )


def _own(classes: Sequence[str]) -> Callable[[Mapping[str, torch.Tensor]], nn.Module]:
    """Builds our segmenter; TaskError where the weights are for another number of classes."""

    def build(state: Mapping[str, torch.Tensor]) -> nn.Module:
        network = segmenter.from_state(state)
        if network.head.out_channels != len(classes):
            known = f"{len(classes)} of this model ({', '.join(classes)})"
            raise TaskError(f"these weights know {network.head.out_channels} classes, not the {known}")
        return network

    return build


ENTRIES = (
    Entry(
        name="muster-person",
        file="muster-person.safetensors",
        url="",
        sha256="474a7d308f205685059dc8bd2b78a37408dde580cb291f8efc2443667b3cca57",
        licence="Apache-2.0",
        source="trained by `muster train person`",
        training_data="140 photos of people (research use) and COCO's first 128 of train2017 (annotations CC-BY-4.0;"
        " photos under their Flickr terms)",
        preprocessing="RGB, -1..1, longest side at most 256, padded with black to multiples of 32",
        build=_own(PERSON),
        outputs=("logits",),
    ),
    Entry(
        name="muster-streets",
        file="muster-streets.safetensors",
        url="",
        sha256="510ee359b6328b95e86715bb05cdad24c1b6f8f0bee466c2d27ec9f2c455b371",
        licence="Apache-2.0",
        source="trained by `muster train streets`",
        training_data="346 frames of CamVid (non-commercial)",
        preprocessing="RGB, -1..1, longest side at most 480, padded with black to multiples of 32",
        build=_own(STREETS),
        outputs=("logits",),
    ),
    Entry(
        name="sinet-portrait",
        file="sinet_portrait.pth",
        url="https://raw.githubusercontent.com/clovaai/ext_portrait_segmentation/"
        "5ebd2d6d2f1270483f8ddae97641a893f7d1af67/result/SINet/SINet.pth",
        sha256="d164a9643c6e6765fc6dd4ec73f6018ad2526c21336911b4484715f33e6981a4",
        licence="MIT",
        source="SINet, github.com/clovaai/ext_portrait_segmentation",
        training_data="EG1800 portraits and Baidu people, with augmented backgrounds",
        preprocessing="BGR, 224×224, less (107.3, 115.7, 132.4), over (64.0, 65.1, 68.3) and over 255",
        build=sinet.from_published,
        size=(sinet.SIDE, sinet.SIDE),
        outputs=("logits",),
    ),
    _torchvision(
        "lraspp-mobilenet-v3-large",
        "lraspp_mobilenet_v3_large-d234d4ea.pth",
        "LRASPP_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1",
        _VOC_DATA,
        _VOC_INPUT,
        torchvision_masks.lraspp,
    ),
    _torchvision(
        "deeplabv3-mobilenet-v3-large",
        "deeplabv3_mobilenet_v3_large-fc3c493d.pth",
        "DeepLabV3_MobileNet_V3_Large_Weights.COCO_WITH_VOC_LABELS_V1",
        _VOC_DATA,
        _VOC_INPUT,
        torchvision_masks.deeplabv3,
    ),
    _torchvision(
        "deeplabv3-resnet50",
        "deeplabv3_resnet50_coco-cd0a2569.pth",
        "DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1",
        _VOC_DATA,
        _VOC_INPUT,
        torchvision_masks.deeplabv3_resnet50,
    ),
    _torchvision(
        "maskrcnn-resnet50-fpn",
        "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth",
        "MaskRCNN_ResNet50_FPN_Weights.COCO_V1",
        _COCO_DATA,
        _COCO_INPUT,
        torchvision_masks.maskrcnn,
    ),
    _torchvision(
        "maskrcnn-resnet50-fpn-v2",
        "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth",
        "MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1",
        _COCO_DATA,
        _COCO_INPUT,
        torchvision_masks.maskrcnn_v2,
    ),
    Entry(
        name="sam",
        file="sam_vit_b_01ec64.pth",
        url="",
        sha256="",
        licence="Apache-2.0, as published",
        source="SAM (vit_b, vit_l or vit_h), github.com/facebookresearch/segment-anything",
        training_data="SA-1B, as published",
        preprocessing="RGB, longest side 1024, less (123.7, 116.3, 103.5), over (58.4, 57.1, 57.4), padded with 0",
        build=sam.from_published,
        outputs=(),  # not exported as ONNX
        how="download one that github.com/facebookresearch/segment-anything lists, such as sam_vit_b_01ec64.pth,"
        " then name it with --weights masks=FILE",
    ),
)

MODELS = {
    "person": {"segmenter": "muster-person"},
    "streets": {"segmenter": "muster-streets"},
    "sinet": {"segmenter": "sinet-portrait"},
    "lraspp": {"segmenter": "lraspp-mobilenet-v3-large"},
    "deeplabv3": {"segmenter": "deeplabv3-mobilenet-v3-large"},
    "deeplabv3-resnet50": {"segmenter": "deeplabv3-resnet50"},
    "maskrcnn": {"segmenter": "maskrcnn-resnet50-fpn"},
    "maskrcnn-v2": {"segmenter": "maskrcnn-resnet50-fpn-v2"},
    "sam": {"segmenter": "sam", "detector": objects.DEFAULT},
}
DEFAULT = "person"
