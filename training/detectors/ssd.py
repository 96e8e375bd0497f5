"""SSD (Liu et al., ECCV 2016): classes and boxes from every cell of maps at several scales, in one pass.

torchvision's `SSD` over our backbone: default boxes of several shapes in each cell, softmax over the classes and none
with the hardest three of what is none for each that is something, and smooth L1.
"""

from collections import OrderedDict

import torch
from torch import nn
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD, SSDHead

from muster.training.data.digit_scenes import SIDE
from muster.training.detectors.backbone import COARSE, FINE, LEAST, MOST, WIDTHS, Answer, Backbone, Boxes, Images, layer

SCALES = (0.14, 0.28, 0.5)  # of the side: of the default boxes of each map, and beyond the last
ASPECTS = ([2], [2])  # 1:1 in two sizes, 2:1 and 1:2


class _Maps(nn.Module):
    """The backbone's two maps, each through one more layer."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = Backbone()
        self.fine, self.coarse = layer(WIDTHS[2], WIDTHS[2]), layer(WIDTHS[3], WIDTHS[3])

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = self.maps(images)
        return OrderedDict([(FINE, self.fine(maps[FINE])), (COARSE, self.coarse(maps[COARSE]))])


class SingleShot(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        boxes = DefaultBoxGenerator(
            [list(each) for each in ASPECTS], scales=list(SCALES), steps=[int(FINE), int(COARSE)]
        )
        self.network = SSD(
            _Maps(),
            boxes,
            (SIDE, SIDE),
            classes + 1,
            image_mean=[0.0] * 3,
            image_std=[1.0] * 3,
            head=SSDHead(list(WIDTHS[2:]), boxes.num_anchors_per_location(), classes + 1),
            score_thresh=LEAST,
            nms_thresh=0.4,
            detections_per_img=MOST,
            topk_candidates=100,
            _skip_resize=True,
        )

    def forward(self, images: Images, truth: list[Boxes] | None = None) -> Answer:
        return self.network(list(images), truth)
