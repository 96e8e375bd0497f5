"""A sliding window: a classifier of small pictures, asked at every place and in every size.

Naive, every window is cut out and classified. As a convolution (Sermanet et al., OverFeat, ICLR 2014, section 3.5) the
same network is run over the whole picture, its last layers as convolutions: what neighbouring windows share is computed
once, and the answers are the same. For that to be so nothing may be padded.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torchvision.ops import box_iou, roi_align

from muster.training.detectors.backbone import FINE, WIDTHS, Answer, Backbone, Boxes, Found, Images, scaled, surest

WINDOW, STEP = 55, 8  # pixels
INSIDE = 36  # pixels of its middle that an object fills
FACTORS = (0.65, 0.85, 1.15, 1.5, 2.0, 2.6)  # by which a picture is resized
BORDER = 12  # pixels around it, so that a window may look beyond
SHAPE = 0.8  # width over height of what is found: the mean of digits; a window cannot say
HIDDEN = 192
NEAR = 0.6  # overlap of a window's middle with an object's square, from which on it shows it
FAR = 0.4  # and below which it does not
NEITHER = -100  # class of windows that are between
AROUND, ANYWHERE = 8, 16  # windows to learn from, of each object and of a picture
OVERLAP = 0.3  # of two finds of one class, at most


class Windows(nn.Module):
    def __init__(self, classes: int) -> None:
        super().__init__()
        self.maps = Backbone(coarse=False, padding=0)
        self.head = nn.Sequential(
            nn.Conv2d(WIDTHS[2], HIDDEN, 3, bias=False),  # of a window's 3×3 cells: a fully connected layer
            nn.BatchNorm2d(HIDDEN),
            nn.ReLU(),
            nn.Conv2d(HIDDEN, classes + 1, 1),
        )

    def classified(self, pictures: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) → logits (N, 1 + C, h, w) of the windows at every STEP; of WINDOW×WINDOW pixels one."""
        return self.head(self.maps(pictures)[FINE]).float()

    def naive(self, picture: torch.Tensor) -> torch.Tensor:
        """As `classified` of (1, 3, H, W), window by window."""
        windows = picture[0].unfold(1, WINDOW, STEP).unfold(2, WINDOW, STEP)  # (3, h, w, WINDOW, WINDOW)
        height, width = windows.shape[1:3]
        cut = windows.permute(1, 2, 0, 3, 4).reshape(-1, 3, WINDOW, WINDOW)
        return (
            torch.cat([self.classified(each) for each in cut.split(64)]).view(1, height, width, -1).permute(0, 3, 1, 2)
        )

    def forward(self, images: Images, truth: list[Boxes] | None = None) -> Answer:
        if truth is None:
            return [self.found(image) for image in images]
        windows = [_windows(each["boxes"], image.shape[1:]) for image, each in zip(images, truth, strict=True)]
        cut = roi_align(torch.stack(list(images)), windows, WINDOW, aligned=True)
        classes = torch.cat([_shown(*each) for each in zip(windows, truth, strict=True)])
        return {"class": F.cross_entropy(self.classified(cut).flatten(1), classes, ignore_index=NEITHER)}

    def found(self, image: torch.Tensor, *, naive: bool = False) -> Found:
        boxes, scores = [], []
        for factor in FACTORS:
            picture = resized(image, factor)
            logits = self.naive(picture) if naive else self.classified(picture)
            scores.append(logits[0].flatten(1).T.softmax(1)[:, 1:])
            boxes.append(squares(logits.shape[2:], factor).to(image))
        score, label = torch.cat(scores).max(1)
        return surest(scaled(torch.cat(boxes), SHAPE, 1.0), score, label + 1, OVERLAP)


def resized(image: torch.Tensor, factor: float) -> torch.Tensor:
    """(3, H, W) → (1, 3, h, w), with BORDER around."""
    picture = F.interpolate(image[None], scale_factor=factor, mode="bilinear", antialias=True)
    return F.pad(picture, (BORDER,) * 4)


def squares(shape: torch.Size, factor: float) -> torch.Tensor:
    """The middles of all windows of a resized picture, in pixels of the picture itself: (h · w, 4)."""
    y, x = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    corner = torch.stack([x, y], -1).flatten(0, 1) * STEP + (WINDOW - INSIDE) / 2 - BORDER
    return torch.cat([corner, corner + INSIDE], 1) / factor


def _around(boxes: torch.Tensor) -> torch.Tensor:
    """The squares around boxes, as large as their longer sides."""
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    return torch.cat([middle - half, middle + half], 1)


def _windows(boxes: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Windows to learn from, (M, 4): half of those of an object show it, the others are aside; and ANYWHERE."""
    objects = _around(boxes).repeat_interleave(AROUND, 0)
    wide = torch.arange(len(objects), device=boxes.device) % 2 * 3.0 + 1
    count, side = len(objects), objects[:, 2] - objects[:, 0]
    aside = torch.rand(count, 2, device=boxes.device) * 2 - 1
    sizes = side * torch.exp2((torch.rand(count, device=boxes.device) * 2 - 1) * 0.25 * wide)
    middles = (objects[:, :2] + objects[:, 2:]) / 2 + aside * (0.12 * wide * side)[:, None]
    free = torch.rand(ANYWHERE, 3, device=boxes.device)
    sizes = torch.cat([sizes, INSIDE / (FACTORS[0] + free[:, 2] * (FACTORS[-1] - FACTORS[0]))])
    middles = torch.cat([middles, free[:, :2] * torch.tensor([shape[1], shape[0]], device=boxes.device)])
    half = sizes[:, None] * (WINDOW / INSIDE / 2)
    return torch.cat([middles - half, middles + half], 1)


def _shown(windows: torch.Tensor, truth: Boxes) -> torch.Tensor:
    """The class of each window: an object's, 0 of none, or NEITHER."""
    if not len(truth["boxes"]):
        return torch.zeros(len(windows), dtype=torch.long, device=windows.device)
    overlap, which = box_iou(scaled(windows, *(INSIDE / WINDOW,) * 2), _around(truth["boxes"])).max(1)
    classes = torch.where(overlap >= NEAR, truth["labels"][which], NEITHER)
    return torch.where(overlap < FAR, 0, classes)
