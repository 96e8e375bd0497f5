"""The family of R-CNN: regions, and a network that says of each what it is and where exactly.

Three steps of one idea, of which each shares more than the last:

- R-CNN (Girshick et al., CVPR 2014): regions by a segmentation, and the whole network once for each of them.
- Fast R-CNN (Girshick, ICCV 2015): the same regions, cut from one map of the picture.
- Faster R-CNN (Ren et al., NeurIPS 2015): the regions too come from that map, by a network of anchors.

What is learnt of a region and how is torchvision's `RoIHeads` for all three, and the anchors are its
`RegionProposalNetwork`: softmax over the classes and none, and smooth L1 of (t_x, t_y, t_w, t_h), R-CNN's appendix C.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from scipy.ndimage import find_objects
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import roi_align

from muster.training.detectors.backbone import (
    COARSE,
    FINE,
    LEAST,
    MOST,
    WIDTHS,
    Answer,
    Backbone,
    Boxes,
    Images,
    scaled,
)

HIDDEN = 192
WARPED = 48  # pixels of a region as R-CNN's network sees it
CONTEXT = 1.15  # times its own size, so that it sees what is around
POOLED = 5  # cells of a region, each way, as Fast R-CNN cuts it from the map
REGIONS = 64  # at most, of a picture
COARSENESS, SMOOTHING, SEGMENT = 300, 0.5, 30  # of the segmentation: its k, sigma in pixels, and least area in pixels
ANCHORS, ASPECTS = ((16, 28, 48),), ((1.0, 2.0),)  # sides in pixels, and height over width


def proposals(image: torch.Tensor) -> torch.Tensor:
    """Boxes (M, 4) around the segments of (3, H, W), 0..1, the smallest first, at most REGIONS.

    Felzenszwalb and Huttenlocher, Efficient Graph-Based Image Segmentation, IJCV 2004: what selective search, R-CNN's
    own proposals, begins with.
    """
    from skimage.segmentation import felzenszwalb

    segments = felzenszwalb(
        image.permute(1, 2, 0).numpy(), scale=COARSENESS, sigma=SMOOTHING, min_size=SEGMENT, channel_axis=-1
    )
    found = [[x.start, y.start, x.stop, y.stop] for y, x in find_objects(segments + 1)]
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in found]
    return torch.tensor([found[i] for i in np.argsort(areas, kind="stable")[:REGIONS]], dtype=torch.float32)


class Regions(nn.Module):
    """`maps`: what a picture is made into. `cut`: (maps, regions) → what `head` takes, one each. `propose`: the network
    of anchors; None where regions are segments."""

    def __init__(
        self,
        classes: int,
        maps: nn.Module,
        cut: "Callable[[dict[str, torch.Tensor], Sequence[torch.Tensor], Any], torch.Tensor]",
        head: nn.Module,
        propose: RegionProposalNetwork | None = None,
    ) -> None:
        super().__init__()
        self.maps, self.propose = maps, propose
        self.judge = RoIHeads(
            cut,
            head,
            FastRCNNPredictor(HIDDEN, classes + 1),
            fg_iou_thresh=0.5,
            bg_iou_thresh=0.5,
            batch_size_per_image=32,
            positive_fraction=0.5,
            bbox_reg_weights=None,
            score_thresh=LEAST,
            nms_thresh=0.4,
            detections_per_img=MOST,
        )

    def forward(self, images: Images, truth: list[Boxes] | None = None) -> Answer:
        stack, sizes = torch.stack(list(images)), [tuple(image.shape[1:]) for image in images]
        maps, losses = self.maps(stack), dict[str, torch.Tensor]()
        if self.propose is None and truth is not None:
            regions = [each["regions"] for each in truth]
        elif self.propose is None:
            regions = [proposals((image.cpu() + 1) / 2).to(image.device) for image in images]
        else:
            regions, losses = self.propose(ImageList(stack, sizes), maps, truth)
        found, more = self.judge(maps, regions, sizes, truth)
        return found if truth is None else losses | more


class _Picture(nn.Module):
    """The picture itself for a map of it."""

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"1": images}


class _Whole(nn.Module):
    """A network that is run for each region anew: (N, 3, WARPED, WARPED) → (N, HIDDEN)."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = Backbone()
        self.head = TwoMLPHead(WIDTHS[-1] * (WARPED // 16) ** 2, HIDDEN)

    def forward(self, regions: torch.Tensor) -> torch.Tensor:
        return self.head(self.maps(regions)[COARSE])


class _Shared(nn.Module):
    """The fine map alone, of the same backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = Backbone(coarse=False)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return OrderedDict(self.maps(images))


def warped(maps: dict[str, torch.Tensor], regions: Sequence[torch.Tensor], sizes: Any) -> torch.Tensor:
    """(N, 3, WARPED, WARPED): what each region shows, with CONTEXT, squeezed into a square."""
    wide = [scaled(boxes, CONTEXT, CONTEXT) for boxes in regions]
    return roi_align(maps["1"], wide, WARPED, aligned=True)


def pooled(maps: dict[str, torch.Tensor], regions: Sequence[torch.Tensor], sizes: Any) -> torch.Tensor:
    """(N, C, POOLED, POOLED) of the fine map."""
    return roi_align(maps[FINE], list(regions), POOLED, spatial_scale=1 / int(FINE), sampling_ratio=2, aligned=True)


def rcnn(classes: int) -> Regions:
    return Regions(classes, _Picture(), warped, _Whole())


def fast_rcnn(classes: int) -> Regions:
    return Regions(classes, _Shared(), pooled, TwoMLPHead(WIDTHS[2] * POOLED**2, HIDDEN))


def faster_rcnn(classes: int) -> Regions:
    anchors = AnchorGenerator(ANCHORS, ASPECTS)
    propose = RegionProposalNetwork(
        anchors,
        RPNHead(WIDTHS[2], anchors.num_anchors_per_location()[0]),
        fg_iou_thresh=0.6,
        bg_iou_thresh=0.3,
        batch_size_per_image=64,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 400, "testing": 200},
        post_nms_top_n={"training": 100, "testing": REGIONS},
        nms_thresh=0.7,
    )
    return Regions(classes, _Shared(), pooled, TwoMLPHead(WIDTHS[2] * POOLED**2, HIDDEN), propose)
