"""torchvision's detectors with weights of their own file: what its builders give for COCO_V1, without its download.

torchvision is imported where it is needed: importing it costs a worker 1.1 s and 160 MB.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from muster.errors import TaskError
from muster.tasks.models import coco_labels
from muster.tasks.models.state_dict import load


def ssdlite(state: Mapping[str, torch.Tensor]) -> nn.Module:
    """SSDlite, MobileNetV3-Large, 320×320 (Howard et al., 2019, arXiv:1905.02244)."""
    return _built("ssdlite320_mobilenet_v3_large", "head.classification_head.module_list.0.1.weight", state)


def fasterrcnn(state: Mapping[str, torch.Tensor]) -> nn.Module:
    """Faster R-CNN, ResNet-50, FPN (Ren et al., 2015, arXiv:1506.01497)."""
    network = _built("fasterrcnn_resnet50_fpn", "roi_heads.box_predictor.cls_score.weight", state)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0  # as torchvision sets it for these weights alone
    return network


def fasterrcnn_v2(state: Mapping[str, torch.Tensor]) -> nn.Module:
    """Faster R-CNN, ResNet-50, FPN, with the head of Li et al., 2021, arXiv:2111.11429."""
    return _built("fasterrcnn_resnet50_fpn_v2", "roi_heads.box_predictor.cls_score.weight", state)


def retinanet(state: Mapping[str, torch.Tensor]) -> nn.Module:
    """RetinaNet, ResNet-50, FPN, improved (Zhang et al., 2019, arXiv:1912.02424)."""
    return _built("retinanet_resnet50_fpn_v2", "head.classification_head.cls_logits.weight", state)


def fcos(state: Mapping[str, torch.Tensor]) -> nn.Module:
    """FCOS, ResNet-50, FPN (Tian et al., 2019, arXiv:1904.01355)."""
    return _built("fcos_resnet50_fpn", "head.classification_head.cls_logits.weight", state)


def _built(builder: str, classifier: str, state: Mapping[str, torch.Tensor]) -> nn.Module:
    """`classifier`: the weight with a row for each class, and each anchor."""
    from torchvision.models import get_model

    network: nn.Module = get_model(builder, weights=None, weights_backbone=None, num_classes=coco_labels.OUTPUTS)
    rows = len(network.state_dict()[classifier])
    classes = len(state[classifier]) * coco_labels.OUTPUTS / rows
    if classes != coco_labels.OUTPUTS:
        raise TaskError(f"these weights of {builder} know {classes:g} classes, not the {coco_labels.OUTPUTS} of COCO")
    return load(network, state)


def set_min_score(network: Any, min_score: float) -> None:
    """The least score of what the network gives, in place of the builder's own."""
    getattr(network, "roi_heads", network).score_thresh = min_score


def detect(network: nn.Module, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """uint8 RGB (H, W, 3) → boxes (N, 4) xyxy in pixels, scores (N,) and indices into coco.NAMES (N,); best first.

    The network suppresses what overlaps with better finds of its class, and gives no more than its builder says.
    """
    [found] = network([pixels.permute(2, 0, 1) / 255])
    labels = torch.tensor(coco_labels.INDEX, device=pixels.device)[found["labels"]]
    known = labels >= 0
    return found["boxes"][known], found["scores"][known], labels[known]
