"""torchvision's segmentation networks, built for weights that are given: semantic ones, and Mask R-CNN.

torchvision is imported where a network is built: the import costs a worker 1.1 s and 160 MB.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from muster.errors import TaskError
from muster.tasks.models import coco_labels
from muster.tasks.models.state_dict import load

VOC_CLASSES = 21  # 0: background
_BOXES = "roi_heads.box_predictor.cls_score.weight"


class Logits(nn.Module):
    """Backbone and classifier alone: without the auxiliary classifier, which only training needs."""

    def __init__(self, backbone: nn.Module, classifier: nn.Module, feature: str | None) -> None:
        """`feature`: which map of the backbone the classifier takes; all where None."""
        super().__init__()
        self.backbone, self.classifier, self.feature = backbone, classifier, feature

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) normalised RGB → logits: (N, 21, H/8, W/8), or at stride 16."""
        maps = self.backbone(images)
        return self.classifier(maps if self.feature is None else maps[self.feature])


def lraspp(state: Mapping[str, torch.Tensor]) -> nn.Module:
    """LR-ASPP, MobileNetV3-Large (Howard et al., 2019, arXiv:1905.02244)."""
    network = _built("lraspp_mobilenet_v3_large", "classifier.low_classifier.weight", VOC_CLASSES, state)
    return Logits(network.backbone, network.classifier, None)


def deeplabv3(state: Mapping[str, torch.Tensor]) -> nn.Module:
    """DeepLabV3, MobileNetV3-Large (Chen et al., 2017, arXiv:1706.05587)."""
    return _deeplab("deeplabv3_mobilenet_v3_large", state)


def deeplabv3_resnet50(state: Mapping[str, torch.Tensor]) -> nn.Module:
    """DeepLabV3, ResNet-50."""
    return _deeplab("deeplabv3_resnet50", state)


def maskrcnn(state: Mapping[str, torch.Tensor]) -> nn.Module:
    """Mask R-CNN, ResNet-50, FPN (He et al., 2017, arXiv:1703.06870).

    A list of images (3, H, W; RGB, 0..1) → for each "labels", "scores" and "masks" (N, 1, H, W; 0..1), best first.
    """
    network = _built("maskrcnn_resnet50_fpn", _BOXES, coco_labels.OUTPUTS, state)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0  # as torchvision sets it for these weights alone
    return network


def maskrcnn_v2(state: Mapping[str, torch.Tensor]) -> nn.Module:
    """As `maskrcnn`, with the head of Li et al., 2021, arXiv:2111.11429."""
    return _built("maskrcnn_resnet50_fpn_v2", _BOXES, coco_labels.OUTPUTS, state)


def _deeplab(name: str, state: Mapping[str, torch.Tensor]) -> nn.Module:
    network = _built(name, "classifier.4.weight", VOC_CLASSES, state, aux_loss=True)
    return Logits(network.backbone, network.classifier, "out")


def _built(name: str, last: str, classes: int, state: Mapping[str, torch.Tensor], **options: bool) -> Any:
    """`last`: the weight that has a row for each class."""
    from torchvision.models import get_model

    given = len(state.get(last, ()))
    if given != classes:
        raise TaskError(f"these weights of {name} know {given} classes, not the {classes} that it was published with")
    network = get_model(name, weights=None, weights_backbone=None, num_classes=classes, **options)
    return load(network, state)
